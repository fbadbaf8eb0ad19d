// Package netif is the interface of the VPN as the rest of the machine sees it: its addresses, the routes into the VPN,
// for the networks of the configuration and for the subnets that other nodes announce, and the unreachable routes that
// guard them while it is down. It judges which subnets get a route, and restores what other programs change.
//
// How the kernel is told is package netconf's business; who reads and writes packets, package device's.
package netif

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/config"
	"tincan/internal/mesh"
	"tincan/internal/netconf"
	"tincan/internal/netwatch"
	"tincan/internal/node"
	"tincan/internal/rate"
	"tincan/internal/subnet"
)

// Log is where an interface reports to the operator.
type Log struct {
	Printf func(level int, p mesh.Priority, format string, args ...any)
	Failed func(level int, p mesh.Priority, err error) // of an error that the node goes on with, and its hint
}

// Interface is our network interface. If there is a tinc-up script all of this is the script's business, and nothing
// is done until [Interface.Up] is called.
//
// The protocol core only leaves word of what it knows ([Interface.Add], [Interface.Remove], [Interface.Node]); talking
// to the kernel is done by the goroutine of [Interface.Run], since it can take long. All methods are safe for
// concurrent use.
type Interface struct {
	name     string
	log      Log
	underlay func() []NodeAddress

	mu      sync.Mutex // guards known, gone and lost; the protocol core takes it, so it is never held for long
	known   map[learnt]struct{}
	gone    node.Name           // the node that has become unreachable last
	lost    map[learnt]struct{} // subnets of such nodes
	news    chan struct{}       // room for one
	touched chan struct{}       // the same: somebody may have changed the interface

	ours atomic.Bool // Up was called, and Down was not

	work     sync.Mutex    // guards what follows; held while the kernel is at work, which can be seconds
	link     *netconf.Link // nil: not ours, or the kernel refused
	own      []netip.Prefix
	fixed    []netip.Prefix              // routes of the configuration
	gateways map[netip.Prefix]netip.Addr // for the next Up or Configure
	inForce  map[netip.Prefix]netip.Addr // those in force
	routed   map[learnt]struct{}         // routes for subnets of others
	told     map[learnt]string           // why there is none, as the log has it
	excess   int                         // subnets without a route since there are too many
	order    []learnt                    // scratch space of sorted

	guard    *netconf.Guard      // nil: not ours
	held     map[learnt]struct{} // of lost: those that had a route
	guarded  map[learnt]struct{} // those of the last settle
	adopted  []netip.Prefix      // guarded by an earlier process that was killed
	overlaps []netwatch.Overlap  // as the log has them
	shared   bool                // because of them, each node has a route of its own
	restored rate.Bucket         // of restoreLimit
	resting  bool                // the next restore waits for restorePause
	failure  string              // why something could not be put back, as the log has it
	said     rate.Bucket         // of refused routes
	unsaid   int                 // how many the log does not have
	tellAt   <-chan time.Time    // when it is to be told of these; nil: there are none
}

const (
	// Somebody who takes down our interface again and again is given a rest: after
	// what restoreLimit allows the next one waits for restorePause.
	restorePause = 30 * time.Second
	// adoption is how long networks that an earlier process has guarded stay guarded
	// although no node has announced them again.
	adoption = time.Minute
	// smallOrder is how many subnets too many the scratch space for them may hold.
	smallOrder = 1024
)

// restoreLimit is for putting back what others have changed.
var restoreLimit = rate.Limit{Burst: 5, Every: 12 * time.Second}

// refusalLimit is for messages of refused routes; the rest is counted.
var refusalLimit = rate.Limit{Burst: 10, Every: 10 * time.Second}

// learnt is a subnet of another node.
type learnt struct {
	owner  node.Name
	subnet subnet.Subnet
}

func (l learnt) prefix() netip.Prefix { return l.subnet.Prefix().Masked() }

// New makes an Interface that leaves the interface of that name alone until Up is called. underlay are the real addresses
// of nodes, where the VPN's own packets go, sorted by address.
func New(name string, log Log, underlay func() []NodeAddress) *Interface {
	return &Interface{
		name: name, log: log, underlay: underlay,
		known: map[learnt]struct{}{}, lost: map[learnt]struct{}{},
		news: make(chan struct{}, 1), touched: make(chan struct{}, 1), held: map[learnt]struct{}{},
		routed: map[learnt]struct{}{}, told: map[learnt]string{},
	}
}

// Add: a subnet of another node can be reached. It does not wait.
func (f *Interface) Add(owner node.Name, s subnet.Subnet) {
	if !s.Prefix().IsValid() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[learnt{owner, s}] = struct{}{}
	delete(f.lost, learnt{owner, s})
	poke(f.news)
}

// Remove is the reverse of Add. If its owner cannot be reached, packets for the subnet still belong to the VPN.
func (f *Interface) Remove(owner node.Name, s subnet.Subnet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := learnt{owner, s}
	if owner == f.gone && len(f.lost) < maxLearned {
		f.lost[k] = struct{}{}
	}
	delete(f.known, k)
	poke(f.news)
}

// Node: another node can be reached, or cannot any more. Then its subnets follow, before
// another node does. What it had announced before and does not any more is not its own any more.
func (f *Interface) Node(name node.Name, up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !up {
		f.gone = name
		return
	}
	f.gone = ""
	maps.DeleteFunc(f.lost, func(k learnt, _ struct{}) bool { return k.owner == name })
	poke(f.news)
}

// Run keeps the interface and its routes as they should be, until ctx ends.
func (f *Interface) Run(ctx context.Context) {
	adopted := time.After(adoption)
	for {
		select {
		case <-f.news:
			f.settle()
		case <-f.touched:
			f.restore()
		case <-f.tellAt:
			f.tellRefused()
		case <-adopted:
			f.work.Lock()
			f.adopted = nil
			f.work.Unlock()
			f.settle()
		case <-ctx.Done():
			return
		}
	}
}

// settle brings the kernel's routes to what is known now. All are judged again,
// so that it does not matter in which order things became known.
func (f *Interface) settle() {
	f.work.Lock()
	defer f.work.Unlock()
	if f.link == nil {
		return
	}
	f.mu.Lock()
	known, lost := f.sorted(), maps.Clone(f.lost)
	f.mu.Unlock()
	f.noteOverlaps()
	around := underlay{own: f.own, shared: f.shared}
	if len(known)+len(lost) > 0 {
		around.onLink, around.nodes = netwatch.Networks(f.name), f.underlay()
		if f.shared {
			around.others = netwatch.InUse(f.name)
		}
	}
	needless := func(k learnt) bool {
		return covered(k.prefix(), f.own) && !f.shared || slices.Contains(f.fixed, k.prefix())
	}

	wanted := make(map[learnt]struct{}, min(len(known), maxLearned))
	told := map[learnt]string{}
	excess := 0
	for _, k := range known {
		if needless(k) {
			continue
		}
		why := around.refuses(k.prefix())
		switch {
		case why == "" && len(wanted) == maxLearned:
			excess++
		case why == "":
			wanted[k] = struct{}{}
		case len(told) < maxLearned: // of more than that nothing is said
			told[k] = why
			if f.told[k] != why {
				f.refuse(k, why)
			}
		}
	}
	if excess > 0 && f.excess == 0 {
		f.log.Printf(0, mesh.Warning, "no routes to %d subnets of other nodes: there are more than %d; a line Route = NETWORK in tinc.conf for a network that holds many of them would do", excess, maxLearned)
	}
	f.excess = excess
	var dropped []learnt
	maps.DeleteFunc(lost, func(k learnt, _ struct{}) bool {
		_, routed := f.routed[k]
		_, held := f.held[k]
		drop := !routed && !held || around.refuses(k.prefix()) != "" || needless(k)
		if drop {
			dropped = append(dropped, k)
		}
		return drop
	})
	f.held = lost
	f.mu.Lock()
	for _, k := range dropped { // what was lost meanwhile has its turn in the next settle
		delete(f.lost, k)
	}
	f.mu.Unlock()

	f.guarded = wanted
	f.protect(wanted) // before routes go
	for k := range f.routed {
		if _, ok := wanted[k]; !ok {
			delete(f.routed, k)
			if err := f.link.RemoveRoute(k.prefix()); err != nil {
				f.log.Failed(1, mesh.Warning, err)
			}
		}
	}
	for k := range wanted {
		if _, ok := f.routed[k]; ok {
			continue
		}
		if err := f.link.AddRoute(k.prefix()); err != nil {
			told[k] = err.Error()
			if f.told[k] != told[k] {
				f.log.Failed(0, mesh.Warning, err)
			}
			continue
		}
		f.routed[k] = struct{}{}
	}
	f.told = told
}

// refuse logs that there is no route, unless that was said of many others of late.
func (f *Interface) refuse(k learnt, why string) {
	if !f.said.Take(refusalLimit, time.Now()) {
		if f.unsaid++; f.tellAt == nil {
			f.tellAt = time.After(refusalLimit.Every)
		}
		return
	}
	f.log.Printf(0, mesh.Notice, "no route to %s of %s: %s%s", k.prefix(), k.owner, why, f.adviseRoute(k.prefix()))
}

// tellRefused logs how many routes were refused without a line of their own.
func (f *Interface) tellRefused() {
	f.work.Lock()
	defer f.work.Unlock()
	f.log.Printf(0, mesh.Notice, "no routes to %d more subnets for reasons like these", f.unsaid)
	f.unsaid, f.tellAt = 0, nil
}

// adviseRoute is how a route to p can be had all the same, as the end of a sentence.
func (f *Interface) adviseRoute(p netip.Prefix) string {
	if config.Routable(p) != nil {
		return "; a subnet-up script can add one, with care"
	}
	return fmt.Sprintf("; if it is wanted, add a line Route = %s to tinc.conf", p)
}

// noteOverlaps looks whether another interface has the VPN's network, too. Then that one
// keeps it, and each node of the VPN gets a route of its own.
func (f *Interface) noteOverlaps() {
	now := netwatch.Overlaps(f.own, f.name)
	if slices.Equal(now, f.overlaps) {
		return
	}
	before := f.overlaps
	f.overlaps = now
	shared := len(now) > 0
	if err := f.link.SetHostOnly(shared); err != nil {
		f.log.Failed(1, mesh.Warning, err)
		shared = false
	}
	f.shared = shared
	for _, r := range f.fixed {
		if shared && covered(r, f.own) { // it needed no route before
			if err := f.link.AddRoute(r); err != nil {
				f.log.Failed(0, mesh.Warning, err)
			}
		}
	}
	for _, o := range now {
		if !slices.Contains(before, o) {
			f.log.Printf(0, mesh.Warning, "the range %s of the VPN overlaps with %s of %s: nodes of the VPN are reached where nobody there has the same address; a range of its own for the VPN would be better", o.Own, o.Other, o.Interface)
		}
	}
	if len(now) == 0 {
		f.log.Printf(0, mesh.Notice, "the range of the VPN does not overlap with another network any more")
	}
}

// protect guards what belongs to the VPN: its own range, the routes of the configuration, and these.
func (f *Interface) protect(learned map[learnt]struct{}) {
	if f.guard == nil {
		return
	}
	list := slices.Concat(f.fixed, f.adopted)
	for _, p := range f.own {
		if !p.IsSingleIP() {
			list = append(list, p)
		}
	}
	for _, set := range []map[learnt]struct{}{learned, f.held} {
		for k := range set {
			list = append(list, k.prefix())
		}
	}
	if err := f.guard.Set(list); err != nil {
		f.log.Failed(1, mesh.Warning, err)
	}
}

// restore puts back what somebody has taken from the interface.
func (f *Interface) restore() {
	f.work.Lock()
	defer f.work.Unlock()
	if f.link == nil {
		return
	}
	now := time.Now()
	if !f.restored.Left(restoreLimit, now) {
		if !f.resting {
			f.resting = true
			f.log.Printf(0, mesh.Warning, "another program keeps changing the interface %s; it is restored again in %v", f.name, restorePause)
			time.AfterFunc(restorePause, func() {
				f.work.Lock()
				f.resting = false
				f.work.Unlock()
				poke(f.touched)
			})
		}
		return
	}
	restored, err := f.link.Restore()
	if f.guard != nil {
		n, e := f.guard.Restore()
		if n > 0 {
			restored = append(restored, fmt.Sprintf("%d unreachable routes", n))
		}
		err = errors.Join(err, e)
	}
	if len(restored) > 0 {
		f.restored.Spend(now, restoreLimit.Every)
		f.log.Printf(0, mesh.Warning, "another program changed the interface %s; restored: %s", f.name, strings.Join(restored, ", "))
	}
	failure := ""
	if err != nil {
		if failure = err.Error(); failure != f.failure {
			f.log.Failed(0, mesh.Error, err)
		}
	}
	f.failure = failure
}

// sorted returns what is known in the order in which it is judged, until it is called again. Both locks are held.
func (f *Interface) sorted() []learnt {
	f.order = slices.AppendSeq(f.order[:0], maps.Keys(f.known))
	slices.SortFunc(f.order, func(a, b learnt) int {
		return cmp.Or(subnet.Compare(a.subnet, b.subnet), cmp.Compare(a.owner, b.owner))
	})
	if cap(f.order) > 2*len(f.order)+smallOrder { // there were many once
		f.order = slices.Clone(f.order)
	}
	return f.order
}

// Through names the gateways of fixed routes, for the next Up or Configure.
func (f *Interface) Through(gateways map[netip.Prefix]netip.Addr) {
	f.work.Lock()
	defer f.work.Unlock()
	f.gateways = gateways
}

// Up configures the interface and its fixed routes.
func (f *Interface) Up(addrs, routes []netip.Prefix) error {
	f.work.Lock()
	defer f.work.Unlock()
	addrs, routes = f.possible(addrs, routes)
	if f.guard == nil {
		guard, err := netconf.NewGuard(f.name)
		if err != nil {
			return err
		}
		f.guard, f.adopted = guard, guard.Networks()
	}
	err := f.bringUp(addrs, routes)
	f.ours.Store(err == nil)
	poke(f.news) // with DeviceStandby others are known already
	return err
}

// bringUp configures everything, with the lock held. After an error nothing is configured.
func (f *Interface) bringUp(addrs, routes []netip.Prefix) error {
	link, err := netconf.Up(netconf.Config{Interface: f.name, Addresses: addrs, Gateways: f.gateways})
	if err != nil {
		return err
	}
	for _, r := range routes {
		if err := link.AddRoute(r); err != nil {
			return errors.Join(err, link.Close())
		}
	}
	f.link = link
	f.own = addrs
	f.fixed = routes
	f.inForce = f.gateways
	f.overlaps, f.shared = nil, false
	f.noteOverlaps()
	f.protect(f.guarded) // more will be known soon
	return nil
}

// Configure takes over other addresses and routes. If that does not work the old
// ones come back.
func (f *Interface) Configure(addrs, routes []netip.Prefix) error {
	f.work.Lock()
	defer f.work.Unlock()
	addrs, routes = f.possible(addrs, routes)
	if !f.ours.Load() || f.link != nil && slices.Equal(addrs, f.own) && slices.Equal(routes, f.fixed) && maps.Equal(f.gateways, f.inForce) {
		return nil
	}
	own, fixed, before := f.own, f.fixed, f.inForce
	f.takeDown()
	err := f.bringUp(addrs, routes)
	if err != nil {
		f.gateways = before
		if back := f.bringUp(own, fixed); back != nil {
			err = errors.Join(err, back)
		}
	}
	poke(f.news)
	return err
}

// Down undoes Up.
func (f *Interface) Down() {
	f.work.Lock()
	defer f.work.Unlock()
	f.ours.Store(false)
	f.takeDown()
}

// Release lets go of what belongs to the VPN, once the interface is down for good.
func (f *Interface) Release() {
	f.work.Lock()
	defer f.work.Unlock()
	if f.guard == nil {
		return
	}
	if err := f.guard.Close(); err != nil {
		f.log.Failed(1, mesh.Warning, err)
	}
	f.guard = nil
}

// Name is what the system calls the interface; "" if there is none.
func (f *Interface) Name() string { return f.name }

// Look looks at everything once more: something has changed on this machine, maybe at the interface itself. It does not
// wait.
func (f *Interface) Look() {
	poke(f.touched)
	poke(f.news)
}

// Configured tells whether addresses and routes are ours to set. It does not wait.
func (f *Interface) Configured() bool { return f.ours.Load() }

// takeDown is Down with the lock held.
func (f *Interface) takeDown() {
	if f.link == nil {
		return
	}
	if err := f.link.Close(); err != nil {
		f.log.Failed(1, mesh.Warning, err)
	}
	f.link = nil
	clear(f.routed) // they went with it
}

// poke wakes whoever waits at a channel with room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
