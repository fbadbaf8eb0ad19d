// Package change has the commands that change the files of a network: settings, host files and the keys in them.
// Where a node runs they let it know.
package change

import (
	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
)

// Commands are these commands, and those that sign with its key.
func Commands(e *env.Env) []*cobra.Command {
	return []*cobra.Command{
		getCommand(e), setCommand(e), addCommand(e), delCommand(e), editCommand(e),
		exportCommand(e), importCommand(e), exchangeCommand(e), acceptCommand(e), removeCommand(e),
		signCommand(e), verifyCommand(e),
	}
}
