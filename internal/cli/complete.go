package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/bootnode"
	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/command/ownership"
	"tincan/internal/members"
)

// noFiles is the usual answer to the shell: these words, and no names of files.
const noFiles = cobra.ShellCompDirectiveNoFileComp

// completer knows what can be completed in a network.
type completer struct{ *env.Env }

// oneNode completes the name of a node, as the only argument.
func (c completer) oneNode(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return c.Nodes(), noFiles
}

// anyNode completes the name of a node, as the value of an option.
func (c completer) anyNode(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return c.Nodes(), noFiles
}

// flow completes the two hosts of policy try: members, and groups of them.
func (c completer) flow(_ *cobra.Command, args []string, _ string) (words []string, d cobra.ShellCompDirective) {
	l, ok := c.Known()
	if !ok || len(args) > 1 {
		return nil, noFiles
	}
	n, err := ownership.Open(l, nil)
	if err != nil {
		return nil, noFiles
	}
	for _, m := range n.Roster.State().Members {
		words = append(words, string(m.Name))
		for _, g := range m.Groups {
			words = append(words, "group:"+g)
		}
	}
	slices.Sort(words)
	words = slices.Compact(words)
	if len(args) == 0 {
		return words, noFiles
	}
	for i := range words {
		words[i] += ":"
	}
	return words, noFiles | cobra.ShellCompDirectiveNoSpace
}

// files completes what edit can open.
func (c completer) files(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return append(slices.Clone(command.EditableFiles), c.Nodes()...), noFiles
}

// tokens completes the ids and labels of the tokens that are good.
func (c completer) tokens(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if l, ok := c.Known(); ok && len(args) == 0 {
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

// oneOwner completes the name of an owner, as the only argument.
func (c completer) oneOwner(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return c.owners(cmd, args, text)
}

// owners completes the names of owners, also of former ones.
func (c completer) owners(*cobra.Command, []string, string) (words []string, _ cobra.ShellCompDirective) {
	if l, ok := c.Known(); ok {
		if n, err := ownership.Open(l, c.Ask); err == nil {
			for _, o := range n.EverOwners() {
				words = append(words, string(o.Name))
			}
		}
	}
	return words, noFiles
}

// oneDevice completes the name of a device, as the only argument.
func (c completer) oneDevice(_ *cobra.Command, args []string, _ string) (words []string, _ cobra.ShellCompDirective) {
	if l, ok := c.Known(); ok && len(args) == 0 {
		if n, err := ownership.Open(l, c.Ask); err == nil {
			for _, d := range n.Roster.State().Devices {
				words = append(words, string(d.Name))
			}
		}
	}
	return words, noFiles
}

// proposals completes the ids of changes of the owners that wait for signatures.
func (c completer) proposals(_ *cobra.Command, args []string, _ string) (words []string, _ cobra.ShellCompDirective) {
	if l, ok := c.Known(); ok && len(args) == 0 {
		if n, err := ownership.Open(l, c.Ask); err == nil {
			for _, p := range n.Roster.State().Proposals {
				words = append(words, p.List.String()[:8])
			}
		}
	}
	return words, noFiles
}

// addCompletions says what each command and option can be given.
func addCompletions(e *env.Env, root *cobra.Command) {
	c := completer{e}
	for words, f := range map[string]frontend.Completion{
		"connect": c.oneNode, "disconnect": c.oneNode, "info": c.oneNode, "why": c.oneNode, "ping": c.oneNode, "accept": c.oneNode, "remove": c.oneNode,
		"device add": cobra.NoFileCompletions, "device remove": c.oneDevice, "admit": c.oneNode, "approve": c.oneNode, "deny": c.oneNode,
		"owners add": c.oneOwner, "owners retire": c.oneOwner, "owners compromised": c.oneOwner, "owners sign": c.proposals, "owners threshold": cobra.NoFileCompletions,
		"status": c.oneNode, "edit": c.files, "token revoke": c.tokens, "verify": c.oneNode,
		"policy try": c.flow, "policy show": cobra.NoFileCompletions, "policy edit": cobra.NoFileCompletions, "policy clear": cobra.NoFileCompletions,
		"init": cobra.NoFileCompletions, "invite": cobra.NoFileCompletions, "join": cobra.NoFileCompletions,
	} {
		if cmd, rest, err := root.Find(strings.Fields(words)); err == nil && len(rest) == 0 {
			cmd.ValidArgs, cmd.ValidArgsFunction = nil, frontend.Begun(f)
		}
	}
	levels := cobra.FixedCompletions([]string{"0", "1", "2", "3", "4", "5"}, noFiles)
	for words, options := range map[string]map[string]frontend.Completion{
		"ping":               {"transport": cobra.FixedCompletions([]string{"any", "udp", "tcp"}, noFiles), "via": c.anyNode},
		"up":                 {"debug": levels},
		"gen":                {"engine": cobra.FixedCompletions([]string{"embedded", "tincd"}, noFiles), "protocol": cobra.FixedCompletions([]string{"tincan", "gen1", "gen2"}, noFiles), "connect-to": c.anyNode},
		"owners add":         {"rights": cobra.FixedCompletions(members.RightNames, noFiles)},
		"owners compromised": {"keep": c.owners},
		"owners recover":     {"keep": c.owners, "lost": c.owners, "stolen": c.owners},
		"bootnode":           {"protocol": cobra.FixedCompletions([]string{"gen1", "gen2"}, noFiles)},
	} {
		cmd, _, err := root.Find(strings.Fields(words))
		for name, f := range options {
			if err == nil && cmd.Flags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, frontend.Begun(f))
			}
		}
	}
}
