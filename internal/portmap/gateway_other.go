//go:build !linux

package portmap

import (
	"net/netip"

	"tincan/internal/netwatch"
)

// gateways guesses: the router usually has the first address of a home network. For UPnP
// only our own address matters, and that is right.
func gateways() (v4, v6 netip.Addr) {
	if local := netwatch.Towards(netip.MustParseAddr("192.0.2.1")); local.Is4() && local.IsPrivate() {
		v4 = netip.PrefixFrom(local, 24).Masked().Addr().Next()
	}
	return v4, netip.Addr{}
}
