// Package run has the commands that start, stop and direct the node of a network.
package run

import (
	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
)

// Commands are these commands.
func Commands(e *env.Env) []*cobra.Command {
	return []*cobra.Command{
		upCommand(e), downCommand(e), restartCommand(e), reloadCommand(e), retryCommand(e), connectCommand(e), disconnectCommand(e), execCommand(e), proxyCommand(e),
	}
}
