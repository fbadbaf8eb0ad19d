package mesh

import (
	"errors"
	"fmt"
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
	if p == nil || p.conn == nil || to != m.cfg.Name && m.now.Sub(p.conn.activated) < firsthand {
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

func (m *Mesh) nonce() uint32 { return m.deps.Rand.Uint32() }

// subnetRequest is an ADD_SUBNET or DEL_SUBNET of ours.
type subnetRequest interface {
	Append(dst []byte) []byte
	AppendLong(dst []byte) []byte
}

func (m *Mesh) addedSubnet(owner node.Name, s subnet.Subnet) subnetRequest {
	return wire.AddSubnet{Nonce: m.nonce(), Owner: owner, Subnet: s}
}

func (m *Mesh) deletedSubnet(owner node.Name, s subnet.Subnet) subnetRequest {
	return wire.DelSubnet{Nonce: m.nonce(), Owner: owner, Subnet: s}
}

// sendSubnet writes a request as the protocol of the neighbour has it.
func (m *Mesh) sendSubnet(c *conn, r subnetRequest) {
	if c.login != loginSPTPS {
		m.send(c, r.AppendLong(nil))
		return
	}
	m.send(c, r.Append(nil))
}

// floodSubnet sends a request to all activated connections.
func (m *Mesh) floodSubnet(r subnetRequest) {
	for _, c := range m.activeConns() {
		m.sendSubnet(c, r)
	}
}

func graphEdgeFrom(from, to node.Name, c *conn, addr, local wire.Address) graph.Edge {
	return graph.Edge{From: from, To: to, Weight: c.edge.weight, Options: c.edge.options, Addr: addr, Local: local}
}

// request handles a request that came over SPTPS. What breaks the protocol ends
// the connection, as tinc does it.
func (m *Mesh) request(e Request) {
	c := m.conns[e.Conn]
	if c == nil || c.stage < authenticating {
		return
	}
	c.heard = m.now
	if len(e.Text) > maxLine {
		// Others may pass on what we would not; that is no reason to part from them.
		m.limitExceeded(c, "a request of %d bytes from %s", len(e.Text), c)
		return
	}
	switch err := m.handleRequest(c, e.Text); {
	case errors.Is(err, node.ErrTooLong) && c.stage == active:
		m.limitExceeded(c, "a request from %s: %v", c, err)
	case err != nil:
		m.drop(c, err.Error())
	}
}

func (m *Mesh) handleRequest(c *conn, text string) error {
	kind, err := wire.RequestKind(text)
	if err != nil {
		return err
	}
	if (kind == wire.KindAck) != (c.stage == authenticating) || c.stage == leaving && kind != wire.KindTermReq {
		return fmt.Errorf("request %d is not allowed now", kind)
	}
	switch kind {
	case wire.KindAck:
		if c.login == loginUpgrade {
			return m.upgradeAck(c, text)
		}
		return m.ack(c, text)
	case wire.KindTermReq:
		return errors.New("the peer ended the connection")
	case wire.KindPing:
		m.send(c, wire.Pong{}.Append(nil))
		m.compareDigests(c, text)
		return nil
	case wire.KindPong:
		m.pong(c)
		return nil
	case wire.KindAddSubnet:
		return m.addSubnet(c, text)
	case wire.KindDelSubnet:
		return m.delSubnet(c, text)
	case wire.KindAddEdge:
		return m.addEdge(c, text)
	case wire.KindDelEdge:
		return m.delEdge(c, text)
	case wire.KindKeyChanged:
		return m.keyChanged(c, text)
	case wire.KindReqKey:
		return m.reqKey(c, text)
	case wire.KindAnsKey:
		return m.ansKey(c, text)
	case wire.KindUDPInfo:
		return m.gotUDPInfo(c, text)
	case wire.KindMTUInfo:
		return m.gotMTUInfo(c, text)
	}
	return fmt.Errorf("request %d is not allowed on a meta connection", kind)
}

// concerns tells whether a tunnel server listens to c about the given nodes.
func (m *Mesh) concerns(c *conn, names ...node.Name) bool {
	if !m.cfg.TunnelServer {
		return true
	}
	return slices.ContainsFunc(names, func(n node.Name) bool { return n == m.cfg.Name || n == c.peer.name })
}

func (m *Mesh) addSubnet(c *conn, text string) error {
	r, err := wire.ParseAddSubnet(text)
	if err != nil {
		return err
	}
	if o := m.nodes[r.Owner]; o != nil && o.conn != nil && len(o.conn.hearsay) > 0 { // nobody says any more that it has ended
		delete(o.conn.hearsay, [2]node.Name{r.Owner, ofSubnet(r.Subnet)})
	}
	if !m.seen.first(m.now, text) || !m.concerns(c, r.Owner) {
		return nil
	}
	if !m.register(c, r.Owner) {
		return nil
	}
	p := m.nodes[r.Owner]
	if _, ok := p.subnets[r.Subnet]; ok {
		return nil
	}
	if p == m.self {
		m.logf(2, Warning, "%s claims that %s is ours, which it is not", c, r.Subnet)
		m.sendSubnet(c, m.deletedSubnet(r.Owner, r.Subnet))
		return nil
	}
	if m.cfg.TunnelServer {
		return nil
	}
	if !m.cfg.StrictSubnets {
		if len(p.subnets) >= maxSubnetsOf {
			m.limitExceeded(c, "subnet %s of %s: it has more than %d", r.Subnet, r.Owner, maxSubnetsOf)
			return nil
		}
		if !m.roomFor(c, share{subnets: 1}, r.Owner) {
			return nil
		}
		m.putSubnet(p, r.Subnet, c.peer.name)
		m.cede(r.Subnet)
	}
	m.flood(c, []byte(text))
	return nil
}

func (m *Mesh) delSubnet(c *conn, text string) error {
	r, err := wire.ParseDelSubnet(text)
	if err != nil {
		return err
	}
	if !m.concerns(c, r.Owner) {
		return nil
	}
	p := m.nodes[r.Owner]
	if p == nil {
		m.seen.first(m.now, text)
		return nil
	}
	_, has := p.subnets[r.Subnet]
	if !m.cfg.TunnelServer && !m.cfg.StrictSubnets && m.hearsay(c, r.Owner, ofSubnet(r.Subnet), text, !has) {
		return nil
	}
	first := m.seen.first(m.now, text)
	switch {
	case p == m.self: // answered even if it is not new: c may have been told by others, and asks us, see hearsay
		if has && (first || m.answersTo(c, text) <= 1) {
			m.sendSubnet(c, m.addedSubnet(r.Owner, r.Subnet))
		}
	case !first, m.cfg.TunnelServer:
	case m.cfg.StrictSubnets:
		m.flood(c, []byte(text))
	case has:
		m.flood(c, []byte(text))
		m.dropSubnet(p, r.Subnet)
	}
	return nil
}

// putSubnet gives p a subnet that the neighbour called by has told of, "" for none.
func (m *Mesh) putSubnet(p *peer, s subnet.Subnet, by node.Name) {
	if p.subnets == nil {
		p.subnets = map[subnet.Subnet]node.Name{}
	}
	p.subnets[s] = by
	m.chargeTo(by, share{subnets: 1})
	m.subnets++
	p.sorted = nil
	m.countSubnet(p, s, true)
	m.touchRoute(p, s)
	if p.reachable {
		m.emit(SubnetUp{Owner: p.name, Subnet: s, Addr: p.addr()})
	}
}

func (m *Mesh) dropSubnet(p *peer, s subnet.Subnet) {
	m.chargeTo(p.subnets[s], share{subnets: -1})
	delete(p.subnets, s)
	m.subnets--
	p.sorted = nil
	m.countSubnet(p, s, false)
	m.touchRoute(p, s)
	if p.reachable {
		m.emit(SubnetDown{Owner: p.name, Subnet: s, Addr: p.addr()})
	}
}

// replaceSubnets gives p exactly the subnets of list, without telling anybody.
func (m *Mesh) replaceSubnets(p *peer, list []subnet.Subnet) {
	for _, s := range sortedSubnets(p) {
		if !slices.Contains(list, s) {
			m.dropSubnet(p, s)
		}
	}
	for _, s := range list {
		if _, ok := p.subnets[s]; !ok {
			m.putSubnet(p, s, "")
		}
	}
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
	m.graphDirty = true
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
	m.graphDirty = true
	m.orphans = append(m.orphans, r.To)
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
