package subnet

import (
	"net/netip"
	"slices"
)

var privateNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
}

// Private tells whether all of p lies in one of the networks that are nobody's in the
// internet (RFC 1918, 6598, 4193). Only such a one may come from another machine
// without the user's consent: anything else could take traffic away from the internet.
func Private(p netip.Prefix) bool {
	return slices.ContainsFunc(privateNetworks, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
}

// widest is the shortest prefix, in bits, that another machine may give us.
const widest = 8

// Harmless tells whether p may be the network of an address, or a route, that another
// machine gives to this one: private, and no wider than a /8.
func Harmless(p netip.Prefix) bool { return Private(p) && p.Bits() >= widest }
