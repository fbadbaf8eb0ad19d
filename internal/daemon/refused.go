package daemon

import (
	"fmt"
	"slices"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/dataplane"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

// maxContests are told of at most.
const maxContests = 100

// Drops says why packets were dropped (control.Refuser).
func (b *backend) Drops() (list []control.Drop) {
	for _, d := range b.d.plane.Drops() {
		list = append(list, control.Drop(d))
	}
	return list
}

// Contested lists the claims to subnets that do not count (control.Refuser).
func (b *backend) Contested() (list []control.Contest) {
	for _, c := range b.d.plane.Contested(maxContests) {
		list = append(list, control.Contest{
			Subnet: c[0].Subnet.String(), ClaimedBy: c[0].Owner, Owner: c[1].Owner, Because: c[1].Subnet.String(),
		})
	}
	return list
}

// Limits says how much is held for others (control.Refuser).
func (b *backend) Limits() control.Limits {
	l := control.Limits{LogLeftOut: b.d.log.leftOut(), CoreWaits: b.d.core.shares.waits(), Refused: []control.Refusal{}}
	l.Connections = b.refusedConns()
	b.d.core.call(func(m *mesh.Mesh) {
		size, bounds := m.Size(), m.Bounds()
		l.Nodes = control.Held{Held: size.Unknown, Limit: bounds.Unknown}
		l.Edges = control.Held{Held: size.Edges, Limit: bounds.Edges}
		l.Subnets = control.Held{Held: size.Subnets, Limit: bounds.Subnets}
		for _, r := range m.Refusals() {
			l.Refused = append(l.Refused, control.Refusal{What: r.Text, Count: r.Count, Last: r.Last, By: r.By})
		}
	})
	return l
}

// refusedConns counts the connections for which there was no room.
func (b *backend) refusedConns() control.RefusedConns {
	total, from := b.d.conns.Refused()
	r := control.RefusedConns{Count: total, From: []control.RefusedFrom{}}
	for _, x := range from[:min(len(from), control.MaxRefusedFrom)] {
		r.From = append(r.From, control.RefusedFrom{Address: x.Addr.String(), Count: x.Count, Last: x.Last})
	}
	return r
}

// isAt tells whether a node is, or was when last heard of, at an address.
func (b *backend) isAt(name node.Name) map[string]bool {
	at := map[string]bool{}
	var nodes []mesh.NodeInfo
	b.d.core.call(func(m *mesh.Mesh) { nodes = m.Nodes() })
	for _, n := range nodes {
		if n.Name == name && n.Addr.IsValid() {
			at[n.Addr.Addr().Unmap().String()] = true
		}
	}
	if h, _, err := confdir.LoadHost(b.d.opts.Layout, name, nil); err == nil {
		for _, a := range h.Addresses {
			at[a.Host] = true
		}
	}
	for _, a := range cached(b.d.opts.Layout, name) {
		at[a.Addr().Unmap().String()] = true
	}
	return at
}

// Codes of reasons that are about what was refused.
const (
	whyContested   = "contested-subnet"
	whyFalseSource = "false-source"
	whyDropped     = "packets-dropped"
	whyIgnored     = "too-much-announced"
	whyCrowded     = "connections-refused"
)

// lately is for how long a packet that was dropped may have to do with what somebody asks about.
const lately = 5 * time.Second

// toldApart are reasons for drops about which why says more than that.
var toldApart = []string{dataplane.InvalidSource.String(), dataplane.RefusedIn.String(), dataplane.RefusedOut.String()}

// whyRefused adds what was refused of a node, or for its sake.
func (b *backend) whyRefused(name node.Name, r *control.WhyReport) {
	add := func(code, format string, args ...any) {
		r.Reasons = append(r.Reasons, control.WhyReason{Code: code, Text: fmt.Sprintf(format, args...)})
	}
	told := 0
	for _, c := range b.Contested() {
		if (c.ClaimedBy == name || c.Owner == name) && told < maxFailures {
			told++
			add(whyContested, "%s", c)
		}
	}
	ago := func(t time.Time) time.Duration { return max(0, time.Since(t)).Round(time.Second) }
	if d := b.d.plane.InvalidSources(name); d.Count > 0 {
		add(whyFalseSource, "%d packets of %s were dropped, the last one %s ago: their source addresses lie in none of its subnets, or in those of another node", d.Count, name, ago(d.Last))
		if r.Change == "" {
			r.Change = fmt.Sprintf("announce these addresses on %s (Subnet in its host file), or set SourceCheck = no here", name)
		}
	}
	limits := b.Limits()
	for _, i := range limits.Refused {
		if n := i.By[name]; n > 0 {
			add(whyIgnored, "ignored %s: %d times from %s, the last one of all %s ago", i.What, n, name, ago(i.Last))
		}
	}
	if r.Good {
		return
	}
	if list := limits.Connections.From; len(list) > 0 {
		at := b.isAt(name)
		for _, x := range list {
			if at[x.Address] {
				add(whyCrowded, "%d connections from %s, where %s is, were refused, the last one %s ago: there were too many at once", x.Count, x.Address, name, ago(x.Last))
			}
		}
	}
	for _, i := range limits.Refused {
		if i.By[name] > 0 {
			continue
		}
		add(whyIgnored, "ignored %s: %d times so far, the last one %s ago", i.What, i.Count, ago(i.Last))
	}
	for _, d := range b.Drops() {
		if ago(d.Last) < lately && !slices.Contains(toldApart, d.Reason) {
			add(whyDropped, "packets were dropped here: %s, %d so far, the last one %s ago", d.Reason, d.Count, ago(d.Last))
		}
	}
}
