package dataplane

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"

	"tincan/internal/flow"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
)

// A policy is enforced where packets end: what comes out of a session and is for our device is checked against the rules, by
// the node whose session it is. It is also applied where packets begin, since there their sender can be told
// by an ICMP error; and since what leaves opens the flows whose replies may come in. Relays check nothing.
//
// The fast paths ask for each super-packet once (a packet that the coalescer takes belongs to the flow that has passed), the
// slow path for each packet. Without a policy all that is one load of a pointer.
//
// Who sends a packet is not always whose session it came by: nodes that pass on broadcasts along the tree, and those of
// tinc 1.0, seal what they pass on themselves. Then it is who owns the source address, as far as that can be trusted.

// newFilter makes the filter of a node, without a policy. Its clock begins at start.
func newFilter(self node.Name, start time.Time) *flow.Filter {
	var secret [5]uint64
	var b [8]byte
	for i := range secret {
		rand.Read(b[:]) // never fails
		secret[i] = binary.NativeEndian.Uint64(b[:])
	}
	return flow.New(self, secret, start)
}

// Policy is the filter of what enters and leaves: it takes the policy ([flow.Filter.SetPolicy]), and says what that has allowed and
// refused.
func (p *Plane) Policy() *flow.Filter { return p.filter }

// check asks the policy about a frame, of which only the IP packet counts where packets are routed.
func (c *slowPath) check(dir flow.Direction, peer *flow.Peer, frame []byte) bool {
	var v flow.Verdict
	l2 := ethernetLen
	if c.p.bridging {
		l2 = l2Len(frame)
		v = c.checker.CheckFrame(dir, peer, frame, l2, c.now)
	} else {
		v = c.checker.Check(dir, peer, frame[l2:], c.now)
	}
	if v == flow.Pass {
		return true
	}
	c.refused(dir, peer, frame[min(l2, len(frame)):], v)
	return false
}

// refused counts a packet that the policy has refused.
func (c *slowPath) refused(dir flow.Direction, peer *flow.Peer, data []byte, why flow.Verdict) {
	c.p.filter.Note(dir, peer, data, why, c.now)
	if dir == flow.In {
		c.p.drop(RefusedIn)
	} else {
		c.p.drop(RefusedOut)
	}
}

// mayEnter reports whether the policy lets a frame from a node through to our device, and counts it if not. broadcast says
// that it goes to everybody. The caller holds p.routing.
func (c *slowPath) mayEnter(from *peer, frame []byte, broadcast bool) bool {
	if !c.p.filter.Active() {
		return true
	}
	w := &c.p.view
	if broadcast || w.dir.legacy != nil || c.p.options.Load().Forwarding == route.Kernel {
		data := frame
		if !c.p.bridging {
			data = frame[ethernetLen:]
		}
		from = c.senderOf(from, w.routes, data, broadcast)
	}
	src, _ := packet.Src(frame[min(ethernetLen, len(frame)):])
	return c.check(flow.In, c.p.Devices.flowsOf(from, src, c.p.options.Load()), frame)
}

// mayLeave reports whether the policy lets c.frame, which our device has given, out to where the router has decided. If not,
// its sender is told so. The caller holds p.routing.
func (c *slowPath) mayLeave(d *route.Decision) bool {
	if !c.p.filter.Active() {
		return true
	}
	self := c.p.cfg.Self
	i := slices.IndexFunc(d.Outputs, func(out route.Output) bool { return out.To != self })
	if i < 0 {
		return true
	}
	var peer *flow.Peer
	if !d.Broadcast {
		to := c.p.view.dir.byName[d.Outputs[i].To]
		if to == nil {
			return true // it is dropped anyway
		}
		dst, _ := packet.Dst(c.frame[ethernetLen:])
		peer = c.p.Devices.flowsOf(to, dst, c.p.options.Load())
	}
	if c.check(flow.Out, peer, c.frame) {
		return true
	}
	c.sayRefused()
	return false
}

// sayRefused tells the sender of c.frame, which our device or a device of the door has given, that the policy refuses it. The
// caller holds p.routing.
func (c *slowPath) sayRefused() {
	answer := c.p.currentRouter().Refuse(c.p.start.Add(c.now), c.p.cfg.Self, c.frame)
	for _, out := range answer.Outputs {
		c.toDevice(out.Frame)
	}
}

// mayEnter reports whether the policy lets what came from r.from through to our device, and counts it if not: a frame where frames
// are routed, else a packet.
func (r *receiver) mayEnter(p []byte) bool {
	if !r.p.filter.Active() {
		return true
	}
	from, c := r.from, r.slow
	if r.dir.legacy != nil || r.options.Forwarding == route.Kernel {
		from = c.senderOf(from, r.routes, p, false)
	}
	if r.p.bridging {
		return c.check(flow.In, &from.flows, p)
	}
	src, _ := packet.Src(p)
	peer := r.p.Devices.flowsOf(from, src, r.options)
	v := c.checker.Check(flow.In, peer, p, r.now)
	if v != flow.Pass {
		c.refused(flow.In, peer, p, v)
	}
	return v == flow.Pass
}

// senderOf is the node that has sent what came from another one, see above: a frame where frames are routed, else a packet.
func (c *slowPath) senderOf(from *peer, routes *routes, data []byte, broadcast bool) *peer {
	p, owner := c.p, (*peer)(nil)
	if p.bridging {
		if e, ok := routes.table.LookupMAC([6]byte(data[6:12])); ok {
			owner = e.Owner
		}
		broadcast = broadcast || data[0]&1 != 0
	} else if src, ok := packet.Src(data); ok {
		owner, _ = routes.lookup(src)
		broadcast = broadcast || routes.isFor(p.broadcast, data)
	}
	if owner == nil || owner == p.self || owner == p.broadcast {
		return from
	}
	s := owner.state.Load()
	if broadcast && p.options.Load().Broadcast == route.Tree || s.speaksLegacy() && !s.Adjacent {
		return owner
	}
	return from
}
