package cli

import (
	"cmp"
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/terminal"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/netconf"
)

// stopLimit is how long down waits for the node to end.
const stopLimit = time.Minute

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Aliases: []string{"stop"},
		Short:   "Stop the node",
		Long:    "Stops the running node and waits until it has left the machine as it was.",
		Args:    between("no arguments", 0, 0),
		RunE:    func(*cobra.Command, []string) error { return a.down() },
	}
}

func (a *app) down() error {
	l, err := a.layout()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	signalled, err := control.Stop(ctx, l.ForClient().PidFile)
	switch {
	case err != nil && ctx.Err() != nil:
		return terminal.Hint(err, "the node has not ended within %v; kill it if need be", stopLimit)
	case err != nil:
		var d *control.DialError
		if errors.As(err, &d) && (d.Stage <= control.NoProcess || errors.Is(err, syscall.ECONNREFUSED)) {
			clearGuard(l)
		}
		return a.notRunning(err)
	case signalled != 0:
		a.say("its control socket does not answer, so process %d was sent SIGTERM", signalled)
	default:
		a.say("stopped")
	}
	return nil
}

// clearGuard removes the unreachable routes of a node that was killed. It says nothing: most
// nodes that do not run have left none behind.
func clearGuard(l config.Layout) {
	n, _, err := config.Load(l, nil)
	if err != nil {
		return
	}
	if g, err := netconf.NewGuard(cmp.Or(n.Settings.Interface, l.NetName)); err == nil {
		_ = g.Close()
	}
}
