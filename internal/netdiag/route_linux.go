package netdiag

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeTo names the interface that the kernel sends packets for an address to.
func routeTo(a netip.Addr) (string, error) {
	list, err := netlink.RouteGet(net.IP(a.AsSlice()))
	switch {
	case errors.Is(err, unix.EHOSTUNREACH):
		return "", errors.New("it is kept for the VPN, whose own route is missing")
	case err != nil:
		return "", err
	case len(list) == 0 || list[0].LinkIndex == 0:
		return "", nil
	}
	dev, err := net.InterfaceByIndex(list[0].LinkIndex)
	if err != nil {
		return "", nil // it has just gone
	}
	return dev.Name, nil
}
