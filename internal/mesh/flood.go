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
func (t *topology) hearsay(c *conn, from, to node.Name, text string, known bool) bool {
	p := t.nodes[from]
	if p != nil && p.conn() == c {
		delete(c.news.hearsay, [2]node.Name{from, to})
		return false
	}
	if p == nil || p.conn() == nil || to != t.cfg.Name && t.now.Sub(p.conn().activeSince()) < firsthand {
		return false
	}
	edge := [2]node.Name{from, to}
	if known {
		delete(p.conn().news.hearsay, edge)
		return true
	}
	if (t.tombstones.Has(text) || t.refuted(text, from, to)) && t.answersTo(c, text) == 1 {
		t.correct(c, from, to, text)
		return true
	}
	if t.answered.First(t.now, "asked "+text) {
		t.links.send(p.conn(), []byte(text))
	}
	if p.conn().news.hearsay == nil {
		p.conn().news.hearsay = map[[2]node.Name]string{}
	}
	if _, ok := p.conn().news.hearsay[edge]; ok || len(p.conn().news.hearsay) < maxHearsay {
		p.conn().news.hearsay[edge] = text
	}
	return true
}

// settles tells whether others have lately contradicted what c has said of an edge or subnet of the node at its other end.
// Now it has spoken of that itself, so this holds, and whoever was wrong has to hear it, though it changes nothing here.
func (t *topology) settles(c *conn, from, to node.Name) bool {
	if c.peer.name != from || c.peer.conn() != c {
		return false
	}
	_, disputed := c.news.hearsay[[2]node.Name{from, to}]
	delete(c.news.hearsay, [2]node.Name{from, to})
	return disputed
}

// ofSubnet stands for a subnet among the names of the other ends of edges; no node can be called like this.
func ofSubnet(s subnet.Subnet) node.Name { return node.Name(s.String()) }

// catchUp takes in what others have said of the edges and subnets of c's other end, now that c has ended: it may have
// been dead for a while.
func (t *topology) catchUp(c *conn) {
	from := t.links.activeConns()
	if c.peer.conn() != nil || len(from) == 0 || t.down {
		return
	}
	edges := slices.SortedFunc(maps.Keys(c.news.hearsay), func(a, b [2]node.Name) int { return slices.Compare(a[:], b[:]) })
	for _, e := range edges {
		text := c.news.hearsay[e]
		handle := t.addEdge
		switch kind, _ := wire.RequestKind(text); kind {
		case wire.KindDelEdge:
			handle = t.delEdge
		case wire.KindDelSubnet:
			handle = t.subnets.delSubnet
		}
		_ = handle(from[0], text) // it has been parsed before
	}
	c.news.hearsay = nil
}

// concerns tells whether a tunnel server listens to c about the given nodes.
func (t *topology) concerns(c *conn, names ...node.Name) bool {
	if !t.cfg.TunnelServer {
		return true
	}
	return slices.ContainsFunc(names, func(n node.Name) bool { return n == t.cfg.Name || n == c.peer.name })
}

func (t *topology) addEdge(c *conn, text string) error {
	r, err := wire.ParseAddEdge(text)
	if err != nil {
		return err
	}
	if !t.concerns(c, r.From, r.To) {
		return nil
	}
	if !t.roll.admits(c, text, r.From, r.To) {
		return nil
	}
	own := c.peer.name == r.From
	if own && t.nodes[r.To] != nil {
		c.claim(r.To)
	}
	e := graph.Edge{From: r.From, To: r.To, Addr: r.Addr, Options: r.Options, Weight: r.Weight, Local: r.Local, Nonce: r.Nonce, By: c.peer.name}
	old, ok := t.graph.Get(r.From, r.To)
	if _, given := r.Local.Addr(); ok && !given {
		e.Local = old.Local
	}
	disputed := t.settles(c, r.From, r.To)
	if t.hearsay(c, r.From, r.To, text, ok && e.Same(*old)) {
		return nil
	}
	first := t.seen.First(t.now, text)
	switch {
	case r.From == t.cfg.Name:
		// What somebody says of our own edges is answered even if it is not new: he may have missed
		// that one is gone, when we had no connection over which we could tell.
		if !first && t.answersTo(c, text) > maxAnswers {
			return nil
		}
	case t.tombstones.Has(text), first && t.refuted(text, r.From, r.To):
		if !t.accepts(c, e, text) {
			return nil
		}
	case !first:
		return nil
	}
	disputed = first && t.uphold(r.From, r.To) || disputed
	if ok {
		if e.Same(*old) {
			if disputed {
				t.setEdge(e) // with its new nonce
				t.passOn(c, text)
			}
			return nil
		}
		if r.From == t.cfg.Name {
			t.refute(c, *old, text)
			return nil
		}
		t.outdated(*old)
	} else if r.From == t.cfg.Name {
		t.contradictions.adds++
		t.judgeSoon()
		if t.now.Before(t.quietUntil) {
			return nil
		}
		t.links.send(c, refutation(text, r.From, r.To))
		return nil
	} else if t.graph.OutDegree(r.From) >= maxEdgesOf {
		t.limitExceeded(c, "edge from %s to %s: it has more than %d", r.From, r.To, maxEdgesOf)
		return nil
	} else if !t.roomFor(c, share{edges: 1}, r.From, r.To) {
		return nil
	}
	if !t.register(c, r.From, r.To) {
		return nil
	}
	if own {
		c.claim(r.To)
	}
	t.setEdge(e)
	t.reach.graphChanged()
	t.passOn(c, text)
	return nil
}

func (t *topology) delEdge(c *conn, text string) error {
	r, err := wire.ParseDelEdge(text)
	if err != nil {
		return err
	}
	if !t.concerns(c, r.From, r.To) {
		return nil
	}
	t.roll.withdrawn(subnet.Subnet{}, r.From, r.To)
	if c.peer.name == r.From {
		delete(c.news.own, r.To)
	}
	old, ok := t.graph.Get(r.From, r.To)
	disputed := t.settles(c, r.From, r.To)
	if t.hearsay(c, r.From, r.To, text, !ok) {
		return nil
	}
	news := t.seen.First(t.now, text)
	if !ok {
		if disputed && news {
			t.passOn(c, text)
		}
		return nil
	}
	switch {
	case r.From == t.cfg.Name:
		// It may be what we have said ourselves before the edge was recreated. If it came to c by a slow
		// way, after the new edge, c has believed it.
		if news {
			t.contradictions.dels++
			t.judgeSoon()
		} else if t.answersTo(c, text) > 1 {
			return nil
		}
		t.refute(c, *old, text)
		return nil
	case !news:
		return nil
	}
	if t.withhold(c, withdrawn{what: [2]node.Name{r.From, r.To}, text: text}) {
		return nil
	}
	t.passOn(c, text)
	t.withdraw(r.From, r.To)
	return nil
}

// news takes in a request that was held, see [roll.hold]. It has been parsed before.
func (t *topology) news(c *conn, text string) {
	switch kind, _ := wire.RequestKind(text); kind {
	case wire.KindAddEdge:
		_ = t.addEdge(c, text)
	case wire.KindAddSubnet:
		_ = t.subnets.addSubnet(c, text)
	}
}

// strike takes out all edges of p, which is no member, without telling anybody: the others know it, or do not care. It
// returns them.
func (t *topology) strike(p *peer) (struck []graph.Edge) {
	for e := range t.graph.From(p.name) {
		struck = append(struck, *e)
	}
	for e := range t.graph.To(p.name) {
		struck = append(struck, *e)
	}
	if len(struck) == 0 {
		return nil
	}
	for _, e := range struck {
		t.deleteEdge(e.From, e.To)
	}
	t.reach.graphChanged()
	return struck
}

// keyChanged: a node has dropped the keys of tinc 1.0 that it had given.
func (t *topology) keyChanged(c *conn, text string) error {
	r, err := wire.ParseKeyChanged(text)
	if err != nil {
		return err
	}
	p := t.nodes[r.Origin]
	first := t.seen.First(t.now, text)
	if p == nil || p == t.self {
		return nil
	}
	if c.peer == p || first && t.keyring.speaksFor(c, p) {
		p.session().keyChanged()
	}
	if first {
		t.passOn(c, text)
	}
	return nil
}

// judgeEvery is the time in which contradictions are counted.
const judgeEvery = 5 * time.Second

func (t *topology) judgeSoon() {
	t.by(&t.judging, t.now.Add(judgeEvery), t.checkContradictions)
}

// checkContradictions sees that it is in vain to contradict those who speak of edges of ours that do not exist. Either
// another machine runs with our name and our key, or a member lies, as anybody can. The first
// would contradict us as well, without end; tinc leaves the mesh for a while. Here, where hearsay must not
// drive anybody away, only these answers rest: such an edge leads nowhere unless its other end has it, too. That
// an edge of ours does exist is insisted on as before.
func (t *topology) checkContradictions() {
	c := t.contradictions
	t.contradictions.adds, t.contradictions.dels = 0, 0
	if c.adds <= maxContradictions || c.dels <= maxContradictions {
		if t.quiet = max(t.quiet/2, minQuiet); t.quiet > minQuiet {
			t.judgeSoon()
		}
		return
	}
	t.logf(0, Error, "others keep announcing wrong edges of %s: another machine uses this name and key, or a member announces false edges; not refuting for %s", t.cfg.Name, t.quiet)
	t.quietUntil = t.now.Add(t.quiet)
	t.quiet = min(t.quiet*2, maxQuiet)
	t.judgeSoon()
}

// purge forgets the edges and subnets of unreachable nodes, and the nodes
// themselves if nothing speaks of them any more.
func (t *topology) purge() {
	for _, p := range t.order {
		if p.reachable() || p == t.self {
			continue
		}
		for _, s := range sortedSubnets(p) {
			if r := t.subnets.deletedSubnet(p.name, s); !t.cfg.TunnelServer {
				t.subnets.floodSubnet(r)
			}
			if !t.cfg.StrictSubnets {
				t.subnets.dropSubnet(p, s)
			}
		}
		t.deleteEdgesFrom(p, func(to node.Name) { t.announce(t.withdrawal(p.name, to)) })
		p.hide(!t.cfg.AutoConnect) // which may still choose it, as in tinc
	}
	t.forgetNodes(0)
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

// passOn tells all but c what c has said. A tunnel server keeps that to itself.
func (t *topology) passOn(c *conn, text string) {
	if !t.cfg.TunnelServer {
		t.links.flood(c, text)
	}
}

// announce tells everybody about edges and about what others own. A tunnel server keeps that to itself.
func (t *topology) announce(text []byte) {
	if !t.cfg.TunnelServer {
		s := string(text)
		t.seen.First(t.now, s) // it may come back
		t.links.flood(nil, s)
	}
}

// connectionReplaced: old, which was active, has given way to another connection with the same node.
func (t *topology) connectionReplaced(old *conn) {
	t.deleteEdge(t.cfg.Name, old.peer.name)
	t.catchUp(old)
}

// edgeMade takes in our edge to the other end of c, which has been activated, and returns it as it is to be told.
func (t *topology) edgeMade(c *conn, e graph.Edge) graph.Edge {
	c.news.own = map[node.Name]struct{}{}
	e.Nonce = t.nonce()
	t.setEdge(e)
	return e
}

// announceEdge tells of our edge to the other end of c.
func (t *topology) announceEdge(c *conn, e graph.Edge) {
	text := addEdge(e)
	if t.cfg.TunnelServer {
		t.links.send(c, text)
	} else {
		t.announce(text)
	}
	t.reach.graphChanged()
}

// connectionLost: c was active, and is the last one with its node.
func (t *topology) connectionLost(c *conn) {
	t.deleteEdge(t.cfg.Name, c.peer.name)
	t.reach.graphChanged()
	if !t.down {
		t.announce(t.withdrawal(t.cfg.Name, c.peer.name))
	}
	t.reach.orphan(c.peer.name)
	t.touch(c.peer)
	t.catchUp(c)
}

// isNew tells whether a flooded request was not seen before, and remembers it.
func (t *topology) isNew(text string) bool { return t.seen.First(t.now, text) }

// stillThere: c says that owner has s, so nobody says any more that it has ended. It tells whether that settles a dispute.
func (t *topology) stillThere(c *conn, owner node.Name, s subnet.Subnet) bool {
	disputed := t.uphold(owner, ofSubnet(s))
	disputed = t.settles(c, owner, ofSubnet(s)) || disputed
	if o := t.nodes[owner]; o != nil && o.conn() != nil && len(o.conn().news.hearsay) > 0 {
		delete(o.conn().news.hearsay, [2]node.Name{owner, ofSubnet(s)})
	}
	return disputed
}

// claim takes note that the node at the other end says that n, of which we know, is a neighbour of its.
func (c *conn) claim(n node.Name) {
	if len(c.news.own) < maxEdgesOf {
		c.news.own[n] = struct{}{}
	}
}

// claims tells whether the node at the other end says itself that n is a neighbour of its.
func (c *conn) claims(n node.Name) bool {
	_, ok := c.news.own[n]
	return ok
}
