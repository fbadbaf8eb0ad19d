package control

import (
	"fmt"
	"strings"
	"time"

	"tincan/internal/node"
)

// KeyKeeper is a [Backend] that keeps what other nodes say about keys.
type KeyKeeper interface {
	// ChangedKeys lists the nodes for which another key is offered than is known.
	ChangedKeys() []KeyChange
	// AcceptKey makes the key that is offered for a node the known one.
	AcceptKey(node.Name) error
	// RemoveNode removes a node: what is known of it here is deleted, and nothing but the owner of this machine
	// brings it back.
	RemoveNode(node.Name) error
}

// KeyChange is another key than the known one.
type KeyChange struct {
	Node    node.Name `json:"node"`
	From    node.Name `json:"from"` // the node that sent it
	Known   string    `json:"known"`
	Offered string    `json:"offered"`
	Since   time.Time `json:"since"`
}

// decide carries out the requests 101 and 105, by which a person decides about a node.
func (c *client) decide(args []string, what func(KeyKeeper, node.Name) error) string {
	k, ok := c.server.backend.(KeyKeeper)
	if !ok || len(args) == 0 {
		return "-1"
	}
	name, err := node.ParseName(args[0])
	if err == nil {
		err = what(k, name)
	}
	if err != nil {
		return "-2 " + cut(OneLine(err.Error()), 2000)
	}
	return "0"
}

// AcceptKey makes the key that is offered for a node the known one.
func (c *Client) AcceptKey(name node.Name) error {
	code, why, err := c.result(reqAccept, "18 %d %s", reqAccept, name)
	switch {
	case err != nil:
		return err
	case code != 0:
		return fmt.Errorf("the key was not accepted: %s", strings.TrimSpace(why))
	}
	return nil
}

// RemoveNode removes a node, see [KeyKeeper].
func (c *Client) RemoveNode(name node.Name) error {
	code, why, err := c.result(reqRemove, "18 %d %s", reqRemove, name)
	switch {
	case err != nil:
		return err
	case code != 0:
		return fmt.Errorf("the node was not removed: %s", strings.TrimSpace(why))
	}
	return nil
}
