package lab

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"tincan/internal/packet"
)

// natBox translates the IPv4 addresses of what passes the end of a cable: UDP,
// TCP, ICMP echo and the ICMP errors about them. All else that comes from
// outside is dropped, fragments included; IPv6 and ARP pass.
//
// How it behaves is said in the words of RFC 4787. It keeps the port of a flow
// if that is free, and does no hairpinning. TCP is not followed: what holds for
// UDP holds for its connections too. The zero value lets everything pass.
type natBox struct {
	mu       sync.Mutex
	on       bool
	outside  netip.Addr
	mapping  dependence
	filter   dependence
	idle     time.Duration // a mapping ends so long after the last packet from inside
	byInside map[inner]*mapping
	byPort   map[outer]*mapping
}

// dependence is on what of a peer a mapping or a filter depends.
type dependence int

const (
	independent dependence = iota // not on the peer
	onAddress
	onAddressAndPort
)

// inner is what a mapping is found by from inside. The peer is there as far as the
// mapping depends on it.
type inner struct {
	proto        uint8
	inside, peer netip.AddrPort
}

// outer is what a mapping is found by from outside.
type outer struct {
	proto uint8
	port  uint16
}

type mapping struct {
	inner
	outer
	peers map[netip.AddrPort]bool // that were written to
	used  time.Time               // last packet from inside
}

// defaultIdle is the least that RFC 4787 recommends.
const defaultIdle = 2 * time.Minute

// behave turns the box on, with nothing in mind.
func (n *natBox) behave(outside netip.Addr, mapping, filter dependence) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.on = true
	n.outside = outside
	n.mapping = mapping
	n.filter = filter
	if n.idle == 0 {
		n.idle = defaultIdle
	}
	n.clear()
}

// forget is what happens when the box is switched off and on.
func (n *natBox) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
}

func (n *natBox) clear() { n.byInside, n.byPort = map[inner]*mapping{}, map[outer]*mapping{} }

func (n *natBox) setIdle(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.idle = d
}

// natOnCable is [Router.NAT] for a router whose uplink is a cable. The caller holds r.mu.
func (r *Router) natOnCable(kind NAT) error {
	outside := firstIPv4(r.addrs)
	if !outside.IsValid() {
		return fmt.Errorf("making %s a NAT: it has no IPv4 address", r.name)
	}
	box := &r.uplink.cable.nat
	switch kind {
	case FullCone:
		box.behave(outside, independent, independent)
	case AddressRestricted:
		box.behave(outside, independent, onAddress)
	case PortRestricted:
		box.behave(outside, independent, onAddressAndPort)
	case Symmetric:
		box.behave(outside, onAddressAndPort, onAddressAndPort)
	default:
		return fmt.Errorf("making %s a NAT: there is no kind %q", r.name, kind)
	}
	return nil
}

func firstIPv4(addrs []netip.Addr) netip.Addr {
	for _, a := range addrs {
		if a.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// ForgetNAT makes a NAT on a cable forget all flows, as if it had been switched
// off and on again.
func (r *Router) ForgetNAT() error { return r.onBox((*natBox).forget) }

// NATIdle sets after which time without a packet from inside a NAT on a cable
// forgets a flow: two minutes, unless it is told otherwise.
func (r *Router) NATIdle(d time.Duration) error {
	return r.onBox(func(n *natBox) { n.setIdle(d) })
}

func (r *Router) onBox(f func(*natBox)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uplink == nil || r.uplink.cable == nil {
		return fmt.Errorf("changing the NAT of %s: %w", r.name, ErrNoCable)
	}
	f(&r.uplink.cable.nat)
	return nil
}

// flow is where the addresses and ports of a packet are.
type flow struct {
	p           []byte // the IPv4 packet
	h           packet.Header
	src, dst    netip.AddrPort
	sport       []byte // its source port, or the identifier of an echo
	dport       []byte // nil for an echo
	sum         []byte // the ICMP checksum, nil for other protocols
	quote       *flow  // what an ICMP error is about
	echoRequest bool
}

// parseFlow reads an IPv4 packet whose transport is translated. In a quoted
// packet the end may be missing.
func parseFlow(p []byte, quoted bool) *flow {
	var h packet.Header
	if quoted {
		if packet.Version(p) != 4 || len(p) < packet.IPv4Len {
			return nil
		}
		h = packet.Header{Version: 4, Proto: p[9], Transport: int(p[0]&15) * 4, Total: len(p)}
	} else {
		var ok bool
		if h, ok = packet.Parse(p); !ok || h.Version != 4 || h.Fragment {
			return nil
		}
	}
	if h.Transport < packet.IPv4Len || h.Transport+8 > h.Total {
		return nil
	}
	src, _ := packet.Src(p)
	dst, _ := packet.Dst(p)
	f := &flow{p: p[:h.Total], h: h}
	t := f.p[h.Transport:]
	var sport, dport uint16
	switch h.Proto {
	case packet.ProtoUDP, packet.ProtoTCP:
		f.sport, f.dport = t[0:2], t[2:4]
		dport = binary.BigEndian.Uint16(f.dport)
	case packet.ProtoICMP:
		f.sum = t[2:4]
		switch t[0] {
		case 0, 8:
			f.echoRequest, f.sport = t[0] == 8, t[4:6]
		case 3, 11, 12:
			if quoted {
				return nil
			}
			if f.quote = parseFlow(t[8:], true); f.quote == nil {
				return nil
			}
			return f
		default:
			return nil
		}
	default:
		return nil
	}
	sport = binary.BigEndian.Uint16(f.sport)
	f.src, f.dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	if f.dport == nil && !f.echoRequest { // the number of an answer is that of its receiver
		f.src, f.dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, sport)
	}
	return f
}

// setSrc and setDst change the flow; [flow.fix] has to follow.
func (f *flow) setSrc(a netip.AddrPort) { f.set(12, f.sport, a) }

func (f *flow) setDst(a netip.AddrPort) {
	port := f.dport
	if port == nil {
		port = f.sport
	}
	f.set(16, port, a)
}

func (f *flow) set(at int, port []byte, a netip.AddrPort) {
	ip := a.Addr().As4()
	copy(f.p[at:], ip[:])
	binary.BigEndian.PutUint16(port, a.Port())
}

// fix makes the checksums right again.
func (f *flow) fix() {
	packet.FixIPv4Sum(f.p)
	if f.sum != nil {
		f.sum[0], f.sum[1] = 0, 0
		binary.BigEndian.PutUint16(f.sum, ^packet.Checksum(f.p[f.h.Transport:], 0))
		return
	}
	packet.FixTransportSum(f.p, f.h)
}

// out translates a frame that leaves, and returns nil if it may not.
func (n *natBox) out(frame []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.on || !ipv4Frame(frame) {
		return frame
	}
	f := parseFlow(frame[packet.EthernetLen:], false)
	switch {
	case f == nil:
		return nil
	case f.quote != nil:
		q := f.quote
		m := n.byInside[n.inner(q.h.Proto, q.dst, q.src)]
		if m == nil {
			return nil
		}
		q.setDst(netip.AddrPortFrom(n.outside, m.port))
		packet.FixIPv4Sum(q.p)
		self := n.outside.As4()
		copy(f.p[12:], self[:])
	case f.dport == nil && !f.echoRequest: // the answer to an echo request, which was not let in
		return nil
	default:
		m := n.mapTo(f.h.Proto, f.src, f.dst)
		if m == nil {
			return nil
		}
		f.setSrc(netip.AddrPortFrom(n.outside, m.port))
	}
	f.fix()
	return frame
}

// in translates a frame that comes in, and returns nil if it may not.
func (n *natBox) in(frame []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.on || !ipv4Frame(frame) {
		return frame
	}
	f := parseFlow(frame[packet.EthernetLen:], false)
	if f == nil {
		return nil
	}
	if q := f.quote; q != nil {
		m := n.admit(q.h.Proto, q.src, q.dst)
		if m == nil {
			return nil
		}
		q.setSrc(m.inside)
		packet.FixIPv4Sum(q.p)
		ip := m.inside.Addr().As4()
		copy(f.p[16:], ip[:])
	} else {
		m := n.admit(f.h.Proto, f.dst, f.src)
		if m == nil || f.echoRequest {
			return nil
		}
		f.setDst(m.inside)
	}
	f.fix()
	return frame
}

func ipv4Frame(frame []byte) bool {
	typ, at, ok := packet.EtherType(frame)
	return ok && at == packet.EthernetLen && typ == packet.TypeIPv4
}

// inner is the key of the mapping that the flow from inside to peer has.
func (n *natBox) inner(proto uint8, inside, peer netip.AddrPort) inner {
	return inner{proto, inside, partOf(peer, n.mapping)}
}

// partOf is what counts of a peer's address.
func partOf(peer netip.AddrPort, d dependence) netip.AddrPort {
	switch d {
	case independent:
		return netip.AddrPort{}
	case onAddress:
		return netip.AddrPortFrom(peer.Addr(), 0)
	}
	return peer
}

// mapTo finds or makes the mapping for a packet to peer, and lets peer answer.
// It is nil if all ports are taken.
func (n *natBox) mapTo(proto uint8, inside, peer netip.AddrPort) *mapping {
	now := time.Now()
	key := n.inner(proto, inside, peer)
	m := n.byInside[key]
	if m != nil && now.Sub(m.used) > n.idle {
		n.drop(m)
		m = nil
	}
	if m == nil {
		port, ok := n.freePort(proto, inside.Port(), now)
		if !ok {
			return nil
		}
		m = &mapping{inner: key, outer: outer{proto, port}, peers: map[netip.AddrPort]bool{}}
		n.byInside[key], n.byPort[m.outer] = m, m
	}
	m.used = now
	m.peers[partOf(peer, n.filter)] = true
	return m
}

func (n *natBox) drop(m *mapping) {
	delete(n.byInside, m.inner)
	delete(n.byPort, m.outer)
}

// freePort chooses a port outside: the same as inside where that is possible, but
// any if mappings depend on the peer, since then nobody must be able to guess it.
func (n *natBox) freePort(proto uint8, like uint16, now time.Time) (uint16, bool) {
	port := like
	if n.mapping != independent {
		port = randomPort()
	}
	for range 1000 {
		m := n.byPort[outer{proto, port}]
		if m != nil && now.Sub(m.used) > n.idle {
			n.drop(m)
			m = nil
		}
		if m == nil {
			return port, true
		}
		port = randomPort()
	}
	return 0, false
}

func randomPort() uint16 { return uint16(1024 + rand.IntN(65536-1024)) }

// admit finds the mapping for a packet from peer, nil if it is not let in.
func (n *natBox) admit(proto uint8, to, peer netip.AddrPort) *mapping {
	m := n.byPort[outer{proto, to.Port()}]
	if m == nil || to.Addr() != n.outside || time.Since(m.used) > n.idle || !m.peers[partOf(peer, n.filter)] {
		return nil
	}
	return m
}
