package netwatch

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateways are the routers that routes lead to, by other interfaces than one.
func Gateways(except string) map[netip.Addr]string {
	found, names := map[netip.Addr]string{}, interfaceNames()
	note := func(index int, gateway net.IP) {
		a, ok := netip.AddrFromSlice(gateway)
		dev, known := names[index]
		if ok && known && dev != except {
			found[a.Unmap()] = dev
		}
	}
	eachMainRoute(func(r *netlink.Route) {
		note(r.LinkIndex, r.Gw)
		for _, h := range r.MultiPath {
			note(h.LinkIndex, h.Gw)
		}
	})
	return found
}

// Routed lists the networks that routes of this machine lead to, but for default routes and
// those through one interface.
func Routed(except string) (list []netip.Prefix) {
	names := interfaceNames()
	eachMainRoute(func(r *netlink.Route) {
		if dev, known := names[r.LinkIndex]; isDefault(r.Dst) || r.Type != unix.RTN_UNICAST || known && dev == except {
			return
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP)
		if ones, _ := r.Dst.Mask.Size(); ok {
			list = append(list, netip.PrefixFrom(a.Unmap(), ones))
		}
	})
	return list
}

// interfaceNames are the names of the interfaces by their numbers. To ask the kernel for one takes as
// long as to ask for all, and there may be thousands of routes.
func interfaceNames() map[int]string {
	names := map[int]string{}
	list, _ := net.Interfaces()
	for _, dev := range list {
		names[dev.Index] = dev.Name
	}
	return names
}

// eachMainRoute calls f for each route of the main table. Most of them may be our own, thousands in a large
// network, so they are not gathered first.
func eachMainRoute(f func(*netlink.Route)) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		// what cannot be read is missing
		_ = netlink.RouteListFilteredIter(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			f(&r)
			return true
		})
	}
}

// Neighbours are the entries of the kernel's neighbour table (ARP, NDP), of all interfaces but one.
func Neighbours(except string) map[netip.Addr]string {
	const heard = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT
	found, names := map[netip.Addr]string{}, interfaceNames()
	list, _ := netlink.NeighList(0, 0) // what cannot be read is missing
	for _, n := range list {
		a, ok := netip.AddrFromSlice(n.IP)
		dev, known := names[n.LinkIndex]
		if ok && n.State&heard != 0 && known && dev != except {
			found[a.Unmap()] = dev
		}
	}
	return found
}
