package control

import (
	"fmt"
	"time"

	"tincan/internal/node"
)

// Refuser is a [Backend] that says what it has refused.
type Refuser interface {
	// Drops lists the reasons for which packets were dropped since the start, those that never occurred left out.
	Drops() []Drop
	// Contested lists the claims to subnets that are outranked.
	Contested() []Contest
	// Limits is the state that is held for other nodes, and what exceeded its bounds.
	Limits() Limits
}

// Limits is the state that is held for other nodes, and what exceeded its bounds since the start.
type Limits struct {
	Nodes      Held      `json:"nodes"` // without a host file here
	Edges      Held      `json:"edges"`
	Subnets    Held      `json:"subnets"`
	CoreWaits  uint64    `json:"core_waits"`   // requests that waited because their neighbour had used its share of the core's time
	LogLeftOut uint64    `json:"log_left_out"` // log messages suppressed because there were too many of their kind
	Refused    []Refusal `json:"refused"`      // announcements and requests

	Connections RefusedConns `json:"refused_connections"`
}

// RefusedConns counts the connections of others for which there was no room.
type RefusedConns struct {
	Count uint64        `json:"count"`
	From  []RefusedFrom `json:"from"` // the addresses that were refused most often, those first
}

// MaxRefusedFrom is how many addresses [RefusedConns] names.
const MaxRefusedFrom = 10

// RefusedFrom counts those of one address; with IPv6, of a /64.
type RefusedFrom struct {
	Address string    `json:"address"` // of the last one
	Count   uint64    `json:"count"`
	Last    time.Time `json:"last"`
}

// Held is how much of something is held, and how much may be.
type Held struct {
	Held  int `json:"held"`
	Limit int `json:"limit"`
}

// Refusal is something that was ignored since there was too much of it.
type Refusal struct {
	What  string    `json:"what"` // kind, and the node concerned
	Count uint64    `json:"count"`
	Last  time.Time `json:"last"`
	// By is how many of them each neighbour brought, for the first 64 neighbours.
	By map[node.Name]uint64 `json:"by,omitempty"`
}

// Drop counts the packets that were dropped, or answered with an error, for one reason.
type Drop struct {
	Reason string    `json:"reason"` // in words
	Count  uint64    `json:"count"`
	Last   time.Time `json:"last"`
}

// Contest is a claim to a subnet of another node that does not count.
type Contest struct {
	Subnet    string    `json:"subnet"` // of the claim
	ClaimedBy node.Name `json:"claimed_by"`
	Owner     node.Name `json:"owner"`   // of the subnet
	Because   string    `json:"because"` // the subnet of the owner that outranks the claim
}

func (c Contest) String() string {
	of := c.Because
	if of == c.Subnet {
		of = "it"
	} else {
		of += " (which it is part of)"
	}
	return fmt.Sprintf("%s claims %s, but %s has %s in its host file here, so the claim is not used", c.ClaimedBy, c.Subnet, c.Owner, of)
}
