package dataplane

import (
	"sync/atomic"
	"time"

	"tincan/internal/node"
	"tincan/internal/route"
)

// Counters counts IP packets and their bytes. For a peer, In is what came from
// it and Out what was sent to it; for ourselves, In is what the device gave us and Out what it was given.
type Counters struct {
	InPackets, InBytes, OutPackets, OutBytes uint64
}

// counters is Counters while it is being counted.
type counters struct {
	inPackets, inBytes, outPackets, outBytes atomic.Uint64
}

func (c *counters) in(packets, bytes int) {
	c.inPackets.Add(uint64(packets))
	c.inBytes.Add(uint64(bytes))
}

func (c *counters) out(packets, bytes int) {
	c.outPackets.Add(uint64(packets))
	c.outBytes.Add(uint64(bytes))
}

func (c *counters) read() Counters {
	return Counters{c.inPackets.Load(), c.inBytes.Load(), c.outPackets.Load(), c.outBytes.Load()}
}

// Counters returns what was exchanged with a peer; zero if it is not known.
func (p *Plane) Counters(name node.Name) Counters {
	if pr := p.dir.Load().byID[name.ID()]; pr != nil && pr.name == name {
		return pr.counters.read()
	}
	return Counters{}
}

// SelfCounters returns what was exchanged with the device.
func (p *Plane) SelfCounters() Counters { return p.self.counters.read() }

// Reason says why a packet was dropped.
type Reason uint8

// The reasons for which packets are dropped.
const (
	Malformed        Reason = iota // not an IP packet, or one that contradicts itself
	ShortDatagram                  // below the 33 bytes every datagram has
	UnknownSender                  // neither its ids nor its address belong to a known node
	UnknownNode                    // a relayed packet from or to a node that is not known
	Unreachable                    // a relayed packet to a node that is not reachable
	UnconfirmedRelay               // asked to relay by an address that is not confirmed
	Loop                           // would be sent back to where it came from
	NoSession                      // came from, or goes to, a node with which there is no session
	Undecodable                    // the record could not be opened: forged, damaged or repeated
	UnexpectedType                 // a type of record that does not belong there
	Compressed                     // compressed, which we never announce
	OverLong                       // longer than any frame may be
	MetaFull                       // the meta connection's queue is full
	NoMeta                         // no meta connection to send it over
	NoPath                         // no path of the requested kind
	NoSocket                       // no socket of the right family
	TooLongForPath                 // the kernel refused its size
	SendFailed                     // the kernel refused it for another reason
	DeviceFailed                   // the device refused it
	SessionTimeout                 // waited too long for a session
	ForwardingOff                  // relaying is switched off
	InvalidSource                  // the source address belongs to another node, or to none
	RefusedIn                      // the policy does not let it in
	RefusedOut                     // the policy does not let it out
	InboxFull                      // the data plane does not keep up with the protocol core
	WeakKeys                       // post-quantum keys are required, and it came without
	reasonCount
)

var reasonNames = [reasonCount]string{
	Malformed: "malformed", ShortDatagram: "short datagram", UnknownSender: "unknown sender",
	UnknownNode: "unknown node", Unreachable: "unreachable", UnconfirmedRelay: "relay request from an unconfirmed address",
	Loop: "loop", NoSession: "no session", Undecodable: "undecodable", UnexpectedType: "unexpected type",
	Compressed: "compressed", OverLong: "too long", MetaFull: "meta connection full",
	NoMeta: "no meta connection", NoPath: "no such path", NoSocket: "no socket", TooLongForPath: "too long for its path",
	SendFailed: "send failed", DeviceFailed: "device failed", SessionTimeout: "no session in time", ForwardingOff: "forwarding is off",
	InvalidSource: "source address of another node", RefusedIn: "refused by the policy, incoming",
	RefusedOut: "refused by the policy, outgoing", InboxFull: "packet path too busy",
	WeakKeys: "without the post-quantum keys that are required",
}

func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return "unknown reason"
}

// dropped counts packets that were dropped for one reason.
type dropped struct {
	count atomic.Uint64
	last  atomic.Int64 // time of the last one, in ns of the Unix epoch
}

func (d *dropped) add(p *Plane, n int) {
	d.count.Add(uint64(n))
	if now := p.cfg.Now().UnixNano(); now-d.last.Load() > int64(time.Millisecond) {
		d.last.Store(now)
	}
}

// drop counts a dropped packet.
func (p *Plane) drop(r Reason) { p.drops[r].add(p, 1) }

func (p *Plane) dropN(r Reason, n int) {
	if n > 0 {
		p.drops[r].add(p, n)
	}
}

// Dropped is how many packets were dropped for one reason since the start.
type Dropped struct {
	Reason string // in words
	Count  uint64
	Last   time.Time
}

// Drops lists the reasons for which packets were dropped or answered with an error. Those of the routing rules begin
// with "routing: ".
func (p *Plane) Drops() (list []Dropped) {
	add := func(d *dropped, reason string) {
		if n := d.count.Load(); n > 0 {
			list = append(list, Dropped{reason, n, time.Unix(0, d.last.Load())})
		}
	}
	for r := range p.drops {
		add(&p.drops[r], Reason(r).String())
	}
	for r := range p.unrouted {
		add(&p.unrouted[r], "routing: "+route.Reason(r).String())
	}
	return list
}
