package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"tincan/internal/node"
	"tincan/internal/rate"
	"tincan/internal/wire"
)

// Nodes that announce wire.Echoes answer echoes: small records of their session that may
// take any path: direct, through a relay, or over TCP. So a node can measure each path
// to another from end to end, whoever is in between.

// EchoPath says which path an echo takes.
type EchoPath uint8

// The paths.
const (
	EchoAsPackets EchoPath = iota // as a packet of that size would go now
	EchoUDP                       // by UDP, directly or through Via; lost if that cannot be
	EchoTCP                       // over the meta connections
)

// Leg is what is known of one direction of an echo's path.
type Leg struct {
	Hop node.Name // who handed it to the receiver; "": the sender itself, or not known
	TCP bool      // it left or arrived over a meta connection
}

const (
	// maxEchoes of ours may be unanswered.
	maxEchoes      = 4096
	maxEchoTimeout = 10 * time.Second
	// sessionWait is how often an echo looks whether the session is made.
	sessionWait = 20 * time.Millisecond
)

// echoLimit is how many echoes of one node are answered.
var echoLimit = rate.PerSecond(100)

// echo is a request that has not been answered yet.
type echo struct {
	p     *peer
	sent  time.Time
	byTCP bool // it left over a meta connection
	timer *timer
	done  func(echoed)
}

// echoed is what became of an echo request. lost: no answer came in time.
type echoed struct {
	lost        bool
	rtt         time.Duration
	there, back Leg
	seen        netip.AddrPort
}

// answersEchoes tells whether p understands echoes, and we may send it some.
func (m *Mesh) answersEchoes(p *peer) bool {
	return m.cfg.Echoes && p.path.Options.Has(wire.Echoes) && !p.session.hopByHop()
}

// askEcho sends an echo request and calls done once: with the answer, or when time is up.
// There has to be a session.
func (m *Mesh) askEcho(p *peer, e SendEcho, size int, timeout time.Duration, done func(echoed)) {
	if len(m.echoes) >= maxEchoes {
		done(echoed{lost: true})
		return
	}
	m.lastEcho++
	number := m.lastEcho
	flags := byte(0)
	if e.Path != EchoAsPackets {
		flags = wire.EchoBack
	}
	e.Node = p.name
	e.Data = wire.Echo{Kind: wire.EchoRequest, Flags: flags, Number: number, Token: uint64(m.now.UnixNano()), Size: size}.Append(nil)
	q := &echo{p: p, sent: m.now, done: done}
	q.byTCP = e.Path == EchoTCP || e.Path == EchoAsPackets && !m.leavesByUDP(p, size)
	q.timer = m.after(timeout, func() {
		delete(m.echoes, number)
		done(echoed{lost: true})
	})
	m.echoes[number] = q
	m.publishPeers() // it may need what has just changed
	m.emit(e)
}

// echoIn handles an echo record.
func (m *Mesh) echoIn(e EchoIn) {
	p := m.nodes[e.Node]
	if p == nil || !p.reachable || p == m.self || !m.cfg.Echoes {
		return
	}
	r, err := wire.ParseEcho(e.Data)
	if err != nil {
		m.logf(5, Debug, "bad echo from %s: %v", p.name, err)
		return
	}
	if r.Kind == wire.EchoReply {
		m.echoAnswered(p, e, r)
		return
	}
	if !p.contact().echoes.Take(echoLimit, m.now) {
		return
	}
	if r.Kind == wire.EchoDial {
		m.punchAsked(p, r.Seen)
		return
	}
	if r.Kind == wire.EchoOpened {
		m.opened(p, r.Flags&wire.EchoBack != 0)
		return
	}
	reply := SendEcho{Node: p.name}
	if r.Flags&wire.EchoBack != 0 {
		reply.Path, reply.Via = m.pathBack(p, e)
	}
	r.Kind, r.Flags = wire.EchoReply, 0
	switch {
	case e.TCP:
		r.Flags |= wire.EchoByTCP
	case e.Direct:
		r.Flags |= wire.EchoDirect
		r.Seen = e.Addr
	}
	if hop := m.nodes[e.Hop]; hop != nil && hop != p {
		r.Hop = hop.id
	}
	if reply.Path == EchoTCP || reply.Path == EchoAsPackets && !m.leavesByUDP(p, r.Size) {
		r.Flags |= wire.EchoLeftTCP
	}
	reply.Data = r.Append(nil)
	m.emit(reply)
}

// pathBack is how an answer gets to where the request came from.
func (m *Mesh) pathBack(p *peer, e EchoIn) (EchoPath, node.Name) {
	switch hop := m.nodes[e.Hop]; {
	case e.TCP:
		return EchoTCP, ""
	case e.Direct && p.confirmed():
		return EchoUDP, ""
	case !e.Direct && hop != nil && hop.confirmed():
		return EchoUDP, hop.name
	}
	return EchoAsPackets, ""
}

func (m *Mesh) echoAnswered(p *peer, e EchoIn, r wire.Echo) {
	q := m.echoes[r.Number]
	if q == nil || q.p != p {
		return // too late, or never asked for
	}
	delete(m.echoes, r.Number)
	m.timers.cancel(q.timer)
	a := echoed{rtt: m.now.Sub(q.sent), seen: r.Seen}
	a.there.TCP = q.byTCP || r.Flags&wire.EchoByTCP != 0
	if hop := m.byID[r.Hop]; hop != nil && !r.Hop.IsZero() {
		a.there.Hop = hop.name
	}
	a.back.TCP = e.TCP || r.Flags&wire.EchoLeftTCP != 0
	if e.Hop != p.name {
		a.back.Hop = e.Hop
	}
	q.done(a)
}

// echo carries out a request from outside.
func (m *Mesh) echo(e Echo) {
	p := m.nodes[e.Node]
	fail := func(format string, args ...any) {
		m.emit(EchoResult{ID: e.ID, Node: e.Node, Err: fmt.Errorf(format, args...)})
	}
	switch {
	case p == nil:
		fail("there is no node %s in this network", e.Node)
	case p == m.self:
		fail("%s is this node itself", e.Node)
	case !p.reachable:
		fail("%s is not reachable", e.Node)
	case e.Via != "" && (m.nodes[e.Via] == nil || e.Via == m.cfg.Name || e.Via == e.Node):
		fail("%s cannot be a relay to %s", e.Via, e.Node)
	case e.Via != "" && !m.nodes[e.Via].confirmed():
		fail("there is no UDP path to %s", e.Via)
	case !m.answersEchoes(p):
		if p.confirmed() && p.rtt() > 0 && e.Path != EchoTCP && e.Via == "" {
			m.emit(EchoResult{ID: e.ID, Node: p.name, RTT: p.rtt(), Probed: true})
			return
		}
		m.emit(EchoResult{ID: e.ID, Node: p.name, Err: ErrNoEchoes})
	default:
		if e.Path == EchoUDP && e.Via == "" && p.session.ready() {
			// A router in between may have forgotten about us since the last packet. The probe
			// shows p where we are now, so that it can answer.
			p.udp().probeNow()
			m.discover(p)
		}
		e.Timeout = min(max(e.Timeout, 10*time.Millisecond), maxEchoTimeout)
		m.echoSoon(e, p, m.now.Add(e.Timeout))
	}
}

// echoSoon sends the request once there is a session.
func (m *Mesh) echoSoon(e Echo, p *peer, deadline time.Time) {
	left := deadline.Sub(m.now)
	switch {
	case p.session.ready():
		size := min(max(e.Size, wire.MinEcho), wire.MaxEcho)
		m.askEcho(p, SendEcho{Via: e.Via, Path: e.Path}, size, left, func(a echoed) {
			r := EchoResult{ID: e.ID, Node: p.name, Size: size, RTT: a.rtt, There: a.there, Back: a.back, Seen: a.seen}
			if a.lost {
				r.Err = ErrNoAnswer
			}
			m.emit(r)
		})
	case left <= 0:
		m.emit(EchoResult{ID: e.ID, Node: p.name, Err: errors.New("no session could be made in time")})
	default:
		m.try(p, true)
		m.after(min(left, sessionWait), func() { m.echoSoon(e, p, deadline) })
	}
}

// What an [EchoResult] may say.
var (
	ErrNoAnswer = errors.New("no answer in time")
	ErrNoEchoes = errors.New("it does not answer echoes: it runs tinc, or an older tincan")
)

// openEchoes is the number of echoes of ours without an answer.
func (m *Mesh) openEchoes() int { return len(m.echoes) }
