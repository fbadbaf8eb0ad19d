package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/dbus"
	"tincan/internal/inside"
	"tincan/internal/mesh"
	"tincan/internal/names"
	"tincan/internal/node"
	"tincan/internal/route"
	"tincan/internal/subnet"
	"tincan/internal/zone"
)

// naming has nodes found by their names in DNS. The protocol core and the roster tell which addresses nodes have; package zone
// answers from that without asking either.
type naming struct {
	d        *Daemon
	domain   string                // "" if there can be none
	zone     *zone.Zone            // nil: Names is off, or nothing here could be found by a name
	isDevice func(netip.Addr) bool // nil: there are none
	touched  chan struct{}         // the addresses of the interface may have changed
	news     chan struct{}         // names have

	announced map[node.Name]map[subnet.Subnet]struct{} // belongs to the protocol core's goroutine

	rules    names.Rules     // of this system, nil if it has none: then there may be systemd-resolved
	resolved *names.Resolved // nil: it is not told anything, or not any more
	told     names.Link      // what either was told last
	locked   bool            // this process has lost the right to tell it more

	mu         sync.Mutex
	view       control.Names // for status, but for what is wrong
	unanswered string        // why queries are not answered everywhere where they should be
	unasked    string        // why programs of this machine do not find the names
}

// hostsDelay is how long changes are collected before /etc/hosts is written.
const hostsDelay = time.Second

// newNaming makes what Names asks for.
func newNaming(d *Daemon) *naming {
	n := &naming{d: d, isDevice: d.devices.has, rules: names.SystemRules(), touched: make(chan struct{}, 1), news: make(chan struct{}, 1), announced: map[node.Name]map[subnet.Subnet]struct{}{}}
	s := d.network().Settings
	var err error
	n.domain, err = s.NamesDomain(d.opts.Layout.NetName)
	if s.Names == config.NamesOff && d.opts.Attach == nil {
		return n
	}
	switch {
	case err != nil:
		d.log.failed(0, mesh.Warning, &Hinted{fmt.Errorf("nodes cannot be found by names: %w", err), "set Domain"})
	case d.opts.Attach == nil && (!d.hasInterface() || s.Mode != route.ByAddress):
		d.log.printf(0, mesh.Warning, "Names = %s has no effect: only in router mode, and with an interface, do nodes have addresses that their names could stand for", s.Names)
	default:
		n.zone = zone.New(n.domain, d.network().Name, s.Ifconfig, d.plane.Owner)
		n.view = control.Names{Domain: n.domain}
		for name, addrs := range n.granted() {
			n.zone.Set(zone.Granted, name, addrs)
		}
		n.records()
	}
	return n
}

// The news. None of this blocks.

// routes: all subnets of nodes are these.
func (n *naming) routes(list []mesh.Owned) {
	if n.zone == nil {
		return
	}
	old := n.announced
	n.announced = map[node.Name]map[subnet.Subnet]struct{}{}
	for _, o := range list {
		n.note(o, true)
	}
	for name := range n.announced {
		delete(old, name)
		n.settle(name)
	}
	for name := range old {
		n.settle(name)
	}
}

// change: some have changed.
func (n *naming) change(c mesh.ChangeRoutes) {
	if n.zone == nil {
		return
	}
	for _, o := range c.Gone {
		n.note(o, false)
	}
	for _, o := range c.Set {
		n.note(o, true)
	}
	for _, o := range slices.Concat(c.Gone, c.Set) {
		n.settle(o.Owner)
	}
}

// note takes note of one subnet, if it is a single address.
func (n *naming) note(o mesh.Owned, has bool) {
	p := o.Subnet.Prefix()
	if o.Owner == "" || !p.IsValid() || !p.IsSingleIP() {
		return
	}
	set := n.announced[o.Owner]
	if !has {
		if delete(set, o.Subnet); len(set) == 0 {
			delete(n.announced, o.Owner)
		}
		return
	}
	if set == nil {
		set = map[subnet.Subnet]struct{}{}
		n.announced[o.Owner] = set
	}
	set[o.Subnet] = struct{}{}
}

// settle takes over what is known of a node now.
func (n *naming) settle(name node.Name) {
	var addrs []netip.Addr
	for s := range n.announced[name] {
		if n.isDevice != nil && n.isDevice(s.Addr()) { // its door announces it, and has another name
			continue
		}
		addrs = append(addrs, s.Addr())
	}
	if n.zone.Set(zone.Announced, name, addrs) {
		poke(n.news)
	}
}

// records takes over the further names: those of the configuration, and in a signed network those of the owners.
func (n *naming) records() {
	if n == nil || n.zone == nil {
		return
	}
	changed := n.zone.SetRecords(zone.Announced, n.d.network().Settings.Records)
	var list []zone.Record
	if s := n.d.membership.signed(); s != nil {
		if said := s.State().Names; said != nil {
			var err error
			if list, err = zone.ParseRecords(said.Text); err != nil {
				n.d.log.failed(0, mesh.Warning, fmt.Errorf("the owners' further names in DNS: %w", err))
			}
		}
	}
	if n.zone.SetRecords(zone.Granted, list) || changed {
		poke(n.news)
	}
}

// granted are the single addresses that the owners of the network have granted to members. These have names also while they are off.
func (n *naming) granted() map[node.Name][]netip.Addr {
	granted := map[node.Name][]netip.Addr{}
	s := n.d.membership.signed()
	if s == nil {
		return granted
	}
	now := time.Now().Unix()
	for _, m := range s.State().Members {
		if m.Ended(now) {
			continue
		}
		for _, sub := range m.Subnets {
			if p := sub.Prefix(); p.IsValid() && p.IsSingleIP() {
				granted[m.Name] = append(granted[m.Name], p.Addr())
			}
		}
	}
	for _, d := range s.State().Devices {
		granted[d.Name] = addrsOf(d)
	}
	return granted
}

// members: the roster has changed.
func (n *naming) members() {
	if n == nil || n.zone == nil {
		return
	}
	n.records()
	granted := n.granted()
	for _, name := range n.zone.Known(zone.Granted) {
		if _, still := granted[name]; !still {
			granted[name] = nil
		}
	}
	changed := false
	for name, addrs := range granted {
		changed = n.zone.Set(zone.Granted, name, addrs) || changed
	}
	if changed {
		poke(n.news)
	}
}

// may tells whether an address may ask: one of the VPN, or of this machine.
func (n *naming) may(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	owner, _ := n.d.plane.Owner(a)
	if owner != "" {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.view.At, func(at netip.AddrPort) bool { return at.Addr() == a })
}

// begin does what needs the rights with which this process was started: it tells systemd-resolved whom to ask, and removes what an earlier
// process has left that was killed.
func (n *naming) begin(ctx context.Context) {
	d := n.d
	s := d.network().Settings
	if d.opts.Attach != nil || d.opts.Process == nil && n.zone == nil || n.domain == "" {
		return
	}
	n.clearRules()
	if n.zone == nil || s.Names == config.NamesHosts {
		// What is said of an interface that we have made has gone with it.
		iface := d.netif.Name()
		if !d.found {
			iface = ""
		}
		if err := names.Clear(ctx, iface, n.domain, s.Names != config.NamesHosts); err != nil {
			d.log.failed(0, mesh.Warning, err)
		}
		return
	}
	n.clearHosts()
	if n.rules != nil {
		return // run will write them, when queries are answered
	}
	var err error
	if n.resolved, err = names.FindResolved(ctx); err != nil {
		d.log.printf(2, mesh.Info, "systemd-resolved is not asked: %v", err)
		return
	}
	if c := d.confined; c == nil || c.account == nil && !c.Chroot && c.sandbox != config.SandboxHigh {
		return // run will tell it, when queries are answered
	}
	// A connection to the bus that was opened by root would be a way out of the sandbox. So it is told now, once.
	addrs, _ := inside.Addresses(d.netif.Name())
	for _, p := range s.Ifconfig { // they may come later, see DeviceStandby
		addrs = append(addrs, p.Addr())
	}
	n.locked = true
	if len(addrs) > 0 {
		slices.SortFunc(addrs, netip.Addr.Compare)
		n.tell([]netip.AddrPort{netip.AddrPortFrom(addrs[0], uint16(s.NamesPort))})
	}
	n.resolved.Close()
	n.resolved = nil
}

// clearHosts removes the names from /etc/hosts.
func (n *naming) clearHosts() {
	switch changed, err := names.ClearHosts(names.HostsFile, n.domain); {
	case err != nil:
		n.d.log.failed(0, mesh.Warning, err)
	case changed:
		n.d.log.printf(1, mesh.Info, "removed the names in %s from %s", n.domain, names.HostsFile)
	}
}

// clearRules removes what this system keeps about the domain.
func (n *naming) clearRules() {
	if n.rules == nil {
		return
	}
	switch changed, err := n.rules.Clear(n.domain); {
	case err != nil:
		n.d.log.failed(0, mesh.Warning, err)
	case changed:
		n.d.log.printf(1, mesh.Info, "removed the rules for %s from %v", n.domain, n.rules)
	}
}

// run answers queries, and keeps this machine asking, until ctx ends.
func (n *naming) run(ctx context.Context) {
	if n.zone == nil || n.d.opts.Attach != nil {
		return // whoever has attached the device asks
	}
	s := n.d.network().Settings
	type listening struct {
		at      []netip.AddrPort
		problem error
	}
	changes := make(chan listening, 1)
	server := names.NewServer(names.Config{
		Zone: n.zone, Device: n.d.netif.Name(), Port: uint16(s.NamesPort), Touched: n.touched, May: n.may,
		Addresses: func() ([]netip.Addr, error) { return inside.Addresses(n.d.netif.Name()) },
		Listening: func(at []netip.AddrPort, problem error) {
			select {
			case changes <- listening{at, problem}:
			case <-ctx.Done():
			}
		},
	})
	defer inBackground(server.Run)()
	hosts := s.Names == config.NamesHosts
	if hosts {
		defer n.clearHosts()
	} else {
		defer n.untell()
	}
	var write <-chan time.Time
	for {
		var comes <-chan dbus.Owner
		if n.resolved != nil {
			comes = n.resolved.Comes()
		}
		var news <-chan struct{}
		if hosts && write == nil {
			news = n.news
		}
		select {
		case <-ctx.Done():
			return
		case c := <-changes:
			n.answering(c.at, c.problem)
		case o, more := <-comes:
			switch {
			case !more:
				n.d.log.printf(1, mesh.Info, "the system bus has gone: systemd-resolved is told nothing any more")
				n.resolved.Close()
				n.resolved, n.locked = nil, true
			case o.Owned: // it has started, and may have forgotten all
				n.told = names.Link{}
				n.tell(n.where())
			}
		case <-news:
			write = time.After(hostsDelay)
		case <-write:
			write = nil
			n.writeHosts()
		}
	}
}

// where are queries answered.
func (n *naming) where() []netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view.At
}

// answering: queries are answered at these addresses from now on.
func (n *naming) answering(at []netip.AddrPort, problem error) {
	n.mu.Lock()
	before, old := n.view.At, n.unanswered
	n.view.At, n.unanswered = at, ""
	if problem != nil {
		n.unanswered = problem.Error()
	}
	n.mu.Unlock()
	if problem != nil && problem.Error() != old {
		n.d.log.failed(0, mesh.Warning, problem)
	}
	if slices.Equal(at, before) {
		return
	}
	if len(at) > 0 {
		n.d.log.printf(1, mesh.Info, "names in %s are answered at %s", n.domain, at[0])
	}
	if n.d.network().Settings.Names == config.NamesHosts {
		poke(n.news)
		return
	}
	n.tell(at)
}

// tell has this system, or systemd-resolved, ask at the first of these addresses.
func (n *naming) tell(at []netip.AddrPort) {
	if len(at) == 0 {
		n.untell()
		return
	}
	s := n.d.network().Settings
	l := names.Link{Interface: n.d.netif.Name(), Server: at[0], Domain: n.domain}
	for _, p := range s.Ifconfig {
		l.Reverse = append(l.Reverse, zone.Reverse(p)...)
	}
	same := l.Interface == n.told.Interface && l.Server == n.told.Server && slices.Equal(l.Reverse, n.told.Reverse)
	switch {
	case same:
		return
	case n.rules != nil:
		if err := n.rules.Set(l); err != nil {
			n.clearRules() // what is there is of an address that is not ours any more
			n.told = names.Link{}
			n.notAsked(err)
			return
		}
		n.told = l
		n.setBy(n.rules.String(), "")
		n.d.log.printf(0, mesh.Notice, "programs on this machine find nodes by name: by %v they ask for %s at %s", n.rules, n.domain, l.Server)
		return
	case n.resolved == nil && n.locked:
		if n.told.Interface != "" {
			n.d.log.printf(0, mesh.Warning, "systemd-resolved goes on asking at %s: as %s this process may not tell it of the new address; restart the node", n.told.Server, n.rights())
		}
		return
	case n.resolved == nil:
		n.notAsked(names.ErrNoResolved)
		return
	}
	if err := n.resolved.Set(l); err != nil {
		n.notAsked(err)
		return
	}
	n.told = l
	n.setBy("systemd-resolved", "")
	if !names.UsesResolved() {
		n.setBy("systemd-resolved", "programs on this machine do not ask systemd-resolved: neither does /etc/resolv.conf lead to it, nor /etc/nsswitch.conf")
		n.d.log.failed(0, mesh.Warning, &Hinted{fmt.Errorf("names in %s are known to systemd-resolved, but programs on this machine do not ask it", n.domain),
			"link /etc/resolv.conf to /run/systemd/resolve/stub-resolv.conf, or set Names = hosts"})
		return
	}
	n.d.log.printf(0, mesh.Notice, "programs on this machine find nodes by name: systemd-resolved asks for %s at %s", n.domain, l.Server)
}

// rights are those that this process has given up for.
func (n *naming) rights() string {
	if c := n.d.confined; c != nil && c.account != nil {
		return "the user " + c.account.Name
	}
	return "it is sandboxed"
}

// notAsked says that programs of this machine do not find the names, and what can be done.
func (n *naming) notAsked(err error) {
	tip := "set Names = hosts to have the names in /etc/hosts, or have your DNS server ask there for " + n.domain
	switch {
	case errors.Is(err, names.ErrNoResolved):
	case errors.Is(err, names.ErrNotAllowed), errors.Is(err, os.ErrPermission):
		tip = "start the node as root, who may do it; -U and Sandbox give up rights later"
	default:
		tip = ""
	}
	n.setBy("", "programs on this machine do not ask there: "+err.Error())
	err = fmt.Errorf("programs on this machine do not find nodes by name: %w", err)
	if tip != "" {
		err = &Hinted{err, tip}
	}
	n.d.log.failed(0, mesh.Notice, err)
}

func (n *naming) setBy(by, problem string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.view.By, n.unasked = by, problem
}

// untell takes back what this system, or systemd-resolved, was told.
func (n *naming) untell() {
	if n.rules != nil && n.told.Interface != "" {
		n.clearRules()
		n.told = names.Link{}
		n.setBy("", "")
	}
	if n.resolved == nil {
		return
	}
	if n.told.Interface != "" {
		if err := n.resolved.Reset(n.told.Interface); err != nil && !errors.Is(err, names.ErrNoResolved) {
			n.d.log.failed(1, mesh.Warning, err)
		}
		n.told = names.Link{}
	}
	n.setBy("", "")
}

// writeHosts brings /etc/hosts up to date.
func (n *naming) writeHosts() {
	_, err := names.SetHosts(names.HostsFile, n.domain, n.zone.All())
	n.mu.Lock()
	old := n.unasked
	n.view.By, n.unasked = names.HostsFile, ""
	if err != nil {
		n.view.By, n.unasked = "", err.Error()
	}
	n.mu.Unlock()
	if err != nil && err.Error() != old {
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
			err = &Hinted{err, "Names = hosts needs root, without -U and -R"}
		}
		n.d.log.failed(0, mesh.Warning, err)
	}
}

// status is what status shows of it, nil if there is nothing.
func (n *naming) status() *control.Names {
	if n.zone == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	v := n.view
	v.Problem = n.unanswered
	if v.Problem != "" && n.unasked != "" {
		v.Problem += "; "
	}
	v.Problem += n.unasked
	return &v
}

// Names is how nodes are found by name (control.Namer).
func (b *backend) Names() *control.Names { return b.d.naming.status() }
