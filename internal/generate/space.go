package generate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
)

// Space is where the address of a new node may lie.
type Space struct {
	Pool netip.Prefix // any address in it; a single one is an exact choice
	Bits int          // length of the network's prefix
}

// ErrSpaceFull: no free address was found.
var ErrSpaceFull = errors.New("there is no free address left")

// ParseSpace reads the forms of a prefix:
//
//	172.173         leading octets of the address, the rest at random
//	10.7.3.4        the address itself
//	10.7.0.0/16     a network (IPv6 as well)
//	fd00:7::3       the address itself
//
// bits is the length of the network's prefix; 0 means that of a network that is
// given as such, else 16 for IPv4 and 64 for IPv6.
func ParseSpace(text string, bits int) (Space, error) {
	bad := fmt.Errorf("%.60q is no prefix: write leading octets such as 10.7, a network such as 10.7.0.0/16, or an address", text)
	var s Space
	switch {
	case strings.Contains(text, "/"):
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() {
			return s, bad
		}
		s = Space{p.Masked(), p.Bits()}
		if p != p.Masked() {
			s.Pool = netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
		}
	case strings.Contains(text, ":"):
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return s, bad
		}
		s = Space{netip.PrefixFrom(a, 128), 64}
	default:
		octets := strings.Split(text, ".")
		if len(octets) > 4 {
			return s, bad
		}
		var b [4]byte
		for i, o := range octets {
			n, err := strconv.ParseUint(o, 10, 8) // leading zeros are decimal
			if err != nil {
				return s, bad
			}
			b[i] = byte(n)
		}
		s = Space{netip.PrefixFrom(netip.AddrFrom4(b), 8*len(octets)), 16}
	}
	if bits != 0 {
		s.Bits = bits
	}
	if s.Bits < 1 || s.Bits > s.Pool.Addr().BitLen()-1 {
		return s, fmt.Errorf("a network with a prefix of %d bits has no room for more than one node", s.Bits)
	}
	return s, nil
}

// Pick chooses an address that is not taken, with the length of the network's
// prefix. taken may be nil.
func (s Space) Pick(taken func(netip.Addr) bool) (netip.Prefix, error) {
	network := netip.PrefixFrom(s.Pool.Addr(), s.Bits).Masked()
	if s.Pool.IsSingleIP() {
		a := s.Pool.Addr()
		if taken != nil && taken(a) {
			return netip.Prefix{}, fmt.Errorf("the address %v is taken", a)
		}
		return InRange(network, a)
	}
	for range 10000 {
		b := s.Pool.Addr().AsSlice()
		for i := range b {
			host := byte(0xff)
			if full := s.Pool.Bits() - 8*i; full >= 8 {
				host = 0
			} else if full > 0 {
				host >>= full
			}
			b[i] |= byte(rand.Uint32()) & host
		}
		a, _ := netip.AddrFromSlice(b)
		if taken != nil && taken(a) {
			continue
		}
		if p, err := InRange(netip.PrefixFrom(a, s.Bits).Masked(), a); err == nil {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("choosing an address in %v: %w", s.Pool, ErrSpaceFull)
}
