package dataplane

import (
	"encoding/binary"
	"time"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/packet"
	"tincan/internal/route"
)

// fromEthernet sends the frame or super-frame f that the device gave.
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
	if off.NeedsCsum && !completeChecksum(f, off) {
		t.p.drop(Malformed)
		return
	}
	t.slow.fromDevice(f)
}

// superFrame sends a super-packet in a frame, segment by segment.
func (t *transmitter) superFrame(f []byte, off device.Offload) {
	l2 := l2Len(f)
	if l2 >= len(f) || off.NeedsCsum && int(off.CsumStart) < l2 {
		t.p.drop(Malformed)
		return
	}
	off.CsumStart -= uint16(l2)
	transport, proto, hdrLen := superHeaders(f[l2:], off)
	if !t.cut.Start(f[l2:], hdrLen, transport, int(off.GSOSize), proto) {
		t.p.drop(Malformed)
		return
	}
	var header [maxL2]byte
	copy(header[:l2], f)
	for from, to, ok := t.cut.Next(); ok; from, to, ok = t.cut.Next() {
		copy(f[from:], header[:l2]) // the place of what is sent already
		t.slow.fromDevice(f[from : l2+to])
	}
}

// maxL2 is the longest Ethernet header that we look behind: one with two VLAN tags.
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
func (c *courier) fromDevice(frame []byte) {
	c.frame = append(c.frame[:0], frame...)
	c.route(c.p.self)
}

// bridge routes a frame of another node.
func (c *courier) bridge(from *peer, frame []byte) {
	if binary.BigEndian.Uint16(frame[ethernetLen-2:]) == 0 { // a probe that has lost its way
		c.p.drop(UnexpectedType)
		return
	}
	from.counters.in(1, len(frame))
	c.frame = append(c.frame[:0], frame...)
	c.route(from)
}

// forDevice is what of a frame the device takes.
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

// overwriteMACs addresses a frame to the Ethernet device itself if packets are routed: what their
// senders wrote there, if anything, means nothing here. The source is
// the neighbour that answers to ARP are about.
func (p *Plane) overwriteMACs(frame []byte) {
	if !p.cfg.Ethernet || p.bridging {
		return
	}
	copy(frame, p.cfg.MAC[:])
	copy(frame[6:], p.cfg.MAC[:])
	frame[11] ^= 0xff
}

// A segment that is bridged to ours may have any number of hosts, and a host may
// write any source address. So both what we remember and what we report
// is bounded.
const (
	learnEvery   = time.Second      // for an address that is not known to be ours
	refreshEvery = 10 * time.Second // for one that is
	maxRefreshed = 8192             // addresses whose last report is remembered
	learnRate    = 200              // reports of addresses that are not known to be ours, per second
	learnBurst   = 1000
)

// learner decides when a source address is to be reported to the brain. The zero
// value is ready.
type learner struct {
	last   [6]byte
	lastAt time.Duration
	at     map[[6]byte]time.Duration // last reports
	spent  time.Duration             // of the budget for new addresses
	filled time.Duration             // when it was last refilled
}

// learn reports that the host with this address is on our side.
func (t *transmitter) learn(mac [6]byte) {
	l := &t.learner
	if mac == l.last && t.now-l.lastAt < learnEvery/4 {
		return
	}
	if mac[0]&1 != 0 || mac == [6]byte{} { // nobody's
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
	if !ours && !l.afford(t.now) {
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

// afford takes one report of a new address from the budget.
func (l *learner) afford(now time.Duration) bool {
	const price = time.Second / learnRate
	l.spent = max(0, l.spent-(now-l.filled))
	l.filled = now
	if l.spent+price > learnBurst*price {
		return false
	}
	l.spent += price
	return true
}
