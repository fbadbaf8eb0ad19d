package mesh

import (
	"net/netip"
	"slices"
	"time"

	"tincan/internal/wire"
)

// Opening NATs before they are probed. A Linux that masquerades and does not drop what comes in for itself
// takes a datagram from outside for a connection of its own. Towards that peer it can then give
// the port to nobody behind it: the node inside is seen at another port than all others see it at, and is
// not found, as long as the peer goes on asking at the old one.
//
// So a probe must not come to a node's NAT before the node has sent one to where we are. Each side first
// sends probes that expire after they have passed its own NAT, and tells the other one
// over whatever path packets take so far. It probes in earnest when it hears the same, or after a
// moment if the other side knows nothing of this. A node that has no NAT only says that it is ready.
//
// Where that fails both keep quiet for longer than the connection lives that was made of their probes, and
// begin again, together.

const (
	// openingTTL is enough for the own NAT and too little for any other but one in the same network.
	openingTTL = 2
	// openingProbes are sent at once: one may be lost.
	openingProbes = 2
	// openingWait is how long the other side has to say that it is ready.
	openingWait = quickInterval
	// openingSlack later it is made up for what discovery has not done then.
	openingSlack = 10 * time.Millisecond
	// openingTries is how long probes are sent in earnest before the pause. It must be short: for
	// a NAT in which it is too late already they are what keeps it so.
	openingTries = 8 * time.Second
	// openingPause is longer than Linux remembers a datagram without an answer (30 s).
	openingPause = 35 * time.Second
	// openFor is how long a path that was in use is taken to be open still.
	openFor = 20 * time.Second
	// lostFor is after what time a path that was in use may be closed by our own probes.
	lostFor = 10 * time.Minute
	// openingEvery is the least time between two requests to open that are followed, or made.
	openingEvery = time.Second
)

// opening is how far two nodes are with opening their NATs. The zero value has not begun.
type opening struct {
	begun time.Time // zero: not yet
	full  bool      // probes may reach the peer's NAT
	last  time.Time // when it was looked for
	until time.Time // of the pause
	asked time.Time // last request to the peer
	met   time.Time // last request of the peer
}

// end: the peer is reached, or nobody looks for it. What was asked for is kept.
func (o *opening) end() { *o = opening{asked: o.asked, met: o.met} }

// guarded tells whether p is behind a NAT at a: at none of the addresses that it says it has itself. (tinc 1.0
// says nothing about that.)
func (ps *paths) guarded(p *peer, a netip.AddrPort) bool {
	behind := false
	for e := range ps.graph.From(p.name) {
		if own, ok := e.Local.Addr(); ok {
			ip := own.Addr().Unmap()
			if ip == a.Addr() {
				return false
			}
			behind = behind || ip.Is4() == a.Addr().Is4()
		}
	}
	return behind
}

// hidden tells whether we are behind a NAT: a neighbour sees us elsewhere than we are.
func (ps *paths) hidden(is4 bool) bool {
	for e := range ps.graph.To(ps.cfg.Name) {
		from := ps.nodes[e.From]
		if from == nil || from.conn() == nil {
			continue
		}
		if seen, ok := e.Addr.Addr(); ok {
			ip := seen.Addr().Unmap()
			if own := from.conn().local.Addr().Unmap(); own.IsValid() && ip.Is4() == is4 && own.Is4() == is4 && own != ip {
				return true
			}
		}
	}
	return false
}

// askEverywhere probes p, which is not found yet, at all places where it may be.
func (ps *paths) askEverywhere(p *peer) {
	o := &p.udp().opening
	stepped := false
	for _, a := range ps.candidates(p) {
		if ps.guarded(p, a) {
			if !stepped {
				stepped = true
				ps.openStep(p, a.Addr().Is4())
			}
			if !o.full {
				continue
			}
		}
		ps.probe(p, a, minProbe)
	}
}

// openStep goes on with opening the NATs between p and us: begins, lets probes pass, or begins a pause.
func (ps *paths) openStep(p *peer, is4 bool) {
	r := p.udp()
	o := &r.opening
	idle := ps.now.Sub(r.alive) // huge if it was never found
	if ps.now.Sub(o.last) > openFor && ps.now.After(o.until) {
		o.end() // it is shut by now
	}
	o.last = ps.now
	switch {
	case ps.now.Before(o.until):
	case o.begun.IsZero() && idle < openFor:
		o.begun, o.full = ps.now, true
	case o.begun.IsZero():
		ps.open(p, true)
	case !o.full:
		o.full = ps.now.Sub(o.begun) >= openingWait
	case ps.now.Sub(o.begun) >= openingTries && idle > lostFor && ps.hidden(is4):
		o.end()
		o.until = ps.now.Add(openingPause)
	}
}

// open opens our NAT for p and tells it; begin says that we are the first of the two.
func (ps *paths) open(p *peer, begin bool) {
	o := &p.udp().opening
	o.begun = ps.now
	o.last = ps.now
	o.full = false
	o.until = time.Time{}
	for _, a := range ps.candidates(p) {
		if !ps.guarded(p, a) || !ps.hidden(a.Addr().Is4()) || formsOf(ps.env, p).now() == noForm {
			continue
		}
		for range openingProbes {
			ps.emit(SendProbe{Node: p.name, Addr: a, Sock: -1, TTL: openingTTL, Mask: p.maskAs(formsOf(ps.env, p).now()), Data: probeRequest(ps.deps.Rand, p.session().minProbe())})
		}
	}
	ps.tellOpened(p, begin)
	began := o.begun
	ps.after(openingWait+openingSlack, func() {
		if o := &p.udp().opening; p.reachable() && !p.confirmed() && o.begun == began && !o.full {
			ps.probeOpened(p)
		}
	})
}

// toldAddress takes note of an address that p has according to others.
func (ps *paths) toldAddress(p *peer, a netip.AddrPort) {
	r := p.udp()
	if r.confirmed || !usable(a) || !ps.guarded(p, a) {
		ps.newAddress(p, a)
		return
	}
	known := slices.Contains(r.heard, a)
	r.note(a)
	if !known && p.session().ready() && !r.opening.begun.IsZero() && ps.now.Sub(r.extra) >= extraInterval {
		r.extra = ps.now
		ps.open(p, true)
	}
}

// probeOpened probes p, whose NAT has been opened.
func (ps *paths) probeOpened(p *peer) {
	p.udp().opening.full = true
	for _, a := range ps.candidates(p) {
		ps.probe(p, a, minProbe)
	}
}

// tellOpened tells p that its datagrams are let in, and asks for the same.
func (ps *paths) tellOpened(p *peer, ask bool) {
	o := &p.udp().opening
	if !ps.relays.answersEchoes(p) {
		return
	}
	r := wire.Echo{Kind: wire.EchoOpened, Size: wire.MinEcho}
	if ask && ps.now.Sub(o.asked) >= openingEvery {
		o.asked = ps.now
		r.Flags = wire.EchoBack
	}
	ps.emit(SendEcho{Node: p.name, Data: r.Append(nil)})
}

// opened: the NAT of p lets us in. If it asks for the same, ours will.
func (ps *paths) opened(p *peer, ask bool) {
	r := p.udp()
	o := &r.opening
	if !p.session().ready() || ps.cfg.NoUDPDiscovery || ps.reach.effectiveVia(p) != p || ps.cfg.TCPOnly || p.path().Options&wire.TCPOnly != 0 {
		return
	}
	if ask {
		if ps.now.Sub(o.met) < openingEvery {
			return
		}
		o.met = ps.now
		switch {
		case r.confirmed, !o.begun.IsZero(): // it is open
			ps.tellOpened(p, false)
		default:
			ps.open(p, false)
			r.asked, r.waiting = ps.now, true
		}
	}
	if !r.confirmed && !o.begun.IsZero() && !o.full {
		ps.probeOpened(p)
	}
}
