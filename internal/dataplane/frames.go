package dataplane

import (
	"encoding/binary"
	"time"

	"tincan/internal/device"
	"tincan/internal/flow"
	"tincan/internal/mesh"
	"tincan/internal/packet"
	"tincan/internal/rate"
	"tincan/internal/route"
	"tincan/internal/wire"
)

// fromEthernet sends the frame or super-frame f from the device.
func (t *transmitter) fromEthernet(f []byte, off device.Offload) {
	if len(f) <= ethernetLen {
		t.p.drop(Malformed)
		return
	}
	if t.p.cfg.Mode == route.ByMAC {
		t.learn([6]byte(f[6:12]))
	}
	t.slow.now = t.now
	if off.GSO != device.GSONone {
		t.superFrame(f, off)
		return
	}
	if off.NeedsCsum && !packet.CompleteSum(f, int(off.CsumStart), int(off.CsumOffset)) {
		t.p.drop(Malformed)
		return
	}
	if l2 := l2Len(f); t.fastFrame(f, l2, len(f)) {
		t.wrap(0, len(f)-l2)
		t.plain = wire.Pad(t.plain, t.padding)
		t.sealAll()
		return
	}
	t.slowly().fromDevice(f)
}

// superFrame sends a super-packet in a frame.
func (t *transmitter) superFrame(f []byte, off device.Offload) {
	l2 := l2Len(f)
	if l2 >= len(f) || off.NeedsCsum && int(off.CsumStart) < l2 {
		t.p.drop(Malformed)
		return
	}
	off.CsumStart -= uint16(l2)
	transport, proto, hdrLen := off.Headers(f[l2:])
	if !t.segmenter.Start(f[l2:], hdrLen, transport, int(off.GSOSize), proto) {
		t.p.drop(Malformed)
		return
	}
	if t.fastFrame(f, l2, min(len(f), l2+hdrLen+int(off.GSOSize))) {
		t.segmenting, t.padding = true, 0
		t.sealAll()
		return
	}
	copy(t.l2hdr[:], f[:l2])
	for from, to, ok := t.segmenter.Next(); ok; from, to, ok = t.segmenter.Next() {
		copy(f[from:], t.l2hdr[:l2]) // over data that has been sent already
		t.slowly().fromDevice(f[from : l2+to])
	}
}

// fastFrame is fast for the frame f, which begins with an Ethernet header of l2 bytes and whose
// largest segment has size bytes.
func (t *transmitter) fastFrame(f []byte, l2, size int) bool {
	if t.p.cfg.Mode != route.ByMAC || f[0]&1 != 0 || l2 >= len(f) || t.p.tap.Load() != nil {
		return false
	}
	ip, minimum := f[l2:], maxData
	if typ, ok := packet.EtherTypeOf(ip); ok && typ == binary.BigEndian.Uint16(f[l2-2:]) {
		if carriesMSS(ip) {
			return false
		}
		minimum = 0 // what is too large is answered or fragmented on the slow path
	} else {
		ip = nil
	}
	mac, r := [6]byte(f), t.p.routes.Load()
	if r != t.toMAC.routes || mac != t.toMAC.mac {
		e, ok := r.table.LookupMAC(mac)
		if !ok || !e.Reachable || e.Owner == t.p.self || e.Owner == t.p.broadcast {
			e.Owner = nil
		}
		t.toMAC.routes, t.toMAC.mac, t.toMAC.owner = r, mac, e.Owner
	}
	if to := t.toMAC.owner; to != nil && t.slow.checker.CheckFrame(flow.Out, &to.flows, f, l2, t.now) != flow.Pass {
		return false
	}
	if !t.fastTo(t.toMAC.owner, ip, size, size, minimum) {
		return false
	}
	t.l2 = copy(t.l2hdr[:l2], f)
	return true
}

// wrapFrame is wrap for a frame: each segment gets a copy of the Ethernet header of the
// super-packet.
func (b *burst) wrapFrame(from, to int) {
	start := inHead + from
	copy(b.in[start:], b.l2hdr[:b.l2])
	if b.legacy != nil {
		b.plain = b.in[start : inHead+b.l2+to]
		return
	}
	b.plain = b.in[start-1 : inHead+b.l2+to]
	b.plain[0] = wire.TypeFrame
}

// maxL2 is the longest Ethernet header that is parsed: one with two VLAN tags.
const maxL2 = ethernetLen + 2*packet.VLANLen

// l2Len is the length of the Ethernet header of f with its VLAN tags.
func l2Len(f []byte) int {
	n := ethernetLen
	for n < maxL2 && n+packet.VLANLen <= len(f) {
		typ := binary.BigEndian.Uint16(f[n-2:])
		if typ != packet.TypeVLAN && typ != typeServiceVLAN {
			break
		}
		n += packet.VLANLen
	}
	return n
}

const typeServiceVLAN = 0x88a8 // of the outer tag, IEEE 802.1ad

// fromDevice routes a frame of our own device, which is not changed.
func (c *slowPath) fromDevice(frame []byte) {
	c.frame = append(c.frame[:0], frame...)
	c.route(c.p.self)
}

// bridge routes a frame of another node.
func (c *slowPath) bridge(from *peer, frame []byte) {
	if binary.BigEndian.Uint16(frame[ethernetLen-2:]) == 0 { // a misdirected probe
		c.p.drop(UnexpectedType)
		return
	}
	from.counters.in(1, len(frame))
	c.routeFrame(from, frame)
}

// routeFrame routes a frame that came from a node, which is not changed.
func (c *slowPath) routeFrame(from *peer, frame []byte) {
	c.frame = append(c.frame[:0], frame...)
	c.route(from)
}

// deliverFrame is deliver for the frame of n bytes that was opened at buf[at:].
func (r *receiver) deliverFrame(at, n int) {
	f := r.buf[at : at+n]
	if n <= ethernetLen || binary.BigEndian.Uint16(f[ethernetLen-2:]) == 0 { // a misdirected probe
		r.restore(at)
		r.p.drop(UnexpectedType)
		return
	}
	r.count(n)
	ours := r.frameForUs(f)
	if ours {
		if r.coalescer.Count() > 0 && r.flowOf == r.from && [ethernetLen]byte(f) == r.l2hdr {
			if _, ok := r.coalescer.Add(f[r.l2:]); ok {
				r.restore(at)
				return
			}
		}
		if !r.mayEnter(f) {
			r.restore(at)
			return
		}
	}
	if r.coalescer.Count() > 0 {
		r.displace(at, n)
		f = r.buf[inBase : inBase+n]
	}
	ip := f[ethernetLen:]
	switch {
	case !ours:
		r.slow.routeFrame(r.from, f)
	case r.coalescer.Start(ip, r.segmentsOfFrame(f)):
		r.flowOf, r.l2hdr = r.from, [ethernetLen]byte(f)
		r.l2, r.hdrLen = ethernetLen, ethernetLen+headersOf(ip)
	default:
		r.output(n)
	}
}

// segmentsOfFrame is how many packets of the kind that the frame carries may be coalesced. Packets
// with a VLAN tag are not coalesced.
func (r *receiver) segmentsOfFrame(f []byte) int {
	ip := f[ethernetLen:]
	typ, ok := packet.EtherTypeOf(ip)
	if !ok || typ != binary.BigEndian.Uint16(f[ethernetLen-2:]) {
		return 0
	}
	if _, ok = packet.Len(ip); !ok {
		return 0
	}
	return r.limits.segments(kindOf(ip), r.now)
}

// noMAC is an address that cannot be a host's.
var noMAC = [6]byte{0xff}

// frameForUs is forUs for a frame.
func (r *receiver) frameForUs(f []byte) bool {
	if f[0]&1 != 0 || r.p.cfg.Mode != route.ByMAC || !r.p.cfg.Ethernet || r.p.tap.Load() != nil {
		return false
	}
	if l2 := l2Len(f); l2 < len(f) && f[l2]>>4 >= 4 && carriesMSS(f[l2:]) {
		return false
	}
	if r.options.Forwarding == route.Kernel {
		return true
	}
	if mac := [6]byte(f); mac != r.localMAC {
		if e, ok := r.routes.table.LookupMAC(mac); !ok || e.Owner != r.p.self {
			return false
		}
		r.localMAC = mac
	}
	return true
}

// forDevice returns the part of a frame that the device accepts.
func (p *Plane) forDevice(frame []byte) (what []byte, ok bool) {
	if p.cfg.Ethernet {
		return frame, true
	}
	what = frame[ethernetLen:]
	if !p.bridging {
		return what, true
	}
	typ, ok := packet.EtherTypeOf(what)
	return what, ok && typ == binary.BigEndian.Uint16(frame[ethernetLen-2:])
}

// overwriteMACs addresses a frame to the Ethernet device itself if packets are routed: the addresses
// that the sender wrote, if any, have no meaning here. The source is the neighbour that our ARP
// replies announce.
func (p *Plane) overwriteMACs(frame []byte) {
	if !p.cfg.Ethernet || p.bridging {
		return
	}
	copy(frame, p.cfg.MAC[:])
	copy(frame[6:], p.cfg.MAC[:])
	frame[11] ^= 0xff
}

// A network segment bridged to our interface may have any number of hosts, and a host may
// use any source address. So both what is remembered and what is reported
// is bounded.
const (
	learnEvery   = time.Second      // for an address that is not known to be local
	refreshEvery = 10 * time.Second // for one that is
	maxRefreshed = 8192             // addresses whose last report is remembered
)

// learnLimit bounds reports of addresses that are not known to be local.
var learnLimit = rate.Limit{Burst: 1000, Every: time.Second / 200}

// learner decides when a source address is to be reported to the protocol core. The zero
// value is ready.
type learner struct {
	last   [6]byte
	lastAt time.Duration
	at     map[[6]byte]time.Duration // last reports
	new    rate.Bucket               // reports of addresses that are not known to be local
}

// learn reports that the host with this address is local.
func (t *transmitter) learn(mac [6]byte) {
	l := &t.learner
	if mac == l.last && t.now-l.lastAt < learnEvery/4 {
		return
	}
	if mac[0]&1 != 0 || mac == [6]byte{} { // not a host address
		return
	}
	l.last, l.lastAt = mac, t.now
	e, known := t.p.routes.Load().table.LookupMAC(mac)
	ours := known && e.Owner == t.p.self
	every := learnEvery
	if ours {
		every = refreshEvery
		if expire := t.p.options.Load().MACExpire; expire > 0 {
			every = min(every, expire/4)
		}
	}
	if at, ok := l.at[mac]; ok && t.now-at < every {
		return
	}
	if !ours && !l.new.Take(learnLimit, t.p.start.Add(t.now)) {
		return
	}
	if len(l.at) >= maxRefreshed {
		clear(l.at)
	}
	if t.p.cfg.Event(mesh.LearnMAC{MAC: mac}) {
		if l.at == nil {
			l.at = make(map[[6]byte]time.Duration)
		}
		l.at[mac] = t.now
	}
}
