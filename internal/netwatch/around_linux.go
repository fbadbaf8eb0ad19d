package netwatch

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateways are the routers that routes lead to, by other interfaces than one.
func Gateways(except string) map[netip.Addr]string {
	found := map[netip.Addr]string{}
	for _, r := range mainRoutes() {
		hops := append([]*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}, r.MultiPath...)
		for _, h := range hops {
			a, ok := netip.AddrFromSlice(h.Gw)
			dev, err := net.InterfaceByIndex(h.LinkIndex)
			if ok && err == nil && dev.Name != except {
				found[a.Unmap()] = dev.Name
			}
		}
	}
	return found
}

// Routed lists the networks that routes of this machine lead to, but for default routes and
// those through one interface.
func Routed(except string) (list []netip.Prefix) {
	for _, r := range mainRoutes() {
		if isDefault(r.Dst) || r.Type != unix.RTN_UNICAST {
			continue
		}
		if dev, err := net.InterfaceByIndex(r.LinkIndex); err == nil && dev.Name == except {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP)
		if ones, _ := r.Dst.Mask.Size(); ok {
			list = append(list, netip.PrefixFrom(a.Unmap(), ones))
		}
	}
	return list
}

// mainRoutes are those of the main table.
func mainRoutes() (list []netlink.Route) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err == nil {
			list = append(list, routes...)
		}
	}
	return list
}

// Neighbours are the machines that were heard on the links of this machine, by all interfaces but one.
func Neighbours(except string) map[netip.Addr]string {
	const heard = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT
	found := map[netip.Addr]string{}
	list, err := netlink.NeighList(0, 0)
	if err != nil {
		return found
	}
	for _, n := range list {
		a, ok := netip.AddrFromSlice(n.IP)
		dev, err := net.InterfaceByIndex(n.LinkIndex)
		if ok && n.State&heard != 0 && err == nil && dev.Name != except {
			found[a.Unmap()] = dev.Name
		}
	}
	return found
}
