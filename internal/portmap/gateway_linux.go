package portmap

import (
	"math"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// gateways returns the routers of the best default routes, of either family.
func gateways() (v4, v6 netip.Addr) { return gateway(unix.AF_INET), gateway(unix.AF_INET6) }

func gateway(family int) (best netip.Addr) {
	list, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil {
		return netip.Addr{}
	}
	metric := math.MaxInt
	for _, r := range list {
		via, ok := netip.AddrFromSlice(r.Gw)
		if !ok || r.Priority >= metric {
			continue
		}
		if via = via.Unmap(); via.IsLinkLocalUnicast() && via.Is6() {
			dev, err := net.InterfaceByIndex(r.LinkIndex)
			if err != nil {
				continue
			}
			via = via.WithZone(dev.Name)
		}
		best, metric = via, r.Priority
	}
	return best
}
