package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tincan/internal/cli/frontend"
	"tincan/internal/cli/tinc"
	"tincan/internal/cli/tincboot"
	"tincan/internal/cli/tincd"
	"tincan/internal/cli/version"
	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/nearest"
	"tincan/internal/oserr"
	"tincan/internal/pidfile"
	"tincan/internal/terminal"
)

// app is what all commands share.
type app struct {
	terminal.Streams
	place confdir.Place
}

// newRoot builds the command tincan with everything below it.
func newRoot(s terminal.Streams) *cobra.Command {
	a := &app{Streams: s}
	root := &cobra.Command{
		Use:   "tincan",
		Short: "A full-mesh VPN in one program, compatible with tinc",
		Long: `tincan makes a virtual private network in which every machine talks to every
other directly whenever that is possible. It speaks tinc's protocol and keeps
its files, so nodes that run tinc can be part of the same network.

  tincan -n home init alice      make a network on the first machine
  tincan up                      start it
  tincan invite bob              print a URL that lets bob in, once
  tincan join URL                on bob's machine, and then: tincan up

-n is needed only to make a network, and where there are several of them.

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
				a.theOnlyNetwork()
			}
			return nil
		},
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(wrongOption)

	f := root.PersistentFlags()
	f.StringVarP(&a.place.Net, "net", "n", os.Getenv("NETNAME"), "the `network`, whose files are in /etc/tinc/NETWORK (default: the only one)")
	f.StringVarP(&a.place.Conf, "config", "c", "", "the `directory` with the files, in place of /etc/tinc/NETWORK")
	f.StringVar(&a.place.PidFile, "pidfile", "", "pid `file` of the running node")
	root.RegisterFlagCompletionFunc("net", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		nets, _ := confdir.Networks(a.place.Roots)
		return nets, cobra.ShellCompDirectiveNoFileComp
	})

	root.AddGroup(
		&cobra.Group{ID: "network", Title: "Make a network and join it:"},
		&cobra.Group{ID: "run", Title: "Run it:"},
		&cobra.Group{ID: "look", Title: "Look at it:"},
		&cobra.Group{ID: "change", Title: "Change it:"},
	)
	for group, commands := range map[string][]*cobra.Command{
		"network": {a.initCommand(), a.inviteCommand(), a.joinCommand(), a.genCommand(), a.bootnodeCommand(), a.tokenCommand()},
		"run":     {a.upCommand(), a.downCommand(), a.restartCommand(), a.reloadCommand(), a.retryCommand(), a.connectCommand(), a.disconnectCommand(), a.serviceCommand(), a.unitCommand()},
		"look":    {a.statusCommand(), a.pingCommand(), a.whyCommand(), a.netCheckCommand(), a.topCommand(), a.dumpCommand(), a.infoCommand(), a.logCommand(), a.pcapCommand(), a.checkCommand()},
		"change":  {a.getCommand(), a.setCommand(), a.addCommand(), a.delCommand(), a.exportCommand(), a.importCommand(), a.exchangeCommand(), a.editCommand(), a.acceptCommand(), a.removeCommand(), a.signCommand(), a.verifyCommand()},
		"": {a.versionCommand(), a.manCommand(),
			a.frontEndCommand("tinc", "Behave like the command tinc of tinc 1.1", tinc.Main),
			a.frontEndCommand("tinc-boot", "Behave like tinc-boot", tincboot.Main),
			a.frontEndCommand("tincd", "Behave like tinc's daemon tincd", tincd.Main),
		},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	for _, c := range tincboot.MonitorCommands(s, a.existing) {
		c.Hidden = true // for scripts
		root.AddCommand(c)
	}
	addExamples(root)
	a.addCompletions(root)
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
func (a *app) frontEndCommand(name, short string, run func(string, []string, terminal.Streams) int) *cobra.Command {
	return &cobra.Command{
		Use: name + " [argument]...", Short: short,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			var options []string
			for option, value := range map[string]string{"--net=": a.place.Net, "--config=": a.place.Conf, "--pidfile=": a.place.PidFile} {
				if value != "" {
					options = append(options, option+value)
				}
			}
			if status := run(name, append(options, args...), a.Streams); status != 0 {
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
		if e := flags.Set(f.Name, value); e != nil {
			err = fmt.Errorf("environment variable %s: %w", name, expected(f, e))
		}
	})
	return err
}

// makesNetwork are the commands that make a network. They choose its name in their own way.
// The other programs that we can be have ways of their own, too.
var makesNetwork = map[string]bool{"init": true, "join": true, "gen": true, "tinc": true, "tincd": true, "tinc-boot": true}

// theOnlyNetwork takes the only network of this machine for the one that is meant if none was
// named. As with tinc /etc/tinc itself comes first.
func (a *app) theOnlyNetwork() {
	if a.place.Net != "" || a.place.Conf != "" || a.place.PidFile != "" {
		return
	}
	if nets := a.networks(); len(nets) == 1 {
		a.place.Net = nets[0]
	}
}

// networks are the networks of this machine; only "." if /etc/tinc itself is one.
func (a *app) networks() []string {
	nets, _ := confdir.Networks(a.place.Roots)
	if slices.Contains(nets, ".") {
		return []string{"."}
	}
	return nets
}

// layout finds the files of the network.
func (a *app) layout() (confdir.Layout, error) {
	l, err := a.place.Layout()
	if err != nil {
		return l, err
	}
	return l.Abs()
}

// existing is layout for a command that needs a network that is there.
func (a *app) existing() (confdir.Layout, error) {
	l, err := a.layout()
	if err != nil {
		return l, err
	}
	if _, err := os.Stat(l.TincConf()); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return l, terminal.Hint(err, "run this command %s", oserr.Privileged)
		}
		if text := l.FormerPlace(); text != "" {
			return l, fmt.Errorf("there is no network in %s; %s", l.ConfBase, text)
		}
		err := fmt.Errorf("there is no network in %s", l.ConfBase)
		if nets := a.networks(); len(nets) > 1 && a.place.Net == "" && a.place.Conf == "" {
			err = errors.New("there are several networks on this machine, and none was named")
		}
		return l, terminal.Hint(err, "%s", a.whichNetwork())
	}
	return l, nil
}

// whichNetwork is advice for somebody who named a network that is not there.
func (a *app) whichNetwork() string {
	nets, _ := confdir.Networks(a.place.Roots)
	if len(nets) == 0 || a.place.Conf != "" {
		return fmt.Sprintf("make one with: %s init NAME, or join one with: tincan join URL", a.self())
	}
	return fmt.Sprintf("choose one with -n NETWORK; there are: %s", strings.Join(nets, " "))
}

// sayNext tells a person who has just made a node how to go on.
func (a *app) sayNext(net, conf string) {
	if len(net) > config.MaxInterface {
		a.say("note: the interface will be called %s, because its name has at most %d characters; to choose another: %s set Interface NAME", net[:config.MaxInterface], config.MaxInterface, selfFor(net, conf))
	}
	self := selfFor(net, conf)
	a.say("next: %s up", self)
	if conf == "" || !bySystemd() {
		a.say("or, to start it now and at boot: %s service install", self)
	}
}

// self is how the user calls tincan for this network.
func (a *app) self() string { return selfFor(a.place.Net, a.place.Conf) }

func selfFor(net, conf string) string {
	text := "tincan"
	if net != "" && net != "." {
		text += " -n " + command.Quote(net)
	}
	if conf != "" {
		text += " -c " + command.Quote(conf)
	}
	return text
}

// ask asks the running node something.
func (a *app) ask(question func(*control.Client) error) error {
	l, err := a.layout()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := control.Dial(ctx, l.ForClient().PidFile)
	if err != nil {
		return a.notRunning(err)
	}
	defer c.Close()
	return question(c)
}

// notRunning adds advice to an error of control.Dial.
func (a *app) notRunning(err error) error {
	var d *control.DialError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return terminal.Hint(err, "run this command as the user who started the node, most likely root")
	case errors.Is(err, pidfile.ErrTinc10):
		return terminal.Hint(err, "end it with: %s, then start tincan with: %s up", strings.Replace(a.self(), "tincan", "tincd", 1)+" -k", a.self())
	case errors.As(err, &d) && d.Stage <= control.NoProcess:
		if _, none := a.existing(); none != nil && a.place.PidFile == "" { // most likely -n was forgotten
			return none
		}
		if net := a.runsByName(); net != "" {
			return terminal.Hint(err, "a daemon of the network %s runs, which was started by that name: tincan -n %s", net, command.Quote(net))
		}
		return terminal.Hint(err, "start it with: %s up", a.self())
	case errors.As(err, &d) && d.Stage == control.NoSocket && errors.Is(err, oserr.Refused):
		return terminal.Hint(err, "it was killed, most likely, and the number may be another process's now; start it again with: %s up", a.self())
	}
	return err
}

// runsByName is the network whose files are in the directory of -c, if it has a name and a node that was started by
// that name runs: its pid file is in another place.
func (a *app) runsByName() string {
	if a.place.Conf == "" || a.place.Net != "" || a.place.PidFile != "" {
		return ""
	}
	here, err := a.layout()
	if err != nil {
		return ""
	}
	named := &app{Streams: a.Streams, place: confdir.Place{Net: filepath.Base(here.ConfBase), Roots: a.place.Roots}}
	if l, err := named.layout(); err != nil || l.ConfBase != here.ConfBase || named.runs() == 0 {
		return ""
	}
	return named.place.Net
}

// say prints talk.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.Err, format+"\n", args...) }
