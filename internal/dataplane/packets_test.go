package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"tincan/internal/device"
	"tincan/internal/packet"
)

// ip describes a test packet. Its checksums and lengths are right.
type ip struct {
	src, dst string // addresses; ends of the stations' subnets if empty
	v6       bool
	udp      bool
	flags    uint8 // TCP; 0 is ACK
	seq, ack uint32
	opts     []byte // TCP options, a multiple of 4
	payload  int
	id       uint16
	frag     uint16 // IPv4 flags and offset
	ttl      uint8
	port     uint16
}

func (f ip) build() []byte {
	src, dst := f.src, f.dst
	if src == "" {
		src = map[bool]string{false: "10.0.0.1", true: "fd00::1"}[f.v6]
	}
	if dst == "" {
		dst = map[bool]string{false: "10.1.0.1", true: "fd00:1::1"}[f.v6]
	}
	ttl := f.ttl
	if ttl == 0 {
		ttl = 64
	}
	head, proto, tr := 20, byte(packet.ProtoTCP), 20+len(f.opts)
	if f.v6 {
		head = 40
	}
	if f.udp {
		proto, tr = packet.ProtoUDP, 8
	}
	p := make([]byte, head+tr+f.payload)
	s, d := netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()
	if f.v6 {
		p[0] = 0x60
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
		p[6], p[7] = proto, ttl
		copy(p[8:], s)
		copy(p[24:], d)
	} else {
		p[0] = 0x45
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[4:], f.id)
		binary.BigEndian.PutUint16(p[6:], f.frag)
		p[8], p[9] = ttl, proto
		copy(p[12:], s)
		copy(p[16:], d)
	}
	t := p[head:]
	binary.BigEndian.PutUint16(t, 4000+f.port)
	binary.BigEndian.PutUint16(t[2:], 80)
	if f.udp {
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	} else {
		binary.BigEndian.PutUint32(t[4:], f.seq)
		binary.BigEndian.PutUint32(t[8:], f.ack)
		t[12] = byte(tr/4) << 4
		t[13] = f.flags
		if f.flags == 0 {
			t[13] = packet.FlagACK
		}
		binary.BigEndian.PutUint16(t[14:], 512)
		copy(t[20:], f.opts)
	}
	for i := range f.payload {
		t[tr+i] = byte(int(f.seq) + i*7)
	}
	finish(p)
	return p
}

// finish computes all checksums of p byte by byte, in no way like the code under test.
func finish(p []byte) {
	sum16 := func(b ...byte) uint16 {
		var s uint32
		for i := 0; i < len(b); i += 2 {
			s += uint32(b[i]) << 8
			if i+1 < len(b) {
				s += uint32(b[i+1])
			}
		}
		for s>>16 != 0 {
			s = s>>16 + s&0xffff
		}
		return ^uint16(s)
	}
	head, proto, addrs := 20, p[9], []byte(nil)
	if p[0]>>4 == 6 {
		head, proto = 40, p[6]
		addrs = p[8:40]
	} else {
		addrs = p[12:20]
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], sum16(p[:20]...))
	}
	t := p[head:]
	at := 16
	if proto == packet.ProtoUDP {
		at = 6
	}
	if proto != packet.ProtoTCP && proto != packet.ProtoUDP {
		return
	}
	t[at], t[at+1] = 0, 0
	pseudo := slices.Concat(addrs, []byte{0, proto, byte(len(t) >> 8), byte(len(t))}, t)
	s := sum16(pseudo...)
	if s == 0 && proto == packet.ProtoUDP {
		s = 0xffff
	}
	binary.BigEndian.PutUint16(t[at:], s)
}

// super makes a finished packet into the super-packet that a kernel would deliver.
func super(p []byte, size int) ([]byte, device.Offload) {
	p = bytes.Clone(p)
	off := device.Offload{GSOSize: uint16(size), NeedsCsum: true, CsumStart: 20, GSO: device.GSOTCPv4, CsumOffset: 16}
	proto := p[9]
	if p[0]>>4 == 6 {
		off.CsumStart, off.GSO, proto = 40, device.GSOTCPv6, p[6]
	}
	off.HdrLen = off.CsumStart + 8
	if proto == packet.ProtoUDP {
		off.GSO, off.CsumOffset = device.GSOUDP, 6
	} else {
		off.HdrLen = off.CsumStart + uint16(p[off.CsumStart+12]>>4)*4
	}
	n := len(p) - int(off.CsumStart)
	binary.BigEndian.PutUint16(p[off.CsumStart+off.CsumOffset:], packet.TransportPseudoSum(p, proto, n))
	return p, off
}

// segments cuts what was written to a device into the packets it stands for, as a kernel would,
// building each from nothing.
func segments(t testing.TB, w written) [][]byte {
	t.Helper()
	p, off := w.pkt, w.off
	if off.GSO == device.GSONone {
		if off.NeedsCsum {
			t.Fatalf("single packet with unfinished checksum: %x", p[:40])
		}
		return [][]byte{p}
	}
	start := int(off.CsumStart)
	v6 := p[0]>>4 == 6
	proto := p[9]
	if v6 {
		proto = p[6]
	}
	want := packet.TransportPseudoSum(p, proto, len(p)-start)
	if got := binary.BigEndian.Uint16(p[start+int(off.CsumOffset):]); !off.NeedsCsum || got != want {
		t.Fatalf("super-packet has %04x instead of the pseudo-header's sum %04x", got, want)
	}
	if v6 && int(binary.BigEndian.Uint16(p[4:]))+40 != len(p) || !v6 && int(binary.BigEndian.Uint16(p[2:])) != len(p) {
		t.Fatal("super-packet has a wrong length")
	}
	if !v6 && !packet.IPv4SumOK(p) {
		t.Fatal("super-packet has a wrong IPv4 checksum")
	}
	return segmentReference(p, int(off.HdrLen), start, int(off.GSOSize))
}

// segmentReference is an independent software segmenter.
func segmentReference(p []byte, hdrLen, transport, size int) (out [][]byte) {
	v6, tcp := p[0]>>4 == 6, hdrLen-transport != 8
	payload := p[hdrLen:]
	for i, at := 0, 0; at < len(payload) || i == 0; i, at = i+1, at+size {
		part := payload[at:min(at+size, len(payload))]
		s := slices.Concat(p[:hdrLen], part)
		if v6 {
			binary.BigEndian.PutUint16(s[4:], uint16(len(s)-40))
		} else {
			binary.BigEndian.PutUint16(s[2:], uint16(len(s)))
			binary.BigEndian.PutUint16(s[4:], binary.BigEndian.Uint16(p[4:])+uint16(i))
		}
		t := s[transport:]
		if tcp {
			binary.BigEndian.PutUint32(t[4:], binary.BigEndian.Uint32(t[4:])+uint32(at))
			if at+size < len(payload) {
				t[13] &^= packet.FlagPSH | packet.FlagFIN
			}
			if i > 0 {
				t[13] &^= packet.FlagCWR
			}
		} else {
			binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
		}
		finish(s)
		out = append(out, s)
	}
	return out
}

// flat is the packets that all writes stand for, in order.
func flat(t testing.TB, ws []written) (out [][]byte) {
	for _, w := range ws {
		out = append(out, segments(t, w)...)
	}
	return out
}

// withoutID clears what says nothing in packets with DF: the IPv4 id, and with it the checksum.
func withoutID(p []byte) []byte {
	if p[0]>>4 == 4 && p[6]&0x40 != 0 {
		p = bytes.Clone(p)
		p[4], p[5], p[10], p[11] = 0, 0, 0, 0
	}
	return p
}

func same(t testing.TB, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d packets instead of %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(withoutID(got[i]), withoutID(want[i])) {
			t.Fatalf("packet %d of %d is\n%x\ninstead of\n%x", i, len(want), got[i], want[i])
		}
	}
}
