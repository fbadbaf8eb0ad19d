package mesh

import (
	"maps"
	"slices"
	"time"

	"tincan/internal/graph"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

const (
	// minQuiet and maxQuiet bound for how long a node does not contradict, see checkContradictions.
	minQuiet = 10 * time.Second
	maxQuiet = time.Hour
	// maxContradictions of both kinds in five seconds show that contradicting is in vain.
	maxContradictions = 100
	// firsthand is how long a connection must have lived for its other end to be the only one that is believed about
	// its edges and the end of its subnets: what it said before is on its way no more.
	firsthand = 10 * time.Second
	// maxHearsay edges and subnets of a neighbour, of which others say something else, are remembered until its connection ends.
	maxHearsay = 256
)

// hearsay tells whether what c says of the edge from one node to another does not count, since we have a
// connection with the first one ourselves: it tells us of its edges over that. Anybody else may be wrong, or lie. If it is
// not what we know, the node is asked what is so, by handing it the text; it contradicts if it has to. The same
// holds for the end of a subnet of the first one; then the second is ofSubnet.
func (m *Mesh) hearsay(c *conn, from, to node.Name, text string, known bool) bool {
	p := m.nodes[from]
	if p != nil && p.conn == c {
		delete(c.hearsay, [2]node.Name{from, to})
		return false
	}
	if p == nil || p.conn == nil || to != m.cfg.Name && m.now.Sub(p.conn.activeSince()) < firsthand {
		return false
	}
	edge := [2]node.Name{from, to}
	if known {
		delete(p.conn.hearsay, edge)
		return true
	}
	if m.answered.first(m.now, "asked "+text) {
		m.send(p.conn, []byte(text))
	}
	if p.conn.hearsay == nil {
		p.conn.hearsay = map[[2]node.Name]string{}
	}
	if _, ok := p.conn.hearsay[edge]; ok || len(p.conn.hearsay) < maxHearsay {
		p.conn.hearsay[edge] = text
	}
	return true
}

// ofSubnet stands for a subnet among the names of the other ends of edges; no node can be called like this.
func ofSubnet(s subnet.Subnet) node.Name { return node.Name(s.String()) }

// catchUp takes in what others have said of the edges and subnets of c's other end, now that c has ended: it may have
// been dead for a while.
func (m *Mesh) catchUp(c *conn) {
	from := m.activeConns()
	if c.peer.conn != nil || len(from) == 0 || m.down {
		return
	}
	edges := slices.SortedFunc(maps.Keys(c.hearsay), func(a, b [2]node.Name) int { return slices.Compare(a[:], b[:]) })
	for _, e := range edges {
		text := c.hearsay[e]
		handle := m.addEdge
		switch kind, _ := wire.RequestKind(text); kind {
		case wire.KindDelEdge:
			handle = m.delEdge
		case wire.KindDelSubnet:
			handle = m.delSubnet
		}
		_ = handle(from[0], text) // it has been parsed before
	}
	c.hearsay = nil
}

// concerns tells whether a tunnel server listens to c about the given nodes.
func (m *Mesh) concerns(c *conn, names ...node.Name) bool {
	if !m.cfg.TunnelServer {
		return true
	}
	return slices.ContainsFunc(names, func(n node.Name) bool { return n == m.cfg.Name || n == c.peer.name })
}

func (m *Mesh) addEdge(c *conn, text string) error {
	r, err := wire.ParseAddEdge(text)
	if err != nil {
		return err
	}
	if !m.concerns(c, r.From, r.To) {
		return nil
	}
	own := c.peer.name == r.From
	if own && m.nodes[r.To] != nil {
		c.claim(r.To)
	}
	e := graph.Edge{From: r.From, To: r.To, Addr: r.Addr, Options: r.Options, Weight: r.Weight, Local: r.Local, Nonce: r.Nonce, By: c.peer.name}
	old, ok := m.graph.Get(r.From, r.To)
	if _, given := r.Local.Addr(); ok && !given {
		e.Local = old.Local
	}
	if m.hearsay(c, r.From, r.To, text, ok && e.Same(*old)) {
		return nil
	}
	first := m.seen.first(m.now, text)
	switch {
	case r.From == m.cfg.Name:
		// What somebody says of our own edges is answered even if it is not new: he may have missed
		// that one is gone, when we had no connection over which we could tell.
		if !first && m.answersTo(c, text) > maxAnswers {
			return nil
		}
	case m.tombstones.has(text), first && m.refuted(text, r.From, r.To):
		if !m.accepts(c, e, text) {
			return nil
		}
	case !first:
		return nil
	}
	if ok {
		if e.Same(*old) {
			return nil
		}
		if r.From == m.cfg.Name {
			m.refute(c, *old, text)
			return nil
		}
		m.outdated(*old)
	} else if r.From == m.cfg.Name {
		m.contradictions.adds++
		if m.now.Before(m.quietUntil) {
			return nil
		}
		m.send(c, refutation(text, r.From, r.To))
		return nil
	} else if m.graph.OutDegree(r.From) >= maxEdgesOf {
		m.limitExceeded(c, "edge from %s to %s: it has more than %d", r.From, r.To, maxEdgesOf)
		return nil
	} else if !m.roomFor(c, share{edges: 1}, r.From, r.To) {
		return nil
	}
	if !m.register(c, r.From, r.To) {
		return nil
	}
	if own {
		c.claim(r.To)
	}
	m.setEdge(e)
	m.graphChanged()
	if !m.cfg.TunnelServer {
		m.flood(c, []byte(text))
	}
	return nil
}

func (m *Mesh) delEdge(c *conn, text string) error {
	r, err := wire.ParseDelEdge(text)
	if err != nil {
		return err
	}
	if !m.concerns(c, r.From, r.To) {
		return nil
	}
	if c.peer.name == r.From {
		delete(c.own, r.To)
	}
	old, ok := m.graph.Get(r.From, r.To)
	if m.hearsay(c, r.From, r.To, text, !ok) {
		return nil
	}
	news := m.seen.first(m.now, text)
	if !ok {
		return nil
	}
	switch {
	case r.From == m.cfg.Name:
		// It may be what we have said ourselves before the edge was recreated. If it came to c by a slow
		// way, after the new edge, c has believed it.
		if news {
			m.contradictions.dels++
		} else if m.answersTo(c, text) > 1 {
			return nil
		}
		m.refute(c, *old, text)
		return nil
	case !news:
		return nil
	}
	if !m.cfg.TunnelServer {
		m.flood(c, []byte(text))
	}
	m.outdated(*old)
	m.deleteEdge(r.From, r.To)
	m.graphChanged()
	m.orphan(r.To)
	return nil
}

// keyChanged: a node has dropped the keys of tinc 1.0 that it had given.
func (m *Mesh) keyChanged(c *conn, text string) error {
	r, err := wire.ParseKeyChanged(text)
	if err != nil {
		return err
	}
	p := m.nodes[r.Origin]
	first := m.seen.first(m.now, text)
	if p == nil || p == m.self {
		return nil
	}
	if c.peer == p || first && m.speaksFor(c, p) {
		p.session.keyChanged()
	}
	if first && !m.cfg.TunnelServer {
		m.flood(c, []byte(text))
	}
	return nil
}

// checkContradictions sees that it is in vain to contradict those who speak of edges of ours that do not exist. Either
// another machine runs with our name and our key, or a member lies, as anybody can. The first
// would contradict us as well, without end; tinc leaves the mesh for a while. Here, where hearsay must not
// drive anybody away, only these answers rest: such an edge leads nowhere unless its other end has it, too. That
// an edge of ours does exist is insisted on as before.
func (m *Mesh) checkContradictions() {
	c := m.contradictions
	m.contradictions.adds, m.contradictions.dels = 0, 0
	if c.adds <= maxContradictions || c.dels <= maxContradictions {
		m.quiet = max(m.quiet/2, minQuiet)
		return
	}
	m.logf(0, Error, "others keep announcing wrong edges of %s: another machine uses this name and key, or a member announces false edges; not refuting for %s", m.cfg.Name, m.quiet)
	m.quietUntil = m.now.Add(m.quiet)
	m.quiet = min(m.quiet*2, maxQuiet)
}

// purge forgets the edges and subnets of unreachable nodes, and the nodes
// themselves if nothing speaks of them any more.
func (m *Mesh) purge() {
	for _, p := range m.order {
		if p.reachable || p == m.self {
			continue
		}
		for _, s := range sortedSubnets(p) {
			if r := m.deletedSubnet(p.name, s); !m.cfg.TunnelServer {
				m.floodSubnet(r)
			}
			if !m.cfg.StrictSubnets {
				m.dropSubnet(p, s)
			}
		}
		m.deleteEdgesFrom(p, func(to node.Name) { m.announce(m.withdrawal(p.name, to)) })
		p.hidden = !m.cfg.AutoConnect // which may still choose it, as in tinc
	}
	m.forgetNodes(0)
}

func hasEdge(g *graph.Graph, n node.Name) bool {
	for range g.To(n) {
		return true
	}
	for range g.From(n) {
		return true
	}
	return false
}

// announce tells everybody about edges and about what others own. A tunnel server keeps that to itself.
func (m *Mesh) announce(text []byte) {
	if !m.cfg.TunnelServer {
		m.seen.first(m.now, string(text)) // it may come back
		m.flood(nil, text)
	}
}

// connectionReplaced: old, which was active, has given way to another connection with the same node.
func (m *Mesh) connectionReplaced(old *conn) {
	m.deleteEdge(m.cfg.Name, old.peer.name)
	m.catchUp(old)
}

// edgeMade takes in our edge to the other end of c, which has been activated, and returns it as it is to be told.
func (m *Mesh) edgeMade(c *conn, e graph.Edge) graph.Edge {
	c.own = map[node.Name]struct{}{}
	e.Nonce = m.nonce()
	m.setEdge(e)
	return e
}

// announceEdge tells of our edge to the other end of c.
func (m *Mesh) announceEdge(c *conn, e graph.Edge) {
	text := addEdge(e)
	if m.cfg.TunnelServer {
		m.send(c, text)
	} else {
		m.announce(text)
	}
	m.graphChanged()
}

// connectionLost: c was active, and is the last one with its node.
func (m *Mesh) connectionLost(c *conn) {
	m.deleteEdge(m.cfg.Name, c.peer.name)
	m.graphChanged()
	if !m.down {
		m.announce(m.withdrawal(m.cfg.Name, c.peer.name))
	}
	m.orphan(c.peer.name)
	m.touch(c.peer)
	m.catchUp(c)
}

// isNew tells whether a flooded request was not seen before, and remembers it.
func (m *Mesh) isNew(text string) bool { return m.seen.first(m.now, text) }

// stillThere: somebody says that owner has s, so nobody says any more that it has ended.
func (m *Mesh) stillThere(owner node.Name, s subnet.Subnet) {
	if o := m.nodes[owner]; o != nil && o.conn != nil && len(o.conn.hearsay) > 0 {
		delete(o.conn.hearsay, [2]node.Name{owner, ofSubnet(s)})
	}
}

// claim takes note that the node at the other end says that n, of which we know, is a neighbour of its.
func (c *conn) claim(n node.Name) {
	if len(c.own) < maxEdgesOf {
		c.own[n] = struct{}{}
	}
}

// claims tells whether the node at the other end says itself that n is a neighbour of its.
func (c *conn) claims(n node.Name) bool {
	_, ok := c.own[n]
	return ok
}

// isHidden tells whether p is not listed: somebody wanted it forgotten.
func (p *peer) isHidden() bool { return p.hidden }
