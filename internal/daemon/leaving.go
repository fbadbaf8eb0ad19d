package daemon

import (
	"net/netip"

	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/roster"
)

// Exits and Leaves are what the control socket asks (control.Leaver).
func (b *backend) Exits() *control.Exits {
	e := control.Exits{Node: b.d.exit.told()}
	o := b.d.outside
	if !o.on && e.Node == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	e.KillSwitch = o.on && o.view.guard
	for i := range o.view.lines {
		e.Via = append(e.Via, o.line(i))
	}
	return &e
}

func (b *backend) Leaves(a netip.Addr) control.Leaving {
	i, by, ok := b.d.plane.Outside.LeavesBy(a)
	o := b.d.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	if !ok || i >= len(o.view.lines) {
		return control.Leaving{}
	}
	v := o.line(i)
	return control.Leaving{Leaves: true, By: by, Line: &v}
}

// line describes a line. The lock is held.
func (o *outside) line(i int) control.Via {
	l := o.view.lines[i]
	v := control.Via{What: l.String(), Prefixes: o.view.sizes[i]}
	if i < len(o.view.choice) {
		c := o.view.choice[i]
		v.Chosen, v.IPv4, v.IPv6 = c.Node, c.IPv4 && o.view.has4, c.IPv6 && o.view.has6
	}
	for _, name := range l.Exits {
		s := o.view.states[name]
		v.Exits = append(v.Exits, control.Candidate{Node: name, Works: s.Known && (s.IPv4 || s.IPv6), Known: s.Known, RTT: control.Millis(s.RTT), Lost: s.Lost, Problem: o.view.problems[name]})
	}
	return v
}

// told is what status says about this exit node, nil if it is none.
func (x *exitNode) told() *control.ExitNode {
	if x.gateway == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return &control.ExitNode{IPv4: x.uplinks.IPv4, IPv6: x.uplinks.IPv6}
}

// mayBeExit tells whether the owners of a signed network let a node be an exit node. In other networks every node may.
func mayBeExit(d *Daemon, name node.Name) bool {
	s := d.membership.signed()
	if s == nil {
		return true
	}
	m := s.State().Member(name)
	return m != nil && m.Capabilities&roster.CapExit != 0
}
