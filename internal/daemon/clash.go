package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"tincan/internal/config"
	"tincan/internal/invite"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// Two newcomers may have been given the same address by inviters that could not see
// each other. When they meet, the one with the larger name moves, if its address
// was chosen for it (AutoAddress).

// clash is another node that has an address of ours.
type clash struct {
	owner node.Name
	addr  netip.Addr
}

// maxMoves bounds how often a node takes another address: one that is followed
// wherever it goes stops running.
const maxMoves = 10

// noteClash looks whether a subnet of another node is an address of ours. It
// is called on the brain's goroutine.
func (d *Daemon) noteClash(owner node.Name, s subnet.Subnet) {
	p := s.Prefix()
	if !p.IsValid() || !p.IsSingleIP() || !has(d.network().Settings, p.Addr()) {
		return
	}
	select {
	case d.clashes <- clash{owner, p.Addr()}:
	default: // as many others are waiting already, mostly for the same address
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

// mendClashes deals with clashes until ctx ends.
func (d *Daemon) mendClashes(ctx context.Context) {
	moves := 0
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-d.clashes:
			if !d.mustMove(c) {
				continue
			}
			if moves++; moves > maxMoves {
				d.log.printf(0, mesh.Error, "%s has our address %s; this node has moved %d times already and stays now", c.owner, c.addr, maxMoves)
				continue
			}
			if err := d.move(c); err != nil {
				d.log.failed(0, mesh.Error, fmt.Errorf("%s has our address %s, and no other could be taken: %w", c.owner, c.addr, err))
			}
		}
	}
}

// mustMove decides who of two nodes keeps the address.
func (d *Daemon) mustMove(c clash) bool {
	n := d.network()
	switch {
	case !has(n.Settings, c.addr): // it is mended already
	case !n.Settings.AutoAddress:
		d.log.printf(0, mesh.Error, "%s has the address %s, which is ours too; change one of them (Ifconfig in tinc.conf and Subnet in the host file)", c.owner, c.addr)
	case n.Name < c.owner:
		d.log.printf(0, mesh.Notice, "%s has our address %s; it should take another, as its name is the larger one", c.owner, c.addr)
	default:
		return true
	}
	return false
}

// move takes another address of the range, on disk, on the interface and in the mesh.
func (d *Daemon) move(c clash) error {
	var known []mesh.Owned // asked for, because the published ones may lag behind
	if !d.ask(func() { known = d.brain.Subnets() }) {
		return errStopping
	}
	taken := make([]subnet.Subnet, 0, len(known))
	for _, k := range known {
		taken = append(taken, k.Subnet)
	}
	if !slices.ContainsFunc(known, func(k mesh.Owned) bool { return k.Owner == c.owner && isAddr(k.Subnet, c.addr) }) {
		return nil // the other one was quicker
	}
	n := d.network()
	i := slices.IndexFunc(n.Settings.Ifconfig, func(p netip.Prefix) bool { return p.Addr() == c.addr })
	if i < 0 {
		return nil
	}
	to, err := invite.PickAddress(d.opts.Layout.ConfBase, n.Name, n.Settings.Ifconfig[i], taken)
	if err != nil {
		return err
	}
	if err := replaceAddress(d.opts.Layout, n.Name, c.addr, to.Addr()); err != nil {
		return err
	}
	d.log.printf(0, mesh.Notice, "%s has our address %s; this node now has %s", c.owner, c.addr, to.Addr())
	return d.reload()
}

// replaceAddress writes another address into the files, in the lines Ifconfig
// and Subnet that have the old one, and changes nothing else in them.
func replaceAddress(l config.Layout, self node.Name, old, addr netip.Addr) error {
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
	if ifconfigs == 0 || subnets == 0 {
		return fmt.Errorf("the files in %s have no lines Ifconfig = %s/LENGTH and Subnet = %s", l.ConfBase, old, old)
	}
	for file, data := range after {
		if err := config.WriteFile(file, data, config.FileMode); err != nil {
			for file, data := range before { // all or nothing, as far as possible
				_ = config.WriteFile(file, data, config.FileMode)
			}
			return err
		}
	}
	return nil
}
