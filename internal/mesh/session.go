package mesh

import (
	"net/netip"
	"time"

	"tincan/internal/b64"
	"tincan/internal/hybrid"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/mask"
	"tincan/internal/mesh/timer"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// sessions protect the packets between us and other nodes.
type sessions struct {
	*env
	*directory

	begun, made uint64    // handshakes of ours; sessions, and new keys of one
	keysExpire  time.Time // when the keys that we gave to nodes of tinc 1.0 do, zero: there are none

	reach interface { // who is reached
		pass(c *conn, to *peer, text string)
		route(p *peer, text []byte)
		searchEarly()
		answered(p *peer)
		unanswered(p *peer)
	}
	keyring interface { // host files and keys
		askKey(p *peer)
		claimed(c *conn, p *peer, k keys.PublicKey)
		leadsTo(c *conn, p *peer) bool
		passOnly(p *peer) bool
		policy(p *peer) legacy.Policy
		proven(p *peer, k keys.PublicKey)
		rsaLogin(p *peer) bool
		sessionKey(p *peer) *keys.PublicKey
		speaksFor(c *conn, p *peer) bool
		speaksLegacy(p *peer) bool
		whyNotLegacy(p *peer) string
	}
	links interface { // connections
		connOf(id ConnID) *conn
		flood(from *conn, text string)
	}
	addresses interface { // which addresses are believed
		believable(a netip.AddrPort) bool
	}
	paths interface { // UDP paths
		formsChanged(p *peer)
		guarded(p *peer, a netip.AddrPort) bool
		mtuInfoTo(p *peer)
		toldAddress(p *peer, a netip.AddrPort)
		try(p *peer, mtu bool)
		udpInfoTo(p *peer)
	}
	forwarding interface { // the data plane
		publishPeers()
	}
}

// session is what protects the packets between us and a node: SPTPS, or the keys of
// tinc 1.0. Which of the two a node speaks, the rest of the protocol core does not know.
type session interface {
	// onNeighbourUp: the node has become reachable, and c is our connection with it.
	onNeighbourUp(c *conn)
	// begin does what is missing so that packets can be sent. It may be called often.
	begin()
	// prove begins another one, if need be: whether there is one or not, the node is to prove that it is there.
	prove()
	// check renews keys that are due.
	check()
	// beginDue and checkDue are when begin and check have something to do, if nothing happens before; zero: they
	// have not. As long as there is traffic they are called each second anyway.
	beginDue() time.Time
	checkDue() time.Time
	// ready tells whether packets, and so probes, can be sent by UDP.
	ready() bool
	// pending tells whether keys are being agreed on.
	pending() bool
	// hopByHop tells whether a relay opens the packets and protects them again.
	hopByHop() bool

	// reqKey, ansKey and keyChanged are what the node has to say about keys. c is where it came from.
	reqKey(c *conn, r wire.ReqKey)
	ansKey(c *conn, r wire.AnsKey)
	keyChanged()
	// reconfigured: the configuration has changed.
	reconfigured()
	// undecodable: that many packets in a row could not be opened.
	undecodable(count int)

	// protection is what protects packets, zero if they are not, or by the protocol of tinc 1.0.
	protection() Protection
	// held tells whether packets wait for other keys although the session is ready.
	held() bool
	// whyStock is why packets are not protected by what we would like: a code of a reason, "" if they are.
	whyStock() string
	// publish fills in what the data plane needs.
	publish(st *PeerState)
	// mask is with what datagrams to the node are hidden; nil: they are not. If pending, it is not known yet whether they will be.
	mask() (m *mask.Mask, pending bool)
	// suite is what the node wants packets to be protected and packed with. Of a
	// node with SPTPS there is only the compression.
	suite() legacy.Suite
	// minProbe is the size of the smallest probe, in bytes of frame.
	minProbe() int
	// largestFrame is the largest frame that fits into a UDP payload of that many bytes.
	largestFrame(payload int) int
}

// newSession returns the session that fits what is known of p now. Nothing is sent.
func (ss *sessions) newSession(p *peer) session {
	if ss.keyring.speaksLegacy(p) {
		return newLegacySession(ss, p)
	}
	return &sptpsSession{ss: ss, p: p}
}

// beginSession gives p, which is new, a session.
func (ss *sessions) beginSession(p *peer) { p.keys.session = ss.newSession(p) }

// endSession forgets the keys of p.
func (ss *sessions) endSession(p *peer) {
	p.keys.session = ss.newSession(p)
	ss.touch(p)
}

// both looks up the two ends of a routed request; ok is false if it is to be ignored.
func (ss *sessions) both(from, to node.Name) (f, t *peer, ok bool) {
	f, t = ss.nodes[from], ss.nodes[to]
	if f != nil && t != nil && !(f.reachable() && t.reachable()) {
		ss.reach.searchEarly() // the edges that make it reachable may have come just before, in the same batch
	}
	ok = f != nil && t != nil && f != ss.self && f.reachable() && t.reachable()
	return f, t, ok
}

// reqKey handles or passes on a REQ_KEY.
func (ss *sessions) reqKey(c *conn, text string) error {
	r, err := wire.ParseReqKey(text)
	if err != nil {
		return err
	}
	from, to, ok := ss.both(r.From, r.To)
	switch {
	case !ok || to != ss.self && ss.cfg.TunnelServer:
	case r.Sub == wire.SubData:
		if rec, err := b64.Decode(r.Data); err == nil && len(rec) > 0 {
			ss.emit(TunnelledData{From: r.From, To: r.To, Hop: c.peer.name, Record: rec})
		}
	case to != ss.self:
		ss.reach.pass(c, to, text)
	case !ss.keyring.speaksFor(c, from):
		ss.logf(3, Debug, "ignoring a request from %s that arrived from %s", from.name, c)
	default:
		from.keys.session.reqKey(c, r)
	}
	return nil
}

// ansKey handles an ANS_KEY, or passes it on. A relay adds where it sees the sender.
func (ss *sessions) ansKey(c *conn, text string) error {
	r, err := wire.ParseAnsKey(text)
	if err != nil {
		return err
	}
	from, to, ok := ss.both(r.From, r.To)
	switch {
	case !ok || to != ss.self && ss.cfg.TunnelServer:
	case to != ss.self:
		if !r.HasAddr && from.addr().IsValid() && to.passes() {
			r.Addr, r.HasAddr = wire.AddressOf(from.addr()), true
			text = string(r.Append(nil))
		}
		ss.reach.pass(c, to, text)
	case !ss.keyring.speaksFor(c, from):
		ss.logf(3, Debug, "ignoring an answer from %s that arrived from %s", from.name, c)
	default:
		from.keys.session.ansKey(c, r)
	}
	return nil
}

func (ss *sessions) undecodable(e Undecodable) {
	if p := ss.nodes[e.Node]; p != nil && p.reachable() && p != ss.self {
		p.keys.session.undecodable(e.Count)
	}
}

// reconfigureSessions: the configuration has changed.
func (ss *sessions) reconfigureSessions() {
	for _, p := range ss.order {
		p.keys.session.reconfigured()
	}
}

// starts counts the session starts of a node: those that came over the connection that leads to it, and others.
type starts struct {
	direct, elsewhere int
	since             time.Time
}

// startAllowed tells whether p may make us answer another session start. Those that come over the
// connection that leads to it (or by which we cannot tell) are counted apart from others, which
// anybody may have sent.
func (ss *sessions) startAllowed(p *peer, leads bool) bool {
	s := &p.contact().starts
	if ss.now.Sub(s.since) >= handshakeTimeout {
		*s = starts{since: ss.now}
	}
	n := &s.elsewhere
	if leads {
		n = &s.direct
	}
	*n++
	return *n <= maxStarts
}

// sealedOnly tells whether packets may be exchanged with p only in records of a session with post-quantum keys: these are
// required, and our connection with it has none.
func (ss *sessions) sealedOnly(p *peer) bool {
	return ss.postQuantum(p.host()) == hybrid.Require && (p.conn() == nil || !p.conn().protection().PostQuantum)
}

// sessionState is the session with a node.
type sessionState struct {
	session    session
	startTimer *timer.Timer // of onNeighbourUp
}

// session is the session with p. There always is one, but it may not be ready.
func (p *peer) session() session { return p.keys.session }

// handshakes is how many this node has begun, and how many have led to new keys.
func (ss *sessions) handshakes() (begun, made uint64) { return ss.begun, ss.made }
