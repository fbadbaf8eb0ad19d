package netwatch

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteTo asks the kernel where packets to an address go, if they have a mark (0: none): to this machine
// itself, or out of the interface called dev. dev is "" if that cannot be said.
func RouteTo(to netip.Addr, mark int) (here bool, dev string) {
	list, err := netlink.RouteGetWithOptions(net.IP(to.Unmap().AsSlice()), &netlink.RouteGetOptions{Mark: uint32(mark)})
	if err != nil || len(list) == 0 {
		return false, ""
	}
	r := list[0]
	if r.Type == unix.RTN_LOCAL {
		return true, ""
	}
	if i, err := net.InterfaceByIndex(r.LinkIndex); err == nil {
		dev = i.Name
	}
	return false, dev
}
