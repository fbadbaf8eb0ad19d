package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
)

// Router is a host that forwards packets between its links.
type Router struct {
	*Host
	nat   string // nft statements of its NAT
	rules []*Rule
}

func (r *Router) forward() error {
	if err := r.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	// A link that is taken down and up again must find its address.
	for _, name := range []string{"all/forwarding", "all/keep_addr_on_down"} {
		err := r.Sysctl("net/ipv6/conf/"+name, "1")
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			return err
		}
	}
	return nil
}

// Link is a cable between a host and a router.
type Link struct {
	host, router         *Host
	hostName, routerName string
	cable                *cable // nil if the kernel is the cable
}

// Attach connects a host to the router. Each prefix is the host's address
// with its length, IPv4 or IPv6; the router takes the first address of the
// prefix, and becomes the host's default route if it is the first router that
// the host is attached to. The host's interface is called eth0, eth1, ...
func (r *Router) Attach(h *Host, prefixes ...string) (*Link, error) {
	return r.plug(h, prefixes, func(l *Link) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = l.routerName
		return r.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: l.hostName, PeerNamespace: netlink.NsFd(h.ns)})
	})
}

// plug connects a host by a new link whose interfaces are made by lay.
func (r *Router) plug(h *Host, prefixes []string, lay func(*Link) error) (*Link, error) {
	h.mu.Lock()
	link := &Link{host: h, router: r.Host, hostName: fmt.Sprintf("eth%d", h.links), routerName: h.name}
	first := h.links == 0
	if !first { // it may be attached to this router already
		link.routerName = fmt.Sprintf("%s.%d", h.name, h.links)
	}
	if first {
		h.uplink = link
	}
	h.links++
	h.mu.Unlock()

	err := lay(link)
	if err == nil {
		err = r.address(link, first, prefixes)
	}
	if err != nil {
		return nil, fmt.Errorf("attaching %s to %s: %w", h.name, r.name, err)
	}
	return link, nil
}

// address brings a new link up and gives addresses to its ends.
func (r *Router) address(link *Link, first bool, prefixes []string) error {
	h := link.host
	if err := link.Up(); err != nil {
		return err
	}
	for _, s := range prefixes {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return err
		}
		gate := prefix.Masked().Addr().Next()
		if err := addAddr(r.Host, link.routerName, netip.PrefixFrom(gate, prefix.Bits())); err != nil {
			return err
		}
		if err := addAddr(h, link.hostName, prefix); err != nil {
			return err
		}
		if first {
			if err := h.Route(netip.PrefixFrom(unspecified(gate), 0), gate); err != nil {
				return err
			}
		}
		h.mu.Lock()
		h.addrs = append(h.addrs, prefix.Addr())
		h.mu.Unlock()
	}
	return nil
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func addAddr(h *Host, name string, prefix netip.Prefix) error {
	l, err := h.nl.LinkByName(name)
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: ipNet(prefix)}
	if prefix.Addr().Is6() {
		a.Flags = syscall.IFA_F_NODAD
	}
	if err := h.nl.AddrReplace(l, a); err != nil {
		return fmt.Errorf("giving %s to %s on %s: %w", prefix, name, h.name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Route adds a route to the host.
func (h *Host) Route(to netip.Prefix, via netip.Addr) error {
	err := h.nl.RouteAdd(&netlink.Route{Dst: ipNet(to), Gw: via.AsSlice()})
	if err != nil {
		return fmt.Errorf("routing %s via %s on %s: %w", to, via, h.name, err)
	}
	return nil
}

// ends calls f for both ends of the cable.
func (l *Link) ends(what string, f func(*netlink.Handle, netlink.Link) error) error {
	for _, end := range []struct {
		h    *Host
		name string
	}{{l.router, l.routerName}, {l.host, l.hostName}} {
		link, err := end.h.nl.LinkByName(end.name)
		if err == nil {
			err = f(end.h.nl, link)
		}
		if err != nil {
			return fmt.Errorf("%s of %s on %s: %w", what, end.name, end.h.name, err)
		}
	}
	return nil
}

// Move gives the host other addresses on the link, in place of those it has
// there, and the default routes that belong to them: as if it had been carried to another
// network. The prefixes are as for [Router.Attach].
func (l *Link) Move(prefixes ...string) error {
	old, err := l.host.Addrs(l.hostName)
	if err != nil {
		return err
	}
	link, err := l.host.nl.LinkByName(l.hostName)
	if err != nil {
		return err
	}
	for _, p := range old { // the kernel removes the routes with them
		if err := l.host.nl.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
			return fmt.Errorf("taking %s from %s: %w", p, l.host.name, err)
		}
		l.host.mu.Lock()
		l.host.addrs = slices.DeleteFunc(l.host.addrs, func(a netip.Addr) bool { return a == p.Addr() })
		l.host.mu.Unlock()
	}
	return (&Router{Host: l.router}).address(l, l.host.uplink == l, prefixes)
}

// Up plugs the cable in.
func (l *Link) Up() error {
	if err := l.plugged(true); err != nil {
		return fmt.Errorf("plugging in %s: %w", l.host.name, err)
	}
	return l.ends("bringing up", (*netlink.Handle).LinkSetUp)
}

// Down pulls the cable out: the host's interface loses its carrier, but keeps
// its addresses and routes.
func (l *Link) Down() error {
	if err := l.plugged(false); err != nil {
		return fmt.Errorf("unplugging %s: %w", l.host.name, err)
	}
	link, err := l.router.nl.LinkByName(l.routerName)
	if err == nil {
		err = l.router.nl.LinkSetDown(link)
	}
	if err != nil {
		return fmt.Errorf("taking down %s on %s: %w", l.routerName, l.router.name, err)
	}
	return nil
}

// MTU sets the largest packet of the link in bytes.
func (l *Link) MTU(bytes int) error {
	return l.ends("setting the MTU", func(nl *netlink.Handle, link netlink.Link) error {
		return nl.LinkSetMTU(link, bytes)
	})
}
