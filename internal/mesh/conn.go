package mesh

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tincan/internal/graph"
	"tincan/internal/legacy"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

// conn is one meta connection, from the dial or accept to its end.
//
//	dialling → greeting → securing → authenticating → active
//
// If it serves only to exchange keys, leaving takes the place of active.
// An accepted connection begins with greeting.
type conn struct {
	id            ConnID
	peer          *peer // nil until the peer has said who it is
	out           *outgoing
	stage         stage
	login         login // once the peer has said who it is
	host          Host  // of the peer, as it was let in
	byLearned     bool  // with a key that was learned, not one of a host file
	remote, local netip.AddrPort
	to            Endpoint // what we have dialled, once it has answered
	punched       bool     // we have dialled it while the peer dialled us, see punch.go
	answers       bool     // so has the peer, and it is the initiator

	began  time.Time // of the connection; then of the last PING
	idSent time.Time
	pinged bool // a regular PING is outstanding
	pings

	edge      graphEdge // our edge to the peer, once active
	activated time.Time
	used      time.Time               // last packet that travelled over it or thanks to it, see used
	digest    peerDigest              // of the peer about the mesh
	gaveWay   time.Time               // when nodes that it brought gave way to others that it brought, see giveWay
	hearsay   map[[2]node.Name]string // what others said last of edges and subnets of the peer, where it contradicts the peer

	own map[node.Name]struct{} // neighbours that the peer itself says it has
}

// dialled tells whether we made the connection. Of one that both have made
// it is true at one end.
func (c *conn) dialled() bool { return c.id%2 == 1 && !c.answers }

// graphEdge is what ACK settled about the edge from us to the peer.
type graphEdge struct {
	options wire.Options
	weight  int
}

type stage uint8

const (
	dialling stage = iota
	greeting
	securing
	authenticating
	leaving
	active
)

func (c *conn) String() string {
	name := "unknown peer"
	if c.peer != nil {
		name = string(c.peer.name)
	}
	if c.remote.IsValid() {
		return fmt.Sprintf("%s (%s)", name, c.remote)
	}
	return name
}

// add puts c into the tables.
func (m *Mesh) add(c *conn) {
	m.conns[c.id] = c
	i, _ := slices.BinarySearchFunc(m.lines, c, byID)
	m.lines = slices.Insert(m.lines, i, c)
}

func byID(a, b *conn) int { return cmp.Compare(a.id, b.id) }

func (m *Mesh) accepted(e Accepted) {
	if m.conns[e.Conn] != nil {
		return
	}
	c := &conn{id: e.Conn, remote: e.Remote, local: e.Local, stage: greeting, began: m.now}
	m.add(c)
	if m.down {
		m.drop(c, "this node is leaving the mesh")
	}
}

func (m *Mesh) dialed(e Dialed) {
	c := m.conns[e.Conn]
	if c == nil || c.stage != dialling {
		return
	}
	c.remote, c.local, c.to = e.Remote, e.Local, e.To
	m.dialAnswered(c, e.To)
	c.stage, c.began, c.idSent = greeting, m.now, m.now
	m.logf(1, Info, "connected to %s", c)
	m.emit(SendLine{Conn: c.id, Text: m.idLine(c)})
}

func (m *Mesh) idLine(c *conn) string {
	return string(wire.ID{Name: string(m.cfg.Name), Major: ProtocolMajor, Minor: m.minorFor(c), Crossing: c.punched}.Append(nil))
}

// line handles the ID line, in the order of checks of tinc 1.1.
func (m *Mesh) line(e Line) {
	c := m.conns[e.Conn]
	if c == nil || c.stage != greeting {
		return
	}
	id, err := wire.ParseID(e.Text)
	if err != nil {
		m.repel(c, "bad greeting: "+err.Error())
		return
	}
	if strings.HasPrefix(id.Name, "?") && !c.dialled() {
		m.forget(c)
		m.emit(HandOver{Conn: c.id, Text: e.Text})
		return
	}
	if strings.HasPrefix(id.Name, "^") {
		m.repel(c, "control connections are accepted on the control socket only")
		return
	}
	name, err := node.ParseName(id.Name)
	switch {
	case err != nil:
		m.repel(c, err.Error())
		return
	case name == m.cfg.Name && m.callsItself():
		m.sameNode(c)
		m.drop(c, "the peer uses our own name; it may be this node itself")
		return
	case name == m.cfg.Name:
		m.repel(c, "the peer uses our own name")
		return
	case c.dialled() && name != c.peer.name:
		m.repel(c, fmt.Sprintf("dialled %s, but %s answered", c.peer.name, name))
		return
	case id.Major != ProtocolMajor:
		m.repel(c, fmt.Sprintf("%s speaks protocol %d.%d, we speak %d.%d", name, id.Major, id.Minor, ProtocolMajor, m.minor()))
		return
	}
	p := m.nodes[name]
	if _, ok := m.cfg.Learned[name]; ok && p == nil && m.admitLearned(name) {
		p = m.nodes[name]
	}
	if !m.mayKnock(p) {
		m.repel(c, m.whyUnknown(p, name))
		return
	}
	if c.login, err = m.chooseLogin(c, p, id.Minor); err != nil {
		m.repel(c, err.Error())
		return
	}
	if c.punched && c.login != loginSPTPS {
		m.repel(c, "it does not know the login that follows when both have dialled")
		return
	}
	c.answers = c.punched && id.Crossing && m.cfg.Name > name
	c.peer = p
	if m.ownIsUnderWay(c) {
		m.drop(c, "our own connection to it is being made")
		return
	}
	if c.id%2 == 0 { // who dials has said so already
		c.idSent = m.now
		m.emit(SendLine{Conn: c.id, Text: m.idLine(c)})
	}
	c.stage, c.host, c.byLearned = securing, p.host, !p.known
	c.host.Key = m.loginKey(p)
	if c.login != loginSPTPS {
		m.emit(SecureLegacy{Conn: c.id, Initiator: c.dialled(), Node: name, PeerKey: *p.host.RSAKey, Policy: m.policy(p)})
		return
	}
	initiator, responder := m.cfg.Name, name
	if !c.dialled() {
		initiator, responder = name, m.cfg.Name
	}
	m.emit(Secure{Conn: c.id, Initiator: c.dialled(), Node: name, PeerKey: *c.host.Key, Label: sptps.LabelTCP(initiator, responder)})
}

// whyUnknown tells why a node that is called name may not log in.
func (m *Mesh) whyUnknown(p *peer, name node.Name) string {
	switch {
	case p != nil && p.isRemoved():
		return fmt.Sprintf("%s was removed here: its host file has been deleted", name)
	case p != nil && p.key() != nil:
		return fmt.Sprintf("there is no host file for %s, and no neighbour that has one vouches for it", name)
	}
	return fmt.Sprintf("unknown identity: there is no host file for %s", name)
}

// callsItself tells whether a greeting with our own name may be our own: an address that we
// dial may lead back to us. That attempt then goes on to the next address at once.
func (m *Mesh) callsItself() bool {
	return slices.ContainsFunc(m.lines, func(c *conn) bool { return c.dialled() && c.stage == greeting })
}

// stays tells whether old, which is active, stays when c could replace it.
func (m *Mesh) stays(old, c *conn) bool {
	if c.login != loginSPTPS {
		return false // tinc 1.0 does not know this rule: the newer one stays
	}
	crossed := old.dialled() != c.dialled() && m.now.Sub(old.activated) < m.cfg.PingTimeout
	return crossed && old.dialled() == (m.cfg.Name < c.peer.name)
}

func (m *Mesh) secured(e Secured) {
	c := m.conns[e.Conn]
	if c == nil || c.stage != securing {
		return
	}
	c.stage = authenticating
	if c.login == loginUpgrade {
		m.send(c, wire.AckKey{Key: m.cfg.Key.Public()}.Append(nil))
		return
	}
	c.edge.weight = m.ownWeight(c)
	ack := wire.Ack{Port: m.portFor(c), Weight: c.edge.weight, Options: m.ownOptions(c.peer)}
	m.send(c, ack.Append(nil))
	m.yield(c)
}

// ownWeight is the weight that we offer for an edge: what is configured, or the
// milliseconds that the handshake took.
func (m *Mesh) ownWeight(c *conn) int {
	switch {
	case c.peer.host.Weight != nil:
		return *c.peer.host.Weight
	case m.cfg.Weight != nil:
		return *m.cfg.Weight
	}
	return int(m.now.Sub(c.idSent).Milliseconds())
}

func (m *Mesh) ownOptions(p *peer) wire.Options {
	o := wire.Options(0).WithMinor(m.minor())
	if m.cfg.Indirect || p.host.Indirect {
		o |= wire.Indirect
	}
	if m.cfg.TCPOnly || p.host.TCPOnly {
		o |= wire.TCPOnly | wire.Indirect
	}
	if !m.cfg.NoPMTUDiscovery && o&wire.TCPOnly == 0 {
		o |= wire.PMTUDiscovery
	}
	clamp := !m.cfg.NoClamp
	if p.host.ClampMSS != nil {
		clamp = *p.host.ClampMSS
	}
	if clamp {
		o |= wire.ClampMSS
	}
	if m.cfg.Echoes {
		o |= wire.Echoes
		if m.cfg.NoRelay {
			o |= wire.NoRelay
		}
		if m.cfg.Punch {
			o |= wire.Punch
		}
	}
	return o
}

// aboutOneEnd are the options that speak of the node that announces them, not of the connection.
const aboutOneEnd = wire.Echoes | wire.NoRelay | wire.Punch

// ack activates the connection (tinc 1.1 ACK).
func (m *Mesh) ack(c *conn, text string) error {
	if c.stage != authenticating {
		return errors.New("ACK on a connection that is active already")
	}
	if c.login == loginUpgrade {
		return m.upgradeAck(c, text)
	}
	a, err := wire.ParseAck(text)
	if err != nil {
		return err
	}
	p := c.peer
	old := p.conn
	if old != nil {
		if m.stays(old, c) {
			m.transferTarget(c, old)
			return errors.New("another connection with it was made at the same time")
		}
		m.logf(1, Info, "%s has connected again; closing the older connection", p.name)
		m.transferTarget(old, c)
		m.forget(old)
		m.emit(CloseConn{Conn: old.id, Reason: "replaced by a newer connection"})
		m.connectionReplaced(old)
	}
	own := m.ownOptions(p) &^ aboutOneEnd
	opts := own&^wire.PMTUDiscovery | a.Options&^wire.PMTUDiscovery | own&a.Options&wire.PMTUDiscovery
	opts = opts.WithMinor(a.Options.Minor())
	if p.host.ClampMSS != nil && !*p.host.ClampMSS {
		opts &^= wire.ClampMSS
	}
	c.stage, c.activated, p.conn = active, m.now, c
	m.loggedIn(p, c.byLearned)
	p.problem, p.refusal = "", notRefused
	c.rtt.add(m.now.Sub(c.idSent)) // the login was a round trip or two
	m.linksChanged()
	m.actives = nil
	c.edge = graphEdge{options: opts, weight: (c.edge.weight + a.Weight) / 2}
	port := a.Port
	if port == 0 {
		port = c.remote.Port()
	}
	m.arrived(c)
	m.emit(Attach{Conn: c.id, Node: p.name})
	m.logf(1, Notice, "connection with %s activated, protocol %d.%d", c, ProtocolMajor, a.Options.Minor())
	m.sendEverything(c)

	addr := netip.AddrPortFrom(c.remote.Addr(), port)
	e := m.edgeMade(c, graph.Edge{
		From: m.cfg.Name, To: p.name, Weight: c.edge.weight, Options: c.edge.options,
		Addr: wire.AddressOf(addr), Local: wire.AddressOf(netip.AddrPortFrom(c.local.Addr(), m.cfg.Port)),
	})
	if old != nil && old.remote.Addr() != c.remote.Addr() {
		m.moved(p, addr, -1)
	}
	m.announceEdge(c, e)
	m.touch(p)
	if c.punched {
		m.punchEnded(c, true)
	}
	m.connected(c)
	m.yield(c)
	return nil
}

func (m *Mesh) closed(e Closed) {
	c := m.conns[e.Conn]
	if c == nil {
		return
	}
	reason := "closed by the peer"
	if e.Err != nil {
		reason = e.Err.Error()
		m.explainWeak(c, e.Err)
	}
	how := refusedThere
	if errors.Is(e.Err, sptps.ErrSignature) || errors.Is(e.Err, legacy.ErrAnswer) {
		how = refusedKey
	}
	m.lost(c, reason, how)
}

// drop closes a connection from our side.
func (m *Mesh) drop(c *conn, reason string) {
	m.emit(CloseConn{Conn: c.id, Reason: reason})
	m.lost(c, reason, refusedHere)
}

// release closes a connection with which nothing is wrong.
func (m *Mesh) release(c *conn, reason string) {
	m.emit(CloseConn{Conn: c.id, Reason: reason, Spare: true})
	m.lost(c, reason, refusedHere)
}

// repel closes a connection for a reason that lies with the other end, before that has proved
// who it is. Somebody who has dialled us is kept waiting.
func (m *Mesh) repel(c *conn, reason string) {
	m.emit(CloseConn{Conn: c.id, Reason: reason, Trap: c.id%2 == 0})
	m.lost(c, reason, refusedHere)
}

// unanswered ends a login of ours with which the other end does not go on. Who refuses us says nothing.
func (m *Mesh) unanswered(c *conn) {
	reason := "the login took too long"
	if c.stage == greeting {
		reason = "it does not say who it is"
	}
	reason += "; if it refuses us, its log says why"
	m.emit(CloseConn{Conn: c.id, Reason: reason})
	m.lost(c, reason, refusedThere)
}

// keyTellEvery is how often the log tells that the key of one node does not fit.
const keyTellEvery = time.Hour

// logins is what is remembered of logins of a node that were refused.
type logins struct {
	keyTold time.Time // when the log told last that the key here is not the one of the node
}

// tellKey tells at every level that whoever logs in as a node does not have the key that is known of it.
// Anybody who can connect may cause that line, so there is one an hour for each node that has a host file.
func (m *Mesh) tellKey(c *conn) {
	p := c.peer
	if p == nil || !p.contact().logins.keyTold.IsZero() && m.now.Sub(p.contact().logins.keyTold) < keyTellEvery {
		return
	}
	p.contact().logins.keyTold = m.now
	m.logf(0, Warning, "%s does not have the key in hosts/%s, or not ours: refused. If it was reinstalled, import its new host file with: tincan import --force FILE", c, p.name)
}

// lost does what follows from the end of a connection. how is what it means if that came
// during the login.
func (m *Mesh) lost(c *conn, reason string, how refusal) {
	wasActive := c.stage == active
	if c.peer != nil && !wasActive && c.stage != leaving {
		c.peer.problem, c.peer.refusal = reason, how
		if c.stage == dialling {
			c.peer.refusal = notRefused
		}
	}
	if c.peer != nil && c.dialled() && !c.punched && c.stage <= securing {
		m.notFound(c)
	}
	switch {
	case c.stage == dialling:
		m.logf(1, Info, "could not connect to %s: %s", c.peer.name, reason)
	case wasActive:
		m.logf(1, Notice, "connection with %s ended: %s", c, reason)
	case c.stage == leaving:
		m.logf(1, Info, "connection with %s ended after the handshake: %s", c, reason)
	default:
		m.logf(1, Warning, "connection with %s refused: %s", c, reason)
		if how == refusedKey {
			m.tellKey(c)
		}
	}
	m.forget(c)
	if c.punched && !wasActive {
		m.punchEnded(c, false)
	}
	if wasActive && c.peer.conn == nil {
		m.connectionLost(c)
	}
	m.attemptEnded(c, wasActive)
}

// forget removes c from the tables, and nothing else.
func (m *Mesh) forget(c *conn) {
	delete(m.conns, c.id)
	if i, ok := slices.BinarySearchFunc(m.lines, c, byID); ok {
		m.lines = slices.Delete(m.lines, i, i+1)
	}
	if c.stage == active {
		m.actives = nil
	}
	if c.punched {
		m.punchForgotten(c)
	}
	if c.peer != nil && c.peer.conn == c {
		c.peer.conn = nil
		m.linksChanged()
	}
}

// send sends one request on c.
func (m *Mesh) send(c *conn, text []byte) { m.sendText(c, string(text)) }

func (m *Mesh) sendText(c *conn, text string) {
	if c.login != loginSPTPS && len(text) > wire.MaxLine {
		m.limitExceeded(nil, "a request of %d bytes, which is too long for %s", len(text), c)
		return
	}
	m.emit(Send{Conn: c.id, Text: text})
}

// flood sends a request to all activated connections but the one it came from.
func (m *Mesh) flood(from *conn, text []byte) {
	s := string(text)
	for _, c := range m.activeConns() {
		if c != from {
			m.sendText(c, s)
		}
	}
}

// activeConns returns the activated connections in the order of their numbers. The
// slice does not change when connections come and go.
func (m *Mesh) activeConns() []*conn {
	if m.actives == nil {
		for _, c := range m.lines {
			if c.stage == active {
				m.actives = append(m.actives, c)
			}
		}
	}
	return m.actives
}

// heldUp is the time between two turns of checkConns that says that we were held up ourselves.
const heldUp = 3 * time.Second

// checkConns pings neighbours and ends connections that do not answer.
func (m *Mesh) checkConns() {
	slept := !m.checked.IsZero() && m.now.Sub(m.checked) > 2*m.cfg.UDPDiscoveryTimeout
	late := m.now.Sub(m.checked) > heldUp // then answers may wait to be read
	m.checked = m.now
	for _, c := range slices.Clone(m.lines) {
		age := m.now.Sub(c.began)
		switch {
		case c.stage == dialling: // the I/O layer ends it
		case slept:
			m.drop(c, "this machine has slept")
		case age < m.cfg.PingTimeout || late:
		case c.stage != active && c.dialled():
			m.unanswered(c)
		case c.stage == greeting || c.stage == securing:
			m.repel(c, "the login took too long")
		case c.stage != active:
			m.drop(c, "the login took too long")
		case c.pinged && m.now.Sub(m.lastHeard(c)) < m.cfg.PingTimeout: // its answer is after what comes
		case c.pinged:
			m.drop(c, fmt.Sprintf("no answer to a ping for %s", m.cfg.PingTimeout))
		case age >= m.cfg.PingInterval:
			c.began, c.pinged = m.now, true
			c.sent = append(c.sent, m.now)
			m.ping(c)
		}
	}
}

func (m *Mesh) disconnect(name node.Name) {
	for _, c := range m.activeConns() {
		if c.peer.name == name {
			m.drop(c, "disconnected on request")
		}
	}
}

// crossingGrace is how long an attempt of ours may wait for a greeting before it no longer
// keeps out the peer. It may have reached somebody who says nothing.
const crossingGrace = 2 * time.Second

// aboutToSucceed tells whether the login is under way, so that the connection will be made if nothing goes wrong.
func (c *conn) aboutToSucceed(now time.Time) bool {
	switch c.stage {
	case greeting:
		return now.Sub(c.began) < crossingGrace
	case securing, authenticating:
		return true
	}
	return false
}

// closeAll closes all connections, as this node shuts down.
func (m *Mesh) closeAll() {
	for _, c := range slices.Clone(m.lines) {
		m.drop(c, "this node is shutting down")
	}
}

// isActive tells whether the login is complete.
func (c *conn) isActive() bool { return c.stage == active }

// isDialling tells whether nobody has answered yet.
func (c *conn) isDialling() bool { return c.stage == dialling }

// isLeaving tells whether the connection has served to exchange keys, and ends.
func (c *conn) isLeaving() bool { return c.stage == leaving }

// isLegacy tells whether the other end has logged in as in tinc 1.0.
func (c *conn) isLegacy() bool { return c.login != loginSPTPS }

// isPunched tells whether both ends have dialled.
func (c *conn) isPunched() bool { return c.punched }

// activeSince is when the login was complete.
func (c *conn) activeSince() time.Time { return c.activated }

// mayCarry tells whether a request of that kind is allowed at this stage.
func (c *conn) mayCarry(kind wire.Kind) bool {
	return (kind == wire.KindAck) == (c.stage == authenticating) && (c.stage != leaving || kind == wire.KindTermReq)
}

// conn returns the connection with that number, nil if there is none.
func (m *Mesh) connOf(id ConnID) *conn { return m.conns[id] }

// heardOn returns the connection on which a request has come, nil if it takes none.
func (m *Mesh) heardOn(id ConnID) *conn {
	c := m.conns[id]
	if c == nil || c.stage < authenticating {
		return nil
	}
	c.heard = m.now
	return c
}

// withConn returns the nodes with a connection at any stage, and ourselves.
func (m *Mesh) withConn() map[*peer]bool {
	busy := map[*peer]bool{m.self: true}
	for _, c := range m.conns {
		busy[c.peer] = true
	}
	return busy
}

// newDial begins a connection that we dial. If to is valid the peer dials us, too, and expects us to come from there.
func (m *Mesh) newDial(p *peer, to netip.AddrPort) *conn {
	c := &conn{id: m.nextID, peer: p, stage: dialling, began: m.now, punched: to.IsValid(), remote: to}
	m.nextID += 2
	m.add(c)
	return c
}

// recheck ends the logins that the host files, which have been read again, do not allow any more.
func (m *Mesh) recheck(hosts map[node.Name]Host) {
	for _, c := range slices.Clone(m.lines) {
		if c.stage < securing {
			continue // it has not been checked yet
		}
		switch h, ok := hosts[c.peer.name]; {
		case (!ok || h.Key == nil) && m.justLearned(c.peer), c.byLearned:
		case !ok:
			m.drop(c, "its host file is gone")
		case m.loginKeyChanged(c, h):
			m.drop(c, "its key in the host file has changed")
		}
	}
}

// givenUpUnanswered ends c, to which nobody has answered although it was begun before now. It reports whether it did.
func (m *Mesh) endUnanswered(c *conn, reason string) bool {
	if c.stage >= securing || !c.began.Before(m.now) {
		return false
	}
	m.forget(c)
	m.emit(CloseConn{Conn: c.id, Reason: reason})
	return true
}

// endLogins ends the logins of p that are under way.
func (m *Mesh) endLogins(p *peer, reason string) {
	for _, c := range slices.Clone(m.lines) {
		if c.peer == p && (c.stage == securing || c.stage == authenticating) {
			m.drop(c, reason)
		}
	}
}

// dropLearnedLogins ends the connections of p that were let in with a learned key.
func (m *Mesh) dropLearnedLogins(p *peer, reason string) {
	for _, c := range append([]*conn(nil), m.lines...) {
		if c.peer == p && c.stage >= securing && c.byLearned {
			m.drop(c, reason)
		}
	}
}

// checkVouchers ends the connections of those for whom nobody vouches any more.
func (m *Mesh) checkVouchers() {
	for _, c := range append([]*conn(nil), m.lines...) {
		if c.peer != nil && c.byLearned && c.stage >= securing && !m.mayKnock(c.peer) {
			m.drop(c, "it has no host file here, and no node vouches for it any more")
		}
	}
}

// sameNode notes that an attempt of ours has led back to us.
func (m *Mesh) sameNode(from *conn) {
	var mirror *conn
	for _, c := range m.lines {
		if !c.dialled() || c.stage != greeting {
			continue
		}
		if c.local == from.remote {
			mirror = c
			break
		}
		if mirror != nil {
			return // it may be either
		}
		mirror = c
	}
	if mirror == nil || !mirror.remote.IsValid() {
		return
	}
	m.ledBack(mirror.to, mirror.remote)
}

// refusal is how a login failed.
type refusal uint8

const (
	notRefused   refusal = iota // it did not, or there was nobody to log in to
	refusedHere                 // by us
	refusedKey                  // by us: the peer has another key than its host file here says
	refusedThere                // the peer hung up, or fell silent
)

// info describes c. tree tells whether it is part of the broadcast tree.
func (c *conn) info(tree bool) ConnInfo {
	i := ConnInfo{Conn: c.id, Remote: c.remote, Options: c.edge.options, Active: c.stage == active, Outgoing: c.id%2 == 1, Pinged: c.pinged, Dialling: c.stage == dialling}
	if c.peer != nil {
		i.Node = c.peer.name
		i.Legacy = c.isLegacy()
		i.Tree = i.Active && tree
	}
	return i
}

// allConns lists all connections by number. The list is not to be changed.
func (m *Mesh) allConns() []*conn { return m.lines }

// setMappedPort takes over the port of the router that leads to ours, 0 if there is none.
func (m *Mesh) setMappedPort(port uint16) { m.mappedPort = port }

// howRefused is how the last login of p failed.
func (p *peer) howRefused() refusal { return p.refusal }

// lastProblem is why the last attempt at a connection with p failed, "" if it did not.
func (p *peer) lastProblem() string { return p.problem }
