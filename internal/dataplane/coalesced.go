package dataplane

import (
	"errors"
	"time"

	"tincan/internal/device"
	"tincan/internal/packet"
)

// accepts is what the device takes as super-packets, as it said itself and as it has shown since.
type accepts [device.GSOUDP + 1]struct {
	most  int           // segments, 0: none
	until time.Duration // nothing is joined before
	pause time.Duration // how long the last pause was
}

const (
	// surelySegments is how many segments of UDP every kernel takes (UDP_MAX_SEGMENTS before Linux 6.9).
	surelySegments = 64
	// A super-packet that was refused is written again in pieces, so each costs more than it saves. One may
	// be bad luck; the more follow, the longer nothing of the kind is joined.
	firstPause = time.Second
	maxPause   = 5 * time.Minute
	// forgiven times the last pause without a refusal begins again.
	forgiven = 4
)

func acceptedBy(d device.Device) (a accepts) {
	for kind := device.GSOTCPv4; kind <= device.GSOUDP; kind++ {
		a[kind].most = d.MaxSegments(kind)
	}
	return a
}

// segments is how many packets of the kind may be joined now.
func (a *accepts) segments(kind device.GSOType, now time.Duration) int {
	k := &a[kind]
	if now < k.until {
		return 0
	}
	return k.most
}

// refused takes note that a super-packet of count segments was not taken.
func (a *accepts) refused(kind device.GSOType, count int, now time.Duration) {
	k := &a[kind]
	if kind == device.GSOUDP && count > surelySegments {
		k.most = surelySegments
		return
	}
	if now-k.until > forgiven*k.pause {
		k.pause = firstPause / 2
	}
	k.pause = min(2*k.pause, maxPause)
	k.until = now + k.pause
}

// kindOf tells as what the packet p, which has a full IP header, may be joined.
func kindOf(p []byte) device.GSOType {
	proto, tcp := p[9], device.GSOTCPv4
	if p[0]>>4 == 6 {
		proto, tcp = p[6], device.GSOTCPv6
	}
	switch proto {
	case packet.ProtoTCP:
		return tcp
	case packet.ProtoUDP:
		return device.GSOUDP
	}
	return device.GSONone
}

// outputSuper writes the super-packet p, which is made of count packets and lies in r.buf after its r.l2
// bytes of Ethernet header, to the device. One that is refused is written packet by packet.
func (r *receiver) outputSuper(p []byte, count int, s packet.Super) {
	r.batched.outPackets += count
	r.batched.outputBytes += r.l2 + len(p)
	off := device.Offload{
		GSO: kindOf(p), NeedsCsum: true,
		HdrLen: s.HdrLen + uint16(r.l2), GSOSize: s.Size, CsumStart: s.CsumStart + uint16(r.l2), CsumOffset: s.CsumOffset,
	}
	at := inBase + r.l2 // of p
	start := inBase
	if r.p.cfg.Ethernet && !r.p.bridging {
		start = r.addHeader(&off)
	}
	err := r.p.tryWrite(r.buf[:at+len(p)], start, off)
	switch {
	case err == nil:
	case errors.Is(err, device.ErrRefused):
		r.accepts.refused(off.GSO, count, r.now)
		r.outputEach(start, at, p, s)
	default:
		r.p.dropN(DeviceFailed, count)
	}
}

// outputEach writes the packets of the super-packet p, which begins at r.buf[at]. Its Ethernet header, if it has
// one, begins at start.
func (r *receiver) outputEach(start, at int, p []byte, s packet.Super) {
	var header [ethernetLen]byte // not r.swap, which holds the headers of what displaces the super-packet
	l2 := copy(header[:], r.buf[start:at])
	if !r.cut.Start(p, int(s.HdrLen), int(s.CsumStart), int(s.Size), s.Proto) {
		r.p.drop(DeviceFailed)
		return
	}
	for from, to, ok := r.cut.Next(); ok; from, to, ok = r.cut.Next() {
		// What lies in front of a packet is written already.
		copy(r.buf[at+from-l2:], header[:l2])
		r.p.write(r.buf[:at+to], at+from-l2, device.Offload{})
	}
}
