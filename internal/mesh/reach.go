package mesh

import (
	"net/netip"
	"slices"
	"time"

	"tincan/internal/graph"
	"tincan/internal/mesh/seen"
	"tincan/internal/mesh/timer"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// reach is what follows from the graph: which nodes are reached, and over which neighbour. It passes on what
// is for others.
type reach struct {
	*env
	*directory

	graphDirty bool        // edges or connections changed since the last path search
	reevaluate bool        // a connection that paths lead over, or a host file, has changed
	orphans    []node.Name // lost neighbours whose edge to us is to be withdrawn if they are now unreachable
	tree       []node.Name // neighbours in the broadcast tree

	searching turn    // for paths
	early     int     // searches out of turn since the last one in turn
	searches  uint64  // so far
	changed   []*peer // scratch space of recompute

	treeVersion uint64       // that the nodes know their hops of, 0: they know none
	treeSettles *timer.Timer // when their hops before that count no more

	repeats seen.Repeats

	roll interface { // who belongs to the network
		enforced() bool
		mustProve(name node.Name) bool
	}
	topology interface { // what is announced
		announce(text []byte)
		countNode(p *peer, add bool)
		deleteEdge(from node.Name, to node.Name)
		outdated(e graph.Edge)
		withdrawal(from node.Name, to node.Name) []byte
	}
	subnets interface { // who owns what
		subnetCount() int
		touchRoute(p *peer, s subnet.Subnet)
		treeChanged()
	}
	links interface { // connections
		send(c *conn, text []byte)
		sendText(c *conn, text string)
	}
	dialer interface { // whom we dial
		autoConnectSoon()
		onReachable(p *peer)
		reconsider()
	}
	sessions interface { // sessions
		endSession(p *peer)
		sessionFits(p *peer) bool
	}
}

// search brings the paths up to date.
func (rc *reach) search() {
	if rc.graphDirty {
		rc.graphDirty = false
		rc.recompute()
	}
}

// searchEarly brings the paths up to date out of turn, a few times between two turns.
func (rc *reach) searchEarly() {
	if rc.graphDirty && rc.early < maxEarly {
		rc.early++
		rc.search()
	}
}

// update brings the paths up to date, unless that has to wait, and withdraws the edges of orphans.
func (rc *reach) update() {
	if (rc.graphDirty || len(rc.orphans) > 0) && !rc.mayWait(&rc.searching, rc.searchWait()) {
		for rc.graphDirty || len(rc.orphans) > 0 {
			rc.search()
			rc.withdrawOrphans()
		}
		rc.early = 0
	}
}

// lastSearch acts on what has changed, for the last time.
func (rc *reach) lastSearch() {
	rc.recompute()
	rc.graphDirty = false
	rc.orphans = nil
}

// graphChanged has the paths computed anew.
func (rc *reach) graphChanged() { rc.graphDirty = true }

// broadcastTree lists the neighbours in the broadcast tree.
func (rc *reach) broadcastTree() []node.Name { return rc.tree }

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
func (rc *reach) searchWait() time.Duration {
	return min(time.Duration(max(0, len(rc.nodes)-smallMesh))*searchEvery+time.Duration(max(0, rc.subnets.subnetCount()-smallTable))*publishEvery, maxSearchWait)
}

// recompute recomputes the paths and acts on what has changed.
func (rc *reach) recompute() {
	rc.searching.done(rc.now)
	rc.dialer.reconsider()
	rc.searches++
	changed := rc.changed[:0]
	all := rc.graph.Changes(func(name node.Name, path graph.Path) {
		if p := rc.nodes[name]; p != nil {
			p.reach.found = rc.searches
			if p.reach.path != path {
				if p.reach.reachable && path.Reachable && lastHop(&p.reach.path) != lastHop(&path) {
					rc.doubt(p) // it may be said by somebody else now, since it has gone
				}
				p.reach.path = path
				changed = append(changed, p)
			}
		}
	})
	if all {
		for _, p := range rc.order {
			if p.reach.found != rc.searches && p.reach.path != (graph.Path{}) { // it has no edge any more
				p.reach.path = graph.Path{}
				changed = append(changed, p)
			}
		}
	}
	slices.SortFunc(changed, byName)
	for _, p := range changed {
		if p != rc.self {
			rc.pathChanged(p)
			rc.touch(p)
		}
	}
	clear(changed)
	rc.changed = changed[:0]
	if rc.reevaluate { // what paths lead over has changed
		rc.reevaluate = false
		for _, p := range rc.order {
			if p == rc.self {
				continue
			}
			rc.pathChanged(p)
			if rc.hopConn(p) != p.publishedConn() {
				rc.touch(p)
			}
		}
	}
	var tree []node.Name
	if rc.cfg.Broadcast && !rc.cfg.TunnelServer {
		tree = rc.graph.Adjacent()
	}
	if !slices.Equal(tree, rc.tree) {
		rc.tree = tree
		rc.subnets.treeChanged()
	}
	rc.followTree()
}

// pathChanged does what follows from another path to p.
func (rc *reach) pathChanged(p *peer) {
	switch {
	case p.reach.path.Reachable != p.reach.reachable:
		rc.reachabilityChanged(p)
	case !rc.sessions.sessionFits(p):
		rc.logf(1, Info, "node %s speaks another protocol now", p.name)
		rc.sessions.endSession(p)
	}
	if addr := p.announcedAt(); p.reach.reachable && addr.IsValid() && !p.addr().IsValid() {
		p.seemsToBeAt(addr)
	}
}

func (rc *reach) reachabilityChanged(p *peer) {
	p.restartUDP(netip.AddrPort{})
	if p.reach.reachable != p.reach.path.Reachable {
		rc.topology.countNode(p, p.reach.path.Reachable)
	}
	p.reach.reachable = p.reach.path.Reachable
	p.reach.since = rc.now
	rc.sessions.endSession(p)
	rc.touchRoutes(p)
	if p.reach.reachable {
		p.restartUDP(p.announcedAt())
		switch {
		case !rc.onlyClaimed(p):
			rc.comeUp(p)
		case p.reach.silent: // as before, as far as anybody knows; if it is there it asks us
			rc.askAgain(p)
		default:
			rc.prove(p)
		}
		if p.conn() != nil {
			p.session().onNeighbourUp(p.conn())
		}
		rc.dialer.onReachable(p)
		rc.dialer.autoConnectSoon()
		return
	}
	p.reach.proven = false
	rc.askNoMore(p)
	rc.dialer.autoConnectSoon()
	if p.reach.up {
		rc.goDown(p)
	}
}

// withdrawOrphans floods DEL_EDGE for edges towards us from neighbours that
// were lost and cannot say so themselves (tinc 1.1 DEL_EDGE).
func (rc *reach) withdrawOrphans() {
	orphans := rc.orphans
	rc.orphans = nil
	for _, name := range orphans {
		if p := rc.nodes[name]; p != nil && p.reach.reachable {
			continue
		}
		if e, ok := rc.graph.Get(name, rc.cfg.Name); ok {
			rc.topology.outdated(*e)
			rc.topology.announce(rc.topology.withdrawal(name, rc.cfg.Name))
			rc.topology.deleteEdge(name, rc.cfg.Name)
			rc.graphDirty = true
		}
	}
}

// effectiveVia is the node that packets for p are sent to by UDP: p itself, or a relay.
func (rc *reach) effectiveVia(p *peer) *peer {
	v := p.reach.path.Via
	if v == rc.cfg.Name || v == "" {
		v = p.reach.path.NextHop
	}
	return rc.nodes[v]
}

// nextHopConn is the meta connection that leads to p, nil if there is none.
func (rc *reach) nextHopConn(p *peer) *conn {
	if !p.reach.reachable || p == rc.self {
		return nil
	}
	if h := rc.nodes[p.reach.path.NextHop]; h != nil {
		return h.conn()
	}
	return nil
}

// hopConn is the number of the meta connection that leads to p, 0 if there is none.
func (rc *reach) hopConn(p *peer) ConnID {
	if c := rc.nextHopConn(p); c != nil {
		return c.id
	}
	return 0
}

// announcedAt is its address in the edge over which it is reached, zero if there is none.
func (p *peer) announcedAt() netip.AddrPort {
	if p.reach.path.Prev == nil {
		return netip.AddrPort{}
	}
	addr, _ := p.reach.path.Prev.Addr.Addr()
	return addr
}

func (p *peer) minor() int { return p.reach.path.Options.Minor() }

// searchesSoFar is how often paths were computed.
func (rc *reach) searchesSoFar() uint64 { return rc.searches }

// linksChanged: a connection that paths lead over, or a host file, has changed.
func (rc *reach) linksChanged() { rc.reevaluate = true }

// graphHasChanged tells whether edges or connections have changed since the paths were computed.
func (rc *reach) graphHasChanged() bool { return rc.graphDirty }

// orphan: an edge to the node was lost. If it is unreachable now its edge to us is to be withdrawn.
func (rc *reach) orphan(name node.Name) { rc.orphans = append(rc.orphans, name) }

// beginReach takes in this node itself.
func (rc *reach) beginReach() {
	rc.self.reach.reachable, rc.self.reach.up = true, true
	rc.self.reach.since = rc.now
	rc.graphDirty = true
}

// reachSize is how many routed requests are remembered, and how many orphans there are.
func (rc *reach) reachSize() (repeats, orphans int) { return rc.repeats.Size(), len(rc.orphans) }

// isHidden tells whether p is not listed: somebody wanted it forgotten.
func (p *peer) isHidden() bool { return p.reach.hidden }

// hide has p listed no more, or again.
func (p *peer) hide(hidden bool) { p.reach.hidden = hidden }

// reachState is what reach keeps of a node.
type reachState struct {
	path      graph.Path
	found     uint64         // the last search that found an edge of it
	reachable bool           // connections lead to it, if what others say of them is true
	proven    bool           // it has proven that it is there, since it became reachable
	silent    bool           // it has not, when it was asked
	up        bool           // the world outside was told that it is reachable
	answered  time.Time      // when it proved it last
	asked     time.Time      // since when it has not answered, zero: it was not asked since it did
	asking    *timer.Timer   // when it is asked to
	askAt     time.Time      // when it is asked next, if it is silent
	askWait   time.Duration  // the wait before that, 0: it has answered
	hop       [2]node.Name   // our neighbour in the broadcast tree towards it, and the one before that for a while; "": none
	hidden    bool           // not listed: somebody wanted it forgotten
	since     time.Time      // of the last change of reachability, zero: never
	announced netip.AddrPort // its address when it became reachable, for scripts
}

// path is how p is reached. It is not to be changed.
func (p *peer) path() *graph.Path { return &p.reach.path }

// reachable tells whether connections lead to p.
func (p *peer) reachable() bool { return p.reach.reachable }

// since is when p became reachable, or unreachable, zero: never.
func (p *peer) since() time.Time { return p.reach.since }
