package mesh

import (
	"cmp"
	"slices"
	"time"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// The data plane's table of subnets follows what changes, entry by entry. Only where most of
// it changes it is recreated. When changes pour in, each publication takes in
// all that have come since the last one.
const (
	// fewRoutes changes are always told one by one; more, if they are less than a sixteenth of the table.
	fewRoutes = 64
	// publishEvery is the least time between two publications for each subnet beyond smallTable; a
	// table that is recreated takes about a fifth of that.
	publishEvery = 10 * time.Microsecond
	smallTable   = 1000
	// maxPublishWait bounds it.
	maxPublishWait = 500 * time.Millisecond
)

// routesToPublish is what has changed since routes were published last.
type routesToPublish struct {
	dirty   bool // something has
	whole   bool // so much that all are to be published
	changed map[claim]struct{}
	turn    turn
}

// claim is a subnet of a node.
type claim struct {
	owner  node.Name
	subnet subnet.Subnet
}

// touchRoute has the subnet of p published, or that it has it no more.
func (m *Mesh) touchRoute(p *peer, s subnet.Subnet) {
	r := &m.routes
	r.dirty = true
	if r.whole {
		return
	}
	r.changed[claim{p.name, s}] = struct{}{}
	if n := len(r.changed); n > fewRoutes && n > m.subnets/16 {
		r.whole = true
		clear(r.changed)
	}
}

// publishRoutes tells the data plane what has changed.
func (m *Mesh) publishRoutes() {
	r := &m.routes
	if !r.dirty || m.mayWait(&r.turn, m.publishWait()) {
		return
	}
	whole := r.whole
	r.dirty, r.whole = false, false
	r.turn.done(m.now)
	if whole {
		m.emit(PublishRoutes{Routes: m.allRoutes()})
		return
	}
	e := ChangeRoutes{Tree: append([]node.Name{}, m.broadcastTree()...)}
	for c := range r.changed {
		p := m.nodes[c.owner]
		if p != nil {
			if _, ok := p.subnets[c.subnet]; ok {
				e.Set = append(e.Set, m.owned(p, c.subnet))
				continue
			}
		}
		e.Gone = append(e.Gone, Owned{Subnet: c.subnet, Owner: c.owner})
	}
	clear(r.changed)
	slices.SortFunc(e.Set, compareOwned)
	slices.SortFunc(e.Gone, compareOwned)
	m.emit(e)
}

func compareOwned(a, b Owned) int {
	return cmp.Or(cmp.Compare(a.Owner, b.Owner), subnet.Compare(a.Subnet, b.Subnet))
}

// publishWait is the least time between two publications now.
func (m *Mesh) publishWait() time.Duration {
	return min(max(0, time.Duration(m.subnets-smallTable)*publishEvery), maxPublishWait)
}

// owned describes a subnet of p.
func (m *Mesh) owned(p *peer, s subnet.Subnet) Owned {
	return Owned{Subnet: s, Owner: p.name, Reachable: p.reachable, Rank: m.rank(p, s)}
}

// rank is how well founded it is that p has s.
func (m *Mesh) rank(p *peer, s subnet.Subnet) subnet.Rank {
	if p == m.self {
		return subnet.Own
	}
	s.Weight = subnet.DefaultWeight
	if _, ok := p.written[s]; ok {
		return subnet.Written
	}
	return subnet.Announced
}

// setWritten takes note of the subnets in the host file of p.
func (m *Mesh) setWritten(p *peer, list []subnet.Subnet) {
	old := p.written
	p.written = nil
	for _, s := range list {
		if p.written == nil {
			p.written = make(map[subnet.Subnet]struct{}, len(list))
		}
		s.Weight = subnet.DefaultWeight
		p.written[s] = struct{}{}
	}
	if len(old)+len(p.written) == 0 {
		return
	}
	for s := range p.subnets {
		plain := s
		plain.Weight = subnet.DefaultWeight
		_, was := old[plain]
		if _, is := p.written[plain]; is != was {
			m.touchRoute(p, s)
		}
	}
}

// allRoutes is the whole table, in the order of owners and of their subnets.
func (m *Mesh) allRoutes() Routes {
	r := Routes{Subnets: make([]Owned, 0, m.subnets+len(m.cfg.BroadcastSubnets)), Tree: []node.Name{}}
	for _, p := range m.order {
		for _, s := range sortedSubnets(p) {
			r.Subnets = append(r.Subnets, m.owned(p, s))
		}
	}
	for _, s := range m.cfg.BroadcastSubnets {
		r.Subnets = append(r.Subnets, Owned{Subnet: s, Reachable: true})
	}
	r.Tree = append(r.Tree, m.broadcastTree()...)
	return r
}

// ownSubnetsDown tells that our own subnets are no longer reached, as this node shuts down.
func (m *Mesh) ownSubnetsDown() {
	for _, s := range sortedSubnets(m.self) {
		m.emit(SubnetDown{Owner: m.cfg.Name, Subnet: s})
	}
}

// count is the number of subnets of all nodes.
func (m *Mesh) subnetCount() int { return m.subnets }

// treeChanged has the broadcast tree published.
func (m *Mesh) treeChanged() { m.routes.dirty = true }

// publishAllRoutes has the whole table published.
func (m *Mesh) publishAllRoutes() { m.routes.dirty, m.routes.whole = true, true }

// hasSubnets tells whether p has announced any.
func (p *peer) hasSubnets() bool { return len(p.subnets) > 0 }
