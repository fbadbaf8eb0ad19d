package route

import (
	"net/netip"
	"time"

	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/rate"
)

// errorLimit is how many ICMP errors are sent, both families together.
var errorLimit = rate.PerSecond(3)

// answers are the ICMP and ICMPv6 types and codes for a reason.
var answers = [reasons]struct{ type4, code4, type6, code6 uint8 }{
	NoSubnet:    {packet.ICMPUnreachable, packet.CodeNetUnknown, packet.ICMPv6Unreachable, packet.CodeAddrUnreach},
	Unreachable: {packet.ICMPUnreachable, packet.CodeNetUnreach, packet.ICMPv6Unreachable, packet.CodeNoRoute},
	Prohibited:  {packet.ICMPUnreachable, packet.CodeNetProhibited, packet.ICMPv6Unreachable, packet.CodeAdminProhibited},
	NotDirect:   {packet.ICMPUnreachable, packet.CodeNetProhibited, packet.ICMPv6Unreachable, packet.CodeAdminProhibited},
	NotAllowed:  {packet.ICMPUnreachable, packet.CodeFiltered, packet.ICMPv6Unreachable, packet.CodeAdminProhibited},
	Expired:     {packet.ICMPTimeExceeded, 0, packet.ICMPv6TimeExceeded, 0},
	TooBig:      {packet.ICMPUnreachable, packet.CodeFragNeeded, packet.ICMPv6TooBig, 0},
}

// Refuse is the decision about a frame that must not go on, for reasons of which the router knows nothing: it is dropped, and
// its sender is told so if it holds an IP packet for one destination.
func (r *Router) Refuse(now time.Time, source node.Name, frame []byte) Decision {
	r.outputs, r.scratch = r.outputs[:0], r.scratch[:0]
	v := routing{Router: r, now: now, source: source, frame: frame, offset: packet.EthernetLen}
	if !v.lookInside() || frame[0]&1 != 0 {
		return v.drop(NotAllowed)
	}
	if dst, _ := packet.Dst(v.ip()); dst.IsMulticast() || dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return v.drop(NotAllowed)
	}
	return v.answer(NotAllowed, 0)
}

// answer drops the packet and tells its sender why by an ICMP error, if it may be told.
func (v *routing) answer(why Reason, mtu int) Decision {
	p := v.ip()
	if !packet.MayAnswer(p) || !v.answered.Take(errorLimit, v.now) {
		return v.drop(why)
	}
	// The source of the error is the destination of the packet, or this node as a hop. The kernel is asked
	// for our address only here: not more often than errors are sent.
	var from netip.Addr
	if src, ok := packet.Src(p); ok && why == Expired && v.cfg.LocalAddr != nil {
		from = v.cfg.LocalAddr(src)
	}
	a := answers[why]
	typ, code := a.type4, a.code4
	if packet.Version(p) == 6 {
		typ, code = a.type6, a.code6
	}
	out := append(v.scratch, v.frame[:v.offset]...)
	copy(out[0:6], v.frame[6:12])
	copy(out[6:12], v.frame[0:6])
	out = packet.AppendICMPError(out, p, typ, code, uint32(mtu), from)
	v.scratch = out
	v.outputs = append(v.outputs, Output{v.source, out})
	return v.drop(why)
}

// fragment cuts the IPv4 packet for the owner into fragments of at most mtu bytes.
func (v *routing) fragment(owner node.Name, mtu int) Decision {
	p := v.ip()
	for next := 0; ; {
		start := len(v.scratch)
		out, to, ok := packet.AppendFragment(append(v.scratch, v.frame[:v.offset]...), p, mtu, next)
		if !ok {
			v.outputs = v.outputs[:0]
			return v.drop(Options)
		}
		v.scratch = out
		v.outputs = append(v.outputs, Output{owner, out[start:len(out):len(out)]})
		if next = to; next == 0 {
			return Decision{Outputs: v.outputs}
		}
	}
}

// arp answers a request from our own device for an address that a peer has: a
// tap device in router mode asks who has it, and packets for it go through this node.
func (v *routing) arp() Decision {
	target, ok := packet.ARPTarget(v.ip())
	if !ok || !v.isPeerAddress(target) {
		return v.drop(NotAnswered)
	}
	packet.AnswerARP(v.ip())
	v.send(v.cfg.Self)
	return v.drop(AnsweredHere)
}

// solicitation is arp for IPv6.
func (v *routing) solicitation() Decision {
	target, ok := packet.SolicitedTarget(v.ip())
	if !ok || !v.isPeerAddress(target) {
		return v.drop(NotAnswered)
	}
	v.frame = packet.AnswerSolicitation(v.frame, v.offset)
	v.send(v.cfg.Self)
	return v.drop(AnsweredHere)
}

// isPeerAddress reports whether a request from our own device asks for an address of a peer.
func (v *routing) isPeerAddress(target netip.Addr) bool {
	m, found := v.w.Lookup(target)
	return found && v.ours() && m.Owner != v.cfg.Self && m.Owner != ""
}
