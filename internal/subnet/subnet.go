// Package subnet is the address space of the VPN: subnets in tinc's text form,
// their order, and a longest-prefix table of who owns what.
//
// It does not know which packets exist or how they are sent.
package subnet

import (
	"bytes"
	"cmp"
	"net/netip"
	"strconv"
)

// Kind tells what a subnet is made of. The order is that of tinc's lookups.
type Kind uint8

const (
	MAC  Kind = iota + 1 // a single Ethernet address
	IPv4                 // an IPv4 prefix
	IPv6                 // an IPv6 prefix
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case MAC:
		return "MAC"
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "no kind"
}

// DefaultWeight is the weight of a subnet that does not name one.
const DefaultWeight = 10

// Subnet is an address or a prefix together with its weight. It is comparable:
// two subnets of one owner are the same exactly if they are ==. The zero Subnet is not
// valid. Host bits are kept as they were given.
type Subnet struct {
	// Weight decides between equal prefixes of several owners; smaller wins.
	// On the wire it is a signed 32-bit number.
	Weight int

	addr [16]byte // network order; the first 4 (IPv4) or 6 (MAC) bytes count, the rest is zero
	bits uint8    // prefix length, 0 for a MAC
	kind Kind
}

// FromPrefix returns p as a subnet with the default weight. An IPv4-mapped IPv6
// prefix stays IPv6. An invalid p gives the zero Subnet.
func FromPrefix(p netip.Prefix) Subnet {
	if !p.IsValid() {
		return Subnet{}
	}
	s := Subnet{Weight: DefaultWeight, bits: uint8(p.Bits())}
	if a := p.Addr(); a.Is4() {
		a4 := a.As4()
		s.kind = IPv4
		copy(s.addr[:], a4[:])
	} else {
		s.kind = IPv6
		s.addr = a.As16()
	}
	return s
}

// FromMAC returns the subnet of one Ethernet address, with the default weight.
func FromMAC(mac [6]byte) Subnet {
	s := Subnet{Weight: DefaultWeight, kind: MAC}
	copy(s.addr[:], mac[:])
	return s
}

// Kind returns what the subnet is made of; 0 for the zero Subnet.
func (s Subnet) Kind() Kind { return s.kind }

// IsValid tells whether s is anything but the zero value.
func (s Subnet) IsValid() bool { return s.kind != 0 }

// Addr returns the address with its host bits; the zero Addr for a MAC.
func (s Subnet) Addr() netip.Addr {
	switch s.kind {
	case IPv4:
		return netip.AddrFrom4([4]byte(s.addr[:4]))
	case IPv6:
		return netip.AddrFrom16(s.addr)
	}
	return netip.Addr{}
}

// Prefix returns the prefix with its host bits; the zero Prefix for a MAC.
func (s Subnet) Prefix() netip.Prefix {
	a := s.Addr()
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, int(s.bits))
}

// MAC returns the Ethernet address; zero if s is an IP prefix.
func (s Subnet) MAC() [6]byte {
	if s.kind != MAC {
		return [6]byte{}
	}
	return [6]byte(s.addr[:6])
}

// HostBitsZero tells whether no bit after the prefix is set. Peers may send
// others; a local configuration may not have them.
func (s Subnet) HostBitsZero() bool {
	p := s.Prefix()
	return p.Masked() == p
}

// Compare orders subnets as tinc looks them up: MAC before IPv4 before IPv6, longer
// prefixes first, then by address, then by weight. Subnets of different owners
// that compare equal are ordered by the owner's name.
func Compare(a, b Subnet) int {
	return cmp.Or(
		cmp.Compare(a.kind, b.kind),
		cmp.Compare(b.bits, a.bits),
		bytes.Compare(a.addr[:], b.addr[:]),
		cmp.Compare(a.Weight, b.Weight),
	)
}

// String returns the canonical text: the prefix length is left out for a single
// address, the weight when it is the default one.
func (s Subnet) String() string { return string(s.Append(nil)) }

// Append appends the canonical text of s to dst.
func (s Subnet) Append(dst []byte) []byte {
	switch s.kind {
	case MAC:
		dst = appendMAC(dst, s.MAC())
	case IPv4, IPv6:
		a := s.Addr()
		dst = AppendAddr(dst, a)
		if int(s.bits) != a.BitLen() {
			dst = append(dst, '/')
			dst = strconv.AppendUint(dst, uint64(s.bits), 10)
		}
	default:
		return append(dst, "invalid subnet"...)
	}
	if s.Weight != DefaultWeight {
		dst = append(dst, '#')
		dst = strconv.AppendInt(dst, int64(s.Weight), 10)
	}
	return dst
}

// MarshalText returns the canonical text.
func (s Subnet) MarshalText() ([]byte, error) { return s.Append(nil), nil }

// AppendAddr appends an IP address in the form that tinc prints (that of
// inet_ntop): as package netip does it, without a zone, except that an address of
// ::/96 ends in a dotted quad, as in ::1.2.3.4.
func AppendAddr(dst []byte, a netip.Addr) []byte {
	a = a.WithZone("")
	if a.Is6() {
		b := a.As16()
		if [12]byte(b[:12]) == ([12]byte{}) && (b[12] != 0 || b[13] != 0) {
			dst = append(dst, "::"...)
			return netip.AddrFrom4([4]byte(b[12:])).AppendTo(dst)
		}
	}
	return a.AppendTo(dst)
}

func appendMAC(dst []byte, mac [6]byte) []byte {
	const digits = "0123456789abcdef"
	for i, b := range mac {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst
}
