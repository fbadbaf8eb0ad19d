package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tincan/internal/cli/change"
	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/join"
	"tincan/internal/cli/look"
	"tincan/internal/cli/run"
	"tincan/internal/cli/service"
	"tincan/internal/cli/signed"
	"tincan/internal/cli/tinc"
	"tincan/internal/cli/tincboot"
	"tincan/internal/cli/tincd"
	"tincan/internal/cli/version"
	"tincan/internal/confdir"
	"tincan/internal/nearest"
	"tincan/internal/terminal"
)

// newRoot builds the command tincan with everything below it.
func newRoot(s terminal.Streams) *cobra.Command {
	e := &env.Env{Streams: s}
	root := &cobra.Command{
		Use:   "tincan",
		Short: "A full-mesh VPN in one program, compatible with tinc",
		Long: `tincan is a full-mesh VPN: every node exchanges encrypted packets directly with
every other one where possible, and through a relay or by TCP where not. It is
compatible with the protocols and files of tinc, so tinc nodes can be members.

  tincan -n home init alice      create a network on the first machine
  tincan up                      start it
  tincan invite bob              print a URL with which bob can join, once
  tincan join URL                on bob's machine, and then: tincan up

-n is needed only to create a network, and if there are several of them.

Or in one step, with a token that many can use:

  tincan up --boot :8655         on the first machine; prints what to type on the next

Every option can also be given in the environment: --net as TINCAN_NET, and so on.`,
		Version:       version.Text(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          frontend.NoSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			if !makesNetwork[cmd.Name()] {
				e.TheOnlyNetwork()
			}
			return nil
		},
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(wrongOption)

	f := root.PersistentFlags()
	f.StringVarP(&e.Place.Net, "net", "n", os.Getenv("NETNAME"), "the `network`, whose files are in /etc/tinc/NETWORK (default: the only one)")
	f.StringVarP(&e.Place.Conf, "config", "c", "", "the `directory` with the files, in place of /etc/tinc/NETWORK")
	f.StringVar(&e.Place.PidFile, "pidfile", "", "pid `file` of the running node")
	root.RegisterFlagCompletionFunc("net", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		nets, _ := confdir.Networks(e.Place.Roots)
		return nets, cobra.ShellCompDirectiveNoFileComp
	})

	root.AddGroup(
		&cobra.Group{ID: "network", Title: "Make a network and join it:"},
		&cobra.Group{ID: "run", Title: "Run it:"},
		&cobra.Group{ID: "look", Title: "Look at it:"},
		&cobra.Group{ID: "change", Title: "Change it:"},
		&cobra.Group{ID: "signed", Title: "Decide who belongs to it (signed networks):"},
	)
	for group, commands := range map[string][]*cobra.Command{
		"network": join.Commands(e),
		"run":     append(run.Commands(e), service.Commands(e)...),
		"look":    look.Commands(e),
		"change":  change.Commands(e),
		"signed":  signed.Commands(e),
		"": {versionCommand(e), manCommand(),
			frontEndCommand(e, "tinc", "Behave like the command tinc of tinc 1.1", tinc.Main),
			frontEndCommand(e, "tinc-boot", "Behave like tinc-boot", tincboot.Main),
			frontEndCommand(e, "tincd", "Behave like tinc's daemon tincd", tincd.Main),
		},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	for _, c := range tincboot.MonitorCommands(s, e.Existing) {
		c.Hidden = true // for scripts
		root.AddCommand(c)
	}
	addExamples(root)
	addCompletions(e, root)
	strictHelp(root)
	strictCompletion(root)
	return root
}

// wrongOption is the error of an option that there is not, or that cannot have its value.
func wrongOption(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if meant := nearest.To(unknown.GetSpecifiedName(), names); meant != "" {
			return terminal.Hint(err, "did you mean --%s? See %s --help", meant, cmd.CommandPath())
		}
	case errors.As(err, &invalid):
		err = fmt.Errorf("--%s %.60q: %w", invalid.GetFlag().Name, invalid.GetValue(), expected(invalid.GetFlag(), invalid.Unwrap()))
	}
	return terminal.Hint(err, "see %s --help", cmd.CommandPath())
}

// expected says what an option takes; err if its own kind of value says that.
func expected(f *pflag.Flag, err error) error {
	switch f.Value.Type() {
	case "uint16":
		return errors.New("write a number from 0 to 65535")
	case "int":
		return errors.New("write a whole number")
	case "duration":
		return errors.New("write a time with its unit, such as 90s, 5m or 24h")
	case "bool":
		return errors.New("write true or false, or nothing")
	}
	return err
}

// strictCompletion makes "completion" refuse a shell that it does not know.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil && c != root {
		c.Args = frontend.NoSuchCommand
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

// strictHelp makes "help" refuse what is no command, in place of telling about the one above it.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil || help == root {
		return
	}
	show := help.Run
	help.Run = nil
	help.RunE = func(cmd *cobra.Command, args []string) error {
		about, rest, err := root.Find(args)
		if err == nil && about.HasSubCommands() {
			err = frontend.NoSuchCommand(about, rest)
		}
		if err == nil {
			show(cmd, args)
		}
		return err
	}
}

// frontEndCommand is another front end as a command, for -n and -c in front of it.
func frontEndCommand(e *env.Env, name, short string, run func(string, []string, terminal.Streams) int) *cobra.Command {
	return &cobra.Command{
		Use: name + " [argument]...", Short: short,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			var options []string
			for option, value := range map[string]string{"--net=": e.Place.Net, "--config=": e.Place.Conf, "--pidfile=": e.Place.PidFile} {
				if value != "" {
					options = append(options, option+value)
				}
			}
			if status := run(name, append(options, args...), e.Streams); status != 0 {
				return frontend.Failed(status)
			}
			return nil
		},
	}
}

// fromEnvironment sets each option that was not given from TINCAN_OPTION.
func fromEnvironment(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "TINCAN_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || err != nil || f.Name == "help" || f.Name == "version" {
			return // TINCAN_VERSION, say, is likely to be somebody's own
		}
		if bad := flags.Set(f.Name, value); bad != nil {
			err = fmt.Errorf("environment variable %s: %w", name, expected(f, bad))
		}
	})
	return err
}

// makesNetwork are the commands that make a network. They choose its name in their own way.
// The other programs that we can be have ways of their own, too.
var makesNetwork = map[string]bool{"init": true, "join": true, "gen": true, "tinc": true, "tincd": true, "tinc-boot": true}
