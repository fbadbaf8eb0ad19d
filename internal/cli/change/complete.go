package change

import (
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/command"
	"tincan/internal/config"
)

// completeVariable completes [HOST.]VARIABLE, and then its value.
func completeVariable(e *env.Env, verb command.Verb, args []string, text string) ([]string, cobra.ShellCompDirective) {
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
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	if len(args) > 1 || verb == command.Get {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	host, name, dotted := strings.Cut(args[0], ".")
	if !dotted {
		host, name = "", args[0]
	}
	v, ok := config.Find(name)
	if !ok {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if verb == command.Del {
		return values(e, host, v), cobra.ShellCompDirectiveNoFileComp
	}
	switch v.Kind {
	case config.Bool:
		return []string{"yes", "no"}, cobra.ShellCompDirectiveNoFileComp
	case config.Word, config.CarrierList:
		return v.Words, cobra.ShellCompDirectiveNoFileComp
	case config.NodeName:
		return e.Nodes(), cobra.ShellCompDirectiveNoFileComp
	case config.ProxyUse:
		return []string{"none", "http", "socks4", "socks4a", "socks5", "exec"}, cobra.ShellCompDirectiveNoFileComp
	case config.CipherName:
		return []string{"aes-256-cbc", "aes-192-cbc", "aes-128-cbc"}, cobra.ShellCompDirectiveNoFileComp
	case config.DigestName:
		return []string{"sha256", "sha384", "sha512"}, cobra.ShellCompDirectiveNoFileComp
	case config.Path:
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// values are the values that a variable has now.
func values(e *env.Env, host string, v *config.Variable) []string {
	l, ok := e.Known()
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
