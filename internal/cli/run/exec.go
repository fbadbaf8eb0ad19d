package run

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/api"
	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/launch"
	"tincan/internal/cli/version"
	"tincan/internal/command/rootless"
	"tincan/internal/config"
	"tincan/internal/terminal"
)

// rootlessFlags are the options of the commands that have a node without root.
type rootlessFlags struct {
	debug   int
	logFile string
	set     []string
	wait    time.Duration
}

func (f *rootlessFlags) add(c *cobra.Command) {
	c.Flags().IntVar(&f.debug, "debug", 0, "how much to log: `level` 0 (warnings only) to 5 (traffic)")
	c.Flags().StringVar(&f.logFile, "log-file", "", "log to this `file`")
	c.Flags().StringArrayVarP(&f.set, "option", "o", nil, "override a variable of the files: [HOST.]`VARIABLE=VALUE`")
	c.Flags().DurationVar(&f.wait, "wait", 10*time.Second, "`time` to wait at most until another node can be reached")
}

// options are those of the node. done is to be called at its end.
func (f *rootlessFlags) options(e *env.Env) (o rootless.Options, done func(), err error) {
	if pid := e.Runs(); pid != 0 {
		return o, nil, terminal.Hint(fmt.Errorf("the node of this network is already running (pid %d)", pid),
			"if it was started with tincan up, programs of this machine reach the network without tincan exec; if with tincan exec, start a shell by that: %s exec -- sh", e.Self())
	}
	l, err := e.Existing()
	if err != nil {
		return o, nil, err
	}
	overrides, err := config.ParseOverrides(f.set)
	if err != nil {
		return o, nil, err
	}
	l, _ = l.ForDaemon() // where the pid file is does not matter to anybody here
	log, done, err := launch.Log(launch.Options{Layout: l, Style: launch.Human, LogFile: f.logFile}, e.Streams, f.debug > 0)
	if err != nil {
		return o, nil, err
	}
	return rootless.Options{
		Layout: l, Overrides: overrides, Debug: f.debug, Version: version.Text(), Wait: f.wait, Log: log, API: api.Local,
	}, done, nil
}

func execCommand(e *env.Env) *cobra.Command {
	var f rootlessFlags
	c := &cobra.Command{
		Use:   "exec [--] PROGRAM [ARGUMENT]...",
		Short: "Run a program in the network, without root",
		Long: `Starts the node in this process and runs a program whose whole network is the VPN: its
connections, its listening ports and its names. Nothing else on this machine changes, and
no root is needed: the program is in a network namespace of its own, which the node makes
in a user namespace. Its exit status is that of the command, signals and the terminal are its own.

The machine's other networks, its loopback included, cannot be reached from there. When
the program has ended the node ends, too. To have several programs, run a shell.

Linux only, where the system permits user namespaces; an error says what is in the way.
tincan proxy works everywhere.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return terminal.Hint(fmt.Errorf("which program is to be run?"), "for example: tincan exec -- sh")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			o, done, err := f.options(e)
			if err != nil {
				return err
			}
			defer done()
			status, err := rootless.Exec(context.Background(), o, args, e.Streams)
			if err == nil && status != 0 {
				return frontend.Failed(status)
			}
			return err
		},
	}
	f.add(c)
	c.Flags().SetInterspersed(false) // what comes after the program is its own
	return c
}
