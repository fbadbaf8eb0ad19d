package packet

import "encoding/binary"

// maxHeaders is the room for the IP and transport headers of a super-packet, in
// bytes: 40 + 60, with some for IPv6 extension headers.
const maxHeaders = 160

// Segmenter splits a TCP or UDP super-packet into segments without copying payload.
//
// The headers of a segment are written before its payload, over the tail
// of the segment before, which must therefore be out of the buffer (sealed or
// sent) when [Segmenter.Next] is called again. The zero value is ready for Start;
// a Segmenter holds no reference to anything but the packet, and is reused.
type Segmenter struct {
	p         []byte
	hdr       [maxHeaders]byte // the headers as they came
	hdrLen    int
	transport int
	size      int
	payload   int // offset in p of the payload not yet given out
	number    uint16
	proto     uint8
	v4        bool
	ipSum     uint16 // sum over the IPv4 header without length, id and checksum
	sum       uint16 // sum over addresses, protocol and transport header without what changes
	seq       uint32
	id        uint16
	flags     uint8
}

// Start begins with the super-packet p, which starts with its IP header.
// hdrLen is the length of the IP and transport headers together, transport the
// offset of the transport header, size the payload of a segment, all in bytes.
// proto is [ProtoTCP] or [ProtoUDP]. Lengths and checksums in the headers of p need
// not be right. It returns false if p is not such a packet; p is then unchanged.
//
// IPv6 extension headers are carried along, but a routing header, which would
// change the address that counts for the checksum, is not followed.
func (c *Segmenter) Start(p []byte, hdrLen, transport, size int, proto uint8) bool {
	if hdrLen > len(p) || hdrLen > maxHeaders || transport < IPv4Len || size <= 0 || len(p) > 0xffff {
		return false
	}
	switch proto {
	case ProtoTCP:
		if hdrLen < transport+TCPLen {
			return false
		}
	case ProtoUDP:
		if hdrLen != transport+UDPLen {
			return false
		}
	default:
		return false
	}
	switch {
	case Version(p) == 4:
		if n, ok := ipv4HeaderLen(p); !ok || n != transport {
			return false
		}
	case Version(p) != 6 || transport < IPv6Len:
		return false
	}

	*c = Segmenter{p: p, hdrLen: hdrLen, transport: transport, size: size, payload: hdrLen, proto: proto, v4: Version(p) == 4}
	copy(c.hdr[:], p[:hdrLen])
	h := c.hdr[:hdrLen]
	if c.v4 {
		c.id = binary.BigEndian.Uint16(h[offIPv4ID:])
		clear(h[offIPv4Len : offIPv4ID+2])
		clear(h[offIPv4Sum : offIPv4Sum+2])
		c.ipSum = Checksum(h[:transport], 0)
	}
	t := h[transport:]
	if proto == ProtoTCP {
		c.seq = binary.BigEndian.Uint32(t[offTCPSeq:])
		c.flags = t[offTCPFlags]
		clear(t[offTCPSeq : offTCPSeq+4])
		clear(t[offTCPFlags : offTCPFlags+1])
		clear(t[TCPSumOffset : TCPSumOffset+2])
	} else {
		clear(t[offUDPLen : UDPSumOffset+2])
	}
	c.sum = Checksum(t, TransportPseudoSum(h, proto, 0))
	return true
}

// Left is how many segments there are still, and how many bytes these have together.
func (c *Segmenter) Left() (segments, bytes int) {
	payload := len(c.p) - c.payload
	segments = (payload + c.size - 1) / max(c.size, 1)
	if c.number == 0 {
		segments = max(segments, 1) // one without payload
	}
	return segments, payload + segments*c.hdrLen
}

// Next makes the next segment and returns its position in the super-packet:
// p[from:to], complete with all lengths and checksums. ok is false when there
// is none left. Bytes before from belong to segments already returned.
func (c *Segmenter) Next() (from, to int, ok bool) {
	if c.p == nil || c.payload == len(c.p) && (c.number > 0 || len(c.p) != c.hdrLen) {
		return 0, 0, false
	}
	from = c.payload - c.hdrLen
	to = min(c.payload+c.size, len(c.p))
	last := to == len(c.p)
	seg := c.p[from:to]
	if c.number > 0 {
		copy(seg, c.hdr[:c.hdrLen])
	}

	if c.v4 {
		id := c.id + c.number
		binary.BigEndian.PutUint16(seg[offIPv4Len:], uint16(len(seg)))
		binary.BigEndian.PutUint16(seg[offIPv4ID:], id)
		binary.BigEndian.PutUint16(seg[offIPv4Sum:], ^Add(Add(c.ipSum, uint16(len(seg))), id))
	} else {
		binary.BigEndian.PutUint16(seg[offIPv6Len:], uint16(len(seg)-IPv6Len))
	}

	t := seg[c.transport:]
	sum := Add(Checksum(c.p[c.payload:to], c.sum), uint16(len(t)))
	if c.proto == ProtoTCP {
		seq := c.seq + uint32(c.payload-c.hdrLen)
		flags := c.flags
		if !last {
			flags &^= FlagFIN | FlagPSH
		}
		if c.number > 0 {
			flags &^= FlagCWR // announces something once
		}
		binary.BigEndian.PutUint32(t[offTCPSeq:], seq)
		t[offTCPFlags] = flags
		sum = Add(Add(sum, uint16(flags)), Add(uint16(seq>>16), uint16(seq)))
		binary.BigEndian.PutUint16(t[TCPSumOffset:], ^sum)
	} else {
		binary.BigEndian.PutUint16(t[offUDPLen:], uint16(len(t)))
		sum = ^Add(sum, uint16(len(t)))
		if sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(t[UDPSumOffset:], sum)
	}
	c.payload = to
	c.number++
	return from, to, true
}
