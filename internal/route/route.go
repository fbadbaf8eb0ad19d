// Package route decides what happens to one packet of the VPN: which node it
// goes to, whether it is answered with an ICMP error, fragmented, changed, broadcast or
// dropped.
//
// It is the complete decision (tinc 1.1's routing in the modes router, switch
// and hub) for every packet that leaves the data plane's fast path. It sends
// nothing, keeps no table and reads no clock: its view of the network
// is a [World], and its result a [Decision].
//
// Not here: encryption, the choice between UDP and TCP, relaying of sealed
// records, learning of MAC addresses (in switch mode the caller learns
// frame[6:12] of every frame from its own device).
package route

import (
	"encoding/binary"
	"net/netip"
	"time"

	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/rate"
)

// Mode is what packets are routed by.
type Mode uint8

const (
	ByAddress Mode = iota // by IP address: mode router
	ByMAC                 // by MAC address: mode switch
	ToAll                 // not at all, every packet is broadcast: mode hub
)

// Forwarding is how packets from one peer for another are handled.
type Forwarding uint8

const (
	Internal Forwarding = iota // they are forwarded
	Off                        // they are refused
	Kernel                     // all packets from peers go to the device, unrouted
)

// Broadcast is how broadcast packets are distributed.
type Broadcast uint8

const (
	Tree   Broadcast = iota // along the broadcast tree ("mst")
	Direct                  // the originator sends to every node it reaches directly
	None                    // not sent to other nodes
)

// Config is fixed for the lifetime of a Router.
type Config struct {
	Self         node.Name
	Mode         Mode
	Forwarding   Forwarding
	Broadcast    Broadcast // None also with TunnelServer
	DirectOnly   bool      // refuse packets that would need a relay
	DecrementTTL bool      // this node counts as a hop between peers
	NoClamp      bool      // never change the MSS, regardless of the nodes' options
	// LocalAddr is the address the kernel would use towards another; it is the
	// source of time exceeded messages. If it is nil, or gives an address of the
	// wrong family, the destination of the expired packet is used.
	LocalAddr func(towards netip.Addr) netip.Addr
}

// Match is the subnet that an address belongs to.
type Match struct {
	Owner     node.Name // "" is a broadcast subnet
	Reachable bool      // Owner can be reached
}

// Node is what the router uses of a node. Sizes are bytes of Ethernet frame.
type Node struct {
	Reachable bool
	NextHop   node.Name // adjacent node towards it; itself for our own node
	Via       node.Name // last node on its path that is reached by direct UDP, NextHop if that is ourselves (effective via)
	MTU       int       // largest frame that reaches it; 1518 for our own node
	ClampMSS  bool      // its options ask for MSS clamping
	// RelayAbove is the largest frame that gets to it without the help of another node, at least 1; 0: any does.
	RelayAbove int
}

// relays reports whether a frame of size bytes, or of what is left of it when it was cut down to mtu, would be
// passed on to n by another node.
func (n *Node) relays(size, mtu int) bool {
	return n.RelayAbove > 0 && min(size, mtu) > n.RelayAbove
}

// World is the state of the network at one moment. Its methods are called only
// during Route; they must not change their answers while it runs.
type World interface {
	// Lookup finds the most specific subnet with addr whose owner is reachable,
	// else one whose owner is not.
	Lookup(addr netip.Addr) (Match, bool)
	// LookupMAC is Lookup among the MAC subnets.
	LookupMAC(mac [6]byte) (Match, bool)
	// Node returns the state of a node; false if the name is unknown.
	Node(name node.Name) (Node, bool)
	// Tree lists the adjacent nodes whose connection is in the broadcast tree.
	Tree() []node.Name
	// Directs lists the reachable nodes, apart from our own, that are adjacent or their own via.
	Directs() []node.Name
}

// Reason is why a packet was not delivered unchanged.
type Reason uint8

// The reasons. With those marked "answered" the decision holds an ICMP error for
// the sender, unless the limit of such errors or RFC 1122 forbids it.
const (
	Delivered    Reason = iota // it was delivered
	Malformed                  // shorter than it claims, or no header
	UnknownType                // an EtherType that is not routed
	NoSubnet                   // no node has the address; answered
	Unreachable                // the owner is not reachable; answered
	Prohibited                 // forwarding is off; answered
	NotDirect                  // DirectOnly, and it would need a relay; answered
	Expired                    // TTL or hop limit is used up; answered
	TooBig                     // larger than the path MTU and must not be fragmented; answered
	Back                       // it would go back to where it came from
	Loop                       // its next relay is where it came from
	Options                    // would have to be fragmented, but has IP options
	UnknownNode                // the source or the owner is not known (a moment between two states)
	NotAnswered                // an ARP request or neighbour solicitation for an address that is not a peer's
	NotAllowed                 // the policy refuses it, see [Router.Refuse]; answered
	AnsweredHere               // an ARP request or neighbour solicitation; the answer is in the decision
	reasons
)

var reasonNames = [reasons]string{
	"delivered", "malformed", "unknown type", "no subnet", "unreachable", "prohibited", "not direct",
	"expired", "too big", "back to its source", "routing loop", "IP options", "unknown node", "not answered", "not allowed",
	"answered here",
}

// Reasons is the number of reasons, for arrays of counters.
const Reasons = int(reasons)

// String is the reason in words for logs and counters.
func (r Reason) String() string {
	if r >= reasons {
		return "unknown reason"
	}
	return reasonNames[r]
}

// Output is one frame to be sent.
type Output struct {
	To    node.Name // our own name means: to the device
	Frame []byte    // aliases the frame that was routed, or a buffer of the Router
}

// Decision is what is to be done with a packet.
type Decision struct {
	// Outputs are to be sent in order. The slice and its frames are valid until
	// the next call of Route. Frames may share memory with the input and with
	// each other: whoever sends one must not change it.
	Outputs []Output
	// Reason is Delivered if the packet goes on; else Outputs holds at most an answer to its sender.
	Reason Reason
	// Broadcast is set for a broadcast packet; Outputs lists its next hops from here.
	Broadcast bool
}

// Router decides. It is used by one goroutine at a time.
type Router struct {
	cfg      Config
	answered rate.Bucket // ICMP errors
	outputs  []Output
	scratch  []byte
}

// New makes a Router.
func New(cfg Config) *Router {
	return &Router{cfg: cfg, outputs: make([]Output, 0, 16), scratch: make([]byte, 0, 2048)}
}

// routing is the state of one decision.
type routing struct {
	*Router
	w      World
	now    time.Time
	source node.Name
	from   Node // what is known of source
	frame  []byte
	offset int // of the IP header in frame
}

// Route decides on a frame, which begins with a 14-byte Ethernet header (its
// addresses are zero on a tun device), that came from the node source (our own
// name: from the device). It may change the frame in place: TTL, MSS, and
// requests that are turned into their answers. It must not be an Output of an
// earlier decision. w must know our own node, too.
func (r *Router) Route(w World, now time.Time, source node.Name, frame []byte) Decision {
	r.outputs, r.scratch = r.outputs[:0], r.scratch[:0]
	v := routing{Router: r, w: w, now: now, source: source, frame: frame, offset: packet.EthernetLen}
	if len(frame) < packet.EthernetLen {
		return v.drop(Malformed)
	}
	var ok bool
	if v.from, ok = w.Node(source); !ok {
		return v.drop(UnknownNode)
	}
	if r.cfg.Forwarding == Kernel && !v.ours() {
		return v.send(r.cfg.Self)
	}
	switch r.cfg.Mode {
	case ByAddress:
		return v.route()
	case ByMAC:
		return v.bridge()
	default:
		return v.broadcast()
	}
}

// ours reports whether the packet came from our own device.
func (v *routing) ours() bool { return v.source == v.cfg.Self }

// ip is the packet without its Ethernet header.
func (v *routing) ip() []byte { return v.frame[v.offset:] }

func (v *routing) drop(why Reason) Decision {
	return Decision{Outputs: v.outputs, Reason: why}
}

func (v *routing) send(to node.Name) Decision {
	v.outputs = append(v.outputs, Output{to, v.frame})
	return Decision{Outputs: v.outputs}
}

// route is the decision of mode router.
func (v *routing) route() Decision {
	typ := binary.BigEndian.Uint16(v.frame[12:])
	switch typ {
	case packet.TypeARP:
		return v.arp()
	case packet.TypeIPv4, packet.TypeIPv6:
	default:
		return v.drop(UnknownType) // also VLAN tags: only a switch can carry them
	}
	p := v.ip()
	if want, ok := packet.EtherTypeOf(p); !ok || want != typ {
		return v.drop(Malformed)
	}
	if _, ok := packet.Len(p); !ok {
		return v.drop(Malformed)
	}
	if packet.IsSolicitation(p) {
		return v.solicitation()
	}
	dst, _ := packet.Dst(p)
	m, found := v.w.Lookup(dst)
	switch {
	case !found:
		return v.answer(NoSubnet, 0)
	case m.Owner == "":
		return v.broadcast()
	case m.Owner == v.source:
		return v.drop(Back)
	case !m.Reachable:
		return v.answer(Unreachable, 0)
	}
	between := !v.ours() && m.Owner != v.cfg.Self
	if between && v.cfg.Forwarding == Off {
		return v.answer(Prohibited, 0)
	}
	if d, ok := v.countHop(between); !ok {
		return d
	}
	return v.forward(m.Owner, packet.Version(p) == 4)
}

// forward is the rest of the decision once the owner of the destination is known.
func (v *routing) forward(owner node.Name, v4 bool) Decision {
	viaName, via, ok := v.via(owner)
	if !ok {
		return v.drop(UnknownNode)
	}
	if viaName == v.source {
		return v.drop(Loop)
	}
	floor := minFrame6
	if v4 {
		floor = minFrame4
	}
	if v.cfg.DirectOnly && (viaName != owner || via.relays(len(v.frame), max(via.MTU, floor))) {
		return v.answer(NotDirect, 0)
	}
	if mtu := max(via.MTU, floor); viaName != v.cfg.Self && len(v.frame) > mtu {
		if packet.DF(v.ip()) {
			return v.answer(TooBig, mtu-v.offset)
		}
		return v.fragment(owner, mtu-v.offset)
	}
	v.clamp(viaName, via)
	return v.send(owner)
}

// Frames up to these sizes are never too big: every IPv4 and IPv6 network
// carries packets of 576 and 1280 bytes.
const (
	minFrame4 = 576 + packet.EthernetLen
	minFrame6 = 1280 + packet.EthernetLen
)

// via finds the effective via of owner, and what is known of it.
func (v *routing) via(owner node.Name) (node.Name, Node, bool) {
	o, ok := v.w.Node(owner)
	if !ok || o.Via == owner || owner == v.cfg.Self {
		return owner, o, ok
	}
	via, ok := v.w.Node(o.Via)
	return o.Via, via, ok
}

// countHop takes one from the TTL of a packet between two peers, if we are to
// count as a hop. ok is false if the packet ends here.
func (v *routing) countHop(between bool) (d Decision, ok bool) {
	if !between || !v.cfg.DecrementTTL || packet.DecrementTTL(v.ip()) {
		return d, true
	}
	return v.answer(Expired, 0), false
}

// clamp lowers the MSS of a connection request to what fits in both directions.
func (v *routing) clamp(viaName node.Name, via Node) {
	if !via.ClampMSS || v.cfg.NoClamp {
		return
	}
	mtu := v.from.MTU
	if viaName != v.cfg.Self {
		mtu = min(mtu, via.MTU)
	}
	packet.ClampMSS(v.ip(), mtu-v.offset)
}

// broadcast delivers the packet to our own device, if it is a peer's, and
// passes it on.
func (v *routing) broadcast() Decision {
	if !v.ours() {
		v.outputs = append(v.outputs, Output{v.cfg.Self, v.frame})
	}
	switch v.cfg.Broadcast {
	case Tree:
		for _, n := range v.w.Tree() {
			if v.ours() || n != v.from.NextHop {
				v.outputs = append(v.outputs, Output{n, v.frame})
			}
		}
	case Direct:
		if v.ours() {
			for _, n := range v.w.Directs() {
				v.outputs = append(v.outputs, Output{n, v.frame})
			}
		}
	}
	return Decision{Outputs: v.outputs, Broadcast: true}
}
