// Package tincboot is the front end tinc-boot: the commands, options, variables and defaults of that program, and
// its protocols.
package tincboot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/bootnode"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/version"
	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/node"
	"tincan/internal/terminal"
)

// Main runs a command line of tinc-boot and returns the exit status.
func Main(_ string, args []string, s terminal.Streams) int {
	helped := false
	root := newTincBoot(&app{Streams: s}, &helped)
	status := frontend.Execute(root, args, s, "")
	if status == 0 && helped {
		return 1 // as the original
	}
	return status
}

type app struct{ terminal.Streams }

// newTincBoot builds the command tinc-boot: the options, variables and defaults
// of that program, and its protocols.
func newTincBoot(a *app, helped *bool) *cobra.Command {
	root := &cobra.Command{
		Use: "tinc-boot", Short: "Create tinc nodes and distribute their host files",
		Version: version.Text(), SilenceUsage: true, SilenceErrors: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %.40q", args[0])
			}
			return errors.New("please specify one command of: bootnode, forget, gen, kill, monitor, run or watch")
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			frontend.FromEnvironment(cmd.Flags(), "")
			return unquoteToken(cmd)
		},
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) { *helped = true; help(c, args) })
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(a.bootGenCommand(), a.bootBootnodeCommand(), a.bootRunCommand())
	root.AddCommand(MonitorCommands(a.Streams, func() (confdir.Layout, error) {
		return confdir.Place{Net: os.Getenv("NETNAME")}.Layout()
	})...)
	return root
}

// unquoteToken reads a token that begins with a quotation mark as the original does.
func unquoteToken(cmd *cobra.Command) error {
	f := cmd.Flags().Lookup("token")
	if f == nil || !strings.HasPrefix(f.Value.String(), `"`) {
		return nil
	}
	text, err := strconv.Unquote(f.Value.String())
	if err != nil {
		return errors.New("the token begins with a quotation mark, but the quotation is broken")
	}
	return f.Value.Set(text)
}

func (a *app) bootGenCommand() *cobra.Command {
	var g command.Gen
	network, dir := "", ""
	c := &cobra.Command{
		Use: "gen [URL]...", Short: "Make a node", Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			net := node.Normalise(network)
			if net == "" {
				return fmt.Errorf("--network %.40q has none of the letters a-z and digits that a name is made of", network)
			}
			g.URLs, g.Place, g.Old = args, confdir.Place{Net: net, Conf: filepath.Join(dir, net)}, true
			ctx, stop := command.Interruptible()
			defer stop()
			m, err := g.Run(ctx, a.Streams)
			if err != nil {
				return err
			}
			m.Print(a.Out)
			fmt.Fprintln(a.Out, "DONE!")
			command.SayWhoAnswers(ctx, m, a.Streams)
			if g.Engine == command.TincdOne {
				fmt.Fprintf(a.Out, "systemctl start tinc@%s\nsystemctl enable tinc@%s\n", net, net)
			} else {
				fmt.Fprintf(a.Out, "tincan -c %s up\n", command.Quote(m.Layout.ConfBase))
			}
			return nil
		},
	}
	f := c.Flags()
	frontend.GenFlags(&g, f)
	f.StringVar(&network, "network", command.DefaultNetwork, "`name` of the network")
	f.StringVar(&dir, "dir", confdir.SystemDir(), "base `directory`")
	preset(c, "engine", command.TincdOne)
	return c
}

func (a *app) bootBootnodeCommand() *cobra.Command {
	s := command.Serve{Generate: true}
	dir, name, service := "", "", false
	c := &cobra.Command{
		Use: "bootnode", Short: "Admit new nodes that know the token", Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) (err error) {
			if s.Layout, err = command.BootLayout(confdir.Place{}, dir); err != nil {
				return err
			}
			s.Limits = bootnode.Limits{Label: "command line", Uses: bootnode.Unlimited}
			if len(s.Protocols) == 0 {
				s.Protocols = []string{string(bootnode.Generation1)}
			}
			if service {
				return s.Install(nil, a.Streams)
			}
			return s.Run(a.Streams)
		},
	}
	f := c.Flags()
	frontend.TokenFlags(&s.Token, f)
	frontend.ServeFlags(&s, f)
	f.StringVar(&s.Binding, "binding", fmt.Sprintf(":%d", bootnode.DefaultPort), "`address` to listen on")
	f.StringVar(&dir, "dir", filepath.Join(confdir.SystemDir(), "dnet"), "`directory` of the network")
	f.StringVar(&name, "name", "", "`name` of this node (default from tinc.conf)")
	f.BoolVar(&service, "service", false, "write a systemd unit and exit")
	return c
}

// preset changes the default of an option.
func preset(c *cobra.Command, name, value string) {
	f := c.Flags().Lookup(name)
	f.DefValue = value
	_ = f.Value.Set(value)
}
