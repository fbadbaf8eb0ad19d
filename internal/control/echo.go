package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tincan/internal/node"
)

// Echoer is a [Backend] that measures the paths to other nodes.
type Echoer interface {
	// Echo asks once and waits for the answer, at most for Timeout.
	Echo(EchoRequest) EchoAnswer
}

// EchoTransport is how an echo is sent.
type EchoTransport string

// The transports of an echo.
const (
	EchoAny EchoTransport = "any" // as a packet would go now
	EchoUDP EchoTransport = "udp" // by UDP, directly or through Via
	EchoTCP EchoTransport = "tcp" // over the meta connections
)

// MaxEchoTimeout is how long an echo may wait for its answer.
const MaxEchoTimeout = 4 * time.Second

// EchoRequest is one echo.
type EchoRequest struct {
	Node      node.Name
	Transport EchoTransport
	Via       node.Name     // the relay to go through, with EchoUDP; "": none
	Size      int           // bytes of IP packet that it stands for
	Timeout   time.Duration // at most MaxEchoTimeout
}

// EchoAnswer says what became of an echo.
type EchoAnswer struct {
	Node  node.Name `json:"node"`
	Size  int       `json:"size,omitempty"`
	RTT   Millis    `json:"rtt_ms,omitempty"`
	There EchoLeg   `json:"there"`
	Back  EchoLeg   `json:"back"`
	// Seen is our address as the node sees it, where the echo went directly by UDP.
	Seen string `json:"seen,omitempty"`
	// Probed: the node does not answer echoes; RTT is that of the last UDP probe.
	Probed bool   `json:"probed,omitempty"`
	Lost   bool   `json:"lost,omitempty"`  // no answer in time
	Error  string `json:"error,omitempty"` // why there is no answer
}

// EchoLeg is one direction of the path that an echo took.
type EchoLeg struct {
	Hop node.Name `json:"hop,omitempty"` // the relay that forwarded it; "": none, or not known
	TCP bool      `json:"tcp,omitempty"` // over a meta connection
}

// parseEcho reads the arguments of request 102: NODE TRANSPORT VIA SIZE MILLISECONDS, where "-" is no VIA.
func parseEcho(args []string) (r EchoRequest, err error) {
	if len(args) < 5 {
		return r, errMalformed
	}
	if r.Node, err = node.ParseName(args[0]); err != nil {
		return r, err
	}
	switch r.Transport = EchoTransport(args[1]); r.Transport {
	case EchoAny, EchoUDP, EchoTCP:
	default:
		return r, fmt.Errorf("%.20q is no transport for an echo", args[1])
	}
	if args[2] != "-" {
		if r.Via, err = node.ParseName(args[2]); err != nil {
			return r, err
		}
		if r.Transport != EchoUDP {
			return r, errors.New("a relay is chosen by UDP only")
		}
	}
	if r.Size, err = strconv.Atoi(args[3]); err != nil || r.Size < 0 {
		return r, errMalformed
	}
	ms, err := strconv.Atoi(args[4])
	if err != nil || ms < 1 {
		return r, errMalformed
	}
	r.Timeout = MaxEchoTimeout
	if ms < int(MaxEchoTimeout.Milliseconds()) {
		r.Timeout = time.Duration(ms) * time.Millisecond
	}
	return r, nil
}

// echo carries out request 102.
func (c *client) echo(args []string) ([]byte, error) {
	e, ok := c.server.backend.(Echoer)
	if !ok {
		return nil, nil
	}
	r, err := parseEcho(args)
	a := EchoAnswer{Node: r.Node}
	if err != nil {
		a.Error = err.Error()
	} else {
		a = e.Echo(r)
	}
	return json.Marshal(a)
}

// Echo measures the path to a node once. An error means that the daemon could not be asked; what
// became of the echo is in the answer.
func (c *Client) Echo(r EchoRequest) (EchoAnswer, error) {
	via := string(r.Via)
	if via == "" {
		via = "-"
	}
	var a EchoAnswer
	err := c.object(&a, reqEcho, string(r.Node), string(r.Transport), via, strconv.Itoa(r.Size), strconv.FormatInt(max(r.Timeout.Milliseconds(), 1), 10))
	return a, err
}

// String describes the path, for people.
func (l EchoLeg) String() string {
	var words []string
	if l.Hop != "" {
		words = append(words, "via "+string(l.Hop))
	}
	if l.TCP {
		words = append(words, "TCP")
	}
	if len(words) == 0 {
		return "direct"
	}
	return strings.Join(words, ", ")
}
