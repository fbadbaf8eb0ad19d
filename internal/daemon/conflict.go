package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/invite"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// Two newcomers may have been given the same address by inviters that could not see
// each other. When they meet, the one with the larger name moves, if its address
// was chosen for it (AutoAddress).
//
// Anybody can announce anything, so a node gives way only to one whose key is known here, only in
// the first minutes after it was set up, and only once for each kind of address. Later than that a person decides.

// addressConflict is another node that has an address of ours.
type addressConflict struct {
	owner node.Name
	addr  netip.Addr
}

const (
	// settlingFor is how long after its first start a node may take another address by itself.
	settlingFor = 10 * time.Minute
	// provedEvery is how often it is looked whether the key of the other node is known now.
	provedEvery = 2 * time.Second
	// conflictPause is the least time between two looks, so that a flood of claims costs little.
	conflictPause = 50 * time.Millisecond
)

// conflicts decides about addresses of ours that other nodes have, too.
type conflicts struct {
	claims  *claims
	core    *core
	log     *logger
	network func() *confdir.Network
	reload  func() error
}

// note looks whether a subnet of another node is an address of ours. It
// is called on the protocol core's goroutine.
func (k *conflicts) note(owner node.Name, s subnet.Subnet) {
	p := s.Prefix()
	if p.IsValid() && p.IsSingleIP() && has(k.network().Settings, p.Addr()) {
		k.claims.add(addressConflict{owner, p.Addr()})
	}
}

// forget forgets the claim of another node to an address, which it makes no longer, or cannot be reached any more.
func (k *conflicts) forget(owner node.Name, s subnet.Subnet) {
	if p := s.Prefix(); p.IsValid() && p.IsSingleIP() {
		k.claims.remove(addressConflict{owner, p.Addr()})
	}
}

// has tells whether addr is an address of our interface and a subnet of ours.
func has(s config.Settings, addr netip.Addr) bool {
	return slices.ContainsFunc(s.Ifconfig, func(p netip.Prefix) bool { return p.Addr() == addr }) &&
		slices.ContainsFunc(s.Subnets, func(own subnet.Subnet) bool { return isAddr(own, addr) })
}

func isAddr(s subnet.Subnet, addr netip.Addr) bool {
	p := s.Prefix()
	return p.IsValid() && p.IsSingleIP() && p.Addr() == addr
}

// run deals with conflicts until ctx ends.
func (k *conflicts) run(ctx context.Context, l confdir.Layout) {
	settling := loadSettling(l, time.Now())
	for {
		var again <-chan time.Time
		if k.claims.some() {
			again = time.After(provedEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-k.claims.fresh:
		case <-again:
		}
		k.look(&settling)
		select {
		case <-ctx.Done():
			return
		case <-time.After(conflictPause):
		}
	}
}

// look decides what can be decided. This node takes another address only for a claimant that has proved that
// it exists; those come first, and of the others some are asked for a proof.
func (k *conflicts) look(s *settling) {
	list := k.claims.all()
	if len(list) == 0 {
		return
	}
	proved := map[node.Name]bool{}
	k.core.call(func(m *mesh.Mesh) {
		for _, c := range list {
			proved[c.owner] = m.Proved(c.owner)
		}
	})
	slices.SortFunc(list, func(a, b addressConflict) int {
		switch {
		case proved[a.owner] && !proved[b.owner]:
			return -1
		case proved[b.owner] && !proved[a.owner]:
			return 1
		}
		return strings.Compare(string(a.owner), string(b.owner))
	})
	var unproved []addressConflict
	for _, c := range list {
		switch {
		case !k.mustMove(c, *s):
			k.claims.remove(c)
		case !proved[c.owner]:
			unproved = append(unproved, c)
		default:
			k.claims.remove(c)
			if err := k.move(c, s); err != nil {
				k.log.failed(0, mesh.Error, fmt.Errorf("%s has our address %s, and no other could be taken: %w", c.owner, c.addr, err))
			}
		}
	}
	if owners := k.claims.next(unproved); len(owners) > 0 {
		k.core.call(func(m *mesh.Mesh) {
			for _, o := range owners {
				m.Prove(o)
				m.Handle(now(), mesh.Traffic{Node: o}) // so that the session goes on
			}
		})
	}
}

// settling is what a node remembers of its first minutes.
type settling struct {
	layout confdir.Layout
	since  time.Time // its first start
	moved  []string  // kinds of addresses of which it has taken another one
}

// settlingFile can be no node's address cache: it is no name of a node.
const settlingFile = ".settling"

func kindOf(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// loadSettling reads what was remembered. If that is nothing this is the first start, or the first one of a version that remembers it.
func loadSettling(l confdir.Layout, now time.Time) settling {
	s := settling{layout: l, since: now}
	data, _ := os.ReadFile(filepath.Join(l.Cache(), settlingFile))
	if words := strings.Fields(string(data)); len(words) > 0 {
		if since, err := time.Parse(time.RFC3339, words[0]); err == nil {
			s.since, s.moved = since, words[1:]
			return s
		}
	}
	// A node that has run before this was remembered has a cache already.
	list, _ := os.ReadDir(l.Cache())
	for _, f := range list {
		if i, err := f.Info(); err == nil && i.ModTime().Before(s.since) {
			s.since = i.ModTime()
		}
	}
	_ = s.save() // without it the next start counts as the first one
	return s
}

func (s *settling) save() error {
	words := append([]string{s.since.UTC().Format(time.RFC3339)}, s.moved...)
	return confdir.WriteFile(filepath.Join(s.layout.Cache(), settlingFile), []byte(strings.Join(words, " ")+"\n"), confdir.FileMode)
}

// mayMove tells whether another address may be taken without a person.
func (s *settling) mayMove(a netip.Addr, now time.Time) bool {
	return now.Sub(s.since) < settlingFor && !slices.Contains(s.moved, kindOf(a))
}

// mustMove decides who of two nodes keeps the address.
func (k *conflicts) mustMove(c addressConflict, s settling) bool {
	n := k.network()
	switch {
	case !has(n.Settings, c.addr): // it is solved already
	case !n.Settings.AutoAddress:
		k.log.printf(0, mesh.Error, "%s has the address %s, which is ours too; change one of them (Ifconfig in tinc.conf and Subnet in the host file)", c.owner, c.addr)
	case n.Name < c.owner:
		k.log.printf(0, mesh.Notice, "%s has our address %s; it should take another one, since its name is the greater one", c.owner, c.addr)
	case !s.mayMove(c.addr, time.Now()):
		k.log.printf(0, mesh.Error, "%s says that it has our address %s, too; this node stays, since it takes another by itself only once, in the %d minutes after its first start; if that is right, change one of them (Ifconfig in tinc.conf and Subnet in the host file)", c.owner, c.addr, int(settlingFor.Minutes()))
	default:
		return true
	}
	return false
}

// move takes another address of the range, on disk, on the interface and in the mesh.
func (k *conflicts) move(c addressConflict, s *settling) error {
	var known []mesh.Owned // asked for, because the published ones may lag behind
	if !k.core.call(func(m *mesh.Mesh) { known = m.Subnets() }) {
		return errStopping
	}
	taken := make([]subnet.Subnet, 0, len(known))
	for _, o := range known {
		taken = append(taken, o.Subnet)
	}
	if !slices.ContainsFunc(known, func(o mesh.Owned) bool { return o.Owner == c.owner && isAddr(o.Subnet, c.addr) }) {
		return nil // the other one was quicker
	}
	n := k.network()
	i := slices.IndexFunc(n.Settings.Ifconfig, func(p netip.Prefix) bool { return p.Addr() == c.addr })
	if i < 0 {
		return nil
	}
	to, err := invite.PickAddress(s.layout.ConfBase, n.Name, n.Settings.Ifconfig[i], taken)
	if err != nil {
		return err
	}
	if err := replaceAddress(s.layout, n.Name, c.addr, to.Addr()); err != nil {
		return err
	}
	s.moved = append(s.moved, kindOf(c.addr))
	if err := s.save(); err != nil {
		k.log.printf(0, mesh.Warning, "cannot record that this node has taken another address: %v", err)
	}
	k.log.printf(0, mesh.Notice, "%s has our address %s; this node now has %s", c.owner, c.addr, to.Addr())
	return k.reload()
}

// replaceAddress writes another address into the files, in the lines Ifconfig
// and Subnet that have the old one, and changes nothing else in them.
func replaceAddress(l confdir.Layout, self node.Name, old, addr netip.Addr) error {
	files := []string{l.Host(self), l.TincConf()}
	more, _ := filepath.Glob(filepath.Join(l.ConfD(), "*.conf"))
	files = append(files, more...)
	before, after := map[string][]byte{}, map[string][]byte{}
	ifconfigs, subnets := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		out, i := config.Replace(data, "Ifconfig", func(value string) string {
			if p, err := netip.ParsePrefix(value); err == nil && p.Addr() == old {
				return netip.PrefixFrom(addr, p.Bits()).String()
			}
			return value
		})
		out, s := config.Replace(out, "Subnet", func(value string) string {
			if s, err := subnet.Parse(value); err == nil && isAddr(s, old) {
				to := subnet.FromPrefix(netip.PrefixFrom(addr, addr.BitLen()))
				to.Weight = s.Weight
				return to.String()
			}
			return value
		})
		ifconfigs, subnets = ifconfigs+i, subnets+s
		if i+s > 0 {
			before[file], after[file] = data, out
		}
	}
	moved := confdir.Moved(l)
	for from, to := range moved {
		if to == old { // by an earlier conflict
			moved[from], ifconfigs = addr, ifconfigs+1
		}
	}
	if ifconfigs == 0 || subnets == 0 {
		return fmt.Errorf("the files in %s have no lines Ifconfig = %s/LENGTH and Subnet = %s", l.ConfBase, old, old)
	}
	for file, data := range after {
		err := confdir.WriteFile(file, data, confdir.FileMode)
		if errors.Is(err, os.ErrPermission) && file != l.Host(self) {
			moved[old], err = addr, nil // what a node without rights must not write
		}
		if err != nil {
			for file, data := range before { // all or nothing, as far as possible
				_ = confdir.WriteFile(file, data, confdir.FileMode)
			}
			return err
		}
	}
	if len(moved) > 0 {
		return confdir.SaveMoved(l, moved)
	}
	return nil
}
