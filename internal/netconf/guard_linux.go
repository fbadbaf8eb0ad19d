package netconf

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tincan/internal/config"
)

// Guard keeps packets for the networks of a VPN from leaving by another route while the
// VPN's own is missing: it holds an unreachable route to each of them, with a metric so
// high that any other route comes first.
//
// The routes are no interface's, so they outlive the interface, and the process if that is
// killed. They are found again by their metric, which follows from the interface's name.
// A Guard may be used from one goroutine at a time.
type Guard struct {
	nl     *netlink.Handle
	metric int
	have   map[netip.Prefix]struct{}
}

// guardBase is the lowest metric of a guard. Nobody else has reason to choose one like it.
const guardBase = 0x74000000

func guardMetric(iface string) int {
	h := fnv.New32a()
	h.Write([]byte(iface))
	return guardBase | int(h.Sum32()&0xffffff)
}

// NewGuard returns the guard of an interface's networks, including the routes that an earlier process of the
// same network has left.
func NewGuard(iface string) (*Guard, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, explain("keep routes", err)
	}
	g := &Guard{nl: nl, metric: guardMetric(iface), have: map[netip.Prefix]struct{}{}}
	for _, p := range g.list() {
		g.have[p] = struct{}{}
	}
	return g, nil
}

// list reads what there is in the kernel's table.
func (g *Guard) list() (found []netip.Prefix) {
	for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := g.nl.RouteListFiltered(f, &netlink.Route{Type: unix.RTN_UNREACHABLE}, netlink.RT_FILTER_TYPE)
		if err != nil {
			continue
		}
		for _, r := range list {
			if p, ok := prefix(r.Dst); ok && r.Priority == g.metric {
				found = append(found, p)
			}
		}
	}
	return found
}

// Networks are those that are guarded, in no order.
func (g *Guard) Networks() (list []netip.Prefix) {
	for p := range g.have {
		list = append(list, p)
	}
	return list
}

// Set guards these networks and no others. Default routes are left out. It does what it can, and
// returns the first error.
func (g *Guard) Set(networks []netip.Prefix) error {
	var first error
	wanted := make(map[netip.Prefix]struct{}, len(networks))
	for _, p := range networks {
		if p = p.Masked(); config.Routable(p) == nil {
			wanted[p] = struct{}{}
		}
	}
	for p := range g.have {
		if _, ok := wanted[p]; !ok {
			if err := g.nl.RouteDel(g.route(p)); err != nil && !isNotFound(err) && first == nil {
				first = explain(fmt.Sprintf("remove the unreachable route to %v", p), err)
			}
			delete(g.have, p)
		}
	}
	for p := range wanted {
		if _, ok := g.have[p]; ok {
			continue
		}
		if err := g.add(p); err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		g.have[p] = struct{}{}
	}
	return first
}

func (g *Guard) add(p netip.Prefix) error {
	if err := g.nl.RouteAdd(g.route(p)); err != nil && !errors.Is(err, unix.EEXIST) {
		return explain(fmt.Sprintf("add the unreachable route to %v", p), err)
	}
	return nil
}

// Restore adds the routes that other programs have removed, and returns how many that were.
func (g *Guard) Restore() (restored int, err error) {
	missing := maps.Clone(g.have)
	for _, p := range g.list() {
		delete(missing, p)
	}
	for p := range missing {
		if e := g.add(p); e != nil {
			err = e
			continue
		}
		restored++
	}
	return restored, err
}

// Close removes everything.
func (g *Guard) Close() error {
	err := g.Set(nil)
	g.nl.Close()
	return err
}

func (g *Guard) route(p netip.Prefix) *netlink.Route {
	return &netlink.Route{Dst: ipNet(p), Type: unix.RTN_UNREACHABLE, Priority: g.metric, Protocol: unix.RTPROT_STATIC, Family: family(p)}
}
