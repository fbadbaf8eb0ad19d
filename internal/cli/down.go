package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/terminal"
	"tincan/internal/control"
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
		return a.notRunning(err)
	case signalled != 0:
		a.say("its control socket does not answer, so process %d was sent SIGTERM", signalled)
	default:
		a.say("stopped")
	}
	return nil
}
