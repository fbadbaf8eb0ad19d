package route

import "tincan/internal/packet"

// broadcastMAC is a broadcast address even without a subnet.
var broadcastMAC = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// bridge is the decision of mode switch.
func (v *routing) bridge() Decision {
	mac := [6]byte(v.frame[0:6])
	m, found := v.w.LookupMAC(mac)
	if !found || m.Owner == "" || mac == broadcastMAC {
		return v.broadcast()
	}
	if m.Owner == v.source {
		return v.drop(Back)
	}
	if !m.Reachable {
		return v.drop(Unreachable)
	}
	between := !v.ours() && m.Owner != v.cfg.Self
	if between && v.cfg.Forwarding == Off {
		return v.drop(Prohibited)
	}
	// Other frames than IP packets are forwarded unchanged.
	ip := v.lookInside()
	if ip {
		if d, ok := v.countHop(between); !ok {
			return d
		}
	}
	viaName, via, ok := v.via(m.Owner)
	if !ok {
		return v.drop(UnknownNode)
	}
	if viaName == v.source {
		return v.drop(Loop)
	}
	if v.cfg.DirectOnly && (viaName != m.Owner || via.relays(len(v.frame), via.MTU)) {
		return v.drop(NotDirect)
	}
	if ip {
		least := 1280
		if packet.Version(v.ip()) == 4 {
			least = 576
		}
		size := len(v.frame) - v.offset
		if viaName != v.cfg.Self && len(v.frame) > via.MTU && size > least {
			mtu := max(via.MTU-v.offset, least)
			if packet.DF(v.ip()) {
				return v.answer(TooBig, mtu)
			}
			return v.fragment(m.Owner, mtu)
		}
		v.clamp(viaName, via)
	}
	return v.send(m.Owner)
}

// lookInside sets offset to the IP packet in the frame, after a VLAN tag if
// there is one, and reports whether there is a complete one.
func (v *routing) lookInside() bool {
	typ, offset, ok := packet.EtherType(v.frame)
	if !ok || typ != packet.TypeIPv4 && typ != packet.TypeIPv6 {
		return false
	}
	v.offset = offset
	want, ok := packet.EtherTypeOf(v.ip())
	if !ok || want != typ {
		return false
	}
	_, ok = packet.Len(v.ip())
	return ok
}
