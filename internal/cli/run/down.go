package run

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/launch"
	"tincan/internal/cli/service"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/gateway"
	"tincan/internal/names"
	"tincan/internal/netconf"
	"tincan/internal/oserr"
	"tincan/internal/pidfile"
	"tincan/internal/terminal"
)

// stopLimit is how long down waits for the node to end.
const stopLimit = time.Minute

func downCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Aliases: []string{"stop"},
		Short:   "Stop the node",
		Long: `Stops the running node and waits until it has restored the system. If none is
running, nothing happens. A service starts again at boot: see "tincan service".`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error { return down(e) },
	}
}

func down(e *env.Env) error {
	l, err := e.Layout()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	signalled, err := control.Stop(ctx, l.ForClient().PidFile)
	switch {
	case err != nil && ctx.Err() != nil:
		return terminal.Hint(err, "the node has not ended within %v; kill it if need be", stopLimit)
	case nobody(err):
		if _, err := e.Existing(); err != nil && e.Place.PidFile == "" {
			return err
		}
		clearUp(l)
		e.Say("the node does not run")
	case err != nil:
		return e.NotRunning(err)
	case signalled != 0:
		e.Say("its control socket does not answer, so process %d was sent SIGTERM", signalled)
	default:
		e.Say("stopped")
	}
	return nil
}

// nobody tells whether an error of control.Dial means that no node runs.
func nobody(err error) bool {
	var d *control.DialError
	if !errors.As(err, &d) || errors.Is(err, fs.ErrPermission) || errors.Is(err, pidfile.ErrTinc10) {
		return false
	}
	return d.Stage == control.NoProcess || d.Stage == control.NoPidFile && errors.Is(err, fs.ErrNotExist) ||
		d.Stage == control.NoSocket && errors.Is(err, oserr.Refused)
}

// clearUp removes what a node has left that was killed: unreachable routes, those of a kill switch, rules of an exit node, names. It says nothing: most
// nodes that do not run have left nothing behind.
func clearUp(l confdir.Layout) {
	n, _, err := confdir.Load(l, nil)
	if err != nil {
		return
	}
	iface := cmp.Or(n.Settings.Interface, l.NetName)
	if g, err := netconf.NewGuard(iface); err == nil {
		_ = g.Close()
	}
	_ = netconf.ClearOutside(iface)
	if n.Settings.Exit != config.ExitOff {
		_ = gateway.Clear(iface)
	}
	if domain, err := n.Settings.NamesDomain(l.NetName); err == nil {
		_ = names.Clear(context.Background(), iface, domain, true)
	}
}

func restartCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "restart",
		Short: "Restart the node, or start it if it is not running",
		Long: `Stops the node if it runs, and starts it again: as the service that it is, else in
the background as "tincan up --detach" does.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error { return restart(e) },
	}
}

func restart(e *env.Env) error {
	if launch.Detached() { // the second process
		return up(e, upFlags{detach: true})
	}
	if _, err := e.Existing(); err != nil {
		return err
	}
	if done, err := service.Restart(e); done {
		return err
	}
	if e.Runs() != 0 {
		if err := down(e); err != nil {
			return err
		}
	}
	return up(e, upFlags{detach: true})
}
