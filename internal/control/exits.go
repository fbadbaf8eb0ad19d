package control

import (
	"encoding/json"
	"errors"
	"net/netip"

	"tincan/internal/node"
)

// Exits says how packets leave the mesh. It is part of the stable JSON forms.
type Exits struct {
	// Node: this node is an exit node for others.
	Node *ExitNode `json:"node,omitempty"`
	// Via are by which exit nodes packets of this node leave, as the lines Via of the configuration say.
	Via []Via `json:"via,omitempty"`
	// KillSwitch: they go nowhere if this node is killed.
	KillSwitch bool `json:"kill_switch,omitempty"`
}

// ExitNode says whether there is a way out.
type ExitNode struct {
	IPv4 bool `json:"ipv4"`
	IPv6 bool `json:"ipv6"`
}

// Via is one line.
type Via struct {
	What     string      `json:"what"`     // default, a prefix, or @FILE
	Prefixes int         `json:"prefixes"` // in it
	Exits    []Candidate `json:"exits"`
	Chosen   node.Name   `json:"chosen,omitempty"` // none: no exit node works, and packets are refused
	IPv4     bool        `json:"ipv4"`             // leaves by it; else it is refused
	IPv6     bool        `json:"ipv6"`
}

// Candidate is an exit node of a line.
type Candidate struct {
	Node  node.Name `json:"node"`
	Works bool      `json:"works"`           // it has answered, and has a way out
	RTT   Millis    `json:"rtt,omitempty"`   // of the last answer
	Lost  int       `json:"lost,omitempty"`  // probes since then
	Known bool      `json:"known,omitempty"` // it has answered
	// Problem is why it does not work, for people.
	Problem string `json:"problem,omitempty"`
}

// Leaving says by which exit node packets for an address leave the mesh.
type Leaving struct {
	Leaves bool      `json:"leaves"` // else the address is somebody's in the mesh, or there is no line for it
	By     node.Name `json:"by,omitempty"`
	Line   *Via      `json:"line,omitempty"`
}

// Leaver is a [Backend] that knows about exit nodes.
type Leaver interface {
	// Exits is nil if there is nothing to tell.
	Exits() *Exits
	Leaves(netip.Addr) Leaving
}

// leaves carries out request 109.
func (c *client) leaves(args []string) ([]byte, error) {
	l, ok := c.server.backend.(Leaver)
	if !ok {
		return nil, nil
	}
	if len(args) < 1 {
		return nil, errMalformed
	}
	a, err := netip.ParseAddr(args[0])
	if err != nil {
		return nil, errMalformed
	}
	return json.Marshal(l.Leaves(a.Unmap()))
}

// Leaves asks by which exit node packets for an address leave the mesh. A daemon that does not know leads nothing to exit nodes.
func (c *Client) Leaves(a netip.Addr) (l Leaving, err error) {
	err = c.object(&l, reqLeaves, a.String())
	if errors.Is(err, ErrUnsupported) {
		err = nil
	}
	return l, err
}
