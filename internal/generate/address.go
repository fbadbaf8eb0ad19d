package generate

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"tincan/internal/netwatch"
)

// RandomRange picks one of the networks 10.x.0.0/16, so that two VPNs that meet
// one day most likely do not clash. It avoids those that this machine is part
// of, as far as there are others.
func RandomRange() netip.Prefix {
	local := netwatch.Networks("") // if nothing is known, nothing is avoided
	start := rand.IntN(256)
	pick := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(start + i), 0, 0}), 16)
	}
	for i := range 256 {
		if !slices.ContainsFunc(local, pick(i).Overlaps) {
			return pick(i)
		}
	}
	return pick(0)
}

// FirstAddress returns the first usable address of a network, with the length
// of its prefix: 10.7.0.1/16 for 10.7.0.0/16.
func FirstAddress(network netip.Prefix) (netip.Prefix, error) {
	return InRange(network, network.Masked().Addr().Next())
}

// InRange puts an address and a network together. It refuses an address that
// is not in the network or that no host can have.
func InRange(network netip.Prefix, addr netip.Addr) (netip.Prefix, error) {
	switch {
	case network != network.Masked():
		return netip.Prefix{}, fmt.Errorf("%v is not a network; did you mean %v?", network, network.Masked())
	case network.Addr().BitLen()-network.Bits() < 2:
		return netip.Prefix{}, fmt.Errorf("%v has no room for more than one node", network)
	case !network.Contains(addr):
		return netip.Prefix{}, fmt.Errorf("address %v is not in %v", addr, network)
	case addr == network.Addr() || addr.Is4() && !network.Contains(addr.Next()):
		return netip.Prefix{}, fmt.Errorf("%v is the first or last address of %v, which no host can have", addr, network)
	}
	return netip.PrefixFrom(addr, network.Bits()), nil
}
