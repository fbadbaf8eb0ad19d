package netif

import (
	"fmt"
	"net/netip"
	"slices"

	"tincan/internal/mesh"
	"tincan/internal/netconf"
	"tincan/internal/terminal"
)

// possible leaves out addresses and routes of IPv6 where that is switched off, if some of IPv4 are
// left: one family must not cost the other.
func (f *Interface) possible(addrs, routes []netip.Prefix) (_, _ []netip.Prefix) {
	six := func(p netip.Prefix) bool { return p.Addr().Is6() }
	i := slices.IndexFunc(addrs, six)
	if i < 0 || !netconf.IPv6Off(f.name) || !slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return !six(p) }) {
		return addrs, routes
	}
	f.log.Failed(0, mesh.Warning, terminal.Hint(
		fmt.Errorf("IPv6 is switched off for %s: going on without the address %s", f.name, addrs[i]),
		"sysctl net.ipv6.conf.%s.disable_ipv6=0, and reload; or remove that Ifconfig line", f.name))
	return slices.DeleteFunc(slices.Clone(addrs), six), slices.DeleteFunc(slices.Clone(routes), six)
}
