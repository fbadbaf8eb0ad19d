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
	"tincan/internal/mesh/timer"
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
	stage         stage
	login         login // once the peer has said who it is
	host          Host  // of the peer, as it was let in
	keys          Protection
	byLearned     bool // with a key that was learned, not one of a host file
	remote, local netip.AddrPort
	to            Endpoint // what we have dialled, once it has answered
	byCarrier     bool     // inside of HTTPS
	punched       bool     // we have dialled it while the peer dialled us, see punch.go
	answers       bool     // so has the peer, and it is the initiator

	began  time.Time // of the connection; then of the last PING
	idSent time.Time
	pinged bool         // a regular PING is outstanding
	look   *timer.Timer // when checkConn looks at it
	pings

	edge      graphEdge // our edge to the peer, once active
	activated time.Time

	news  connNews  // what topology keeps of it
	dial  connDial  // what the dialer keeps of it
	carry connCarry // what carriers keeps of it
}

// dialled tells whether we made the connection. Of one that both have made
// it is true at one end.
func (c *conn) dialled() bool { return c.id%2 == 1 && !c.answers }

// where is the address at which the other end of c is, invalid if only a carrier's address is known, at which there may
// be somebody who only passes it on.
func (c *conn) where() netip.Addr {
	if c.to.Carrier == "" || c.peer == nil {
		return c.remote.Addr()
	}
	a := c.remote.Addr().Unmap()
	for _, e := range c.peer.host().Addresses {
		if x, ok := e.addrPort(); e.Host == c.to.Host || ok && x.Addr().Unmap() == a {
			return c.remote.Addr()
		}
	}
	for _, x := range c.peer.host().Cached {
		if x.Addr().Unmap() == a {
			return c.remote.Addr()
		}
	}
	return netip.Addr{}
}

// isCarried tells whether c is inside of HTTPS.
func (c *conn) isCarried() bool { return c.byCarrier }

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
func (l *links) add(c *conn) {
	l.conns[c.id] = c
	i, _ := slices.BinarySearchFunc(l.lines, c, byID)
	l.lines = slices.Insert(l.lines, i, c)
}

func byID(a, b *conn) int { return cmp.Compare(a.id, b.id) }

func (l *links) accepted(e Accepted) {
	if l.conns[e.Conn] != nil {
		return
	}
	c := &conn{id: e.Conn, remote: e.Remote, local: e.Local, byCarrier: e.Carrier, stage: greeting, began: l.now}
	l.add(c)
	l.watch(c)
	switch {
	case l.down:
		l.drop(c, "this node is leaving the mesh")
	case !l.mayBe(c):
		l.drop(c, "Carriers does not name tcp")
	}
}

func (l *links) dialed(e Dialed) {
	c := l.conns[e.Conn]
	if c == nil || c.stage != dialling {
		return
	}
	c.remote, c.local, c.to, c.byCarrier = e.Remote, e.Local, e.To, e.To.Carrier != ""
	l.dialer.dialAnswered(c, e.To)
	c.stage, c.began, c.idSent = greeting, l.now, l.now
	l.watch(c)
	l.logf(1, Info, "connected to %s", c)
	l.emit(SendLine{Conn: c.id, Text: l.idLine(c)})
}

func (l *links) idLine(c *conn) string {
	return string(wire.ID{Name: string(l.cfg.Name), Major: ProtocolMajor, Minor: l.minorFor(c), Crossing: c.punched}.Append(nil))
}

// line handles the ID line, in the order of checks of tinc 1.1.
func (l *links) line(e Line) {
	c := l.conns[e.Conn]
	if c == nil || c.stage != greeting {
		return
	}
	id, err := wire.ParseID(e.Text)
	if err != nil {
		l.repel(c, "bad greeting: "+err.Error())
		return
	}
	if strings.HasPrefix(id.Name, "?") && !c.dialled() {
		l.forget(c)
		l.emit(HandOver{Conn: c.id, Text: e.Text})
		return
	}
	if strings.HasPrefix(id.Name, "^") {
		l.repel(c, "control connections are accepted on the control socket only")
		return
	}
	name, err := node.ParseName(id.Name)
	switch {
	case err != nil:
		l.repel(c, err.Error())
		return
	case name == l.cfg.Name && l.callsItself():
		l.sameNode(c)
		l.drop(c, "the peer uses our own name; it may be this node itself")
		return
	case name == l.cfg.Name:
		l.repel(c, "the peer uses our own name")
		return
	case c.dialled() && name != c.peer.name:
		l.repel(c, fmt.Sprintf("dialled %s, but %s answered", c.peer.name, name))
		return
	case id.Major != ProtocolMajor:
		l.repel(c, fmt.Sprintf("%s speaks protocol %d.%d, we speak %d.%d", name, id.Major, id.Minor, ProtocolMajor, l.keyring.minor()))
		return
	}
	p := l.nodes[name]
	if _, ok := l.cfg.Learned[name]; ok && p == nil && l.keyring.admitLearned(name) {
		p = l.nodes[name]
	}
	if p == nil && l.keyring.admitMember(name) {
		p = l.nodes[name]
	}
	if !l.keyring.mayBeLetIn(p) {
		l.repel(c, l.whyUnknown(p, name))
		return
	}
	if c.login, err = l.chooseLogin(c, p, id.Minor); err != nil {
		l.repel(c, err.Error())
		return
	}
	if c.punched && c.login != loginSPTPS {
		l.repel(c, "it does not know the login that follows when both have dialled")
		return
	}
	c.answers = c.punched && id.Crossing && l.cfg.Name > name
	c.peer = p
	if l.dialer.ownIsUnderWay(c) {
		l.drop(c, "our own connection to it is being made")
		return
	}
	if c.id%2 == 0 { // who dials has said so already
		c.idSent = l.now
		l.emit(SendLine{Conn: c.id, Text: l.idLine(c)})
	}
	c.stage, c.host, c.byLearned = securing, *p.host(), !p.known()
	c.host.Key = l.keyring.loginKey(p)
	if c.login != loginSPTPS {
		l.emit(SecureLegacy{Conn: c.id, Initiator: c.dialled(), Node: name, PeerKey: *p.host().RSAKey, Policy: l.keyring.policy(p)})
		return
	}
	initiator, responder := l.cfg.Name, name
	if !c.dialled() {
		initiator, responder = name, l.cfg.Name
	}
	l.emit(Secure{Conn: c.id, Initiator: c.dialled(), Node: name, PeerKey: *c.host.Key, Label: sptps.LabelTCP(initiator, responder), Hybrid: l.hybridWith(&c.host)})
}

// whyUnknown tells why a node that is called name may not log in.
func (l *links) whyUnknown(p *peer, name node.Name) string {
	switch {
	case !l.roll.isMember(name):
		return fmt.Sprintf("%s %s", name, l.roll.whyNot(name))
	case p != nil && p.isRemoved():
		return fmt.Sprintf("%s was removed here: its host file has been deleted", name)
	case p != nil && p.key() != nil:
		return fmt.Sprintf("there is no host file for %s, and no neighbour that has one vouches for it", name)
	}
	return fmt.Sprintf("unknown identity: there is no host file for %s", name)
}

// callsItself tells whether a greeting with our own name may be our own: an address that we
// dial may lead back to us. That attempt then goes on to the next address at once.
func (l *links) callsItself() bool {
	return slices.ContainsFunc(l.lines, func(c *conn) bool { return c.dialled() && c.stage == greeting })
}

// stays tells whether old, which is active, stays when c could replace it.
func (l *links) stays(old, c *conn) bool {
	if c.login != loginSPTPS {
		return false // tinc 1.0 does not know this rule: the newer one stays
	}
	crossed := old.dialled() != c.dialled() && l.now.Sub(old.activated) < l.cfg.PingTimeout
	return crossed && old.dialled() == (l.cfg.Name < c.peer.name)
}

func (l *links) secured(e Secured) {
	c := l.conns[e.Conn]
	if c == nil || c.stage != securing {
		return
	}
	c.stage, c.keys = authenticating, e.Protection
	if c.login == loginUpgrade {
		l.send(c, wire.AckKey{Key: l.cfg.Key.Public()}.Append(nil))
		return
	}
	c.edge.weight = l.ownWeight(c)
	ack := wire.Ack{Port: l.portFor(c), Weight: c.edge.weight, Options: l.ownOptions(c.peer)}
	l.send(c, ack.Append(nil))
	l.dialer.yield(c)
}

// ownWeight is the weight that we offer for an edge: what is configured, or the
// milliseconds that the handshake took.
func (l *links) ownWeight(c *conn) int {
	switch {
	case c.peer.host().Weight != nil:
		return *c.peer.host().Weight
	case l.cfg.Weight != nil:
		return *l.cfg.Weight
	}
	return int(l.now.Sub(c.idSent).Milliseconds())
}

func (l *links) ownOptions(p *peer) wire.Options {
	o := wire.Options(0).WithMinor(l.keyring.minor())
	if l.cfg.Indirect || p.host().Indirect {
		o |= wire.Indirect
	}
	if l.cfg.TCPOnly || p.host().TCPOnly {
		o |= wire.TCPOnly | wire.Indirect
	}
	if !l.cfg.NoPMTUDiscovery && o&wire.TCPOnly == 0 {
		o |= wire.PMTUDiscovery
	}
	clamp := !l.cfg.NoClamp
	if p.host().ClampMSS != nil {
		clamp = *p.host().ClampMSS
	}
	if clamp {
		o |= wire.ClampMSS
	}
	if l.cfg.Echoes {
		o |= wire.Echoes
		if l.cfg.NoRelay {
			o |= wire.NoRelay
		}
		if l.cfg.Punch {
			o |= wire.Punch
		}
	}
	if l.cfg.RosterExchange {
		o |= wire.RosterExchange
	}
	return o
}

// aboutOneEnd are the options that speak of the node that announces them, not of the connection.
const aboutOneEnd = wire.Echoes | wire.NoRelay | wire.Punch | wire.RosterExchange

// ack activates the connection (tinc 1.1 ACK).
func (l *links) ack(c *conn, text string) error {
	if c.stage != authenticating {
		return errors.New("ACK on a connection that is active already")
	}
	if c.login == loginUpgrade {
		return l.upgradeAck(c, text)
	}
	a, err := wire.ParseAck(text)
	if err != nil {
		return err
	}
	p := c.peer
	old := p.link.conn
	if old != nil {
		if l.stays(old, c) {
			l.dialer.transferTarget(c, old)
			return errors.New("another connection with it was made at the same time")
		}
		l.logf(1, Info, "%s has connected again; closing the older connection", p.name)
		l.dialer.transferTarget(old, c)
		l.forget(old)
		l.emit(CloseConn{Conn: old.id, Reason: "replaced by a newer connection"})
		l.topology.connectionReplaced(old)
	}
	own := l.ownOptions(p) &^ aboutOneEnd
	opts := own&^wire.PMTUDiscovery | a.Options&^wire.PMTUDiscovery | own&a.Options&wire.PMTUDiscovery
	opts = opts.WithMinor(a.Options.Minor())
	if p.host().ClampMSS != nil && !*p.host().ClampMSS {
		opts &^= wire.ClampMSS
	}
	c.stage, c.activated, p.link.conn = active, l.now, c
	l.watch(c)
	l.keyring.loggedIn(p, c.byLearned)
	l.reach.answered(p)
	p.link.problem, p.link.refusal = "", notRefused
	c.rtt.Add(l.now.Sub(c.idSent)) // the login was a round trip or two
	l.reach.linksChanged()
	l.actives = nil
	c.edge = graphEdge{options: opts, weight: (c.edge.weight + a.Weight) / 2}
	port := a.Port
	if port == 0 {
		port = c.remote.Port()
	}
	l.addresses.arrived(c)
	l.emit(Attach{Conn: c.id, Node: p.name})
	l.logf(1, Notice, "connection with %s activated, protocol %d.%d", c, ProtocolMajor, a.Options.Minor())
	l.roll.linked(c)
	l.topology.sendEverything(c)

	addr := netip.AddrPortFrom(c.where(), port)
	e := l.topology.edgeMade(c, graph.Edge{
		From: l.cfg.Name, To: p.name, Weight: c.edge.weight, Options: c.edge.options,
		Addr: wire.AddressOf(addr), Local: wire.AddressOf(netip.AddrPortFrom(c.local.Addr(), l.cfg.Port)),
	})
	if old != nil && addr.IsValid() && old.where() != c.where() {
		l.paths.moved(p, addr, -1)
	}
	l.topology.announceEdge(c, e)
	l.touch(p)
	if c.punched {
		l.dialer.punchEnded(c, true)
	}
	l.dialer.connected(c)
	l.dialer.yield(c)
	return nil
}

func (l *links) closed(e Closed) {
	c := l.conns[e.Conn]
	if c == nil {
		return
	}
	reason := "closed by the peer"
	if e.Err != nil {
		reason = e.Err.Error()
		l.explainWeak(c, e.Err)
		if c.stage != dialling {
			l.carriers.cutOff(c)
		}
	}
	how := refusedThere
	if errors.Is(e.Err, sptps.ErrSignature) || errors.Is(e.Err, legacy.ErrAnswer) {
		how = refusedKey
	}
	l.lost(c, reason, how)
}

// drop closes a connection from our side.
func (l *links) drop(c *conn, reason string) {
	l.emit(CloseConn{Conn: c.id, Reason: reason})
	l.lost(c, reason, refusedHere)
}

// release closes a connection with which nothing is wrong.
func (l *links) release(c *conn, reason string) {
	l.emit(CloseConn{Conn: c.id, Reason: reason, Spare: true})
	l.lost(c, reason, refusedHere)
}

// repel closes a connection for a reason that lies with the other end, before that has proved
// who it is. Somebody who has dialled us is kept waiting.
func (l *links) repel(c *conn, reason string) {
	l.emit(CloseConn{Conn: c.id, Reason: reason, Trap: c.id%2 == 0})
	l.lost(c, reason, refusedHere)
}

// unanswered ends a login of ours with which the other end does not go on. Who refuses us says nothing.
func (l *links) unanswered(c *conn) {
	reason := "the login took too long"
	if c.stage == greeting {
		reason = "it did not identify itself"
	}
	reason += "; if it refuses us, its log says why"
	l.carriers.cutOff(c)
	l.emit(CloseConn{Conn: c.id, Reason: reason})
	l.lost(c, reason, refusedThere)
}

// keyTellEvery is how often the log tells that the key of one node does not fit.
const keyTellEvery = time.Hour

// logins is what is remembered of logins of a node that were refused.
type logins struct {
	keyTold time.Time // when the log told last that the key here is not the one of the node
}

// tellKey tells at every level that whoever logs in as a node does not have the key that is known of it.
// Anybody who can connect may cause that line, so there is one an hour for each node that has a host file.
func (l *links) tellKey(c *conn) {
	p := c.peer
	if p == nil || !p.contact().logins.keyTold.IsZero() && l.now.Sub(p.contact().logins.keyTold) < keyTellEvery {
		return
	}
	p.contact().logins.keyTold = l.now
	l.logf(0, Warning, "%s does not have the key in hosts/%s, or not ours: refused. If it was reinstalled, import its new host file with: tincan import --force FILE", c, p.name)
}

// lost does what follows from the end of a connection. how is what it means if that came
// during the login.
func (l *links) lost(c *conn, reason string, how refusal) {
	wasActive := c.stage == active
	if c.peer != nil && !wasActive && c.stage != leaving {
		c.peer.link.problem, c.peer.link.refusal = reason, how
		if c.stage == dialling {
			c.peer.link.refusal = notRefused
		}
	}
	if c.peer != nil && c.dialled() && !c.punched && c.stage <= securing {
		l.dialer.notFound(c)
	}
	switch {
	case c.stage == dialling:
		l.logf(1, Info, "could not connect to %s: %s", c.peer.name, reason)
	case wasActive:
		l.logf(1, Notice, "connection with %s ended: %s", c, reason)
	case c.stage == leaving:
		l.logf(1, Info, "connection with %s ended after the handshake: %s", c, reason)
	default:
		l.logf(1, Warning, "connection with %s refused: %s", c, reason)
		if how == refusedKey {
			l.tellKey(c)
		}
	}
	l.forget(c)
	if c.punched && !wasActive {
		l.dialer.punchEnded(c, false)
	}
	if wasActive && c.peer.link.conn == nil {
		l.topology.connectionLost(c)
	}
	l.dialer.attemptEnded(c, wasActive)
}

// forget removes c from the tables, and nothing else.
func (l *links) forget(c *conn) {
	delete(l.conns, c.id)
	l.timers.Cancel(c.look)
	if i, ok := slices.BinarySearchFunc(l.lines, c, byID); ok {
		l.lines = slices.Delete(l.lines, i, i+1)
	}
	if c.stage == active {
		l.actives = nil
		l.roll.unlinked()
	}
	if c.punched {
		l.dialer.punchForgotten(c)
	}
	if c.peer != nil && c.peer.link.conn == c {
		c.peer.link.conn = nil
		l.reach.doubt(c.peer)
		l.reach.linksChanged()
	}
}

// send sends one request on c.
func (l *links) send(c *conn, text []byte) { l.sendText(c, string(text)) }

// sendFirst sends one request on c, before others that wait.
func (l *links) sendFirst(c *conn, text []byte) {
	l.emit(Send{Conn: c.id, Text: string(text), Urgent: true})
}

func (l *links) sendText(c *conn, text string) {
	if c.login != loginSPTPS && len(text) > wire.MaxLine {
		l.limitExceeded(nil, "a request of %d bytes, which is too long for %s", len(text), c)
		return
	}
	l.emit(Send{Conn: c.id, Text: text})
}

// flood sends a request to all activated connections but the one it came from.
func (l *links) flood(from *conn, text string) {
	for _, c := range l.activeConns() {
		if c != from {
			l.sendText(c, text)
		}
	}
}

// activeConns returns the activated connections in the order of their numbers. The
// slice does not change when connections come and go.
func (l *links) activeConns() []*conn {
	if l.actives == nil {
		for _, c := range l.lines {
			if c.stage == active {
				l.actives = append(l.actives, c)
			}
		}
	}
	return l.actives
}

const (
	// heldUp is how late timers have to be to say that we were held up ourselves.
	heldUp = 2 * time.Second
	// readWithin is how long it may take then until answers are read that have come meanwhile.
	readWithin = time.Second
	// pingSpread is by how much the time between two PINGs varies: all nodes would otherwise send them at the same
	// moment after a common start.
	pingSpread = time.Second
)

// watch sets when c is looked at.
func (l *links) watch(c *conn) {
	switch {
	case c.stage == dialling: // the I/O layer ends it
	case c.stage != active:
		l.lookAt(c, c.began.Add(l.carriers.loginTime(c)))
	case c.pinged:
		l.lookAt(c, c.began.Add(l.cfg.PingTimeout))
	default:
		l.lookAt(c, c.began.Add(l.cfg.PingInterval+l.jitter(pingSpread)))
	}
}

func (l *links) lookAt(c *conn, at time.Time) {
	l.timers.Cancel(c.look)
	c.look = l.timers.Set(at, func() { l.checkConn(c) })
}

// heldUp: timers are late, after nothing has happened for so long. So this process was stopped, or the whole machine.
func (l *links) heldUp(idle time.Duration) {
	l.readUntil = l.now.Add(readWithin)
	if idle <= 2*l.cfg.UDPDiscoveryTimeout {
		return
	}
	for _, c := range slices.Clone(l.lines) {
		if c.stage != dialling {
			l.drop(c, "this machine has slept")
		}
	}
}

// checkConn pings a neighbour, and ends a connection that does not answer.
func (l *links) checkConn(c *conn) {
	switch {
	case l.now.Before(l.readUntil): // answers may wait to be read
		l.lookAt(c, l.readUntil)
	case c.stage != active && c.stage != greeting && l.now.Before(c.began.Add(l.cfg.PingTimeout)): // it has answered
		l.lookAt(c, c.began.Add(l.cfg.PingTimeout))
	case c.stage != active && c.dialled():
		l.unanswered(c)
	case c.stage == greeting || c.stage == securing:
		l.repel(c, "the login took too long")
	case c.stage != active:
		l.drop(c, "the login took too long")
	case !c.pinged:
		c.began, c.pinged = l.now, true
		c.sent = append(c.sent, l.now)
		l.watch(c)
		l.topology.ping(c)
	case l.now.Sub(l.lastHeard(c)) < l.cfg.PingTimeout: // its answer is after what comes
		l.lookAt(c, l.lastHeard(c).Add(l.cfg.PingTimeout))
	default:
		l.carriers.cutOff(c)
		l.drop(c, fmt.Sprintf("no answer to a ping for %s", l.cfg.PingTimeout))
	}
}

func (l *links) disconnect(name node.Name) {
	for _, c := range l.activeConns() {
		if c.peer.name == name {
			l.drop(c, "disconnected on request")
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
func (l *links) closeAll() {
	for _, c := range slices.Clone(l.lines) {
		l.drop(c, "this node is shutting down")
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

// protection is what protects the connection, zero as long as it is not.
func (c *conn) protection() Protection { return c.keys }

// isPunched tells whether both ends have dialled.
func (c *conn) isPunched() bool { return c.punched }

// exchangesRosters tells whether the other end has announced that it exchanges rosters.
func (c *conn) exchangesRosters() bool {
	return c.login == loginSPTPS && c.edge.options.Has(wire.RosterExchange)
}

// activeSince is when the login was complete.
func (c *conn) activeSince() time.Time { return c.activated }

// mayCarry tells whether a request of that kind is allowed at this stage.
func (c *conn) mayCarry(kind wire.Kind) bool {
	return (kind == wire.KindAck) == (c.stage == authenticating) && (c.stage != leaving || kind == wire.KindTermReq)
}

// connOf returns the connection with that number, nil if there is none.
func (l *links) connOf(id ConnID) *conn { return l.conns[id] }

// heardOn returns the connection on which a request has come, nil if it takes none.
func (l *links) heardOn(id ConnID) *conn {
	c := l.conns[id]
	if c == nil || c.stage < authenticating {
		return nil
	}
	c.heard = l.now
	return c
}

// withConn returns the nodes with a connection at any stage, and ourselves.
func (l *links) withConn() map[*peer]bool {
	busy := map[*peer]bool{l.self: true}
	for _, c := range l.conns {
		busy[c.peer] = true
	}
	return busy
}

// newDial begins a connection that we dial. If to is valid the peer dials us, too, and expects us to come from there.
func (l *links) newDial(p *peer, to netip.AddrPort) *conn {
	c := &conn{id: l.nextID, peer: p, stage: dialling, began: l.now, punched: to.IsValid(), remote: to}
	l.nextID += 2
	l.add(c)
	return c
}

// mayBe tells whether the configuration allows a connection by what c is made by.
func (l *links) mayBe(c *conn) bool {
	switch l.cfg.Connecting {
	case OnlyTLS:
		return c.isCarried()
	case OnlyTCP:
		return !c.isCarried() || !c.dialled()
	}
	return true
}

// recheck ends the connections that the configuration or the host files, which have been read again, do not allow any more.
func (l *links) recheck(hosts map[node.Name]Host) {
	for _, c := range slices.Clone(l.lines) {
		if c.stage != dialling && !l.mayBe(c) {
			l.drop(c, "Carriers does not allow it any more")
			continue
		}
		if c.stage < securing {
			continue // it has not been checked yet
		}
		switch h, ok := hosts[c.peer.name]; {
		case (!ok || h.Key == nil) && l.keyring.justLearned(c.peer), c.byLearned:
		case !ok:
			l.drop(c, "its host file is gone")
		case l.loginKeyChanged(c, h):
			l.drop(c, "its key in the host file has changed")
		}
	}
}

// endUnanswered ends c, to which nobody has answered although it was begun before now. It reports whether it did.
func (l *links) endUnanswered(c *conn, reason string) bool {
	if c.stage >= securing || !c.began.Before(l.now) {
		return false
	}
	l.forget(c)
	l.emit(CloseConn{Conn: c.id, Reason: reason})
	return true
}

// endLogins ends the logins of p that are under way.
func (l *links) endLogins(p *peer, reason string) {
	for _, c := range slices.Clone(l.lines) {
		if c.peer == p && (c.stage == securing || c.stage == authenticating) {
			l.drop(c, reason)
		}
	}
}

// dropAll ends all connections of some nodes, and all attempts at one, each for a reason. None of them is told anything
// more, such as that another one's connection has ended.
func (l *links) dropAll(why map[*peer]string) {
	var ended []*conn
	for _, c := range slices.Clone(l.lines) {
		if reason, ok := why[c.peer]; ok {
			l.emit(CloseConn{Conn: c.id, Reason: reason})
			l.forget(c)
			ended = append(ended, c)
		}
	}
	for _, c := range ended {
		l.lost(c, why[c.peer], refusedHere)
	}
}

// activeConn is the activated connection with a number, nil if there is none.
func (l *links) activeConn(id ConnID) *conn {
	if c := l.conns[id]; c != nil && c.isActive() {
		return c
	}
	return nil
}

// dropLearnedLogins ends the connections of p that were let in with a learned key.
func (l *links) dropLearnedLogins(p *peer, reason string) {
	for _, c := range append([]*conn(nil), l.lines...) {
		if c.peer == p && c.stage >= securing && c.byLearned {
			l.drop(c, reason)
		}
	}
}

// checkVouchers ends the connections of those for whom nobody vouches any more.
func (l *links) checkVouchers() {
	for _, c := range append([]*conn(nil), l.lines...) {
		if c.peer != nil && c.byLearned && c.stage >= securing && !l.keyring.mayBeLetIn(c.peer) {
			l.drop(c, "it has no host file here, and no node vouches for it any more")
		}
	}
}

// sameNode notes that an attempt of ours has led back to us.
func (l *links) sameNode(from *conn) {
	var mirror *conn
	for _, c := range l.lines {
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
	l.addresses.ledBack(mirror.to, mirror.remote)
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
	i := ConnInfo{Conn: c.id, Remote: c.remote, Options: c.edge.options, Active: c.stage == active, Outgoing: c.id%2 == 1, Pinged: c.pinged, Dialling: c.stage == dialling, Carrier: c.byCarrier}
	if c.peer != nil {
		i.Node = c.peer.name
		i.Legacy = c.isLegacy()
		i.Tree = i.Active && tree
	}
	return i
}

// allConns lists all connections by number. The list is not to be changed.
func (l *links) allConns() []*conn { return l.lines }

// setMappedPort takes over the port of the router that leads to ours, 0 if there is none.
func (l *links) setMappedPort(port uint16) { l.mappedPort = port }

// howRefused is how the last login of p failed.
func (p *peer) howRefused() refusal { return p.link.refusal }

// lastProblem is why the last attempt at a connection with p failed, "" if it did not.
func (p *peer) lastProblem() string { return p.link.problem }

// linkState is what links keep of a node.
type linkState struct {
	conn    *conn   // activated meta connection
	problem string  // why the last attempt at a connection failed, "" if it did not
	refusal refusal // whether that was the login
}

// conn is our connection with p, nil if there is none.
func (p *peer) conn() *conn { return p.link.conn }
