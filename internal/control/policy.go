package control

import (
	"encoding/json"
	"time"

	"tincan/internal/node"
)

// PolicyEnforcer is a [Backend] that may enforce an access policy.
type PolicyEnforcer interface {
	// Policy says what the node does about the policy of its network.
	Policy() PolicyReport
}

// PolicyReport is what a node does about the policy of its network.
type PolicyReport struct {
	Enforced bool       `json:"enforced"`          // a policy is in force on this node
	Since    *time.Time `json:"since,omitempty"`   // it is; by the clock of this node, which counts from its start
	Problem  string     `json:"problem,omitempty"` // why it is not the one in the roster
	Rules    []RuleUse  `json:"rules"`

	RefusedIn  uint64          `json:"refused_in"`  // packets that have arrived and were refused, since the start
	RefusedOut uint64          `json:"refused_out"` // packets of this node, or from behind it, since the start
	Refused    []PolicyRefusal `json:"refused"`     // the latest kinds of them, the last one first
}

// RuleUse is what a line has allowed.
type RuleUse struct {
	Line  int    `json:"line"`
	Flows uint64 `json:"flows"` // connections, exchanges of datagrams, pings; since the policy is in force
}

// PolicyRefusal is a kind of packets that were refused.
type PolicyRefusal struct {
	Node     node.Name `json:"node,omitempty"`    // where they were from, or went to; none: to everybody
	Incoming bool      `json:"incoming"`          // from the node
	Service  string    `json:"service,omitempty"` // such as tcp:22; none: they could not be read
	Why      string    `json:"why"`               // in words
	Count    uint64    `json:"count"`
	Last     time.Time `json:"last"`
}

// MaxPolicyRefusals is how many kinds [PolicyReport] names.
const MaxPolicyRefusals = 50

// policy answers request 108, nil if the daemon knows no policies.
func (c *client) policy() ([]byte, error) {
	p, ok := c.server.backend.(PolicyEnforcer)
	if !ok {
		return nil, nil
	}
	return json.Marshal(p.Policy())
}

// Policy asks what the node does about the policy of its network.
func (c *Client) Policy() (r PolicyReport, err error) {
	return r, c.object(&r, reqPolicy)
}
