package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"tincan/internal/mesh/timer"
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

// asksLimit is how many questions of one node about our paths are answered. A mesh of 300 nodes is five of them.
var asksLimit = rate.PerSecond(10)

// echo is a request that has not been answered yet.
type echo struct {
	p     *peer
	sent  time.Time
	byTCP bool // it left over a meta connection
	kind  byte // of the answer
	timer *timer.Timer
	done  func(echoed)
}

// echoed is what became of an echo request. lost: no answer came in time.
type echoed struct {
	lost        bool
	more        bool   // of an answer about paths
	list        []byte // the same
	rtt         time.Duration
	there, back Leg
	seen        netip.AddrPort
	flags       byte // of the answer
}

// answersEchoes tells whether p understands echoes, and we may send it some.
func (rl *relays) answersEchoes(p *peer) bool {
	return rl.cfg.Echoes && p.path().Options.Has(wire.Echoes) && !p.session().hopByHop()
}

// askEcho sends an echo request and calls done once: with the answer, or when time is up.
// There has to be a session.
func (rl *relays) askEcho(p *peer, e SendEcho, size int, timeout time.Duration, done func(echoed)) {
	flags := byte(0)
	if e.Path != EchoAsPackets {
		flags = wire.EchoBack
	}
	rl.request(p, e, wire.Echo{Kind: wire.EchoRequest, Flags: flags, Size: size}, timeout, done)
}

// request sends a request, whose number is set here, as [relays.askEcho] says.
func (rl *relays) request(p *peer, e SendEcho, r wire.Echo, timeout time.Duration, done func(echoed)) {
	if len(rl.echoes) >= maxEchoes {
		done(echoed{lost: true})
		return
	}
	rl.lastEcho++
	number := rl.lastEcho
	r.Number, r.Token = number, uint64(rl.now.UnixNano())
	e.Node = p.name
	e.Data = r.Append(nil)
	q := &echo{p: p, sent: rl.now, kind: r.Kind + 1, done: done} // the kind of each answer follows that of its request
	q.byTCP = e.Path == EchoTCP || e.Path == EchoAsPackets && !rl.forwarding.leavesByUDP(p, r.Size)
	q.timer = rl.after(timeout, func() {
		delete(rl.echoes, number)
		done(echoed{lost: true})
	})
	rl.echoes[number] = q
	rl.forwarding.publishPeers() // it may need what has just changed
	rl.emit(e)
}

// echoIn handles an echo record.
func (rl *relays) echoIn(e EchoIn) {
	p := rl.nodes[e.Node]
	if p == nil || !p.reachable() || p == rl.self || !rl.cfg.Echoes {
		return
	}
	r, err := wire.ParseEcho(e.Data)
	if err != nil {
		rl.logf(5, Debug, "bad echo from %s: %v", p.name, err)
		return
	}
	if r.Kind == wire.EchoReply || r.Kind == wire.EchoPaths {
		rl.echoAnswered(p, e, r)
		return
	}
	if !p.contact().echoes.Take(echoLimit, rl.now) {
		return
	}
	if r.Kind == wire.EchoDial {
		rl.dialer.punchAsked(p, r.Seen)
		return
	}
	if r.Kind == wire.EchoOpened {
		rl.paths.opened(p, r.Flags&wire.EchoBack != 0)
		return
	}
	if r.Kind == wire.EchoPathsAsked {
		if !p.contact().asks.Take(asksLimit, rl.now) {
			return
		}
		rl.emit(PathsAsked{Node: p.name, Number: r.Number, After: r.Hop, Size: r.Size, Room: r.Size - wire.MinEcho})
		return
	}
	reply := SendEcho{Node: p.name}
	if r.Flags&wire.EchoBack != 0 {
		reply.Path, reply.Via = rl.pathBack(p, e)
	}
	r.Kind, r.Flags = wire.EchoReply, 0
	switch {
	case e.TCP:
		r.Flags |= wire.EchoByTCP
	case e.Direct:
		r.Flags |= wire.EchoDirect
		r.Seen = e.Addr
	}
	if hop := rl.nodes[e.Hop]; hop != nil && hop != p {
		r.Hop = hop.id
	}
	if rl.exit.IPv4 {
		r.Flags |= wire.EchoExit4
	}
	if rl.exit.IPv6 {
		r.Flags |= wire.EchoExit6
	}
	if reply.Path == EchoTCP || reply.Path == EchoAsPackets && !rl.forwarding.leavesByUDP(p, r.Size) {
		r.Flags |= wire.EchoLeftTCP
	}
	reply.Data = r.Append(nil)
	rl.emit(reply)
}

// pathBack is how an answer gets to where the request came from.
func (rl *relays) pathBack(p *peer, e EchoIn) (EchoPath, node.Name) {
	switch hop := rl.nodes[e.Hop]; {
	case e.TCP:
		return EchoTCP, ""
	case e.Direct && p.confirmed():
		return EchoUDP, ""
	case !e.Direct && hop != nil && hop.confirmed():
		return EchoUDP, hop.name
	}
	return EchoAsPackets, ""
}

func (rl *relays) echoAnswered(p *peer, e EchoIn, r wire.Echo) {
	q := rl.echoes[r.Number]
	if q == nil || q.p != p || q.kind != r.Kind {
		return // too late, or never asked for
	}
	delete(rl.echoes, r.Number)
	rl.timers.Cancel(q.timer)
	a := echoed{rtt: rl.now.Sub(q.sent), seen: r.Seen, flags: r.Flags}
	if r.Kind == wire.EchoPaths {
		a.more, a.list = r.Flags&wire.EchoMore != 0, e.Data[wire.MinEcho:]
	}
	a.there.TCP = q.byTCP || r.Flags&wire.EchoByTCP != 0
	if hop := rl.byID[r.Hop]; hop != nil && !r.Hop.IsZero() {
		a.there.Hop = hop.name
	}
	a.back.TCP = e.TCP || r.Flags&wire.EchoLeftTCP != 0
	if e.Hop != p.name {
		a.back.Hop = e.Hop
	}
	q.done(a)
}

// echo carries out a request from outside.
func (rl *relays) echo(e Echo) {
	p := rl.nodes[e.Node]
	fail := func(format string, args ...any) {
		rl.emit(EchoResult{ID: e.ID, Node: e.Node, Err: fmt.Errorf(format, args...)})
	}
	switch {
	case p == nil:
		fail("there is no node %s in this network", e.Node)
	case p == rl.self:
		fail("%s is this node itself", e.Node)
	case !p.reachable():
		fail("%s is not reachable", e.Node)
	case e.Via != "" && (rl.nodes[e.Via] == nil || e.Via == rl.cfg.Name || e.Via == e.Node):
		fail("%s cannot be a relay to %s", e.Via, e.Node)
	case e.Via != "" && !rl.nodes[e.Via].confirmed():
		fail("there is no UDP path to %s", e.Via)
	case !rl.answersEchoes(p):
		if p.confirmed() && p.rtt() > 0 && e.Path != EchoTCP && e.Via == "" {
			rl.emit(EchoResult{ID: e.ID, Node: p.name, RTT: p.rtt(), Probed: true})
			return
		}
		rl.emit(EchoResult{ID: e.ID, Node: p.name, Err: ErrNoEchoes})
	default:
		if e.Path == EchoUDP && e.Via == "" && p.session().ready() {
			// A router in between may have forgotten about us since the last packet. The probe
			// shows p where we are now, so that it can answer.
			p.udp().probeNow()
			rl.paths.discover(p)
		}
		size := min(max(e.Size, wire.MinEcho), wire.MaxEcho)
		rl.whenReady(p, rl.deadline(e.Timeout), func(left time.Duration) {
			rl.askEcho(p, SendEcho{Via: e.Via, Path: e.Path}, size, left, func(a echoed) {
				r := EchoResult{ID: e.ID, Node: p.name, Size: size, RTT: a.rtt, There: a.there, Back: a.back, Seen: a.seen}
				r.Exit4, r.Exit6 = a.flags&wire.EchoExit4 != 0, a.flags&wire.EchoExit6 != 0
				if a.lost {
					r.Err = ErrNoAnswer
				}
				rl.emit(r)
			})
		}, func(err error) { rl.emit(EchoResult{ID: e.ID, Node: p.name, Err: err}) })
	}
}

// deadline is the end of a time that somebody has asked for.
func (rl *relays) deadline(timeout time.Duration) time.Time {
	return rl.now.Add(min(max(timeout, 10*time.Millisecond), maxEchoTimeout))
}

// whenReady calls send once packets can be sent to p, with the time that is left, or fail. A request for which there is only a
// session might overtake the last message of the handshake, which goes over meta connections.
func (rl *relays) whenReady(p *peer, deadline time.Time, send func(left time.Duration), fail func(error)) {
	left := deadline.Sub(rl.now)
	switch {
	case p.session().ready() && !p.session().held():
		send(left)
	case left <= 0 && p.session().ready():
		fail(errors.New("packets for it wait for post-quantum keys, which could not be agreed on in time"))
	case left <= 0:
		fail(errors.New("no session could be made in time"))
	default:
		rl.paths.try(p, true)
		rl.after(min(left, sessionWait), func() { rl.whenReady(p, deadline, send, fail) })
	}
}

// pathsEcho is the size of a request for paths and of its answer, in bytes. It fits most UDP paths.
const pathsEcho = 1200

// askPaths asks a node how it reaches others.
func (rl *relays) askPaths(e AskPaths) {
	p := rl.nodes[e.Node]
	fail := func(err error) { rl.emit(PathsTold{ID: e.ID, Node: e.Node, Err: err}) }
	if p == nil || p == rl.self || !p.reachable() || !rl.answersEchoes(p) {
		fail(ErrNoEchoes)
		return
	}
	rl.whenReady(p, rl.deadline(e.Timeout), func(left time.Duration) {
		rl.request(p, SendEcho{Path: EchoAsPackets}, wire.Echo{Kind: wire.EchoPathsAsked, Hop: e.After, Size: pathsEcho}, left, func(a echoed) {
			r := PathsTold{ID: e.ID, Node: p.name, More: a.more, Data: a.list}
			if a.lost {
				r.Err = ErrNoAnswer
			}
			rl.emit(r)
		})
	}, fail)
}

// tellPaths answers a node that has asked how we reach others.
func (rl *relays) tellPaths(e TellPaths) {
	p := rl.nodes[e.Node]
	if p == nil || !p.reachable() || !rl.answersEchoes(p) || wire.MinEcho+len(e.Data) > e.Size {
		return
	}
	r := wire.Echo{Kind: wire.EchoPaths, Number: e.Number, Size: wire.MinEcho}
	if e.More {
		r.Flags = wire.EchoMore
	}
	data := append(r.Append(nil), e.Data...)
	rl.emit(SendEcho{Node: p.name, Data: data})
}

// What an [EchoResult] may say.
var (
	ErrNoAnswer = errors.New("no answer in time")
	ErrNoEchoes = errors.New("it does not answer echoes: it runs tinc, or an older tincan")
)

// openEchoes is the number of echoes of ours without an answer.
func (rl *relays) openEchoes() int { return len(rl.echoes) }

// exitWorks takes note of whether packets of others can leave the mesh by this node.
func (rl *relays) exitWorks(e ExitWorks) { rl.exit = e }
