package packet

import (
	"encoding/binary"
	"math/bits"
)

// Checksum adds the 16-bit words of b to initial in ones' complement (RFC 1071)
// and returns the sum, not inverted: a header field holds ^Checksum(...), and
// the sum over bytes that contain their own right checksum is 0xffff.
//
// Sums of several pieces are chained through initial; only the last piece may
// have an odd number of bytes.
func Checksum(b []byte, initial uint16) uint16 {
	// The sum does not care for the order of bytes as long as it is the same
	// for all words, so it is made from little-endian loads, which cost nothing
	// on our processors, and swapped once at the end.
	sum := uint64(bits.ReverseBytes16(initial))
	var carry uint64
	for len(b) >= 64 {
		c := b[:64:64]
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(c), 0)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(c[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(c[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(c[24:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(c[32:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(c[40:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(c[48:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(c[56:]), carry)
		sum += carry
		b = b[64:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum += carry
		b = b[8:]
	}
	var rest uint64
	if len(b) >= 4 {
		rest = uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		rest += uint64(binary.LittleEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		rest += uint64(b[0])
	}
	sum, carry = bits.Add64(sum, rest, 0)
	return bits.ReverseBytes16(fold(sum, carry))
}

// fold brings a sum of 16-bit words, with one carry of 64 bits, down to one word.
func fold(sum, carry uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff + carry
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// Add is the ones' complement sum of a and b.
func Add(a, b uint16) uint16 {
	s := uint32(a) + uint32(b)
	return uint16(s) + uint16(s>>16)
}

// PseudoSum is the sum, not inverted, over the pseudo-header of a TCP, UDP or
// ICMPv6 packet: to be passed to [Checksum] as its initial value, or stored as
// it is in the checksum field of a packet whose checksum the kernel completes.
// src and dst are both 4 or both 16 bytes; length is that of the transport
// header and its payload in bytes.
func PseudoSum(proto uint8, src, dst []byte, length int) uint16 {
	sum := Checksum(dst, Checksum(src, 0))
	sum = Add(sum, uint16(proto))
	return Add(Add(sum, uint16(length>>16)), uint16(length))
}

// TransportPseudoSum is [PseudoSum] with the addresses of the IP packet p; 0 if
// p is not IP.
func TransportPseudoSum(p []byte, proto uint8, length int) uint16 {
	switch {
	case Version(p) == 4 && len(p) >= IPv4Len:
		return PseudoSum(proto, p[offIPv4Src:offIPv4Dst], p[offIPv4Dst:IPv4Len], length)
	case Version(p) == 6 && len(p) >= IPv6Len:
		return PseudoSum(proto, p[offIPv6Src:offIPv6Dst], p[offIPv6Dst:IPv6Len], length)
	}
	return 0
}

// UpdateSum returns the checksum field sum, as stored in a header, after a
// 16-bit word it covers has changed from old to new (RFC 1624).
func UpdateSum(sum, old, new uint16) uint16 {
	return ^Add(Add(^sum, ^old), new)
}

// CompleteSum fills in the checksum at offset from start, of which only the pseudo-header is summed up, as the kernel leaves
// it to network cards. It returns false if it does not lie in p.
func CompleteSum(p []byte, start, offset int) bool {
	at := start + offset
	if start >= len(p) || at+2 > len(p) {
		return false
	}
	sum := ^Checksum(p[start:], 0)
	if sum == 0 && offset == UDPSumOffset {
		sum = 0xffff // zero means "no checksum" in UDP
	}
	binary.BigEndian.PutUint16(p[at:], sum)
	return true
}

// FixTransportSum computes and stores the checksum of the transport header of
// the IP packet p whose parts h describes. It returns false and changes nothing
// if the packet is a fragment or of a protocol other than TCP, UDP and ICMPv6.
func FixTransportSum(p []byte, h Header) bool {
	at, ok := transportSumAt(p, h)
	if !ok {
		return false
	}
	p[at], p[at+1] = 0, 0
	sum := ^Checksum(p[h.Transport:h.Total], TransportPseudoSum(p, h.Proto, h.Total-h.Transport))
	if sum == 0 && h.Proto == ProtoUDP {
		sum = 0xffff // zero means "no checksum" in UDP
	}
	binary.BigEndian.PutUint16(p[at:], sum)
	return true
}

// TransportSumOK reports whether the checksum of the transport header of p is
// right. It is false for fragments, for other protocols than TCP, UDP and
// ICMPv6, and for UDP without a checksum.
func TransportSumOK(p []byte, h Header) bool {
	at, ok := transportSumAt(p, h)
	if !ok || h.Proto == ProtoUDP && p[at]|p[at+1] == 0 {
		return false
	}
	return Checksum(p[h.Transport:h.Total], TransportPseudoSum(p, h.Proto, h.Total-h.Transport)) == 0xffff
}

// transportSumAt is the offset in p of the transport checksum.
func transportSumAt(p []byte, h Header) (int, bool) {
	if h.Fragment || h.Transport < IPv4Len || h.Total > len(p) {
		return 0, false
	}
	at, least := 0, 0
	switch h.Proto {
	case ProtoTCP:
		at, least = TCPSumOffset, TCPLen
	case ProtoUDP:
		at, least = UDPSumOffset, UDPLen
	case ProtoICMPv6:
		at, least = 2, 4
	default:
		return 0, false
	}
	return h.Transport + at, h.Transport+least <= h.Total
}

// FixIPv4Sum computes and stores the header checksum of the IPv4 packet p. It
// does nothing if p does not hold its whole header.
func FixIPv4Sum(p []byte) {
	n, ok := ipv4HeaderLen(p)
	if !ok {
		return
	}
	p[offIPv4Sum], p[offIPv4Sum+1] = 0, 0
	binary.BigEndian.PutUint16(p[offIPv4Sum:], ^Checksum(p[:n], 0))
}

// IPv4SumOK reports whether p holds a whole IPv4 header with the right checksum.
func IPv4SumOK(p []byte) bool {
	n, ok := ipv4HeaderLen(p)
	return ok && Checksum(p[:n], 0) == 0xffff
}

// ipv4HeaderLen is the length of p's IPv4 header with options, false if p is
// not IPv4 or shorter than that.
func ipv4HeaderLen(p []byte) (int, bool) {
	if len(p) < IPv4Len || p[0]>>4 != 4 {
		return 0, false
	}
	n := int(p[0]&15) * 4
	return n, n >= IPv4Len && n <= len(p)
}
