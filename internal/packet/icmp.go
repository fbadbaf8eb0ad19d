package packet

import (
	"encoding/binary"
	"net/netip"
)

// Types and codes of ICMP errors (RFC 792, RFC 1122, RFC 1812).
const (
	ICMPUnreachable   uint8 = 3
	ICMPTimeExceeded  uint8 = 11
	CodeNetUnreach    uint8 = 0
	CodeFragNeeded    uint8 = 4
	CodeNetUnknown    uint8 = 6
	CodeNetProhibited uint8 = 9
	CodeFiltered      uint8 = 13
)

// Types and codes of ICMPv6 errors (RFC 4443).
const (
	ICMPv6Unreachable   uint8 = 1
	ICMPv6TooBig        uint8 = 2
	ICMPv6TimeExceeded  uint8 = 3
	CodeNoRoute         uint8 = 0
	CodeAdminProhibited uint8 = 1
	CodeAddrUnreach     uint8 = 3
)

// MaxICMPError is the length of the longest ICMP error that is built, in bytes
// of IP packet.
const MaxICMPError = 576

// MayAnswer reports whether an ICMP error may be sent because of the IP packet p
// (RFC 1122 3.2.2, RFC 4443 2.4): not because of another error, of a later
// fragment, or to a sender that is not one host.
func MayAnswer(p []byte) bool {
	h, ok := Parse(p)
	if !ok || h.Later {
		return false
	}
	src, _ := Src(p)
	if src.IsUnspecified() || src.IsMulticast() || src == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return false
	}
	if h.Version == 4 && h.Proto == ProtoICMP || h.Version == 6 && h.Proto == ProtoICMPv6 {
		return h.Transport < h.Total && !isError(h.Version, p[h.Transport])
	}
	return true
}

// isError reports whether an ICMP or ICMPv6 message of this type reports an error
// (or redirects) and so must not be answered with another.
func isError(version int, typ uint8) bool {
	if version == 6 {
		return typ < 128 || typ == 137
	}
	switch typ {
	case ICMPUnreachable, 4, 5, ICMPTimeExceeded, 12:
		return true
	}
	return false
}

// AppendICMPError appends to dst a whole IP packet: the ICMP or ICMPv6 error
// (after the version of p) of the given type and code about the IP packet p,
// from the address from to p's source. If from is not an address of p's
// version, p's destination is used. info is the MTU in bytes of IP packet for a
// too big error and 0 otherwise. p is quoted as far as [MaxICMPError] allows. dst is
// returned unchanged if p is not IP. p and dst must not overlap.
func AppendICMPError(dst, p []byte, typ, code uint8, info uint32, from netip.Addr) []byte {
	n, ok := Len(p)
	if !ok {
		return dst
	}
	if Version(p) == 4 {
		return appendICMPv4(dst, p[:n], typ, code, info, from)
	}
	return appendICMPv6(dst, p[:n], typ, code, info, from)
}

func appendICMPv4(dst, p []byte, typ, code uint8, info uint32, from netip.Addr) []byte {
	p = p[:min(len(p), MaxICMPError-IPv4Len-ICMPLen)]
	source := [4]byte(p[offIPv4Dst:])
	if from.Is4() {
		source = from.As4()
	}
	start := len(dst)
	dst = append(dst, make([]byte, IPv4Len+ICMPLen)...)
	dst = append(dst, p...)

	h := dst[start:]
	h[0] = 0x45
	binary.BigEndian.PutUint16(h[offIPv4Len:], uint16(len(h)))
	h[offIPv4TTL], h[offIPv4Proto] = 255, ProtoICMP
	copy(h[offIPv4Src:], source[:])
	copy(h[offIPv4Dst:], p[offIPv4Src:offIPv4Dst])
	FixIPv4Sum(h)

	icmp := h[IPv4Len:]
	icmp[0], icmp[1] = typ, code
	binary.BigEndian.PutUint32(icmp[4:], info)
	binary.BigEndian.PutUint16(icmp[2:], ^Checksum(icmp, 0))
	return dst
}

func appendICMPv6(dst, p []byte, typ, code uint8, info uint32, from netip.Addr) []byte {
	p = p[:min(len(p), MaxICMPError-IPv6Len-ICMPLen)]
	source := [16]byte(p[offIPv6Dst:])
	if from.Is6() && !from.Is4In6() {
		source = from.As16()
	}
	start := len(dst)
	dst = append(dst, make([]byte, IPv6Len+ICMPLen)...)
	dst = append(dst, p...)

	h := dst[start:]
	h[0] = 0x60
	binary.BigEndian.PutUint16(h[offIPv6Len:], uint16(len(h)-IPv6Len))
	h[offIPv6Next], h[offIPv6Hop] = ProtoICMPv6, 255
	copy(h[offIPv6Src:], source[:])
	copy(h[offIPv6Dst:], p[offIPv6Src:offIPv6Dst])

	icmp := h[IPv6Len:]
	icmp[0], icmp[1] = typ, code
	binary.BigEndian.PutUint32(icmp[4:], info)
	binary.BigEndian.PutUint16(icmp[2:], ^Checksum(icmp, TransportPseudoSum(h, ProtoICMPv6, len(icmp))))
	return dst
}
