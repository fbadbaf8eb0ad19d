package packet

import (
	"encoding/binary"
	"net/netip"
)

// Offsets in an ARP packet for IPv4 over Ethernet (RFC 826), and its length.
const (
	arpOp     = 6
	arpSendHW = 8
	arpSendIP = 14
	arpTgtHW  = 18
	arpTgtIP  = 24
	arpLen    = 28
)

// arpPrefix begins every ARP packet for IPv4 over Ethernet.
var arpPrefix = [6]byte{0, 1, 8, 0, 6, 4}

// ARPTarget is the address that the ARP packet a (without its Ethernet header)
// asks for, false if it is not a request for IPv4 over Ethernet.
func ARPTarget(a []byte) (netip.Addr, bool) {
	if len(a) < arpLen || [6]byte(a) != arpPrefix || binary.BigEndian.Uint16(a[arpOp:]) != 1 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(a[arpTgtIP:])), true
}

// AnswerARP turns the ARP request a, for which [ARPTarget] was true, into the
// answer. The hardware address in it is the asker's with its last byte
// inverted: no other host on a point-to-point interface has it.
func AnswerARP(a []byte) {
	if _, ok := ARPTarget(a); !ok {
		return
	}
	mac, asker, target := [6]byte(a[arpSendHW:]), [4]byte(a[arpSendIP:]), [4]byte(a[arpTgtIP:])
	a[arpOp+1] = 2
	copy(a[arpTgtHW:], mac[:])
	copy(a[arpTgtIP:], asker[:])
	mac[5] ^= 0xff
	copy(a[arpSendHW:], mac[:])
	copy(a[arpSendIP:], target[:])
}

// Types of neighbour discovery messages (RFC 4861) and the options used.
const (
	ndSolicitation  = 135
	ndAdvertisement = 136
	optSourceHW     = 1
	optTargetHW     = 2
	ndLen           = 24 // ICMPv6 header and target
	ndOptLen        = 8  // a hardware address option
)

// IsSolicitation reports whether the IP packet p is an IPv6 neighbour solicitation, valid or not.
func IsSolicitation(p []byte) bool {
	return Version(p) == 6 && len(p) > IPv6Len && p[offIPv6Next] == ProtoICMPv6 && p[IPv6Len] == ndSolicitation
}

// SolicitedTarget is the address that the neighbour solicitation p asks for.
// It returns false if p is something else, if its checksum is wrong, if it has
// passed a router, or if it only tests whether an address is free.
func SolicitedTarget(p []byte) (netip.Addr, bool) {
	h, ok := Parse(p)
	if !ok || !IsSolicitation(p) || h.Total < IPv6Len+ndLen || p[IPv6Len+1] != 0 || p[offIPv6Hop] != 255 {
		return netip.Addr{}, false
	}
	if src, _ := Src(p); src.IsUnspecified() || src.IsMulticast() || !TransportSumOK(p, h) {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(p[IPv6Len+8:])), true
}

// AnswerSolicitation turns the frame, whose payload at offset is a neighbour
// solicitation for which [SolicitedTarget] was true, into the advertisement,
// addressed to the asker. The hardware address in it is the asker's with its
// last byte inverted. It returns the frame, shortened where options were left out.
func AnswerSolicitation(frame []byte, offset int) []byte {
	if offset < EthernetLen || offset > len(frame) {
		return frame
	}
	p := frame[offset:]
	target, ok := SolicitedTarget(p)
	if !ok {
		return frame
	}
	mac := [6]byte(frame[6:12])
	copy(frame[0:6], mac[:])
	mac[5] ^= 0xff
	copy(frame[6:12], mac[:])

	n := ndLen
	icmp := p[IPv6Len:]
	if h, _ := Parse(p); h.Total >= IPv6Len+ndLen+ndOptLen && icmp[ndLen] == optSourceHW && icmp[ndLen+1] == 1 {
		n += ndOptLen
		icmp[ndLen] = optTargetHW
		copy(icmp[ndLen+2:ndLen+8], mac[:])
	}
	addr := target.As16()
	copy(p[offIPv6Dst:], p[offIPv6Src:offIPv6Dst])
	copy(p[offIPv6Src:], addr[:])
	binary.BigEndian.PutUint16(p[offIPv6Len:], uint16(n))
	icmp = icmp[:n]
	icmp[0], icmp[1] = ndAdvertisement, 0
	binary.BigEndian.PutUint32(icmp[4:], 0x40000000) // solicited
	icmp[2], icmp[3] = 0, 0
	binary.BigEndian.PutUint16(icmp[2:], ^Checksum(icmp, TransportPseudoSum(p, ProtoICMPv6, n)))
	return frame[:offset+IPv6Len+n]
}
