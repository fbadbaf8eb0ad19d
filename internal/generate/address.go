package generate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"tincan/internal/netwatch"
)

// RandomRange picks a private network at random, so that two VPNs that meet one day
// most likely do not clash: one of 10.x.0.0/16, or another where all of those overlap with a
// network that this machine is part of or has a route to.
func RandomRange() netip.Prefix {
	return randomRange(append(netwatch.Networks(""), netwatch.Routed("")...)) // if nothing is known, nothing is avoided
}

// ranges are blocks of private addresses that a VPN's range is taken from, in this order,
// each with the length of that range's prefix.
var ranges = []struct {
	block netip.Prefix
	bits  int
}{
	{netip.MustParsePrefix("10.0.0.0/8"), 16},
	{netip.MustParsePrefix("172.16.0.0/12"), 16},
	{netip.MustParsePrefix("192.168.0.0/16"), 24},
	{netip.MustParsePrefix("100.64.0.0/10"), 16},
}

// randomRange is RandomRange with the networks that are to be avoided. A default route is none.
func randomRange(avoid []netip.Prefix) netip.Prefix {
	free := func(p netip.Prefix) bool {
		return !slices.ContainsFunc(avoid, func(a netip.Prefix) bool { return a.Bits() > 0 && a.Overlaps(p) })
	}
	var first netip.Prefix
	for _, r := range ranges {
		count := 1 << (r.bits - r.block.Bits())
		start := rand.IntN(count)
		for i := range count {
			n := binary.BigEndian.Uint32(r.block.Addr().AsSlice()) + uint32((start+i)%count)<<(32-r.bits)
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n))), r.bits)
			if free(p) {
				return p
			}
			if !first.IsValid() {
				first = p
			}
		}
	}
	return first
}

// Overlap says which network of this machine overlaps with one that a VPN is to have, such as
// "192.168.1.0/24 of eth0"; "" if none does.
func Overlap(network netip.Prefix) string {
	for _, o := range netwatch.Overlaps([]netip.Prefix{network}, "") {
		return fmt.Sprintf("%v of %s", o.Other, o.Interface)
	}
	for _, p := range netwatch.Routed("") {
		if p.Overlaps(network) {
			return fmt.Sprintf("a route to %v", p)
		}
	}
	return ""
}

// FirstAddress returns the first usable address of a network, with the length
// of its prefix: 10.7.0.1/16 for 10.7.0.0/16. It leaves out what is known to be in use around
// this machine.
func FirstAddress(network netip.Prefix) (netip.Prefix, error) {
	first, err := InRange(network, network.Masked().Addr().Next())
	if err != nil || Overlap(network) == "" {
		return first, err
	}
	used := netwatch.InUse("")
	for range len(used) + 1 { // among so many there is a free one
		p, err := InRange(network, first.Addr())
		if _, taken := used[first.Addr()]; !taken || err != nil {
			return p, err
		}
		first = netip.PrefixFrom(first.Addr().Next(), first.Bits())
	}
	return first, nil
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
