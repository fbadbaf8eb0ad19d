package netwatch

import (
	"iter"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Addresses gives the machine's addresses, each with the length of its network's prefix
// and its interface. What cannot be seen is missing.
func Addresses() iter.Seq2[net.Interface, netip.Prefix] {
	return func(yield func(net.Interface, netip.Prefix) bool) {
		list, _ := net.Interfaces()
		for _, dev := range list {
			addrs, _ := dev.Addrs()
			for _, a := range addrs {
				if p, err := netip.ParsePrefix(a.String()); err == nil && !yield(dev, p) {
					return
				}
			}
		}
	}
}

// Networks lists the networks that the machine is in by all interfaces but one, "" for none.
func Networks(except string) (list []netip.Prefix) {
	for dev, p := range Addresses() {
		if dev.Name != except {
			list = append(list, p.Masked())
		}
	}
	return list
}

// Towards is the address that the kernel would use towards another, zero if there is no
// route. Nothing is sent.
func Towards(to netip.Addr) netip.Addr {
	if !to.IsValid() {
		return netip.Addr{}
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// IsHere reports whether the name or address of a host leads to this machine itself.
func IsHere(host string) bool {
	c, err := net.Dial("udp", net.JoinHostPort(host, "9"))
	if err != nil {
		return false
	}
	defer c.Close()
	return SameHost(c)
}

// SameHost reports whether both ends of a connection are on this machine.
func SameHost(c net.Conn) bool {
	local, _ := netip.ParseAddrPort(c.LocalAddr().String())
	remote, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return remote.IsValid() && (remote.Addr().Unmap().IsLoopback() || remote.Addr().Unmap() == local.Addr().Unmap())
}

// Overlap is a network of the VPN's interface that another interface has, too, all or
// part of it.
type Overlap struct {
	Own, Other netip.Prefix
	Interface  string // of Other
}

// Overlaps lists the overlaps of own, the networks of the interface called except, with those of the
// other interfaces that are up. Single addresses are no networks.
func Overlaps(own []netip.Prefix, except string) (list []Overlap) {
	for dev, p := range Addresses() {
		if dev.Name == except || dev.Flags&net.FlagUp == 0 || dev.Flags&net.FlagLoopback != 0 || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		for _, o := range own {
			if !o.IsSingleIP() && o.Overlaps(p) {
				list = append(list, Overlap{o.Masked(), p.Masked(), dev.Name})
			}
		}
	}
	return list
}

// InUse are the addresses that this machine and others around it have, as far as that can be
// seen, each with the interface that leads there; those of the interface called except are
// left out.
func InUse(except string) map[netip.Addr]string {
	list := map[netip.Addr]string{}
	maps.Copy(list, Neighbours(except))
	maps.Copy(list, Gateways(except))
	for dev, p := range Addresses() {
		if dev.Name != except {
			list[p.Addr()] = dev.Name
		}
	}
	return list
}

// Place is a text for the network in which this machine is, the same whenever it is there: the networks of its addresses, by
// all interfaces but those to ignore. Of a machine that has addresses of IPv4 only those count, as some providers change
// prefixes of IPv6 each day. Two networks may have the same text: very many use 192.168.1.0/24. "": it is in none.
func Place(ignore func(string) bool) string {
	var four, six []string
	for dev, p := range Addresses() {
		switch a := p.Addr().Unmap(); {
		case dev.Flags&net.FlagUp == 0 || dev.Flags&net.FlagLoopback != 0 || ignore(dev.Name) || !a.IsGlobalUnicast():
		case a.Is4():
			four = append(four, p.Masked().String())
		default:
			six = append(six, p.Masked().String())
		}
	}
	if len(four) == 0 {
		four = six
	}
	slices.Sort(four)
	return strings.Join(slices.Compact(four), " ")
}
