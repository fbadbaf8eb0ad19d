package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/bootnode"
	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/node"
)

// noFiles is the usual answer to the shell: these words, and no names of files.
const noFiles = cobra.ShellCompDirectiveNoFileComp

// completed is what a shell may put in place of what has been begun.
type completed = func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective)

// known is the network that a command line under completion is about; no errors are shown there.
func (a *app) known() (confdir.Layout, bool) {
	a.theOnlyNetwork()
	l, err := a.existing()
	return l, err == nil
}

// nodes are the nodes that have a host file.
func (a *app) nodes() (names []string) {
	l, ok := a.known()
	if !ok {
		return nil
	}
	files, _ := os.ReadDir(l.Hosts())
	for _, f := range files {
		if name, err := node.ParseName(f.Name()); err == nil && !f.IsDir() {
			names = append(names, string(name))
		}
	}
	return names
}

// oneNode completes the name of a node, as the only argument.
func (a *app) oneNode(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return a.nodes(), noFiles
}

// anyNode completes the name of a node, as the value of an option.
func (a *app) anyNode(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return a.nodes(), noFiles
}

// begun leaves only those words that begin as it has been begun.
func begun(f completed) completed {
	return func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
		words, directive := f(cmd, args, text)
		return slices.DeleteFunc(slices.Clone(words), func(w string) bool {
			return len(w) < len(text) || !strings.EqualFold(w[:len(text)], text)
		}), directive
	}
}

// files completes what edit can open.
func (a *app) files(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return append(slices.Clone(command.EditableFiles), a.nodes()...), noFiles
}

// tokens completes the ids and labels of the tokens that are good.
func (a *app) tokens(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if l, ok := a.known(); ok && len(args) == 0 {
		// Looking makes nothing, so there must be something.
		if s, err := bootnode.OpenStore(l); err == nil {
			list, _ := s.List()
			var words []string
			for _, t := range list {
				words = append(words, t.ID)
				if t.Label != "" {
					words = append(words, t.Label)
				}
			}
			return words, noFiles
		}
	}
	return nil, noFiles
}

// completeVariable completes [HOST.]VARIABLE, and then its value.
func (a *app) completeVariable(verb command.Verb, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		var words []string
		host, _, dotted := strings.Cut(text, ".")
		for _, v := range config.Variables() {
			switch {
			case v.Is(config.Unlisted):
			case dotted && v.Is(config.HostFile):
				words = append(words, host+"."+v.Name)
			case !dotted:
				words = append(words, v.Name)
			}
		}
		return words, noFiles
	}
	if len(args) > 1 || verb == command.Get {
		return nil, noFiles
	}
	host, name, dotted := strings.Cut(args[0], ".")
	if !dotted {
		host, name = "", args[0]
	}
	v, ok := config.Find(name)
	if !ok {
		return nil, noFiles
	}
	if verb == command.Del {
		return a.values(host, v), noFiles
	}
	switch v.Kind {
	case config.Bool:
		return []string{"yes", "no"}, noFiles
	case config.Word:
		return v.Words, noFiles
	case config.NodeName:
		return a.nodes(), noFiles
	case config.ProxyUse:
		return []string{"none", "http", "socks4", "socks4a", "socks5", "exec"}, noFiles
	case config.CipherName:
		return []string{"aes-256-cbc", "aes-192-cbc", "aes-128-cbc"}, noFiles
	case config.DigestName:
		return []string{"sha256", "sha384", "sha512"}, noFiles
	case config.Path:
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, noFiles
}

// values are the values that a variable has now.
func (a *app) values(host string, v *config.Variable) []string {
	l, ok := a.known()
	if !ok {
		return nil
	}
	words := []string{v.Name}
	if host != "" {
		words[0] = host + "." + v.Name
	}
	r, err := command.ParseSetting(command.Get, words)
	if err != nil {
		return nil
	}
	res, _ := r.Do(l)
	return res.Values
}

// addCompletions says what each command and option can be given.
func (a *app) addCompletions(root *cobra.Command) {
	for words, f := range map[string]completed{
		"connect": a.oneNode, "disconnect": a.oneNode, "info": a.oneNode, "why": a.oneNode, "ping": a.oneNode, "accept": a.oneNode, "remove": a.oneNode,
		"status": a.oneNode, "edit": a.files, "token revoke": a.tokens, "verify": a.oneNode,
		"init": cobra.NoFileCompletions, "invite": cobra.NoFileCompletions, "join": cobra.NoFileCompletions,
	} {
		if c, rest, err := root.Find(strings.Fields(words)); err == nil && len(rest) == 0 {
			c.ValidArgs, c.ValidArgsFunction = nil, begun(f)
		}
	}
	levels := cobra.FixedCompletions([]string{"0", "1", "2", "3", "4", "5"}, noFiles)
	for words, options := range map[string]map[string]completed{
		"ping":     {"transport": cobra.FixedCompletions([]string{"any", "udp", "tcp"}, noFiles), "via": a.anyNode},
		"up":       {"debug": levels},
		"gen":      {"engine": cobra.FixedCompletions([]string{"embedded", "tincd"}, noFiles), "protocol": cobra.FixedCompletions([]string{"tincan", "gen1", "gen2"}, noFiles), "connect-to": a.anyNode},
		"bootnode": {"protocol": cobra.FixedCompletions([]string{"gen1", "gen2"}, noFiles)},
	} {
		c, _, err := root.Find([]string{words})
		for name, f := range options {
			if err == nil && c.Flags().Lookup(name) != nil {
				_ = c.RegisterFlagCompletionFunc(name, begun(f))
			}
		}
	}
}
