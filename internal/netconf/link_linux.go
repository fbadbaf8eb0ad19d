package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tincan/internal/config"
)

// metric of our routes. A higher number is asked later: where the machine
// has a route of its own to the very same network (its LAN), that one stays in use.
const metric = 2048

// Link is a configured interface. Its methods may be used from any goroutine.
type Link struct {
	cfg   Config
	nl    *netlink.Handle
	index int

	mu     sync.Mutex
	added  []*netlink.Addr
	routes map[netip.Prefix]*route
	oldMTU int  // to be restored, 0 if unchanged
	wasUp  bool // before Up
	closed bool
	// hostOnly: the networks of the addresses get no route.
	hostOnly bool
}

// route is a route that was asked for.
type route struct {
	count int  // how often
	ours  bool // we have added it to the kernel's table
}

// Up gives the interface its addresses and MTU and brings it up. What is
// already as it should be is left alone, and will be at Close. If anything fails,
// what was done is taken back.
//
// The Link acts in the network namespace of the thread that calls Up, whatever
// thread it is used on later.
func Up(cfg Config) (*Link, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, explain("configure interfaces", err)
	}
	l := &Link{cfg: cfg, nl: nl, routes: map[netip.Prefix]*route{}}
	if err := l.up(); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Link) up() error {
	name := l.cfg.Interface
	link, err := l.nl.LinkByName(name)
	if err != nil {
		l.wasUp = true // so that nothing is taken down
		return explain("find the interface "+name, err)
	}
	attrs := link.Attrs()
	l.index = attrs.Index
	l.wasUp = attrs.Flags&net.FlagUp != 0

	present, err := l.conflicts()
	if err != nil {
		return err
	}
	if mtu := l.cfg.MTU; mtu != 0 && mtu != attrs.MTU {
		if err := l.nl.LinkSetMTU(link, mtu); err != nil {
			return explain(fmt.Sprintf("set the MTU of %s to %d", name, mtu), err)
		}
		l.oldMTU = attrs.MTU
	}
	for _, a := range l.cfg.Addresses {
		if slices.Contains(present, a) {
			continue
		}
		addr := l.addr(a)
		if err := l.nl.AddrAdd(link, addr); err != nil {
			if a.Addr().Is6() && errors.Is(err, unix.EACCES) {
				return &hinted{fmt.Errorf("cannot give %s the address %v: IPv6 is switched off", name, a), "sysctl net.ipv6.conf." + name + ".disable_ipv6=0"}
			}
			return explain(fmt.Sprintf("give %s the address %v", name, a), err)
		}
		l.added = append(l.added, addr)
	}
	if !l.wasUp {
		if err := l.nl.LinkSetUp(link); err != nil {
			return explain("bring up "+name, err)
		}
	}
	return nil
}

// addr is an address of ours in the library's form.
func (*Link) addr(a netip.Prefix) *netlink.Addr {
	addr := &netlink.Addr{IPNet: ipNet(a)}
	if a.Addr().Is6() {
		// There is no second machine on this link that could have the same
		// address, so it need not be asked for before it can be used.
		addr.Flags = unix.IFA_F_NODAD
	}
	return addr
}

// conflicts finds the addresses that are already on our interface, and
// returns an error if another one has an address that is to be ours.
func (l *Link) conflicts() (present []netip.Prefix, err error) {
	list, err := l.nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, explain("list the addresses of this machine", err)
	}
	for _, a := range list {
		p, ok := prefix(a.IPNet)
		if !ok {
			continue
		}
		if a.LinkIndex == l.index {
			present = append(present, p)
			continue
		}
		for _, want := range l.cfg.Addresses {
			if want.Addr() == p.Addr() {
				return nil, &hinted{fmt.Errorf("cannot give %s the address %v: %s has it already", l.cfg.Interface, want, l.nameOf(a.LinkIndex)),
					"choose another address for this node, or free that one"}
			}
		}
	}
	return present, nil
}

// nameOf is the name of the interface with this index, in words if it is gone.
func (l *Link) nameOf(index int) string {
	link, err := l.nl.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("interface %d", index)
	}
	return link.Attrs().Name
}

// covered reports whether addresses on the interface already lead to all of p.
func (c Config) covered(p netip.Prefix) bool {
	for _, a := range c.Addresses {
		if a.Bits() <= p.Bits() && a.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// AddRoute routes p (its host bits do not count) through the interface. A
// prefix that lies inside of that of an address needs no route and gets none.
// A prefix can be added several times, and is then removed as many times.
//
// Prefixes that would capture the machine's own connection, such as 0.0.0.0/0,
// are refused. Smaller ones can still lead the VPN's own packets into the VPN,
// if the address of a neighbour lies in them: the caller knows those addresses.
func (l *Link) AddRoute(p netip.Prefix) error {
	p = p.Masked()
	if err := config.Routable(p); err != nil {
		return fmt.Errorf("no route to %v is added: %w", p, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg.covered(p) && !l.hostOnly {
		return nil
	}
	if l.closed {
		return fmt.Errorf("cannot route %v: %s is not configured any more", p, l.cfg.Interface)
	}
	if r := l.routes[p]; r != nil {
		r.count++
		return nil
	}
	err := l.nl.RouteAdd(l.route(p))
	switch {
	case errors.Is(err, unix.EEXIST):
		if other := l.other(p); other != "" {
			return fmt.Errorf("cannot route %v through %s: %s has the same route already", p, l.cfg.Interface, other)
		}
	case err != nil:
		return explain(fmt.Sprintf("route %v through %s", p, l.cfg.Interface), err)
	}
	l.routes[p] = &route{count: 1, ours: err == nil}
	return nil
}

// other names another interface that has a route to p with our metric, "" if there is none.
func (l *Link) other(p netip.Prefix) string {
	list, err := l.nl.RouteListFiltered(family(p), &netlink.Route{Dst: ipNet(p)}, netlink.RT_FILTER_DST)
	if err != nil {
		return ""
	}
	name := ""
	for _, r := range list {
		if r.Priority == metric {
			if r.LinkIndex == l.index {
				return ""
			}
			name = l.nameOf(r.LinkIndex)
		}
	}
	return name
}

// RemoveRoute takes back one AddRoute of p. A route that is not there is no error.
func (l *Link) RemoveRoute(p netip.Prefix) error {
	p = p.Masked()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.routes[p]
	if r == nil {
		return nil
	}
	if r.count--; r.count > 0 {
		return nil
	}
	delete(l.routes, p)
	if !r.ours {
		return nil
	}
	return l.delete(p)
}

func (l *Link) delete(p netip.Prefix) error {
	if err := l.nl.RouteDel(l.route(p)); err != nil && !isNotFound(err) {
		return explain(fmt.Sprintf("remove the route to %v through %s", p, l.cfg.Interface), err)
	}
	return nil
}

// route is p through our interface, in the library's form.
func (l *Link) route(p netip.Prefix) *netlink.Route {
	r := &netlink.Route{LinkIndex: l.index, Dst: ipNet(p), Priority: metric, Protocol: unix.RTPROT_STATIC, Family: family(p)}
	if gw, ok := l.cfg.Gateways[p]; ok {
		r.Gw = gw.AsSlice()
	} else if p.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	// What is sent there should carry our address in the VPN, which the others know.
	for _, a := range l.cfg.Addresses {
		if a.Addr().Is4() == p.Addr().Is4() {
			r.Src = a.Addr().AsSlice()
			break
		}
	}
	return r
}

// SetHostOnly takes away the routes to the networks of the interface's addresses, or
// gives them back. Without them another interface with the same network keeps it, and
// AddRoute adds routes inside of those networks, too. With on unchanged nothing happens.
func (l *Link) SetHostOnly(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.hostOnly == on {
		return nil
	}
	l.hostOnly = on
	return l.onLink()
}

// onLink brings the routes to the networks of the addresses to what hostOnly says.
func (l *Link) onLink() error {
	var errs []error
	for _, a := range l.cfg.Addresses {
		if a.IsSingleIP() {
			continue
		}
		r := &netlink.Route{LinkIndex: l.index, Dst: ipNet(a.Masked()), Protocol: unix.RTPROT_KERNEL, Family: family(a)}
		if a.Addr().Is4() {
			r.Scope, r.Src = netlink.SCOPE_LINK, a.Addr().AsSlice()
		} else {
			r.Priority = kernelMetric6
		}
		if l.hostOnly {
			if err := l.nl.RouteDel(r); err != nil && !isNotFound(err) {
				errs = append(errs, explain(fmt.Sprintf("remove the route to %v through %s", a.Masked(), l.cfg.Interface), err))
			}
		} else if err := l.nl.RouteAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, explain(fmt.Sprintf("route %v through %s", a.Masked(), l.cfg.Interface), err))
		}
	}
	return errors.Join(errs...)
}

// kernelMetric6 is the metric of the routes that the kernel adds for IPv6 addresses.
const kernelMetric6 = 256

// Restore restores what other programs have removed from the interface: that it is up, its
// addresses, its routes. It describes that in a few words; empty if nothing was missing,
// or the interface has been removed.
func (l *Link) Restore() (restored []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil
	}
	link, err := l.nl.LinkByIndex(l.index)
	if err != nil {
		return nil, nil // it has gone, which ends the node
	}
	present, err := l.conflicts()
	if err != nil {
		return nil, err
	}
	for _, a := range l.cfg.Addresses {
		if slices.Contains(present, a) {
			continue
		}
		addr := l.addr(a)
		if err := l.nl.AddrAdd(link, addr); err != nil {
			return restored, explain(fmt.Sprintf("give %s the address %v again", l.cfg.Interface, a), err)
		}
		if !slices.ContainsFunc(l.added, func(old *netlink.Addr) bool { return old.IPNet.String() == addr.IPNet.String() }) {
			l.added = append(l.added, addr)
		}
		restored = append(restored, "the address "+a.String())
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := l.nl.LinkSetUp(link); err != nil {
			return restored, explain("bring up "+l.cfg.Interface+" again", err)
		}
		restored = append(restored, "its state up")
	}
	if len(restored) > 0 {
		if err := l.onLink(); err != nil {
			return restored, err
		}
	}
	n, err := l.restoreRoutes()
	switch {
	case n == 1:
		restored = append(restored, "1 route")
	case n > 1:
		restored = append(restored, fmt.Sprintf("%d routes", n))
	}
	return restored, err
}

// restoreRoutes adds the routes that are missing.
func (l *Link) restoreRoutes() (restored int, err error) {
	if len(l.routes) == 0 {
		return 0, nil
	}
	have := map[netip.Prefix]struct{}{}
	for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
		list, e := l.nl.RouteListFiltered(f, &netlink.Route{LinkIndex: l.index}, netlink.RT_FILTER_OIF)
		if e != nil {
			return 0, explain("list the routes through "+l.cfg.Interface, e)
		}
		for _, r := range list {
			if p, ok := prefix(r.Dst); ok {
				have[p] = struct{}{}
			}
		}
	}
	for p, r := range l.routes {
		if _, ok := have[p]; ok {
			continue
		}
		switch e := l.nl.RouteAdd(l.route(p)); {
		case e == nil:
			r.ours = true
			restored++
		case !errors.Is(e, unix.EEXIST): // else it has another interface now
			err = explain(fmt.Sprintf("route %v through %s again", p, l.cfg.Interface), e)
		}
	}
	return restored, err
}

// Close removes the routes and addresses that were added and puts the interface
// back as it was. What is gone already, for instance with the interface, is no error.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	defer l.nl.Close()

	var errs []error
	for p, r := range l.routes {
		if r.ours {
			errs = append(errs, l.delete(p))
		}
	}
	l.routes = nil
	link, err := l.nl.LinkByIndex(l.index)
	if l.index == 0 || err != nil {
		return errors.Join(errs...) // the interface is gone, and with it all the rest
	}
	try := func(what string, err error) {
		if err != nil && !isNotFound(err) {
			errs = append(errs, explain(what+" "+l.cfg.Interface, err))
		}
	}
	for _, a := range slices.Backward(l.added) {
		try("remove the address "+a.IPNet.String()+" from", l.nl.AddrDel(link, a))
	}
	if !l.wasUp {
		try("take down", l.nl.LinkSetDown(link))
	}
	if l.oldMTU != 0 {
		try("restore the MTU of", l.nl.LinkSetMTU(link, l.oldMTU))
	}
	return errors.Join(errs...)
}

// isNotFound reports whether err says that what was to be removed is not there.
func isNotFound(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV)
}

// explain wraps err for people.
func explain(what string, err error) error {
	var missing netlink.LinkNotFoundError
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return &hinted{fmt.Errorf("cannot %s: %w", what, err), "run as root, or give the program CAP_NET_ADMIN"}
	case errors.As(err, &missing):
		return fmt.Errorf("cannot %s: there is no such interface", what)
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// ipNet is p, with its host bits, in the form of package net.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefix is the reverse of ipNet.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones), ok
}
