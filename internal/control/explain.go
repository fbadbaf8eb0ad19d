package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tincan/internal/node"
	"tincan/internal/policy"
)

// Explainer is a [Backend] that explains itself.
type Explainer interface {
	// Why explains the path of packets to a node, and what the access policy says of them: of those for a target at
	// that node, or of all if it is nil.
	Why(node.Name, *policy.Target) WhyReport
	// NetCheck says what this network lets through. It may take two seconds.
	NetCheck() NetReport
}

// WhyReport is the chain of reasons why packets for a node take the path they do.
type WhyReport struct {
	Node    node.Name   `json:"node"`
	Good    bool        `json:"good"` // no problem was found
	Reasons []WhyReason `json:"reasons"`
	// Carriers is what has become of each carrier to the node, those that are liked better first; missing for this node itself.
	Carriers []CarrierState `json:"carriers,omitempty"`
	// Encryption is what protects the packets, and why by nothing better.
	Encryption string `json:"encryption,omitempty"`
	Change     string `json:"change,omitempty"` // the one change that would help
}

// CarrierState is what has become of one carrier to a node.
type CarrierState struct {
	Carrier string `json:"carrier"` // in the words of the variable Carriers: masked, udp, tcp or tls
	State   string `json:"state"`   // in-use, standby, trying, failed, unavailable or off
	Text    string `json:"text"`    // what it carries, or why it carries nothing
}

// WhyReason is one link of the chain. Code is a fixed word, Text a sentence.
type WhyReason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// NetReport says what the network that a node is in lets through.
type NetReport struct {
	Port      int          `json:"port"`      // where the node listens
	Listening []string     `json:"listening"` // UDP sockets
	Addresses []NetAddress `json:"addresses"` // of this machine, without its VPN
	IPv4      bool         `json:"ipv4"`      // there is a route to the internet
	IPv6      bool         `json:"ipv6"`

	Tried    int `json:"udp_tried"`    // nodes that were asked by UDP
	Answered int `json:"udp_answered"` // that answered
	ByIPv6   int `json:"udp_ipv6"`     // of these, by IPv6

	Seen []SeenFrom `json:"seen"`
	NAT  NATKind    `json:"nat"`
	NAT6 NATKind    `json:"nat6"`

	Incoming int    `json:"connections_in"`  // meta connections that others made
	Outgoing int    `json:"connections_out"` // that this node made
	Proxy    string `json:"proxy,omitempty"` // its kind
	// Carriers is what has become of each carrier, those that are liked better first.
	Carriers []NetCarrier `json:"carriers,omitempty"`
	Mappings []string     `json:"mappings,omitempty"`
	// MapProblem is the reason why there is no port mapping although one was requested.
	MapProblem string `json:"mapping_problem,omitempty"`

	// Problems are those of this machine's own network.
	Problems []Problem `json:"problems,omitempty"`

	// Failures are the last attempts to connect, where there is no connection at all.
	Failures []NetFailure `json:"failures,omitempty"`

	Verdict []string `json:"verdict"` // sentences for people
}

// NetCarrier is what has become of one carrier to all nodes.
type NetCarrier struct {
	Carrier string `json:"carrier"`       // in the words of the variable Carriers: masked, udp, tcp or tls
	Off     bool   `json:"off,omitempty"` // the configuration does not allow it
	InUse   int    `json:"in_use"`        // nodes with which packets or requests are exchanged by it
	Failed  int    `json:"failed"`        // nodes with which it was tried and did not work
	// Failures are the first of these, and why.
	Failures []NetFailure `json:"failures,omitempty"`
}

// NetFailure is why there is no connection with a node.
type NetFailure struct {
	Node    node.Name `json:"node"`
	Problem string    `json:"problem"`
}

// NetAddress is an address of this machine.
type NetAddress struct {
	Interface string `json:"interface"`
	Address   string `json:"address"`
	Public    bool   `json:"public"` // not from a private range
}

// SeenFrom is the address from which our datagrams come at another node.
type SeenFrom struct {
	By      node.Name `json:"by"`
	Address string    `json:"address"`
}

// NATKind is what translates our addresses.
type NATKind string

// The kinds.
const (
	NATUnknown             NATKind = "unknown" // nobody told
	NATNone                NATKind = "none"
	NATOne                 NATKind = "nat"                  // there is one, and only one node told what it sees
	NATEndpointIndependent NATKind = "endpoint-independent" // the same outer address towards everybody: holes can be punched
	NATSymmetric           NATKind = "symmetric"            // another one towards each: holes cannot be punched
)

// why carries out request 103, netCheck request 104. The answer is nil if the daemon cannot.
func (c *client) why(args []string) ([]byte, error) {
	e, ok := c.server.backend.(Explainer)
	if !ok {
		return nil, nil
	}
	if len(args) < 1 {
		return nil, errMalformed
	}
	name, err := node.ParseName(args[0])
	if err != nil {
		return nil, errMalformed
	}
	var to *policy.Target
	if len(args) > 1 {
		t, err := policy.ParseTarget(args[1])
		if err != nil {
			return nil, errMalformed
		}
		to = &t
	}
	return json.Marshal(e.Why(name, to))
}

func (c *client) netCheck() ([]byte, error) {
	e, ok := c.server.backend.(Explainer)
	if !ok {
		return nil, nil
	}
	return json.Marshal(e.NetCheck())
}

// Why asks why packets for a node take the path they do, and what the access policy says of those for a target at
// it; nil: of all.
func (c *Client) Why(name node.Name, to *policy.Target) (r WhyReport, err error) {
	args := []string{string(name)}
	if to != nil {
		args = append(args, to.String())
	}
	return r, c.object(&r, reqWhy, args...)
}

// NetCheck asks what the node's network lets through.
func (c *Client) NetCheck() (r NetReport, err error) {
	return r, c.object(&r, reqNetCheck)
}

// object asks for a JSON object.
func (c *Client) object(into any, typ int, args ...string) error {
	if err := c.send("%s", strings.Join(append([]string{"18", strconv.Itoa(typ)}, args...), " ")); err != nil {
		return err
	}
	w, err := c.reply(typ)
	if err != nil {
		return err
	}
	n, err := number(w, 0)
	if err != nil || n < 0 || n > maxJSON {
		return errors.New("the daemon sent a malformed answer")
	}
	text, err := c.blob(n)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("the daemon sent a malformed answer: %w", err)
	}
	return nil
}
