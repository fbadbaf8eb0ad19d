package control

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// Address is a place as the control protocol shows it: two words, usually an IP
// address and a port. The zero value is a place that is not known.
type Address struct{ Host, Port string }

// Myself is the Host of the own node.
const Myself = "MYSELF"

// AddressOf returns a as words; an invalid a gives the zero Address.
func AddressOf(a netip.AddrPort) Address {
	if !a.IsValid() {
		return Address{}
	}
	return Address{a.Addr().Unmap().String(), strconv.Itoa(int(a.Port()))}
}

// String returns "HOST port PORT".
func (a Address) String() string { return a.Host + " port " + a.Port }

// HostPort is a as host:port, "" if it says nothing.
func (a Address) HostPort() string {
	if !a.Known() {
		return ""
	}
	return net.JoinHostPort(a.Host, a.Port)
}

// Known tells whether a says anything.
func (a Address) Known() bool {
	return a != Address{} && a.Host != Unknown && a.Host != Unspecified
}

// Words for what is missing.
const (
	Unknown     = "unknown"   // both words of a node's missing address
	Unspecified = "unspec"    // both words of an edge's missing address
	Unnamed     = "<unknown>" // who has not said yet who it is
)

// Or returns a, or the given word twice if a is the zero value.
func (a Address) Or(word string) Address {
	if a.Host == "" {
		a.Host = word
	}
	if a.Port == "" {
		a.Port = word
	}
	return a
}

// NodeStatus are the status bits of a node.
type NodeStatus uint32

// Bits of NodeStatus.
const (
	ValidKey      NodeStatus = 1 << 1 // a session exists
	WaitingForKey NodeStatus = 1 << 2
	Visited       NodeStatus = 1 << 3 // met by the last path search
	Reachable     NodeStatus = 1 << 4
	Indirect      NodeStatus = 1 << 5 // not to be reached by direct UDP
	SPTPS         NodeStatus = 1 << 6
	UDPConfirmed  NodeStatus = 1 << 7
	SendLocally   NodeStatus = 1 << 8
	UDPPacket     NodeStatus = 1 << 9  // the last packet came by UDP
	ValidKeyIn    NodeStatus = 1 << 10 // it has our key (legacy)
	HasAddress    NodeStatus = 1 << 11 // an address is configured
	PingSent      NodeStatus = 1 << 12 // a UDP probe is under way
)

// ConnStatus are the status bits of a connection.
type ConnStatus uint32

// Bits of ConnStatus.
const (
	ConnPinged     ConnStatus = 1 << 0 // a PING has not been answered yet
	ConnConnecting ConnStatus = 1 << 2
	ConnTree       ConnStatus = 1 << 8 // part of the spanning tree
	ConnControl    ConnStatus = 1 << 9
	ConnPcap       ConnStatus = 1 << 10
	ConnLog        ConnStatus = 1 << 11
	ConnLogColor   ConnStatus = 1 << 12
)

// Counters count Ethernet frames and their bytes (IP packet + 14) since start.
type Counters struct {
	InPackets, InBytes, OutPackets, OutBytes uint64
}

// NodeInfo is one node (request 3). Cipher, Digest and MACLen belong to the
// legacy protocol and are 0 with SPTPS.
type NodeInfo struct {
	Name                   node.Name
	ID                     node.ID
	Address                Address // UDP; Host is [Myself] for the own node
	Cipher, Digest, MACLen int
	Compression            int
	Options                wire.Options
	Status                 NodeStatus
	NextHop, Via           node.Name     // "" if not known
	Distance               int           // hops
	MTU, MinMTU, MaxMTU    int           // bytes of Ethernet frame
	Changed                time.Time     // last change of reachability; zero: never
	RTT                    time.Duration // negative: not measured
	Counters

	// What follows is not in tinc's lines.

	Loss     float64   // of probes by UDP, 0 to 1
	FirstHop *FirstHop // nil: not known
	Problem  string    // why the last attempt at a connection with it failed, "" if it did not
	WrongKey bool      // it failed because the node has another key than its host file here says
	// Encryption is what protects its packets, and Connection our meta connection with it: "aes-256-gcm"; "" if there is
	// none, or the protocol of tinc 1.0.
	Encryption, Connection             string
	ConnectionBy                       string  // what that connection is made by: tcp or tls; "" if there is none
	PostQuantum, ConnectionPostQuantum bool    // whether their keys are
	Weakness                           string  // what is wrong with the keys for its packets: a code of "why"; "" if nothing is
	Carrier                            string  // of its packets, to it or to the relay: masked, udp, tcp or tls; "" if there is none
	Removed                            bool    // its owner has deleted its host file here, so nothing is sent to it
	Outside                            string  // in a signed network, why it is no member: a code of "why"; "" if it is one
	Silent                             bool    // in a signed network, others say that it is reachable, but it does not answer
	Claimed                            bool    // the same, and it has not proven it, so it is not reachable here
	Probes                             *Probes // nil: there were none
	Program                            string  // what it calls its program, as "tincan/1.0"; "" if it does not say
}

// FirstHop is where packets for a node go first.
type FirstHop struct {
	Node  node.Name // "" if they wait for a session, or are dropped
	UDP   bool      // by UDP; else over the meta connection
	NoKey bool      // they are dropped until a key of the node is known
}

// Self tells whether the line describes the daemon's own node.
func (n *NodeInfo) Self() bool { return n.Address.Host == Myself }

// EdgeInfo is one directed edge (request 4).
type EdgeInfo struct {
	From, To       node.Name
	Address, Local Address
	Options        wire.Options
	Weight         int
}

// SubnetInfo is one subnet (request 5). Owner is "" for a broadcast subnet.
type SubnetInfo struct {
	Subnet subnet.Subnet
	Owner  node.Name
}

// ConnInfo is one connection (request 6). Name is "" before authentication and
// "<control>" for a control connection.
type ConnInfo struct {
	Name    string
	Address Address // of the TCP socket
	Options wire.Options
	Socket  int // file descriptor, -1 if unknown
	Status  ConnStatus
}

// TrafficInfo are the counters of one node (request 13).
type TrafficInfo struct {
	Name node.Name
	Counters
}

const (
	broadcastOwner = "(broadcast)"
	controlName    = "<control>"
)
