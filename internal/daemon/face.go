package daemon

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"

	"tincan/internal/config"
	"tincan/internal/mesh"
	"tincan/internal/netconf"
	"tincan/internal/netwatch"
	"tincan/internal/node"
	"tincan/internal/script"
	"tincan/internal/subnet"
)

// face is our network interface as the rest of the machine sees it: its addresses
// and the routes into the VPN. If there is a tinc-up script all of that is the
// script's business and face does nothing.
//
// The brain only leaves word of what it knows (add, remove); talking to the
// kernel is done by a goroutine of its own, since it can take long.
type face struct {
	name     string
	log      *logger
	underlay func() []located

	mu    sync.Mutex // guards known; the brain takes it, so it is never held for long
	known map[learnt]struct{}
	news  chan struct{} // room for one

	work   sync.Mutex    // guards what follows; held while the kernel is at work
	ours   bool          // up was called, and down was not
	link   *netconf.Link // nil: not ours, or the kernel refused
	own    []netip.Prefix
	fixed  []netip.Prefix              // routes of the configuration
	gates  map[netip.Prefix]netip.Addr // for the next up or configure
	led    map[netip.Prefix]netip.Addr // those in force
	routed map[learnt]struct{}         // routes for subnets of others
	told   map[learnt]string           // why there is none, as the log has it
}

// learnt is a subnet of another node.
type learnt struct {
	owner  node.Name
	subnet subnet.Subnet
}

func (l learnt) prefix() netip.Prefix { return l.subnet.Prefix().Masked() }

// newFace makes a face that leaves the interface alone until up is called.
func newFace(name string, log *logger, underlay func() []located) *face {
	return &face{
		name: name, log: log, underlay: underlay,
		known: map[learnt]struct{}{}, news: make(chan struct{}, 1),
		routed: map[learnt]struct{}{}, told: map[learnt]string{},
	}
}

// add: a subnet of another node can be reached. It does not wait.
func (f *face) add(owner node.Name, s subnet.Subnet) {
	if !s.Prefix().IsValid() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[learnt{owner, s}] = struct{}{}
	poke(f.news)
}

// remove is the reverse of add.
func (f *face) remove(owner node.Name, s subnet.Subnet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, learnt{owner, s})
	poke(f.news)
}

// run keeps the routes in step with what is known, until ctx ends.
func (f *face) run(ctx context.Context) {
	for {
		select {
		case <-f.news:
			f.settle()
		case <-ctx.Done():
			return
		}
	}
}

// settle brings the kernel's routes to what is known now. All are judged anew,
// so that it does not matter in which order things became known.
func (f *face) settle() {
	f.work.Lock()
	defer f.work.Unlock()
	if f.link == nil {
		return
	}
	f.mu.Lock()
	known := maps.Clone(f.known)
	f.mu.Unlock()
	maps.DeleteFunc(known, func(k learnt, _ struct{}) bool { return covered(k.prefix(), f.own) })

	wanted := map[learnt]struct{}{}
	told := map[learnt]string{}
	around := surroundings{own: f.own}
	if len(known) > 0 {
		around.onLink, around.nodes = netwatch.Networks(f.name), f.underlay()
	}
	for _, k := range sortedLearnt(known) {
		why := around.welcome(k.prefix())
		if why == "" && len(wanted) == maxLearned {
			why = "there are too many"
		}
		if why == "" {
			wanted[k] = struct{}{}
			continue
		}
		told[k] = why
		if f.told[k] != why {
			f.log.printf(0, mesh.Notice, "no route to %s of %s: %s; if it is wanted, add a line Route = %s to tinc.conf", k.prefix(), k.owner, why, k.prefix())
		}
	}
	for k := range f.routed {
		if _, ok := wanted[k]; !ok {
			delete(f.routed, k)
			if err := f.link.RemoveRoute(k.prefix()); err != nil {
				f.log.failed(1, mesh.Warning, err)
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
				f.log.failed(0, mesh.Warning, err)
			}
			continue
		}
		f.routed[k] = struct{}{}
	}
	f.told = told
}

func sortedLearnt(set map[learnt]struct{}) []learnt {
	return slices.SortedFunc(maps.Keys(set), func(a, b learnt) int {
		return cmp.Or(subnet.Compare(a.subnet, b.subnet), cmp.Compare(a.owner, b.owner))
	})
}

// through names the gateways of fixed routes, for the next up or configure.
func (f *face) through(gates map[netip.Prefix]netip.Addr) {
	f.work.Lock()
	defer f.work.Unlock()
	f.gates = gates
}

// up configures the interface and its fixed routes.
func (f *face) up(addrs, routes []netip.Prefix) error {
	f.work.Lock()
	defer f.work.Unlock()
	err := f.bringUp(addrs, routes)
	f.ours = err == nil
	poke(f.news) // with DeviceStandby others are known already
	return err
}

// bringUp configures everything, with the lock held. After an error nothing is configured.
func (f *face) bringUp(addrs, routes []netip.Prefix) error {
	link, err := netconf.Up(netconf.Config{Interface: f.name, Addresses: addrs, Gateways: f.gates})
	if err != nil {
		return err
	}
	for _, r := range routes {
		if err := link.AddRoute(r); err != nil {
			return errors.Join(err, link.Close())
		}
	}
	f.link, f.own, f.fixed, f.led = link, addrs, routes, f.gates
	return nil
}

// configure takes over other addresses and routes. If that does not work the old
// ones come back.
func (f *face) configure(addrs, routes []netip.Prefix) error {
	f.work.Lock()
	defer f.work.Unlock()
	if !f.ours || f.link != nil && slices.Equal(addrs, f.own) && slices.Equal(routes, f.fixed) && maps.Equal(f.gates, f.led) {
		return nil
	}
	own, fixed, led := f.own, f.fixed, f.led
	f.takeDown()
	err := f.bringUp(addrs, routes)
	if err != nil {
		f.gates = led
		if back := f.bringUp(own, fixed); back != nil {
			err = errors.Join(err, back)
		}
	}
	poke(f.news)
	return err
}

// down undoes up.
func (f *face) down() {
	f.work.Lock()
	defer f.work.Unlock()
	f.ours = false
	f.takeDown()
}

// takeDown is down with the lock held.
func (f *face) takeDown() {
	if f.link == nil {
		return
	}
	if err := f.link.Close(); err != nil {
		f.log.failed(1, mesh.Warning, err)
	}
	f.link = nil
	clear(f.routed) // they went with it
}

// hasInterface tells whether there is an interface, and it is ours.
func (d *Daemon) hasInterface() bool {
	t := d.network().Settings.DeviceType
	return d.face.name != "" && t != "dummy" && t != "raw_socket"
}

// interfaceUp runs tinc-up, or gives the interface what Ifconfig and Route say.
func (d *Daemon) interfaceUp(ctx context.Context) error {
	s := d.network().Settings
	if d.hasScript(script.TincUp) {
		// its failure has been logged, and is not ours to judge
		_ = d.script.Do(ctx, script.TincUp, d.env("", netip.AddrPort{}))
		return nil
	}
	if !d.hasInterface() {
		return nil
	}
	if len(s.Ifconfig) == 0 && s.Mode == "router" { // else it may be for a bridge
		d.log.printf(0, mesh.Warning, "the interface %s gets no address: there is neither a tinc-up script nor a line Ifconfig = ADDRESS/LENGTH in tinc.conf", d.face.name)
	}
	d.face.through(gateways(s))
	err := d.face.up(s.Ifconfig, destinations(s))
	if errors.Is(err, netconf.ErrNotSupported) {
		d.log.failed(0, mesh.Warning, err)
		return nil
	}
	return err
}

// interfaceDown waits for the scripts that are still to run, runs tinc-down behind
// them and undoes interfaceUp.
func (d *Daemon) interfaceDown() {
	_ = d.script.Do(context.Background(), script.TincDown, d.env("", netip.AddrPort{}))
	d.face.down()
}

// gateways are those of the Route lines, if there is an Ethernet behind the interface. They
// mean nothing where packets are routed by the nodes.
func gateways(s config.Settings) map[netip.Prefix]netip.Addr {
	if s.Mode == "router" {
		return nil
	}
	gates := map[netip.Prefix]netip.Addr{}
	for _, r := range s.Routes {
		if r.Via.IsValid() {
			gates[r.To] = r.Via
		}
	}
	return gates
}

// destinations are the networks of the Route lines.
func destinations(s config.Settings) (list []netip.Prefix) {
	for _, r := range s.Routes {
		list = append(list, r.To)
	}
	return list
}

func (d *Daemon) hasScript(name string) bool {
	_, err := os.Stat(d.opts.Layout.Script(name + d.network().Settings.ScriptsExtension))
	return !errors.Is(err, fs.ErrNotExist)
}
