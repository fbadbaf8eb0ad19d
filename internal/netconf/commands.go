package netconf

import (
	"net/netip"
	"strconv"
)

// The programs of other systems that configure an interface, as wg-quick and
// WireGuard's documentation use them. They are made here for every system, so that
// tests on any of them see what would be run.

// tool says how one system wants things to be done. Each function returns a command
// line.
type tool struct {
	addr, dropAddr   func(iface string, p netip.Prefix) []string
	up               func(iface string, mtu int) []string // nil: it is up already
	route, dropRoute func(iface string, p netip.Prefix) []string
	// pointToPoint: the network of an own address gets no route by itself.
	pointToPoint bool
}

func inet(a netip.Addr) string {
	if a.Is4() {
		return "inet"
	}
	return "inet6"
}

func ifconfigUp(iface string, mtu int) []string {
	args := []string{"ifconfig", iface}
	if mtu != 0 {
		args = append(args, "mtu", strconv.Itoa(mtu))
	}
	return append(args, "up")
}

// macOS: utun is a point-to-point interface, and so wants a second address.
var macOS = tool{
	addr: func(iface string, p netip.Prefix) []string {
		if p.Addr().Is6() {
			return []string{"ifconfig", iface, "inet6", p.String(), "alias"}
		}
		return []string{"ifconfig", iface, "inet", p.String(), p.Addr().String(), "alias"}
	},
	dropAddr: func(iface string, p netip.Prefix) []string {
		return []string{"ifconfig", iface, inet(p.Addr()), p.Addr().String(), "-alias"}
	},
	up:           ifconfigUp,
	route:        bsdRoute("add"),
	dropRoute:    bsdRoute("delete"),
	pointToPoint: true,
}

// freeBSD: WireGuard's tun is made a broadcast interface.
var freeBSD = tool{
	addr: func(iface string, p netip.Prefix) []string {
		return []string{"ifconfig", iface, inet(p.Addr()), p.String(), "alias"}
	},
	dropAddr:  macOS.dropAddr,
	up:        ifconfigUp,
	route:     bsdRoute("add"),
	dropRoute: bsdRoute("delete"),
}

func bsdRoute(verb string) func(string, netip.Prefix) []string {
	return func(iface string, p netip.Prefix) []string {
		return []string{"route", "-q", "-n", verb, "-" + inet(p.Addr()), p.String(), "-interface", iface}
	}
}

// windows: addresses and routes that end with the next start of the machine, at the latest.
var windows = tool{
	addr: func(iface string, p netip.Prefix) []string {
		return []string{"netsh", "interface", windowsFamily(p), "add", "address", iface, p.String(), "store=active"}
	},
	dropAddr: func(iface string, p netip.Prefix) []string {
		return []string{"netsh", "interface", windowsFamily(p), "delete", "address", iface, p.Addr().String(), "store=active"}
	},
	route: func(iface string, p netip.Prefix) []string {
		return []string{"netsh", "interface", windowsFamily(p), "add", "route", p.String(), iface, "store=active"}
	},
	dropRoute: func(iface string, p netip.Prefix) []string {
		return []string{"netsh", "interface", windowsFamily(p), "delete", "route", p.String(), iface, "store=active"}
	},
}

func windowsFamily(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "ipv4"
	}
	return "ipv6"
}
