package dataplane

import (
	"errors"
	"time"

	"tincan/internal/device"
	"tincan/internal/packet"
)

// segmentLimits are the super-packets that the device accepts: as declared when it was opened, and as learned from refusals.
type segmentLimits [device.GSOUDP + 1]struct {
	max   int           // segments, 0: none
	until time.Duration // nothing is joined before
	pause time.Duration // how long the last pause was
}

const (
	// safeSegments is how many UDP segments every kernel accepts (UDP_MAX_SEGMENTS before Linux 6.9).
	safeSegments = 64
	// A refused super-packet is written again packet by packet, which costs more than coalescing saves. So
	// after each refusal packets of that kind are not coalesced for a while (exponential back-off).
	firstPause = time.Second
	maxPause   = 5 * time.Minute
	// resetAfter times the last pause without a refusal resets the back-off.
	resetAfter = 4
)

func deviceLimits(d device.Device) (a segmentLimits) {
	for kind := device.GSOTCPv4; kind <= device.GSOUDP; kind++ {
		a[kind].max = d.MaxSegments(kind)
	}
	return a
}

// segments is how many packets of the kind may be coalesced now.
func (a *segmentLimits) segments(kind device.GSOType, now time.Duration) int {
	k := &a[kind]
	if now < k.until {
		return 0
	}
	return k.max
}

// refused records that a super-packet of count segments was refused.
func (a *segmentLimits) refused(kind device.GSOType, count int, now time.Duration) {
	k := &a[kind]
	if kind == device.GSOUDP && count > safeSegments {
		k.max = safeSegments
		return
	}
	if now-k.until > resetAfter*k.pause {
		k.pause = firstPause / 2
	}
	k.pause = min(2*k.pause, maxPause)
	k.until = now + k.pause
}

// kindOf is the kind of super-packet that p, which has a full IP header, may be part of.
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
		r.limits.refused(off.GSO, count, r.now)
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
	if !r.segmenter.Start(p, int(s.HdrLen), int(s.CsumStart), int(s.Size), s.Proto) {
		r.p.drop(DeviceFailed)
		return
	}
	for from, to, ok := r.segmenter.Next(); ok; from, to, ok = r.segmenter.Next() {
		// The bytes before a packet have been written already.
		copy(r.buf[at+from-l2:], header[:l2])
		r.p.write(r.buf[:at+to], at+from-l2, device.Offload{})
	}
}
