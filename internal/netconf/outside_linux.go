package netconf

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Outside leads packets into the VPN that are for nobody in it. It has a table of routes of its own, whose number follows from
// the interface's name, and rules that have packets looked up in it:
//
//	26549: fwmark MARK goto 26554
//	26550: udp dport 53 lookup TABLE
//	26551: tcp dport 53 lookup TABLE
//	26552: lookup main suppress_prefixlength 0
//	26553: lookup TABLE
//	26554: nop
//
// So the local network stays reachable, and what the VPN sends itself is not concerned. The routes go with the interface, and what
// finds none goes by the main table as before. A guard is unreachable routes in the same table, which outlive the interface and
// the process, as the rules do. An Outside may be used from one goroutine at a time.
type Outside struct {
	nl    *netlink.Handle
	cfg   OutsideConfig
	index int
	have  map[outsideRoute]struct{}
}

// outsideRoute is a route of the table.
type outsideRoute struct {
	to    netip.Prefix
	guard bool
}

// The rules come before those that other programs of this kind choose by default (wg-quick: 32764), and after the table local.
const (
	ruleSkip = 26549 + iota
	ruleDNSOverUDP
	ruleDNSOverTCP
	ruleMain
	ruleTable
	ruleEnd
)

const dnsPort = 53

// everything is the default routes of both families.
var everything = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}

var outsideFamilies = []int{unix.AF_INET, unix.AF_INET6}

// OutsidePossible says why an Outside cannot be made on this system: it can, with the rights for it.
func OutsidePossible() error { return nil }

// NewOutside leads packets into the VPN as cfg says. It takes over what an earlier process of the same network has left, without
// a moment in which packets take another way.
func NewOutside(cfg OutsideConfig) (*Outside, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, explain("lead packets into the VPN", err)
	}
	o := &Outside{nl: handle}
	if err := o.Set(cfg); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// Set takes over another configuration of the same interface. It first adds what is missing, then removes what is too much. If the
// kernel has no IPv6 that is left out.
func (o *Outside) Set(cfg OutsideConfig) error {
	link, err := o.nl.LinkByName(cfg.Interface)
	if err != nil {
		return explain("find the interface "+cfg.Interface, err)
	}
	o.cfg, o.index = cfg, link.Attrs().Index
	before := map[outsideRoute]struct{}{}
	for _, f := range outsideFamilies {
		list, err := o.list(f)
		if err != nil {
			if f == unix.AF_INET6 {
				continue
			}
			return explain("list routes", err)
		}
		maps.Copy(before, list)
	}
	o.have = make(map[outsideRoute]struct{}, len(before))
	var missing []outsideRoute
	for r := range o.wanted() {
		if _, ok := before[r]; ok {
			o.have[r] = struct{}{}
		} else {
			missing = append(missing, r)
		}
	}
	if err := o.add(missing); err != nil {
		return err
	}
	for _, f := range outsideFamilies {
		if _, err := o.restoreRules(f); err != nil {
			return err
		}
	}
	return o.removeOthers()
}

// wanted are the routes that there should be.
func (o *Outside) wanted() map[outsideRoute]struct{} {
	list := o.cfg.Prefixes
	if o.cfg.Default {
		list = everything // which includes the others
	}
	wanted := make(map[outsideRoute]struct{}, 2*len(list))
	for _, p := range list {
		wanted[outsideRoute{p, false}] = struct{}{}
		if o.cfg.Guard {
			wanted[outsideRoute{p, true}] = struct{}{}
		}
	}
	return wanted
}

// list are the routes of the table.
func (o *Outside) list(family int) (map[outsideRoute]struct{}, error) {
	list, err := o.nl.RouteListFiltered(family, &netlink.Route{Table: o.table()}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	found := make(map[outsideRoute]struct{}, len(list))
	for _, r := range list {
		p, ok := prefix(r.Dst)
		if !ok {
			p = everything[slices.Index(outsideFamilies, family)]
		}
		if guard := r.Type == unix.RTN_UNREACHABLE; guard || r.LinkIndex == o.index && r.LinkIndex != 0 {
			found[outsideRoute{p, guard}] = struct{}{}
		}
	}
	return found, nil
}

func (o *Outside) table() int { return guardMetric(o.cfg.Interface) }

// route is r for the kernel.
func (o *Outside) route(r outsideRoute) tableRoute {
	t := tableRoute{to: r.to, table: uint32(o.table()), prio: guardBase}
	if r.guard {
		return t
	}
	t.prio, t.index = metric, o.index
	for _, a := range o.cfg.Sources {
		if a.Is4() == r.to.Addr().Is4() {
			t.src = a
			break
		}
	}
	return t
}

// add adds routes to the table, and takes note of them. For those of IPv6, if that is switched off on the interface, it adds
// unreachable ones: such packets go nowhere.
func (o *Outside) add(list []outsideRoute) error {
	routes := make([]tableRoute, len(list))
	for i, r := range list {
		routes[i] = o.route(r)
		o.have[r] = struct{}{}
	}
	var instead []outsideRoute
	var first error
	err := changeRoutes(routes, false, func(t tableRoute, err error) {
		r := outsideRoute{t.to, t.index == 0}
		delete(o.have, r)
		switch six := t.to.Addr().Is6(); {
		case six && noFamily(err):
		case six && !r.guard:
			instead = append(instead, outsideRoute{t.to, true})
		case first == nil:
			first = explain(fmt.Sprintf("route %v through %s", t.to, o.cfg.Interface), err)
		}
	})
	if err != nil {
		return explain("change routes", err)
	}
	if first == nil && len(instead) > 0 {
		return o.add(instead)
	}
	return first
}

// remove removes routes. Those that are not there are no error.
func (o *Outside) remove(list []outsideRoute) (first error) {
	routes := make([]tableRoute, len(list))
	for i, r := range list {
		routes[i] = o.route(r)
	}
	err := changeRoutes(routes, true, func(t tableRoute, err error) {
		if !isNotFound(err) && first == nil {
			first = explain(fmt.Sprintf("remove the route to %v", t.to), err)
		}
	})
	return errors.Join(first, err)
}

// noFamily tells whether err says that the kernel has no IPv6.
func noFamily(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPFNOSUPPORT)
}

// rules are those of a family, the first that is added first: no packet is looked up in the table before it is known which are not to
// be.
func (o *Outside) rules(family int) []*netlink.Rule {
	list := o.shared(family)
	add := func(priority, table int) *netlink.Rule {
		r := netlink.NewRule()
		r.Family, r.Priority, r.Table = family, priority, table
		list = append(list, r)
		return r
	}
	add(ruleMain, unix.RT_TABLE_MAIN).SuppressPrefixlen = 0
	add(ruleTable, o.table())
	if o.cfg.Default {
		for i, proto := range []int{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			r := add(ruleDNSOverUDP+i, o.table())
			r.IPProto, r.Dport = proto, netlink.NewRulePortRange(dnsPort, dnsPort)
		}
	}
	return list
}

// shared are the first of the rules, which are the same for all networks with the same mark.
func (o *Outside) shared(family int) []*netlink.Rule {
	end, skip := netlink.NewRule(), netlink.NewRule()
	end.Family, end.Priority, end.Type = family, ruleEnd, nl.FR_ACT_NOP
	mask := ^uint32(0)
	skip.Family, skip.Priority, skip.Mark, skip.Mask, skip.Goto = family, ruleSkip, uint32(o.cfg.Mark), &mask, ruleEnd
	return []*netlink.Rule{end, skip}
}

// same tells whether the kernel has rule a, of which we know what b says.
func same(a, b *netlink.Rule) bool {
	return a.Priority == b.Priority && a.Table == b.Table && a.Mark == b.Mark && a.Goto == b.Goto && a.IPProto == b.IPProto && a.SuppressPrefixlen == b.SuppressPrefixlen
}

// restoreRules adds the rules that are missing.
func (o *Outside) restoreRules(family int) (added int, err error) {
	present, err := o.nl.RuleList(family)
	if err != nil {
		if family == unix.AF_INET6 {
			return 0, nil
		}
		return 0, explain("list the rules of routing", err)
	}
	for _, r := range o.rules(family) {
		if slices.ContainsFunc(present, func(p netlink.Rule) bool { return same(&p, r) }) {
			continue
		}
		if err := o.nl.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
			if family == unix.AF_INET6 && noFamily(err) {
				return 0, nil
			}
			return added, explain("add a rule of routing", err)
		}
		added++
	}
	return added, nil
}

// removeOthers removes rules and routes of ours that are too much: of another configuration, or an earlier process.
func (o *Outside) removeOthers() error {
	var errs []error
	for _, f := range outsideFamilies {
		wanted := o.rules(f)
		errs = append(errs, o.removeRules(f, func(r *netlink.Rule) bool {
			return r.Table == o.table() && !slices.ContainsFunc(wanted, func(w *netlink.Rule) bool { return same(r, w) })
		}))
		list, err := o.list(f)
		if err != nil {
			continue
		}
		var excess []outsideRoute
		for r := range list {
			if _, ok := o.have[r]; !ok {
				excess = append(excess, r)
			}
		}
		errs = append(errs, o.remove(excess))
	}
	return errors.Join(errs...)
}

func (o *Outside) removeRules(family int, which func(*netlink.Rule) bool) error {
	list, err := o.nl.RuleList(family)
	if err != nil {
		return nil // nor are there rules
	}
	var errs []error
	for _, r := range list {
		if which(&r) {
			r.Family = family
			if err := o.nl.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) && !isNotFound(err) {
				errs = append(errs, explain("remove a rule of routing", err))
			}
		}
	}
	return errors.Join(errs...)
}

// Restore adds what other programs have removed, and returns how many rules and routes that were.
func (o *Outside) Restore() (restored int, err error) {
	for _, f := range outsideFamilies {
		n, e := o.restoreRules(f)
		restored += n
		err = errors.Join(err, e)
		list, e := o.list(f)
		if e != nil {
			continue
		}
		var missing []outsideRoute
		for r := range o.have {
			if _, ok := list[r]; !ok && family(r.to) == f {
				missing = append(missing, r)
			}
		}
		restored += len(missing)
		err = errors.Join(err, o.add(missing))
	}
	return restored, err
}

// Close removes everything: packets go by the machine's other routes.
func (o *Outside) Close() error {
	defer o.nl.Close()
	return o.clear()
}

// ClearOutside removes what a process has left that was killed.
func ClearOutside(iface string) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return explain("change routes", err)
	}
	o := &Outside{nl: handle, cfg: OutsideConfig{Interface: iface}}
	if link, err := handle.LinkByName(iface); err == nil {
		o.index = link.Attrs().Index
	}
	return o.Close()
}

// clear removes the rules and the routes. The rules that networks share go with the last of them.
func (o *Outside) clear() error {
	var errs []error
	for _, f := range outsideFamilies {
		errs = append(errs, o.removeRules(f, func(r *netlink.Rule) bool { return r.Table == o.table() }))
		list, err := o.nl.RuleList(f)
		if err != nil {
			continue
		}
		if !slices.ContainsFunc(list, func(r netlink.Rule) bool { return r.Priority == ruleTable }) {
			errs = append(errs, o.removeRules(f, func(r *netlink.Rule) bool {
				return r.Priority == ruleMain && r.SuppressPrefixlen == 0 || r.Priority == ruleSkip && r.Goto == ruleEnd
			}))
			// The library forgets what kind of rule this is.
			errs = append(errs, o.removeRules(f, func(r *netlink.Rule) bool { r.Type = nl.FR_ACT_NOP; return r.Priority == ruleEnd }))
		}
		routes, err := o.list(f)
		if err != nil {
			continue
		}
		errs = append(errs, o.remove(slices.Collect(maps.Keys(routes))))
	}
	return errors.Join(errs...)
}

// WatchRules calls changed when rules of routing change, until ctx ends. Where that cannot be watched it is never called.
func WatchRules(ctx context.Context, changed func()) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		<-ctx.Done()
		return
	}
	groups := uint32(1<<(unix.RTNLGRP_IPV4_RULE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1))
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	f := os.NewFile(uintptr(fd), "changes of rules")
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })()
	for b := make([]byte, 4096); err == nil; {
		// Which rules these are does not matter. If messages were lost there have been some, too.
		if _, err = f.Read(b); err == nil || errors.Is(err, unix.ENOBUFS) {
			err = nil
			changed()
		}
	}
	<-ctx.Done()
}
