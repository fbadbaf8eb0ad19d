package daemon

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/inside"
	"tincan/internal/keydist"
	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// distribution hands out host files (package keydist): it tells the monitor who is in
// the mesh, and vouches for who is behind an address.
type distribution struct {
	d       *Daemon
	store   *keydist.Store
	monitor *keydist.Monitor // nil: KeyDistribution is off
	// Something may have happened to the own addresses, or to the directory of host files.
	addresses, hosts chan struct{}
}

func (d *Daemon) newDistribution() *distribution {
	n := d.network()
	s := &distribution{
		d: d, store: &keydist.Store{Layout: d.opts.Layout, Self: n.Name, Lock: &d.persister.hosts, Roster: d.membership.judgeHost},
		addresses: make(chan struct{}, 1), hosts: make(chan struct{}, 1),
	}
	d.persister.store = s.store
	if n.Settings.KeyDistribution == config.KeepKeys || d.netif.Name() == "" || n.Settings.DeviceType == config.DeviceDummy {
		return s
	}
	compat := n.Settings.KeyDistribution == config.DistributeCompat
	if compat {
		s.store.Started()
	}
	var sign func([]byte) string
	if d.id.Key != nil {
		sign = keydist.SignWith(d.id.Key, n.Name)
	}
	s.monitor = keydist.New(keydist.Config{
		Sign:  sign,
		Store: s.store, Self: n.Name, Port: uint16(n.Settings.KeyDistributionPort), Engine: s,
		Device:           d.netif.Name(),
		Addresses:        func() ([]netip.Addr, error) { return inside.Addresses(d.netif.Name()) },
		AddressesTouched: s.addresses,
		Program:          d.program(),
		Orders:           compat, Index: compat, Discovery: compat,
		// With StrictSubnets the host files are the law, which others may not write.
		ServeOnly: n.Settings.StrictSubnets || n.Settings.TunnelServer,
		Stored:    d.loadHost,
		Vouched: func(name node.Name, key keys.PublicKey, by node.Name) {
			d.core.event(mesh.Vouched{Node: name, Key: key, By: by})
		},
		Log: func(level int, text string) {
			p := mesh.Info
			if level == 0 {
				p = mesh.Notice
			}
			d.log.printf(level, p, "%s", text)
		},
	})
	return s
}

// program is what this program says of itself to other members.
func (d *Daemon) program() string {
	if d.opts.Version == "" {
		return ""
	}
	return "tincan/" + d.opts.Version
}

// programOf is what a node says of its program, "" if that is not known.
func (s *distribution) programOf(name node.Name) string {
	if s.monitor == nil {
		return ""
	}
	return s.monitor.Program(name)
}

// run runs the monitor until ctx ends.
func (s *distribution) run(ctx context.Context) {
	if s.monitor == nil {
		return
	}
	defer inBackground(s.watchHosts)()
	if err := s.monitor.Run(ctx); errors.Is(err, keydist.ErrKilled) {
		s.d.log.printf(0, mesh.Notice, "key distribution: %v; it begins again with the next start", err)
	}
}

// lookEvery is how often it is looked whether other programs have added host files where the system does not tell, and
// checkEvery where it does: a file system of another machine does not. A newcomer who is reachable is reason enough to look at once.
const (
	lookEvery  = 10 * time.Second
	checkEvery = 10 * time.Minute
	// hostsSettle is how long after a change of the directory it is looked at.
	hostsSettle = time.Second
)

// watchHosts tells the others about newcomers that have been let in by somebody else than the daemon: by a
// boot node that runs beside it, or by hand.
func (s *distribution) watchHosts(ctx context.Context) {
	dir := s.d.opts.Layout.Hosts()
	changed := make(chan struct{}, 1)
	ended, err := confdir.WatchDir(ctx, dir, changed)
	every := lookEvery
	if err == nil {
		every = checkEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var seen time.Time
	for {
		if info, err := os.Stat(dir); err == nil && !info.ModTime().Equal(seen) {
			seen = info.ModTime()
			if fresh, dropped, err := s.store.Survey(); err == nil {
				for _, n := range dropped {
					s.d.loadHost(n)
				}
				s.letIn(fresh)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ended:
			ended = nil
			tick.Reset(lookEvery)
		case <-tick.C:
		case <-s.hosts:
		case <-changed:
			select { // more may come, and it may not be written yet
			case <-ctx.Done():
				return
			case <-time.After(hostsSettle):
			}
		}
	}
}

// nodeUp: whoever is reachable for the first time may just have been let in.
func (s *distribution) nodeUp() { poke(s.hosts) }

// letIn: these nodes have got a host file here.
func (s *distribution) letIn(names []node.Name) {
	for _, n := range names {
		s.d.loadHost(n)
		if s.monitor != nil {
			s.monitor.Vouch(n)
		}
	}
}

// The protocol core's news. None of this blocks.

func (s *distribution) subnetUp(owner node.Name, sub subnet.Subnet) {
	if s.monitor != nil {
		s.monitor.Watch(owner, sub)
	}
}

func (s *distribution) subnetDown(owner node.Name, sub subnet.Subnet) {
	if s.monitor != nil {
		s.monitor.Unwatch(owner, sub)
	}
}

func (s *distribution) nodeDown(name node.Name) {
	if s.monitor != nil {
		s.monitor.Forget(name)
	}
}

// What the monitor asks (keydist.Engine).

// Owner is the node that packets for an address go to now.
func (s *distribution) Owner(a netip.Addr) (owner node.Name, ok bool) {
	owner, reachable := s.d.plane.Owner(a)
	return owner, reachable && owner != "" && owner != s.d.network().Name
}

// Announced lists the nodes that announce exactly this subnet.
func (s *distribution) Announced(p netip.Prefix) (names []node.Name) {
	for _, c := range s.d.plane.Claims(p) {
		if c.Owner != "" {
			names = append(names, c.Owner)
		}
	}
	return names
}

// Key is the key by which the mesh knows a node. vouched tells whether it may have a host file.
func (s *distribution) Key(name node.Name) (key *keys.PublicKey, vouched bool) {
	s.d.core.call(func(m *mesh.Mesh) { key, vouched = m.KeyOf(name) })
	return key, vouched
}

// What the control socket asks (control.KeyKeeper).

var errRosterSays = &Hinted{errors.New("the network is a signed one, so the roster says who belongs to it and by which key"),
	"remove the old key and admit the new one, where an owner's key is: tincan remove NODE, tincan admit NODE --key KEY"}

// ChangedKeys lists the keys that wait for a person. In a signed network none does: the roster says which is right.
func (b *backend) ChangedKeys() []control.KeyChange {
	if b.d.membership.signed() != nil {
		return nil
	}
	var out []control.KeyChange
	for _, c := range b.d.distribution.store.Changes() {
		out = append(out, control.KeyChange(c))
	}
	return out
}

// RemoveNode deletes what is known of a node, which stays away from now on.
func (b *backend) RemoveNode(name node.Name) error {
	s := b.d.distribution
	seen := false
	b.d.core.call(func(m *mesh.Mesh) { seen = m.Knows(name) })
	if err := s.store.Remove(name, seen); err != nil {
		return err
	}
	b.d.log.printf(0, mesh.Notice, "%s was removed by hand", name)
	return b.d.reload()
}

// AcceptKey makes the other key of a node the known one, and uses it.
func (b *backend) AcceptKey(name node.Name) error {
	if b.d.membership.signed() != nil {
		return errRosterSays
	}
	s := b.d.distribution
	if err := s.store.Accept(name); err != nil {
		return err
	}
	b.d.log.printf(0, mesh.Notice, "the new key of %s was accepted by hand", name)
	return b.d.reload()
}
