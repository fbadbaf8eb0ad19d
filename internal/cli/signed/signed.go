// Package signed has the commands about who belongs to a signed network, who may decide that, and who may talk to whom.
package signed

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/command/ownership"
	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/terminal"
)

// Commands are these commands, but for remove, which open networks have as well.
func Commands(e *env.Env) []*cobra.Command {
	return []*cobra.Command{
		membersCommand(e), admitCommand(e), approveCommand(e), denyCommand(e), leaveCommand(e), deviceCommand(e), ownersCommand(e), rosterCommand(e), policyCommand(e),
		namesCommand(e),
	}
}

// open reads the roster of the network that is meant.
func open(e *env.Env) (*ownership.Network, error) {
	l, err := e.Existing()
	if err != nil {
		return nil, err
	}
	n, err := ownership.Open(l, e.Ask)
	switch {
	case errors.Is(err, ownership.ErrOpen):
		return nil, terminal.Hint(err, "to make one: %s roster adopt", e.Self())
	case errors.Is(err, ownership.ErrFetching):
		hint := "start it with: %[1]s up"
		if runs(e) {
			hint = "repeat this in a moment; if it stays so, the node reaches nobody, or nobody lets it in: %[1]s status, %[1]s log"
		}
		return nil, terminal.Hint(err, hint, e.Self())
	}
	return n, err
}

// runs tells whether the node runs, and answers.
func runs(e *env.Env) bool { return e.Ask(func(*control.Client) error { return nil }) == nil }

// memberNames are the names of members.
func memberNames(n *ownership.Network) (names []string) {
	for _, m := range n.Roster.State().Members {
		names = append(names, string(m.Name))
	}
	return names
}

// oneName reads the name of a node, which is the only argument.
func oneName(args []string) (node.Name, error) { return node.ParseName(args[0]) }

// reload lets a running node read its files again. ran tells that there is one.
func reload(e *env.Env) (ran bool, err error) {
	err = e.Ask((*control.Client).Reload)
	var none *control.DialError
	if errors.As(err, &none) {
		return false, nil
	}
	return true, err
}

// eventually asks until ok, at most for a time.
func eventually(limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
