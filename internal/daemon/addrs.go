package daemon

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"tincan/internal/config"
)

// listenAddr is one place to listen at.
type listenAddr struct {
	network string // tcp4, tcp6
	addr    netip.AddrPort
}

// listenAddrs works out where to listen, as tinc does: at ListenAddress and
// BindToAddress if there are any, else at every address of the wanted families.
func listenAddrs(s config.Settings) ([]listenAddr, error) {
	port, err := lookupPort(s.Port)
	if err != nil {
		return nil, err
	}
	given := slices.Concat(s.BindToAddress, s.ListenAddress)
	if len(given) == 0 {
		given = []config.Address{{Host: "*"}}
	}
	var out []listenAddr
	for _, g := range given {
		p := port
		if g.Port != "" {
			if p, err = lookupPort(g.Port); err != nil {
				return nil, err
			}
		}
		var ips []netip.Addr
		if g.Host == "*" {
			ips = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
		} else if ips, err = lookupHost(g.Host); err != nil {
			return nil, err
		}
		for _, ip := range ips {
			network := "tcp4"
			if ip.Is6() {
				network = "tcp6"
			}
			if s.AddressFamily == config.OnlyIPv4 && ip.Is6() || s.AddressFamily == config.OnlyIPv6 && ip.Is4() {
				continue
			}
			a := listenAddr{network, netip.AddrPortFrom(ip, p)}
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

func lookupPort(s string) (uint16, error) {
	if n, err := strconv.ParseUint(s, 10, 16); err == nil {
		return uint16(n), nil
	}
	n, err := net.LookupPort("tcp", s)
	return uint16(n), err
}

func lookupHost(s string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	list, err := net.LookupIP(s)
	if err != nil {
		return nil, err
	}
	set := map[netip.Addr]bool{}
	for _, ip := range list {
		if a, ok := netip.AddrFromSlice(ip); ok {
			set[a.Unmap()] = true
		}
	}
	return slices.SortedFunc(maps.Keys(set), netip.Addr.Compare), nil
}
