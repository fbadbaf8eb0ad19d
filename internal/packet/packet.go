// Package packet reads and patches the headers of Ethernet, IPv4, IPv6, TCP,
// UDP and ICMP packets in place.
//
// It answers where a packet goes, how long it is and whether its checksums are
// right; it builds ICMP errors, fragments, segments and coalesces packets. It decides
// nothing: where a packet is sent is up to package route and the data plane.
//
// Functions take either a frame, which begins with an Ethernet header, or an IP
// packet (p), which begins with its IP header. They write only where their
// comment says so, keep nothing, and never panic, whatever the bytes are.
package packet

import (
	"encoding/binary"
	"net/netip"
)

// Sizes of headers in bytes.
const (
	EthernetLen = 14 // without a VLAN tag
	VLANLen     = 4  // what one VLAN tag adds
	IPv4Len     = 20 // without options
	IPv6Len     = 40
	TCPLen      = 20 // without options
	UDPLen      = 8
	ICMPLen     = 8 // of an error message, ICMP and ICMPv6
)

// EtherTypes.
const (
	TypeIPv4 uint16 = 0x0800
	TypeARP  uint16 = 0x0806
	TypeVLAN uint16 = 0x8100
	TypeIPv6 uint16 = 0x86dd
)

// IP protocol numbers.
const (
	ProtoHopByHop    uint8 = 0
	ProtoICMP        uint8 = 1
	ProtoIPIP        uint8 = 4
	ProtoTCP         uint8 = 6
	ProtoUDP         uint8 = 17
	ProtoRouting     uint8 = 43
	ProtoFragment    uint8 = 44
	ProtoICMPv6      uint8 = 58
	ProtoDestOptions uint8 = 60
)

// Flags of a TCP header.
const (
	FlagFIN uint8 = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// Offsets of fields from the start of their header, in bytes.
const (
	offIPv4Len   = 2
	offIPv4ID    = 4
	offIPv4Frag  = 6
	offIPv4TTL   = 8
	offIPv4Proto = 9
	offIPv4Sum   = 10
	offIPv4Src   = 12
	offIPv4Dst   = 16

	offIPv6Len  = 4
	offIPv6Next = 6
	offIPv6Hop  = 7
	offIPv6Src  = 8
	offIPv6Dst  = 24

	offTCPSeq   = 4
	offTCPAck   = 8
	offTCPOff   = 12
	offTCPFlags = 13

	// TCPSumOffset and UDPSumOffset are where the checksum lies in a transport header.
	TCPSumOffset = 16
	UDPSumOffset = 6

	offUDPLen = 4
)

// IPv4's flags beside the fragment offset.
const (
	flagDF = 0x4000
	flagMF = 0x2000
)

// Version is the IP version of p as its first nibble says, 0 if p is empty.
func Version(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	return int(p[0] >> 4)
}

// EtherTypeOf is the EtherType that belongs to the IP packet p, false if p
// starts with neither 4 nor 6.
func EtherTypeOf(p []byte) (uint16, bool) {
	switch Version(p) {
	case 4:
		return TypeIPv4, true
	case 6:
		return TypeIPv6, true
	}
	return 0, false
}

// Dst is the destination address of the IP packet p, false if p is too short
// for a header or neither IPv4 nor IPv6.
func Dst(p []byte) (netip.Addr, bool) {
	switch Version(p) {
	case 4:
		if len(p) >= IPv4Len {
			return netip.AddrFrom4([4]byte(p[offIPv4Dst:])), true
		}
	case 6:
		if len(p) >= IPv6Len {
			return netip.AddrFrom16([16]byte(p[offIPv6Dst:])), true
		}
	}
	return netip.Addr{}, false
}

// Src is the source address of the IP packet p, with the rules of [Dst].
func Src(p []byte) (netip.Addr, bool) {
	switch Version(p) {
	case 4:
		if len(p) >= IPv4Len {
			return netip.AddrFrom4([4]byte(p[offIPv4Src:])), true
		}
	case 6:
		if len(p) >= IPv6Len {
			return netip.AddrFrom16([16]byte(p[offIPv6Src:])), true
		}
	}
	return netip.Addr{}, false
}

// Len is the length of the IP packet p in bytes as its header says, false if p
// holds no whole IP header or is shorter than it claims. What follows is padding.
func Len(p []byte) (int, bool) {
	n := 0
	switch {
	case Version(p) == 4 && len(p) >= IPv4Len:
		n = int(binary.BigEndian.Uint16(p[offIPv4Len:]))
		return n, n >= IPv4Len && n <= len(p)
	case Version(p) == 6 && len(p) >= IPv6Len:
		n = IPv6Len + int(binary.BigEndian.Uint16(p[offIPv6Len:]))
		return n, n <= len(p)
	}
	return 0, false
}

// TrafficClass is the type of service byte of IPv4 or the traffic class of
// IPv6, 0 if p is not IP.
func TrafficClass(p []byte) uint8 {
	switch {
	case Version(p) == 4 && len(p) >= IPv4Len:
		return p[1]
	case Version(p) == 6 && len(p) >= IPv6Len:
		return p[0]<<4 | p[1]>>4
	}
	return 0
}

// DF reports whether the IP packet p must not be fragmented on its way: always
// true in IPv6.
func DF(p []byte) bool {
	return Version(p) == 6 || Version(p) == 4 && len(p) >= IPv4Len && p[offIPv4Frag]&(flagDF>>8) != 0
}

// DecrementTTL takes one from the TTL (and keeps the header checksum right) or
// hop limit of p. It returns false and changes nothing if p has no further hop
// to go or is not IP.
func DecrementTTL(p []byte) bool {
	switch {
	case Version(p) == 4 && len(p) >= IPv4Len:
		if p[offIPv4TTL] <= 1 {
			return false
		}
		old := binary.BigEndian.Uint16(p[offIPv4TTL:])
		p[offIPv4TTL]--
		sum := UpdateSum(binary.BigEndian.Uint16(p[offIPv4Sum:]), old, binary.BigEndian.Uint16(p[offIPv4TTL:]))
		binary.BigEndian.PutUint16(p[offIPv4Sum:], sum)
		return true
	case Version(p) == 6 && len(p) >= IPv6Len:
		if p[offIPv6Hop] <= 1 {
			return false
		}
		p[offIPv6Hop]--
		return true
	}
	return false
}

// Header describes the parts of an IP packet.
type Header struct {
	Version   int   // 4 or 6
	Proto     uint8 // transport protocol; in IPv6 of what follows the extension headers
	Transport int   // offset of the transport header: all IP headers, in bytes
	Total     int   // bytes of the whole packet as its header says, at most len(p)
	Fragment  bool  // the packet is a fragment, the first one included
	Later     bool  // a fragment that does not begin with a transport header
	DF        bool  // IPv4 don't fragment; always true in IPv6
}

// maxExtensions bounds the walk over IPv6 extension headers.
const maxExtensions = 8

// Parse reads the IP header of p and walks over IPv6 extension headers. It
// returns false if p is not IP, is shorter than it claims, or has a header
// that contradicts itself. Bytes after Total are padding.
func Parse(p []byte) (h Header, ok bool) {
	switch Version(p) {
	case 4:
		if len(p) < IPv4Len {
			return h, false
		}
		frag := binary.BigEndian.Uint16(p[offIPv4Frag:])
		h = Header{
			Version:   4,
			Proto:     p[offIPv4Proto],
			Transport: int(p[0]&15) * 4,
			Total:     int(binary.BigEndian.Uint16(p[offIPv4Len:])),
			Fragment:  frag&^flagDF&0x7fff != 0,
			Later:     frag&0x1fff != 0,
			DF:        frag&flagDF != 0,
		}
		return h, h.Transport >= IPv4Len && h.Transport <= h.Total && h.Total <= len(p)
	case 6:
		if len(p) < IPv6Len {
			return h, false
		}
		h = Header{
			Version:   6,
			Proto:     p[offIPv6Next],
			Transport: IPv6Len,
			Total:     IPv6Len + int(binary.BigEndian.Uint16(p[offIPv6Len:])),
			DF:        true,
		}
		if h.Total > len(p) {
			return h, false
		}
		return h, h.skipExtensions(p)
	}
	return h, false
}

// skipExtensions moves h over the extension headers of the IPv6 packet p.
func (h *Header) skipExtensions(p []byte) bool {
	for range maxExtensions {
		var size int
		switch h.Proto {
		case ProtoHopByHop, ProtoRouting, ProtoDestOptions:
			if h.Transport+8 > h.Total {
				return false
			}
			size = 8 + 8*int(p[h.Transport+1])
		case ProtoFragment:
			size = 8
			if h.Transport+size > h.Total {
				return false
			}
			h.Fragment = true
			h.Later = h.Later || binary.BigEndian.Uint16(p[h.Transport+2:])&^7 != 0
		default:
			return true
		}
		h.Proto = p[h.Transport]
		h.Transport += size
		if h.Transport > h.Total {
			return false
		}
		if h.Later { // what follows is data, not a header
			return true
		}
	}
	return false
}

// TCP is what is read from a TCP header.
type TCP struct {
	Src, Dst uint16
	Seq, Ack uint32
	Flags    uint8
	Len      int // bytes of header with its options
}

// ParseTCP reads the TCP header at the start of t, false if t does not hold it
// with all of its options.
func ParseTCP(t []byte) (h TCP, ok bool) {
	if len(t) < TCPLen {
		return h, false
	}
	h = TCP{
		Src:   binary.BigEndian.Uint16(t),
		Dst:   binary.BigEndian.Uint16(t[2:]),
		Seq:   binary.BigEndian.Uint32(t[offTCPSeq:]),
		Ack:   binary.BigEndian.Uint32(t[offTCPAck:]),
		Flags: t[offTCPFlags],
		Len:   int(t[offTCPOff]>>4) * 4,
	}
	return h, h.Len >= TCPLen && h.Len <= len(t)
}

// UDP is what is read from a UDP header.
type UDP struct {
	Src, Dst uint16
	Len      int // bytes of header and payload, as the header says
}

// ParseUDP reads the UDP header at the start of u, false if u is shorter than it claims.
func ParseUDP(u []byte) (h UDP, ok bool) {
	if len(u) < UDPLen {
		return h, false
	}
	h = UDP{
		Src: binary.BigEndian.Uint16(u),
		Dst: binary.BigEndian.Uint16(u[2:]),
		Len: int(binary.BigEndian.Uint16(u[offUDPLen:])),
	}
	return h, h.Len >= UDPLen && h.Len <= len(u)
}

// EtherType is the type of what the frame carries and the offset at which that
// begins, looking through one VLAN tag. It returns false if the frame is
// shorter than its header.
func EtherType(frame []byte) (typ uint16, offset int, ok bool) {
	if len(frame) < EthernetLen {
		return 0, 0, false
	}
	typ, offset = binary.BigEndian.Uint16(frame[12:]), EthernetLen
	if typ == TypeVLAN {
		if len(frame) < EthernetLen+VLANLen {
			return 0, 0, false
		}
		typ, offset = binary.BigEndian.Uint16(frame[16:]), EthernetLen+VLANLen
	}
	return typ, offset, true
}
