// Package netdiag finds what keeps the kernel of this machine from passing packets of the
// VPN: an interface that is down, a missing address or route, another network with the same
// addresses, a firewall.
//
// It only looks. What the mesh makes of a packet is not its business.
package netdiag

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"tincan/internal/netwatch"
)

// Finding is one thing that blocks packets. Code is a fixed word.
type Finding struct {
	Code   string
	Text   string // a sentence without its full stop
	Change string // what would help
}

// Question says what is looked at.
type Question struct {
	Interface string         // of the VPN; "" if it has none
	Own       []netip.Prefix // the addresses that it should have
	To        netip.Addr     // an address in the VPN that packets are for; zero: none in particular
	Command   string         // how the user calls the program, such as "tincan -n home"
}

// Look looks at the interface, its addresses and the routes. The first finding is the one that
// matters most. It needs no rights.
func Look(q Question) (list []Finding) {
	if q.Interface == "" {
		return nil
	}
	add := func(code, text, change string) { list = append(list, Finding{code, text, change}) }
	dev, err := net.InterfaceByName(q.Interface)
	if err != nil {
		add("interface-missing", fmt.Sprintf("there is no interface %s on this machine", q.Interface), q.Command+" restart")
		return list
	}
	if dev.Flags&net.FlagUp == 0 {
		add("interface-down", fmt.Sprintf("the interface %s is down", q.Interface), "ip link set "+q.Interface+" up")
	}
	var present []netip.Prefix
	for d, p := range netwatch.Addresses() {
		if d.Name == q.Interface {
			present = append(present, p)
		}
	}
	for _, p := range q.Own {
		if !slices.Contains(present, p) {
			add("address-missing", fmt.Sprintf("the interface %s does not have the address %v", q.Interface, p), fmt.Sprintf("ip addr add %v dev %s", p, q.Interface))
		}
	}
	if len(q.Own) == 0 {
		if q.Own = slices.DeleteFunc(present, func(p netip.Prefix) bool { return p.Addr().IsLinkLocalUnicast() }); len(q.Own) == 0 {
			add("interface-without-address", fmt.Sprintf("the interface %s has no address", q.Interface), q.Command+" add Ifconfig ADDRESS/LENGTH, then reload; or a tinc-up script")
		}
	}
	gateways := netwatch.Gateways(q.Interface)
	for _, p := range q.Own {
		if via, ok := gateways[p.Addr()]; ok {
			add("address-of-gateway", fmt.Sprintf("the address %v of this node is also that of the router on %s, which cannot be reached", p.Addr(), via), "give this node another address: Ifconfig in tinc.conf, and Subnet in its host file")
		}
	}
	overlaps := netwatch.Overlaps(q.Own, q.Interface)
	if q.To.IsValid() && len(list) == 0 {
		list = append(list, route(q, overlaps)...)
		if len(list) > 0 && q.To.Is4() && strictReversePath(q.Interface) {
			list = append(list, Finding{"reverse-path-filter", fmt.Sprintf("packets from %v that come out of %s are dropped as well, since their answers would not go back there (rp_filter is strict)",
				q.To, q.Interface), list[len(list)-1].Change})
		}
	}
	for _, o := range overlaps {
		add("range-overlaps", fmt.Sprintf("the range %v of the VPN overlaps with %v of %s", o.Own, o.Other, o.Interface), "another range for the VPN, or for that network")
	}
	return list
}

// route finds out where packets for one address go.
func route(q Question, overlaps []netwatch.Overlap) []Finding {
	via, err := routeTo(q.To)
	switch {
	case err != nil:
		return []Finding{{"no-route", fmt.Sprintf("the kernel has no route to %v: %v", q.To, err), adviseRoute(q)}}
	case via == "" || via == q.Interface || via == loopback:
		return nil
	}
	for _, o := range overlaps {
		if o.Other.Contains(q.To) {
			return []Finding{{"address-elsewhere", fmt.Sprintf("packets for %v go to %s, which has the network %v, too", q.To, via, o.Other), "another range for the VPN, or for that network"}}
		}
	}
	return []Finding{{"route-elsewhere", fmt.Sprintf("packets for %v leave by %s and not by %s", q.To, via, q.Interface), adviseRoute(q)}}
}

// loopback is where packets for our own addresses go.
const loopback = "lo"

func adviseRoute(q Question) string {
	return fmt.Sprintf("%s add Route %v, then %s reload; or a route in the script subnet-up", q.Command, netip.PrefixFrom(q.To, q.To.BitLen()), q.Command)
}

// String is the finding in one line.
func (f Finding) String() string {
	if f.Change == "" {
		return f.Text
	}
	return strings.Join([]string{f.Text, f.Change}, "; suggestion: ")
}
