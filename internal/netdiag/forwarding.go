package netdiag

import (
	"fmt"
	"net/netip"
	"slices"
)

// maxBehind is how many networks behind this machine are looked at.
const maxBehind = 64

// Forwarding finds what keeps this machine from passing packets between the VPN and the networks behind it, which are those
// of its own subnets that other interfaces lead to: forwarding that is off, a firewall (see [Firewall]). With q.To
// it looks at the network of that address only.
func Forwarding(q Question, own []netip.Prefix) (list []Finding) {
	if q.Interface == "" {
		return nil
	}
	type link struct {
		dev string
		six bool
	}
	var seen []link
	var rules []byte
	for _, p := range own[:min(len(own), maxBehind)] {
		if q.To.IsValid() && !p.Contains(q.To) || p.IsSingleIP() && q.has(p.Addr()) {
			continue
		}
		dev, err := leadsTo(p, q.To)
		l := link{dev, p.Addr().Is6()}
		if err != nil || dev == "" || dev == q.Interface || dev == loopback || slices.Contains(seen, l) {
			continue
		}
		if seen = append(seen, l); rules == nil {
			rules = readRules()
		}
		for _, d := range []string{q.Interface, dev} {
			if setting, off := forwardingOff(d, l.six); off {
				list = append(list, Finding{"forwarding-off", fmt.Sprintf("this machine forwards no packets between %s and %s, behind which it has %v: %s is 0", q.Interface, dev, p, setting),
					"sysctl -w " + map[bool]string{false: "net.ipv4.ip_forward=1", true: "net.ipv6.conf.all.forwarding=1"}[l.six]})
				break
			}
		}
		for _, f := range judgeForward(rules, q.Interface, dev) {
			if !slices.Contains(list, f) {
				list = append(list, f)
			}
		}
	}
	return list
}

// has tells whether an address is to be that of the interface itself.
func (q Question) has(a netip.Addr) bool {
	return slices.ContainsFunc(q.Own, func(p netip.Prefix) bool { return p.Addr() == a })
}

// leadsTo names the interface to a network: that for one address if it is given, else that for one which is not our own.
func leadsTo(p netip.Prefix, to netip.Addr) (dev string, err error) {
	if to.IsValid() {
		return routeTo(to)
	}
	to = p.Masked().Addr()
	for range 3 { // the network itself, its first address, which is often this machine's, and the next
		if dev, err = routeTo(to); err != nil || dev != loopback || p.IsSingleIP() {
			break
		}
		to = to.Next()
	}
	return dev, err
}
