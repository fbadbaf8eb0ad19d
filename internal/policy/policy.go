// Package policy says who may talk to whom in a network: the language of the rules, their tests, and the decision
// about one flow.
//
//	allow  group:admin  ->  *          tcp:22
//	allow  *            ->  group:web  tcp:80,443
//	allow  *            ->  *          icmp
//	test   bob          ->  web1:22    deny
//
// A line allows flows from members to members. What no line allows is refused; replies to what is allowed need no line.
// The order of the lines changes nothing but which of several is named as the one that decides: the first.
//
// There are two implementations of the decision: [Policy.Try], which goes through the rules as they are written, and
// [Compiled], which the packet path asks. They are compared in the tests.
//
// Not here: packets, replies, fragments (package flow), and who the members are (package roster).
package policy

import (
	"net/netip"
	"strconv"

	"tincan/internal/node"
)

// Bounds of a policy.
const (
	MaxText  = 3 << 10 // bytes of text
	MaxRules = 500
	// MaxGroup is the longest name of a group, in bytes.
	MaxGroup = 64
)

// Policy is a set of rules with its tests. One that came from [Parse] must not be changed.
type Policy struct {
	Rules []Rule
	Tests []Test
}

// Rule allows flows. A flow matches if one of From matches its source, one of To its destination, and one of
// Services what it is.
type Rule struct {
	Line     int // from 1
	From, To []Selector
	Services []Service
}

// Selector is one side of a flow: exactly one of its fields is set.
type Selector struct {
	Any    bool         // "*": every address, whoever has it
	Name   node.Name    // the member of that name
	Group  string       // the members of that group
	Prefix netip.Prefix // the addresses in it, whoever has them
}

// String is the selector as it is written.
func (s Selector) String() string {
	switch {
	case s.Any:
		return "*"
	case s.Name != "":
		return string(s.Name)
	case s.Group != "":
		return groupPrefix + s.Group
	case s.Prefix.IsSingleIP():
		return s.Prefix.Addr().String()
	}
	return s.Prefix.String()
}

const groupPrefix = "group:"

// Protocol is a number of IP's, or one of the constants below.
type Protocol uint16

// Protocols. Others are their numbers.
const (
	ICMP Protocol = 1 // both families: IPv6's has the number 58
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
	// AnyProtocol is all of them, and in the modes switch and hub also frames that hold no IP packet.
	AnyProtocol Protocol = 256

	icmp6 = 58 // is ICMP
)

// protocolNames are those that have names, in the order of messages.
var protocolNames = []struct {
	name string
	p    Protocol
}{{"tcp", TCP}, {"udp", UDP}, {"sctp", SCTP}, {"icmp", ICMP}, {"*", AnyProtocol}}

// String is the protocol as it is written.
func (p Protocol) String() string {
	for _, n := range protocolNames {
		if n.p == p {
			return n.name
		}
	}
	return strconv.Itoa(int(p))
}

// Service is the protocol with a port, if it has ports, as it is written.
func (p Protocol) Service(port uint16) string {
	if p.HasPorts() {
		return p.String() + ":" + strconv.Itoa(int(port))
	}
	return p.String()
}

// HasPorts tells whether the flows of a protocol have ports.
func (p Protocol) HasPorts() bool { return p == TCP || p == UDP || p == SCTP }

// OfIP is the protocol of an IP packet with this number.
func OfIP(number uint8) Protocol {
	if number == icmp6 {
		return ICMP
	}
	return Protocol(number)
}

// Service is a protocol with its destination ports.
type Service struct {
	Protocol Protocol
	Ports    []Ports // sorted, neither overlapping nor touching; none: all
}

// Ports are those from First to Last.
type Ports struct{ First, Last uint16 }

// String is the service as it is written.
func (s Service) String() string {
	out := s.Protocol.String()
	for i, p := range s.Ports {
		sep := ","
		if i == 0 {
			sep = ":"
		}
		out += sep + strconv.Itoa(int(p.First))
		if p.Last > p.First {
			out += "-" + strconv.Itoa(int(p.Last))
		}
	}
	return out
}

// covers tells whether the service includes a protocol and a port.
func (s *Service) covers(p Protocol, port uint16) bool {
	if s.Protocol != p && s.Protocol != AnyProtocol {
		return false
	}
	if len(s.Ports) == 0 || s.Protocol == AnyProtocol {
		return true
	}
	for _, r := range s.Ports {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}

// Test says what the rules have to decide about a flow.
type Test struct {
	Line  int
	From  string // a member, an address, or a group: then it goes for each of its members
	To    Target
	Allow bool
}

// Target is where a flow goes.
type Target struct {
	Host     string // as Test.From
	Protocol Protocol
	Port     uint16 // 0 if the protocol has none
}

// String is the target as it is written.
func (t Target) String() string {
	host := t.Host
	if t.Protocol.HasPorts() {
		if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
			host = "[" + host + "]"
		}
		host += ":" + strconv.Itoa(int(t.Port))
	}
	if t.Protocol != TCP {
		host += "/" + t.Protocol.String()
	}
	return host
}
