package api

import (
	"time"

	"tincan/internal/control"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/report"
)

// The types of this file are the forms that only the API has. Where a command prints the same with --json the form is that
// one's. Names are never changed or given another meaning, only added.

// Problem is the answer to a request that failed.
type Problem struct {
	Code    string `json:"code"`           // a fixed word
	Message string `json:"message"`        // a sentence for people
	Hint    string `json:"hint,omitempty"` // what the user can do
}

// Caller is who asks, and what the node is to whoever asks.
type Caller struct {
	Role     Role      `json:"role"` // reader, member, owner or admin
	Node     node.Name `json:"node"` // the one that is asked
	Network  string    `json:"network,omitempty"`
	Version  string    `json:"version"`   // of the program
	Mode     string    `json:"mode"`      // signed, warn or open
	OwnerKey string    `json:"owner_key"` // whether this node can sign for an owner: here, missing or unreadable
	Command  string    `json:"command"`   // how commands for this network begin on that machine
}

// Node is one node, with what else this node knows of it.
type Node struct {
	control.NodeView
	PathSince *time.Time     `json:"path_since,omitempty"` // since when packets take this path
	Drops     []control.Drop `json:"drops"`                // its packets that were dropped here
}

// Nodes is the list of all nodes.
type Nodes struct {
	Self  Node   `json:"self"`
	Nodes []Node `json:"nodes"` // the others, by name
}

// MeshPast is the list of times of which the node remembers who reached whom.
type MeshPast struct {
	Times []time.Time `json:"times"` // the oldest first
}

// Drops is the list of reasons for which packets were dropped.
type Drops struct {
	Drops []control.Drop `json:"drops"`
}

// Pending is the list of newcomers that wait for approval.
type Pending struct {
	Pending []members.Member `json:"pending"`
}

// NewInvitation says what invitation to make.
type NewInvitation struct {
	Name     string   `json:"name"`              // of the newcomer; in a signed network it may end in *
	Address  string   `json:"address,omitempty"` // in the URL: a host and perhaps a port, host:port
	Groups   []string `json:"groups,omitempty"`  // for the policy
	Uses     int      `json:"uses,omitempty"`    // 0: one
	Lifetime float64  `json:"lifetime_seconds,omitempty"`
	Approval bool     `json:"approval,omitempty"` // an owner has to approve the newcomer
}

// MadeInvitation is an invitation that was made.
type MadeInvitation struct {
	report.Invitation
	Expires *time.Time `json:"expires,omitempty"`
	QR      []string   `json:"qr"`    // the URL as a QR code: a row of modules each, 1 is dark; without margin
	Notes   []string   `json:"notes"` // for the one who made it
}

// NewDevice says which device to add.
type NewDevice struct {
	Name      string   `json:"name"`
	Groups    []string `json:"groups,omitempty"`    // for the policy
	Addresses []string `json:"addresses,omitempty"` // in the VPN; none: a free one of each of its ranges
	Endpoint  string   `json:"endpoint,omitempty"`  // where it finds a door: a host and perhaps a port, host:port; none: what is known of the doors
	Routes    []string `json:"routes,omitempty"`    // subnets that it sends into the VPN, beside the VPN's own
	Full      bool     `json:"full,omitempty"`      // everything that it sends goes into the VPN, and leaves that by an exit node
	Key       string   `json:"key,omitempty"`       // public, of a device that has made its own; none: a key is made
}

// MadeDevice is a device that was added.
type MadeDevice struct {
	report.AddedDevice
	QR    []string `json:"qr"`    // the configuration as a QR code: a row of modules each, 1 is dark; without margin
	Notes []string `json:"notes"` // for the one who added it
}

// Rekeyed says that the doors have another key.
type Rekeyed struct {
	DoorKey string `json:"door_key"` // public; every device needs it
	Devices int    `json:"devices"`  // how many there are
}

// NewPolicy is the text of a policy.
type NewPolicy struct {
	Text string `json:"text"`
}

// Done says what was done.
type Done struct {
	Done string `json:"done"` // a sentence for people
}
