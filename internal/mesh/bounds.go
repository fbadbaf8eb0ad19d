package mesh

import (
	"slices"
	"time"

	"tincan/internal/node"
	"tincan/internal/wire"
)

// The protocol lets every member speak for all others, so what members can make us
// remember is bounded. What goes beyond is ignored and not passed on.
const (
	// maxUnknown is the number of nodes without a host file here.
	maxUnknown   = 10_000
	maxEdges     = 65_536
	maxEdgesOf   = 8_192 // from one node
	maxSubnets   = 65_536
	maxSubnetsOf = 8_192 // of one node
	// One neighbour can bring us so many of them; so there is room for others, and what a member can
	// invent is bounded by far less than what a large mesh may have.
	maxUnknownBy = 2_000
	maxEdgesBy   = maxEdges / 2
	maxSubnetsBy = maxSubnetsOf
	// makeRoom of them give way at a time when there are too many: those that have been unreachable for longest.
	makeRoom = 256
	// maxDeadTold unreachable nodes without a host file are told of to a new neighbour.
	maxDeadTold = 100
	// giveWayEvery is how often nodes give way to others that came by way of the same neighbour.
	giveWayEvery = 10 * time.Second
	// maxLine is the longest request that we read, in bytes. tinc writes at most
	// 2175; a REQ_KEY between nodes with long names can be a little longer.
	maxLine = 4096
	// maxStarts sessions are answered for a node in handshakeTimeout. Each costs
	// as much as a thousand other requests.
	maxStarts = 10
	// maxEarly searches for paths are made out of turn between two in turn.
	maxEarly = 4
	// writeGrace is how long a host file may take to be written.
	writeGrace = 30 * time.Second

	cleanInterval = time.Minute
)

// share is how much of what we know came through one neighbour, whomever it is about.
type share struct {
	nodes          int // without a host file here
	edges, subnets int
}

// chargeTo adds to the share of a neighbour, or takes away from it. "" is nobody.
func (t *topology) chargeTo(by node.Name, more share) {
	if by == "" {
		return
	}
	s := t.brought[by]
	s.nodes, s.edges, s.subnets = s.nodes+more.nodes, s.edges+more.edges, s.subnets+more.subnets
	if s == (share{}) {
		delete(t.brought, by)
		return
	}
	t.brought[by] = s
}

// roomFor tells whether c may bring so much more. What it brought before of nodes that are unreachable gives way, and
// of other such nodes if there is too much in all; but nothing of those in keep.
func (t *topology) roomFor(c *conn, more share, keep ...node.Name) bool {
	by := c.peer.name
	over := func() bool {
		s := t.brought[by]
		return more.nodes > 0 && s.nodes+more.nodes > maxUnknownBy || more.edges > 0 && s.edges+more.edges > maxEdgesBy || more.subnets > 0 && s.subnets+more.subnets > maxSubnetsBy
	}
	if over() && t.now.Sub(c.news.gaveWay) >= giveWayEvery && t.giveWay(by, keep) > 0 {
		c.news.gaveWay = t.now
	}
	if over() {
		t.limitExceeded(c, "what came through %s: more than %d nodes without a host file, %d edges or %d subnets", by, maxUnknownBy, maxEdgesBy, maxSubnetsBy)
		return false
	}
	over = func() bool {
		return more.nodes > 0 && len(t.nodes)+more.nodes > maxUnknown+len(t.cfg.Hosts) || t.graph.Len()+more.edges > maxEdges || t.subnets.subnetCount()+more.subnets > maxSubnets
	}
	if over() && t.now.Sub(t.full) >= time.Second {
		t.giveWay("", keep)
	}
	if !over() {
		return true
	}
	if t.now.Sub(t.full) >= time.Second {
		t.full = t.now
	}
	t.limitExceeded(c, "more than %d nodes without a host file, %d edges or %d subnets", maxUnknown, maxEdges, maxSubnets)
	return false
}

// register creates the nodes called names where they are new. It reports false, and creates none,
// if there are too many already, or if the id of one is that of another node
// whose packets it would attract. c is where we heard of them.
func (t *topology) register(c *conn, names ...node.Name) bool {
	strange := 0
	for _, n := range names {
		if t.nodes[n] != nil {
			continue
		}
		if other := t.byID[n.ID()]; other != nil {
			t.limitExceeded(c, "node %s, which has the same id as %s", n, other.name)
			return false
		}
		strange++
	}
	if strange == 0 {
		return true
	}
	if !t.roomFor(c, share{nodes: strange}, names...) {
		return false
	}
	for _, n := range names {
		if t.nodes[n] == nil {
			t.peer(n).topo.by = c.peer.name
			t.chargeTo(c.peer.name, share{nodes: 1})
		}
	}
	return true
}

// giveWay forgets those nodes without a host file that have been unreachable for longest, and what they have announced. It
// returns how many. If by is not "" only those that came by way of that neighbour count; those in keep stay.
func (t *topology) giveWay(by node.Name, keep []node.Name) int {
	busy := t.links.withConn()
	var list []*peer
	for _, p := range t.order {
		if !p.reachable() && !p.known() && !busy[p] && (by == "" || p.topo.by == by) && !t.dialer.isDialTarget(p.name) && !slices.Contains(keep, p.name) {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b *peer) int { return later(a.since(), a.born).Compare(later(b.since(), b.born)) })
	list = list[:min(len(list), makeRoom)]
	for _, p := range list {
		for _, s := range slices.Clone(sortedSubnets(p)) {
			t.subnets.dropSubnet(p, s)
		}
		t.deleteEdgesFrom(p, nil)
		var from []node.Name
		for e := range t.graph.To(p.name) {
			from = append(from, e.From)
		}
		for _, f := range from {
			t.deleteEdge(f, p.name)
			t.reach.graphChanged()
		}
		t.forgetNode(p)
	}
	return len(list)
}

// clean forgets what only unreachable nodes could take back: their edges and, without a host file,
// their subnets, when they have been away for long, and in the end
// the nodes themselves. Nobody is told: everybody comes to the same result, and a
// node that comes back announces itself.
func (t *topology) clean() {
	for _, p := range t.order {
		if p.reachable() || p == t.self || t.now.Sub(later(p.since(), p.born)) < t.cfg.StaleAfter {
			continue
		}
		t.deleteEdgesFrom(p, nil)
		if !p.known() {
			for _, s := range sortedSubnets(p) {
				t.subnets.dropSubnet(p, s)
			}
		}
	}
	t.forgetNodes(cleanInterval)
}

// deleteEdgesFrom deletes the edges that p has announced, and calls each before.
func (t *topology) deleteEdgesFrom(p *peer, each func(to node.Name)) {
	var gone []node.Name
	for e := range t.graph.From(p.name) {
		gone = append(gone, e.To)
	}
	for _, to := range gone {
		if each != nil {
			each(to)
		}
		t.deleteEdge(p.name, to)
		t.reach.graphChanged()
	}
}

// forgetNodes forgets the nodes that nothing speaks of any more and that did not
// come up within the given time.
func (t *topology) forgetNodes(age time.Duration) {
	var gone []*peer
	for _, p := range t.order {
		if p == t.self || p.reachable() || p.known() || p.mayBeFoundAgain() || p.hasSubnets() || t.now.Sub(later(p.since(), p.born)) < age ||
			t.dialer.isDialTarget(p.name) || hasEdge(t.graph, p.name) {
			continue
		}
		gone = append(gone, p)
	}
	if len(gone) == 0 {
		return
	}
	busy := t.links.withConn()
	for _, p := range gone {
		if !busy[p] {
			t.forgetNode(p)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// withdrawal is the DEL_EDGE of an edge.
func (t *topology) withdrawal(from, to node.Name) []byte {
	return wire.DelEdge{Nonce: t.nonce(), From: from, To: to}.Append(nil)
}

// seenTexts is the number of texts of flooded requests that are remembered.
func (t *topology) seenTexts() int { return t.seen.Size() + t.tombstones.Size() + t.answered.Size() }

// topoState is what topology keeps of a node.
type topoState struct {
	by   node.Name // the neighbour by way of which it was first heard of, "" if it was not
	sums sums      // of what it has announced
}

func (t *topology) forgetNode(p *peer) {
	t.chargeTo(p.topo.by, share{nodes: -1})
	t.remove(p)
}

// concernsOwner tells whether a tunnel server listens to c about the subnets of a node.
func (t *topology) concernsOwner(c *conn, owner node.Name) bool { return t.concerns(c, owner) }

// registerOwner creates the node called owner if it is new, see register.
func (t *topology) registerOwner(c *conn, owner node.Name) bool { return t.register(c, owner) }

// roomForSubnet tells whether c may bring another subnet of owner, see roomFor.
func (t *topology) roomForSubnet(c *conn, owner node.Name) bool {
	return t.roomFor(c, share{subnets: 1}, owner)
}
