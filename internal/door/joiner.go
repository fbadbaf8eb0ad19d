//go:build linux || darwin || windows || freebsd || openbsd

package door

import (
	"sync"

	"tincan/internal/device"
	"tincan/internal/packet"
)

// joiner makes super-packets of the packets of a batch that continue each other: the packet path routes, and the kernel
// takes, one super-packet at the cost of one packet.
type joiner struct {
	to        *queue
	buf       []byte
	coalescer packet.Coalescer
}

var joiners = sync.Pool{New: func() any { return &joiner{buf: make([]byte, 0, device.MaxPacket)} }}

func (j *joiner) add(p []byte) {
	if j.coalescer.Count() > 0 {
		if headers, ok := j.coalescer.Add(p); ok {
			j.buf = append(j.buf, p[headers:]...)
			return
		}
		j.flush()
	}
	if kind := kindOf(p); kind != device.GSONone && j.coalescer.Start(p, device.MaxPacket) {
		j.buf = append(j.buf[:0], p...)
		return
	}
	j.to.put(p, device.Offload{}, true)
}

// flush passes on the super-packet, if there is one.
func (j *joiner) flush() {
	count := j.coalescer.Count()
	if count == 0 {
		return
	}
	p := j.buf[:j.coalescer.Len()]
	s, ok := j.coalescer.Finish(p)
	off := device.Offload{}
	if ok {
		off = device.Offload{
			GSO: kindOf(p), NeedsCsum: true, HdrLen: s.HdrLen, GSOSize: s.Size, CsumStart: s.CsumStart, CsumOffset: s.CsumOffset,
		}
	}
	j.to.put(p, off, true)
}

// kindOf is the kind of super-packet that p, which has a full IP header, may be part of: only of TCP, which every system takes that
// takes any.
func kindOf(p []byte) device.GSOType {
	switch {
	case p[0]>>4 == 4 && p[9] == packet.ProtoTCP:
		return device.GSOTCPv4
	case p[0]>>4 == 6 && p[6] == packet.ProtoTCP:
		return device.GSOTCPv6
	}
	return device.GSONone
}
