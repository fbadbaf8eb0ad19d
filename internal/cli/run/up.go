package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/launch"
	"tincan/internal/cli/newcomers"
	"tincan/internal/cli/service"
	"tincan/internal/cli/version"
	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/terminal"
)

// upFlags are the options of up.
type upFlags struct {
	detach  bool
	debug   int
	logFile string
	set     []string
	user    string
	chroot  bool
	mlock   bool

	admit   newcomers.Options
	join    []string
	gen     command.Gen
	open    bool // a network that is made
	service bool
}

func upCommand(e *env.Env) *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the node",
		Long: `Starts the node and keeps it running, with its log on the screen, until Ctrl-C,
"tincan down" or SIGTERM ends it. It needs the right to create a network interface,
which usually means root.

With --detach it goes into the background once it works, and logs to the system
log or to a file. With --service it becomes a service instead, which starts now and
at boot. If the node is already running, nothing happens.

With --boot it also admits new nodes that know a token, and prints the command for
the next machine. With --join it first joins a network with such a token. Both
create the node if there is none yet (in the network dnet unless -n says otherwise),
and simply start it if there is one.

  tincan up --boot :8655                      the first machine
  tincan up --join HOST:8655 --token TOKEN    the next one`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.service {
				for _, name := range []string{"detach", "debug", "log-file", "option", "user", "chroot", "mlock"} {
					if c.Flags().Changed(name) {
						return fmt.Errorf("--%s cannot be combined with --service, which runs the node with the settings of its files", name)
					}
				}
			}
			if f.admit.Binding == "" && len(f.join) == 0 {
				for _, name := range []string{"ip", "name", "open", "port", "prefix", "public", "timeout", "tls-self", "token", "token-file"} {
					if c.Flags().Changed(name) {
						e.Say("warning: --%s has no effect without --boot or --join", name)
					}
				}
			}
			return up(e, f)
		},
	}
	c.Flags().BoolVarP(&f.detach, "detach", "d", false, "go into the background once the node is up")
	c.Flags().BoolVar(&f.service, "service", false, "install the node as a service that starts now and at boot")
	c.Flags().IntVar(&f.debug, "debug", 0, "how much to log: `level` 0 (start and stop) to 5 (traffic)")
	c.Flags().StringVar(&f.logFile, "log-file", "", "log to this `file`")
	c.Flags().StringArrayVarP(&f.set, "option", "o", nil, "override a variable of the files: [HOST.]`VARIABLE=VALUE`")
	c.Flags().StringVar(&f.user, "user", "", "run as this `user` as soon as everything is set up")
	c.Flags().BoolVar(&f.chroot, "chroot", false, "change the root directory to that of the network")
	c.Flags().BoolVar(&f.mlock, "mlock", false, "keep all memory out of swap space")
	c.Flags().StringVar(&f.admit.Binding, "boot", "", "admit new nodes at this `address`, such as :8655")
	c.Flags().StringArrayVar(&f.join, "join", nil, "first join the network of this boot `node`; may be repeated")
	c.Flags().BoolVar(&f.open, "open", false, "with --boot: make an open network, without owners, if there is none yet")
	frontend.StoreFlag(&f.admit.Store, c.Flags())
	c.Flags().BoolVar(&f.admit.TLSSelf, "tls-self", false, "with --boot: serve HTTPS with a self-signed certificate")
	frontend.TokenFlags(&f.gen.Token, c.Flags())
	c.Flags().StringVar(&f.gen.Name, "name", "", "with --boot or --join: `name` of a new node (default the host name)")
	c.Flags().StringArrayVarP(&f.gen.Public, "public", "a", nil, "with --boot or --join: `host` where others reach a new node; may be repeated")
	c.Flags().StringVar(&f.gen.Prefix, "prefix", "", "with --boot or --join: network of a new node's address, such as 10.7.0.0/16")
	c.Flags().StringVar(&f.gen.IP, "ip", "", "with --boot or --join: the `address` of a new node in the VPN")
	c.Flags().Uint16Var(&f.gen.Port, "port", 0, "with --boot or --join: `port` of a new node; 0 takes 655 for a node that others are to reach, else a free one")
	c.Flags().DurationVar(&f.gen.Timeout, "timeout", 2*time.Minute, "with --join: how long to keep trying each boot node")
	return c
}

func up(e *env.Env, f upFlags) error {
	if f.admit.Binding != "" || len(f.join) > 0 {
		bootNetwork(e)
	}
	if pid := e.Runs(); pid != 0 && !f.service && !launch.Detached() && os.Getenv("NOTIFY_SOCKET") == "" {
		e.Say("the node is already running (pid %d); see: %s status", pid, e.Self())
		if f.admit.Binding != "" {
			e.Say("note: it admits new nodes only if it was started with --boot; otherwise run: %s down, then this command again", e.Self())
			e.Say("note: for one more token: %s token new", e.Self())
		}
		return nil
	}
	boot, err := bootstrap(e, f)
	if err != nil {
		return err
	}
	l, err := e.Existing()
	if err != nil {
		return err
	}
	if f.service {
		return service.Install(e, f.admit, false)
	}
	overrides, err := config.ParseOverrides(f.set)
	if err != nil {
		return err
	}
	if f.detach && !launch.Detached() {
		return upDetached(e, l)
	}
	l, warnings := l.ForDaemon()
	for _, w := range warnings {
		e.Say("warning: %v", w)
	}
	if f.logFile != "" {
		if f.logFile, err = filepath.Abs(f.logFile); err != nil {
			return err
		}
	}
	if err := os.Chdir(l.ConfBase); err != nil {
		return fmt.Errorf("changing to the directory of the network: %w", err)
	}
	return launch.Run(context.Background(), launch.Options{
		Layout: l, Overrides: overrides, Debug: f.debug, Version: version.Text(),
		Style: launch.Human, LogFile: f.logFile, Beside: newcomers.Beside(boot, l),
		User: f.user, Chroot: f.chroot, Lock: f.mlock,
	}, e.Streams)
}

// upDetached starts the same command once more, in the background, and waits
// until that works.
func upDetached(e *env.Env, l confdir.Layout) error {
	newcomer := command.IsNewcomer(l)
	cmd, err := launch.Background()
	if err != nil {
		return err
	}
	if err := launch.Start(cmd, e.Err, e.Color(), false); err != nil {
		var ended *exec.ExitError
		switch {
		case !errors.As(err, &ended):
			return fmt.Errorf("the node did not start: %w", err)
		case ended.ExitCode() == launch.StatusRemoved:
			return frontend.Failed(launch.StatusRemoved) // it has said why
		}
		return terminal.Hint(errors.New("the node did not start"), "the lines above say why; %s up, without --detach, may tell more", e.Self())
	}
	if newcomer {
		e.Say("running in the background; see: %s status", e.Self())
		newcomers.SayContacts(e, l)
		return nil
	}
	switch peer := command.FirstNeighbour(context.Background(), l); peer {
	case "":
		e.Say("running in the background; see: %s status", e.Self())
	default:
		e.Say("running in the background, connected with %s; see: %s status", peer, e.Self())
	}
	return nil
}
