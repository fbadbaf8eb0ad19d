// Package ownership is what commands do about who belongs to a signed network: it reads the roster and the owner's key in the
// directory of the network, makes statements with them, and adds these by way of the running node or, if none runs, to
// the file.
//
// What statements mean is the business of package roster.
package ownership

import (
	"errors"
	"fmt"
	"os"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

// Ask asks the running node something. If none runs the error is a [control.DialError].
type Ask func(func(*control.Client) error) error

// Network is a signed network, as the directory of this node has it.
type Network struct {
	Layout confdir.Layout
	Files  *confdir.Network // what the files say
	Roster *roster.Roster   // as it is on disk, to look at and to sign with

	ask Ask
}

var (
	// ErrOpen: there is no roster.
	ErrOpen = errors.New("this network is an open one: it has no roster")
	// ErrFetching: there is no roster yet.
	ErrFetching = errors.New("this node does not have the roster yet; it fetches it from its neighbours while it runs")
)

// Pin is the id of the network that the configuration names, zero if it names none.
func Pin(n *confdir.Network) (roster.ID, error) {
	if n.Settings.NetworkID == "" {
		return roster.ID{}, nil
	}
	id, err := roster.ParseID(n.Settings.NetworkID)
	if err != nil {
		return id, config.Problem{Where: n.Layout.TincConf(), Text: "NetworkID: " + err.Error()}
	}
	return id, nil
}

// Open reads the roster of a directory. The error is [ErrOpen] if the network has none, and [ErrFetching] if it has
// not arrived.
func Open(l confdir.Layout, ask Ask) (*Network, error) {
	n, _, err := confdir.Inspect(l, nil)
	if n == nil {
		return nil, err
	}
	pin, err := Pin(n)
	if err != nil {
		return nil, err
	}
	r, _, err := members.Load(l, pin)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, ErrOpen
	case r.State().Root.IsZero():
		return nil, ErrFetching
	}
	return &Network{l, n, r, ask}, nil
}

// HasRoster tells whether the network in a directory is, or is to become, a signed one: there is a roster, and it is not
// turned off.
func HasRoster(l confdir.Layout) bool {
	n, _, _ := confdir.Inspect(l, nil)
	if n == nil || n.Settings.Roster == config.RosterOpen {
		return false
	}
	_, err := os.Lstat(l.Roster())
	return err == nil || n.Settings.NetworkID != ""
}

// Enforced tells whether the network excludes who is no member, as far as this node is concerned.
func (n *Network) Enforced() bool { return n.Files.Settings.Roster == config.RosterSigned }

// owner is the owner's key of this directory. Without one the error says who has the right to what.
func (n *Network) owner(what string, right roster.Rights) (*keys.PrivateKey, error) {
	key, err := members.OwnerKey(n.Layout)
	if err != nil || key != nil {
		return key, err
	}
	return nil, &NoKeyError{n.notAllowed(what, right), n.Layout.OwnerKey()}
}

// notAllowed says who has a right that is missing here.
func (n *Network) notAllowed(what string, right roster.Rights) *roster.NotAllowedError {
	s := n.Roster.State()
	e := &roster.NotAllowedError{What: what, New: s.TooNew()}
	for _, o := range s.Owners.Owners {
		if o.Rights&right == right {
			e.Who = append(e.Who, o)
		}
	}
	return e
}

// NoKeyError: there is no owner's key here, and who has one.
type NoKeyError struct {
	*roster.NotAllowedError
	path string
}

func (e *NoKeyError) Error() string {
	return fmt.Sprintf("%s: no owner's key is on this machine (there is no %s)", e.What, e.path)
}

func (e *NoKeyError) Unwrap() error { return e.NotAllowedError }

// add adds statements, in order. When it returns without an error they are on disk.
func (n *Network) add(raws [][]byte) error {
	there := func(c *control.Client) error { return members.Submit(n.Layout, n.Roster.Network(), c, raws) }
	err := n.ask(there)
	var d *control.DialError
	switch {
	case errors.As(err, &d) && d.Stage <= control.NoProcess:
		err = members.Submit(n.Layout, n.Roster.Network(), nil, raws)
	case errors.Is(err, control.ErrUnsupported):
		return terminal.Hint(fmt.Errorf("the running node is not one that has a roster: %w", err), "restart it with this tincan, or stop it")
	}
	if err != nil {
		return err
	}
	return n.Refresh() // what is on disk has changed; a reader of n expects to find it
}

// Refresh takes in what has come to the roster on disk since it was read.
func (n *Network) Refresh() error { return members.Update(n.Layout, n.Roster) }

// sign makes statements with the owner's key and adds them.
func (n *Network) sign(what string, right roster.Rights, make func(*keys.PrivateKey) ([][]byte, error)) error {
	key, err := n.owner(what, right)
	if err != nil {
		return err
	}
	raws, err := make(key)
	if err != nil {
		return err
	}
	return n.add(raws)
}
