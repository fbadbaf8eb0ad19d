package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"tincan/internal/config"
	"tincan/internal/invite"
	"tincan/internal/mesh"
	"tincan/internal/netconf"
	"tincan/internal/node"
	"tincan/internal/script"
	"tincan/internal/subnet"
)

// face is our network interface as the rest of the machine sees it: its addresses
// and the routes into the VPN. If there is a tinc-up script all of that is the
// script's business and face does nothing.
type face struct {
	name string
	log  *logger

	mu     sync.Mutex
	link   *netconf.Link
	own    []netip.Prefix      // addresses with the prefixes that they lead to
	fixed  []netip.Prefix      // routes of the configuration
	learnt map[learnt]struct{} // routes for the subnets of others
}

type learnt struct {
	owner  node.Name
	subnet netip.Prefix
}

func newFace(name string, log *logger) *face {
	return &face{name: name, log: log, learnt: map[learnt]struct{}{}}
}

// up configures the interface and its fixed routes.
func (f *face) up(addrs, routes []netip.Prefix) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.configure(addrs, routes)
}

func (f *face) configure(addrs, routes []netip.Prefix) error {
	link, err := netconf.Up(netconf.Config{Interface: f.name, Addresses: addrs})
	if err != nil {
		return err
	}
	for _, r := range routes {
		if err := link.AddRoute(r); err != nil {
			return errors.Join(err, link.Close())
		}
	}
	f.link, f.own, f.fixed = link, addrs, routes
	return nil
}

// interfaceUp runs tinc-up, or gives the interface what Ifconfig and Route say.
func (d *Daemon) interfaceUp(ctx context.Context) error {
	s := d.network().Settings
	if d.hasScript(script.TincUp) {
		// its failure has been logged, and is not ours to judge
		_ = d.script.Do(ctx, script.TincUp, d.env("", netip.AddrPort{}))
		return nil
	}
	if d.face.name == "" || d.network().Settings.DeviceType == "dummy" {
		return nil
	}
	if len(s.Ifconfig) == 0 {
		d.log.printf(0, mesh.Warning, "the interface %s gets no address: there is neither a tinc-up script nor a line Ifconfig = ADDRESS/LENGTH in tinc.conf", d.face.name)
	}
	var routes []netip.Prefix
	for _, r := range s.Routes { // a gateway means nothing on a tun device
		routes = append(routes, r.To)
	}
	err := d.face.up(s.Ifconfig, routes)
	if errors.Is(err, netconf.ErrNotSupported) {
		d.log.printf(0, mesh.Warning, "%v", err)
		return nil
	}
	return err
}

// interfaceDown undoes interfaceUp.
func (d *Daemon) interfaceDown() {
	if d.hasScript(script.TincUp) {
		_ = d.script.Do(context.Background(), script.TincDown, d.env("", netip.AddrPort{}))
		return
	}
	d.face.mu.Lock()
	defer d.face.mu.Unlock()
	if d.face.link != nil {
		if err := d.face.link.Close(); err != nil {
			d.log.printf(1, mesh.Warning, "%v", err)
		}
		d.face.link = nil
	}
}

func (d *Daemon) hasScript(name string) bool {
	_, err := os.Stat(d.opts.Layout.Script(name + d.network().Settings.ScriptsExtension))
	return !errors.Is(err, fs.ErrNotExist)
}

// add routes a subnet of another node into the VPN, if it is one that
// we take from others without being told: see welcome.
func (f *face) add(owner node.Name, s subnet.Subnet, underlay func(netip.Prefix) (node.Name, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := s.Prefix()
	if f.link == nil || !p.IsValid() {
		return
	}
	key := learnt{owner, p.Masked()}
	if _, ok := f.learnt[key]; ok || !f.welcome(owner, key.subnet, underlay) {
		return
	}
	if err := f.link.AddRoute(key.subnet); err != nil {
		f.log.printf(1, mesh.Warning, "no route to %s of %s: %v", p, owner, err)
		return
	}
	f.learnt[key] = struct{}{}
}

func (f *face) remove(owner node.Name, s subnet.Subnet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.link == nil || !s.Prefix().IsValid() {
		return
	}
	key := learnt{owner, s.Prefix().Masked()}
	if _, ok := f.learnt[key]; !ok {
		return
	}
	delete(f.learnt, key)
	if err := f.link.RemoveRoute(key.subnet); err != nil {
		f.log.printf(1, mesh.Warning, "%v", err)
	}
}

// maxLearned bounds the routes that other nodes can give us.
const maxLearned = 4096

// welcome tells whether a subnet that owner announces may get a route here. Any
// member can announce anything, so only private networks do that do not overlap
// with what this machine is connected to or with where the VPN's own packets go;
// others need a line Route = NETWORK.
func (f *face) welcome(owner node.Name, p netip.Prefix, underlay func(netip.Prefix) (node.Name, bool)) bool {
	for _, own := range f.own {
		if own.Masked().Overlaps(p) && own.Bits() <= p.Bits() {
			return false // the interface's own prefix covers it
		}
	}
	why := ""
	switch {
	case !private(p):
		why = "it is not a private network"
	case len(f.learnt) >= maxLearned:
		why = "there are too many"
	default:
		if other, ok := onLink(p, f.name); ok {
			why = fmt.Sprintf("it overlaps with %s of this machine", other)
		} else if n, ok := underlay(p); ok {
			why = fmt.Sprintf("the real address of %s lies in it", n)
		}
	}
	if why != "" {
		f.log.printf(1, mesh.Notice, "no route to %s of %s: %s; if it is wanted, add a line Route = %s to tinc.conf", p, owner, why, p)
		return false
	}
	return true
}

var privateNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
}

func private(p netip.Prefix) bool {
	return slices.ContainsFunc(privateNetworks, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
}

// onLink looks for a network of another interface that overlaps with p.
func onLink(p netip.Prefix, except string) (netip.Prefix, bool) {
	ifs, err := net.Interfaces()
	if err != nil {
		return netip.Prefix{}, false
	}
	for _, i := range ifs {
		if i.Name == except {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, err := netip.ParsePrefix(a.String()); err == nil && n.Masked().Overlaps(p) {
				return n.Masked(), true
			}
		}
	}
	return netip.Prefix{}, false
}

// clash deals with another node that has our own address: two newcomers may have
// been given the same one by inviters that could not see each other. The one with the
// larger name moves, if its address was chosen for it (AutoAddress).
func (d *Daemon) clash(owner node.Name, s subnet.Subnet) {
	i := slices.IndexFunc(d.network().Settings.Ifconfig, func(a netip.Prefix) bool {
		p := s.Prefix()
		return p.IsValid() && p.IsSingleIP() && p.Addr() == a.Addr()
	})
	if i < 0 || !slices.ContainsFunc(d.network().Settings.Subnets, func(own subnet.Subnet) bool { return own.Prefix() == s.Prefix() }) {
		return
	}
	old := d.network().Settings.Ifconfig[i]
	switch {
	case !d.network().Settings.AutoAddress:
		d.log.printf(0, mesh.Error, "%s has the address %s, which is ours too; change one of them (Ifconfig in tinc.conf and Subnet in the host file)", owner, old.Addr())
	case d.network().Name < owner:
		d.log.printf(1, mesh.Notice, "%s has our address %s; it will take another", owner, old.Addr())
	default:
		go d.move(owner, old)
	}
}

// move takes another address of the range, on disk, on the interface and in the mesh.
func (d *Daemon) move(owner node.Name, old netip.Prefix) {
	addr, err := invite.PickAddress(d.opts.Layout.ConfBase, d.network().Name, old, d.takenSubnets())
	if err == nil {
		err = replaceAddress(d.opts.Layout, d.network().Name, old, addr)
	}
	if err != nil {
		d.log.printf(0, mesh.Error, "%s has our address %s, and no other could be taken: %v", owner, old.Addr(), err)
		return
	}
	d.log.printf(0, mesh.Notice, "%s has our address %s; this node now has %s", owner, old.Addr(), addr.Addr())
	d.face.readdress(old, addr)
	_ = d.reload() // it has been logged
}

// readdress exchanges an address of the interface.
func (f *face) readdress(old, addr netip.Prefix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.link == nil {
		return
	}
	addrs := slices.Clone(f.own)
	if i := slices.Index(addrs, old); i >= 0 {
		addrs[i] = addr
	}
	err := f.link.Close()
	f.link = nil
	if err == nil {
		err = f.configure(addrs, f.fixed)
	}
	for key := range f.learnt {
		if err == nil {
			err = f.link.AddRoute(key.subnet)
		}
	}
	if err != nil {
		f.log.printf(0, mesh.Error, "changing the address of %s: %v", f.name, err)
	}
}

// replaceAddress writes the new address into tinc.conf and our host file.
func replaceAddress(l config.Layout, self node.Name, old, addr netip.Prefix) error {
	err := config.Edit(l.Host(self), func(data []byte) ([]byte, error) {
		data, _ = config.Delete(data, "Subnet", subnet.FromPrefix(netip.PrefixFrom(old.Addr(), old.Addr().BitLen())).String())
		data, _ = config.Add(data, "Subnet", addr.Addr().String())
		return data, nil
	})
	if err != nil {
		return err
	}
	return config.Edit(l.TincConf(), func(data []byte) ([]byte, error) {
		data, _ = config.Delete(data, "Ifconfig", old.String())
		data, _ = config.Add(data, "Ifconfig", addr.String())
		return data, nil
	})
}
