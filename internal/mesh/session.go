package mesh

import (
	"time"

	"tincan/internal/b64"
	"tincan/internal/legacy"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// session is what protects the packets between us and a node: SPTPS, or the keys of
// tinc 1.0. Which of the two a node speaks, the rest of the protocol core does not know.
type session interface {
	// onNeighbourUp: the node has become reachable, and c is our connection with it.
	onNeighbourUp(c *conn)
	// begin does what is missing so that packets can be sent. It may be called often.
	begin()
	// check renews keys that are due, once a second.
	check()
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

	// publish fills in what the data plane needs.
	publish(st *PeerState)
	// suite is what the node wants packets to be protected and packed with. Of a
	// node with SPTPS there is only the compression.
	suite() legacy.Suite
	// minProbe is the size of the smallest probe, in bytes of frame.
	minProbe() int
	// largestFrame is the largest frame that fits into a UDP payload of that many bytes.
	largestFrame(payload int) int
}

// newSession returns the session that fits what is known of p now. Nothing is sent.
func (m *Mesh) newSession(p *peer) session {
	if m.speaksLegacy(p) {
		return newLegacySession(m, p)
	}
	return &sptpsSession{m: m, p: p}
}

// beginSession gives p, which is new, a session.
func (m *Mesh) beginSession(p *peer) { p.session = m.newSession(p) }

// endSession forgets the keys of p.
func (m *Mesh) endSession(p *peer) {
	p.session = m.newSession(p)
	m.touch(p)
}

// both looks up the two ends of a routed request; ok is false if it is to be ignored.
func (m *Mesh) both(from, to node.Name) (f, t *peer, ok bool) {
	f, t = m.nodes[from], m.nodes[to]
	if f != nil && t != nil && !(f.reachable && t.reachable) {
		m.searchEarly() // the edges that make it reachable may have come just before, in the same batch
	}
	ok = f != nil && t != nil && f != m.self && f.reachable && t.reachable
	return f, t, ok
}

// reqKey handles or passes on a REQ_KEY.
func (m *Mesh) reqKey(c *conn, text string) error {
	r, err := wire.ParseReqKey(text)
	if err != nil {
		return err
	}
	from, to, ok := m.both(r.From, r.To)
	switch {
	case !ok || to != m.self && m.cfg.TunnelServer:
	case r.Sub == wire.SubData:
		if rec, err := b64.Decode(r.Data); err == nil && len(rec) > 0 {
			m.emit(TunnelledData{From: r.From, To: r.To, Hop: c.peer.name, Record: rec})
		}
	case to != m.self:
		m.pass(c, to, []byte(text))
	case !m.speaksFor(c, from):
		m.logf(3, Debug, "ignoring a request from %s that arrived from %s", from.name, c)
	default:
		from.session.reqKey(c, r)
	}
	return nil
}

// ansKey handles an ANS_KEY, or passes it on. A relay adds where it sees the sender.
func (m *Mesh) ansKey(c *conn, text string) error {
	r, err := wire.ParseAnsKey(text)
	if err != nil {
		return err
	}
	from, to, ok := m.both(r.From, r.To)
	switch {
	case !ok || to != m.self && m.cfg.TunnelServer:
	case to != m.self:
		if !r.HasAddr && from.addr().IsValid() && to.passes() {
			r.Addr, r.HasAddr = wire.AddressOf(from.addr()), true
			text = string(r.Append(nil))
		}
		m.pass(c, to, []byte(text))
	case !m.speaksFor(c, from):
		m.logf(3, Debug, "ignoring an answer from %s that arrived from %s", from.name, c)
	default:
		from.session.ansKey(c, r)
	}
	return nil
}

func (m *Mesh) undecodable(e Undecodable) {
	if p := m.nodes[e.Node]; p != nil && p.reachable && p != m.self {
		p.session.undecodable(e.Count)
	}
}

// reconfigureSessions: the configuration has changed.
func (m *Mesh) reconfigureSessions() {
	for _, p := range m.order {
		p.session.reconfigured()
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
func (m *Mesh) startAllowed(p *peer, leads bool) bool {
	s := &p.contact().starts
	if m.now.Sub(s.since) >= handshakeTimeout {
		*s = starts{since: m.now}
	}
	n := &s.elsewhere
	if leads {
		n = &s.direct
	}
	*n++
	return *n <= maxStarts
}
