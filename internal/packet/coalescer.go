package packet

import (
	"bytes"
	"encoding/binary"
)

// Super describes a finished super-packet, in the terms of a virtio header.
type Super struct {
	Proto      uint8  // ProtoTCP or ProtoUDP
	HdrLen     uint16 // bytes of IP and transport header
	Size       uint16 // payload bytes per segment
	CsumStart  uint16 // offset of the transport header
	CsumOffset uint16 // of the checksum field from there
}

// Coalescer puts segments of one flow together into a super-packet: the reverse
// of [Segmenter]. The caller owns the buffer and places the payload; a Coalescer
// decides which segments belong together and writes the headers at the end. The zero
// value is ready for Start.
type Coalescer struct {
	hdr       [maxHeaders]byte // headers of the last segment that was taken
	hdrLen    int
	transport int
	proto     uint8
	v4, df    bool
	size      int    // payload of the first segment
	total     int    // bytes of the super-packet so far
	seq       uint32 // TCP: sequence number expected next
	id        uint16 // IPv4 id of the last segment
	flags     uint8  // TCP flags of the last segment
	closed    bool   // nothing may follow
	count     int
	max       int // segments
}

// Start takes p as the first segment. It returns false if no other could join
// it: it is no TCP or UDP packet with payload, is a fragment, has IP options or
// extension headers, has bytes after its end, has TCP flags other than ACK and
// PSH, or its checksum is wrong. (A coalesced packet claims that all were right.) It also returns
// false if most, the largest number of segments, is below two.
func (j *Coalescer) Start(p []byte, most int) bool {
	if most < 2 {
		j.count = 0
		return false
	}
	h, t, ok := joinable(p)
	if !ok {
		j.count = 0
		return false
	}
	payload := len(p) - t
	*j = Coalescer{
		hdrLen: t, transport: h.Transport, proto: h.Proto, v4: h.Version == 4, df: h.DF,
		size: payload, count: 1, max: most, total: len(p),
	}
	j.take(p[:t], payload)
	return true
}

// joinable parses p and returns its IP header and the length of all headers.
func joinable(p []byte) (h Header, headers int, ok bool) {
	h, ok = Parse(p)
	if !ok || h.Fragment || h.Total != len(p) {
		return h, 0, false
	}
	if h.Version == 4 && (h.Transport != IPv4Len || !IPv4SumOK(p)) || h.Version == 6 && h.Transport != IPv6Len {
		return h, 0, false
	}
	switch h.Proto {
	case ProtoTCP:
		tcp, ok := ParseTCP(p[h.Transport:])
		if !ok || tcp.Flags&^FlagPSH != FlagACK {
			return h, 0, false
		}
		headers = h.Transport + tcp.Len
	case ProtoUDP:
		udp, ok := ParseUDP(p[h.Transport:])
		if !ok || h.Transport+udp.Len != len(p) {
			return h, 0, false
		}
		headers = h.Transport + UDPLen
	default:
		return h, 0, false
	}
	return h, headers, headers < len(p) && TransportSumOK(p, h)
}

// take makes the headers hdr those of the last segment.
func (j *Coalescer) take(hdr []byte, payload int) {
	copy(j.hdr[:], hdr)
	if j.v4 {
		j.id = binary.BigEndian.Uint16(hdr[offIPv4ID:])
	}
	if j.proto == ProtoTCP {
		t := hdr[j.transport:]
		j.seq = binary.BigEndian.Uint32(t[offTCPSeq:]) + uint32(payload)
		j.flags = t[offTCPFlags]
		j.closed = j.flags&FlagPSH != 0
	}
	j.closed = j.closed || payload < j.size
}

// Len is the length of the super-packet so far in bytes: where the payload of
// the next segment has to begin.
func (j *Coalescer) Len() int { return j.total }

// Count is the number of segments taken; 0 when there is nothing to finish.
func (j *Coalescer) Count() int { return j.count }

// Add reports whether the IP packet seg continues the flow and, if so, takes it:
// the caller must then have the payload, seg[headers:], lie at offset Len()-len(payload)
// of the super-packet. Nothing has changed if it returns false.
func (j *Coalescer) Add(seg []byte) (headers int, ok bool) {
	if j.count == 0 || j.count >= j.max || j.closed || len(seg) <= j.hdrLen || !j.same(seg) {
		return 0, false
	}
	payload := len(seg) - j.hdrLen
	if payload > j.size || j.total+payload > 0xffff {
		return 0, false
	}
	h, t, ok := joinable(seg)
	if !ok || t != j.hdrLen || h.Proto != j.proto {
		return 0, false
	}
	j.take(seg[:t], payload)
	j.total += payload
	j.count++
	return t, true
}

// same compares the headers of seg, which are all there, with those of the last
// segment: everything must be equal but lengths, checksums, PSH, and the fields that count up.
func (j *Coalescer) same(seg []byte) bool {
	a, b := j.hdr[:j.hdrLen], seg[:j.hdrLen]
	if j.v4 {
		// Version, TOS; flags, TTL, protocol; addresses.
		if a[0] != b[0] || a[1] != b[1] ||
			!bytes.Equal(a[offIPv4Frag:offIPv4Sum], b[offIPv4Frag:offIPv4Sum]) ||
			!bytes.Equal(a[offIPv4Src:IPv4Len], b[offIPv4Src:IPv4Len]) {
			return false
		}
		// With DF the id means nothing (RFC 6864); without, the kernel counts it on when it cuts.
		if !j.df && binary.BigEndian.Uint16(b[offIPv4ID:]) != j.id+1 {
			return false
		}
	} else if !bytes.Equal(a[:offIPv6Len], b[:offIPv6Len]) || !bytes.Equal(a[offIPv6Next:IPv6Len], b[offIPv6Next:IPv6Len]) {
		return false
	}
	a, b = a[j.transport:], b[j.transport:]
	if j.proto == ProtoUDP {
		return bytes.Equal(a[:4], b[:4])
	}
	return bytes.Equal(a[:offTCPSeq], b[:offTCPSeq]) &&
		binary.BigEndian.Uint32(b[offTCPSeq:]) == j.seq &&
		bytes.Equal(a[offTCPAck:offTCPFlags], b[offTCPAck:offTCPFlags]) &&
		bytes.Equal(a[14:16], b[14:16]) && // window
		bytes.Equal(a[18:], b[18:]) // urgent pointer, options
}

// Finish writes the final headers over those of the first segment, which lies
// at the start of p, and describes the result. p must be Len() bytes long. With
// a single segment there is nothing to do: it returns false and p is unchanged.
func (j *Coalescer) Finish(p []byte) (Super, bool) {
	if j.count < 2 || len(p) != j.total {
		j.count = 0
		return Super{}, false
	}
	j.count = 0
	if j.v4 {
		binary.BigEndian.PutUint16(p[offIPv4Len:], uint16(j.total))
		FixIPv4Sum(p)
	} else {
		binary.BigEndian.PutUint16(p[offIPv6Len:], uint16(j.total-IPv6Len))
	}
	t := p[j.transport:]
	s := Super{Proto: j.proto, HdrLen: uint16(j.hdrLen), Size: uint16(j.size), CsumStart: uint16(j.transport)}
	if j.proto == ProtoTCP {
		t[offTCPFlags] |= j.flags
		s.CsumOffset = TCPSumOffset
	} else {
		binary.BigEndian.PutUint16(t[offUDPLen:], uint16(len(t)))
		s.CsumOffset = UDPSumOffset
	}
	binary.BigEndian.PutUint16(t[s.CsumOffset:], TransportPseudoSum(p, j.proto, len(t)))
	return s, true
}
