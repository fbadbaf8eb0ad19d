package mesh

import (
	"net/netip"
	"slices"
	"time"

	"tincan/internal/graph"
	"tincan/internal/node"
)

// search brings the paths up to date.
func (m *Mesh) search() {
	if m.graphDirty {
		m.graphDirty = false
		m.recompute()
	}
}

// searchEarly brings the paths up to date out of turn, a few times between two turns.
func (m *Mesh) searchEarly() {
	if m.graphDirty && m.early < maxEarly {
		m.early++
		m.search()
	}
}

// update brings the paths up to date, unless that has to wait, and withdraws the edges of orphans.
func (m *Mesh) update() {
	if (m.graphDirty || len(m.orphans) > 0) && !m.mayWait(&m.searching, m.searchWait()) {
		for m.graphDirty || len(m.orphans) > 0 {
			m.search()
			m.withdrawOrphans()
		}
		m.early = 0
	}
}

// lastSearch acts on what has changed, for the last time.
func (m *Mesh) lastSearch() {
	m.recompute()
	m.graphDirty = false
	m.orphans = nil
}

// graphChanged has the paths computed anew.
func (m *Mesh) graphChanged() { m.graphDirty = true }

// broadcastTree lists the neighbours in the broadcast tree.
func (m *Mesh) broadcastTree() []node.Name { return m.tree }

// A single change is acted upon at once. While changes pour in, as when a large mesh
// comes up, a search for each batch of them would be most of what a node does.
const (
	// searchEvery is the least time between two searches for each node of the mesh beyond
	// smallMesh: they take about a hundredth of the time then.
	searchEvery = 100 * time.Microsecond
	smallMesh   = 50
	// maxSearchWait bounds it.
	maxSearchWait = 200 * time.Millisecond
)

// searchWait is the least time between two searches now.
func (m *Mesh) searchWait() time.Duration {
	return min(time.Duration(max(0, len(m.nodes)-smallMesh))*searchEvery+time.Duration(max(0, m.subnetCount()-smallTable))*publishEvery, maxSearchWait)
}

// recompute recomputes the paths and acts on what has changed.
func (m *Mesh) recompute() {
	m.searching.done(m.now)
	m.searches++
	changed := m.changed[:0]
	all := m.graph.Changes(func(name node.Name, path graph.Path) {
		if p := m.nodes[name]; p != nil {
			p.found = m.searches
			if p.path != path {
				p.path = path
				changed = append(changed, p)
			}
		}
	})
	if all {
		for _, p := range m.order {
			if p.found != m.searches && p.path != (graph.Path{}) { // it has no edge any more
				p.path = graph.Path{}
				changed = append(changed, p)
			}
		}
	}
	slices.SortFunc(changed, byName)
	for _, p := range changed {
		if p != m.self {
			m.pathChanged(p)
			m.touch(p)
		}
	}
	clear(changed)
	m.changed = changed[:0]
	if m.reevaluate { // what paths lead over has changed
		m.reevaluate = false
		for _, p := range m.order {
			if p == m.self {
				continue
			}
			m.pathChanged(p)
			if m.hopConn(p) != p.publishedConn() {
				m.touch(p)
			}
		}
	}
	var tree []node.Name
	if m.cfg.Broadcast && !m.cfg.TunnelServer {
		tree = m.graph.Adjacent()
	}
	if !slices.Equal(tree, m.tree) {
		m.tree = tree
		m.treeChanged()
	}
}

// pathChanged does what follows from another path to p.
func (m *Mesh) pathChanged(p *peer) {
	switch {
	case p.path.Reachable != p.reachable:
		m.reachabilityChanged(p)
	case !m.sessionFits(p):
		m.logf(1, Info, "node %s speaks another protocol now", p.name)
		m.endSession(p)
	}
	if addr := p.announcedAt(); p.reachable && addr.IsValid() && !p.addr().IsValid() {
		p.seemsToBeAt(addr)
	}
}

func (m *Mesh) reachabilityChanged(p *peer) {
	p.restartUDP(netip.AddrPort{})
	if p.reachable != p.path.Reachable {
		m.countNode(p, p.path.Reachable)
	}
	p.reachable = p.path.Reachable
	p.since = m.now
	m.endSession(p)
	subnets := sortedSubnets(p)
	for _, s := range subnets {
		m.touchRoute(p, s)
	}
	if p.reachable {
		p.restartUDP(p.announcedAt())
		m.logf(1, Info, "node %s became reachable", p.name)
		p.announced, p.hidden = p.addr(), false
		m.emit(NodeUp{Node: p.name, Addr: p.addr()})
		for _, s := range subnets {
			m.emit(SubnetUp{Owner: p.name, Subnet: s, Addr: p.addr()})
		}
		if p.conn != nil {
			p.session.onNeighbourUp(p.conn)
		}
		m.onReachable(p)
		m.autoConnectSoon()
		return
	}
	m.logf(1, Info, "node %s became unreachable", p.name)
	m.autoConnectSoon()
	// What a script did for an address is undone for the same address.
	m.emit(NodeDown{Node: p.name, Addr: p.announced})
	for _, s := range subnets {
		m.emit(SubnetDown{Owner: p.name, Subnet: s, Addr: p.announced})
	}
}

// withdrawOrphans floods DEL_EDGE for edges towards us from neighbours that
// were lost and cannot say so themselves (tinc 1.1 DEL_EDGE).
func (m *Mesh) withdrawOrphans() {
	orphans := m.orphans
	m.orphans = nil
	for _, name := range orphans {
		if p := m.nodes[name]; p != nil && p.reachable {
			continue
		}
		if e, ok := m.graph.Get(name, m.cfg.Name); ok {
			m.outdated(*e)
			m.announce(m.withdrawal(name, m.cfg.Name))
			m.deleteEdge(name, m.cfg.Name)
			m.graphDirty = true
		}
	}
}

// effectiveVia is the node that packets for p are sent to by UDP: p itself, or a relay.
func (m *Mesh) effectiveVia(p *peer) *peer {
	v := p.path.Via
	if v == m.cfg.Name || v == "" {
		v = p.path.NextHop
	}
	return m.nodes[v]
}

// nextHopConn is the meta connection that leads to p, nil if there is none.
func (m *Mesh) nextHopConn(p *peer) *conn {
	if !p.reachable || p == m.self {
		return nil
	}
	if h := m.nodes[p.path.NextHop]; h != nil {
		return h.conn
	}
	return nil
}

// hopConn is the number of the meta connection that leads to p, 0 if there is none.
func (m *Mesh) hopConn(p *peer) ConnID {
	if c := m.nextHopConn(p); c != nil {
		return c.id
	}
	return 0
}

// announcedAt is its address in the edge over which it is reached, zero if there is none.
func (p *peer) announcedAt() netip.AddrPort {
	if p.path.Prev == nil {
		return netip.AddrPort{}
	}
	addr, _ := p.path.Prev.Addr.Addr()
	return addr
}

func (p *peer) minor() int { return p.path.Options.Minor() }

// linksChanged: a connection that paths lead over, or a host file, has changed.
func (m *Mesh) linksChanged() { m.reevaluate = true }

// graphHasChanged tells whether edges or connections have changed since the paths were computed.
func (m *Mesh) graphHasChanged() bool { return m.graphDirty }

// orphan: an edge to the node was lost. If it is unreachable now its edge to us is to be withdrawn.
func (m *Mesh) orphan(name node.Name) { m.orphans = append(m.orphans, name) }

// beginReach takes in this node itself.
func (m *Mesh) beginReach() {
	m.self.reachable = true
	m.self.since = m.now
	m.graphDirty = true
}

// reachSize is how many routed requests are remembered, and how many orphans there are.
func (m *Mesh) reachSize() (repeats, orphans int) { return m.repeats.size(), len(m.orphans) }
