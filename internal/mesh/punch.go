package mesh

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"tincan/internal/mesh/timer"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// TCP through two NATs: simultaneous open. Neither end can be dialled, since each is behind
// something that lets in only what answers a packet from inside. So both dial, from the port
// that the other expects them at, at the same moment. Each SYN opens the NAT for the other, and the
// two attempts become one connection.
//
// That is done for a pair that talks, when dialling has failed and there is no path by UDP.
// The one that wants it asks the other in a record of their session, which takes whatever
// path there is, and begins half a round trip later.
//
// Both have dialled then, and both say so in their ID lines. If a SYN has found an open port after
// all, the other end has accepted, and says nothing of the kind. So each knows who is the
// initiator of the login: who has dialled, and of two the one with the smaller name.

const (
	// punchTries are made for a pair, at one address after the other.
	punchTries = 3
	// punchTime is how long one takes: the kernel repeats its SYN after 1 and 3 s.
	punchTime = 4 * time.Second
	// punchEcho is how long we wait for the round trip time.
	punchEcho = 2 * time.Second
	// maxPunches are under way at the same time.
	maxPunches = 4
	// punchRetry is the wait after all tries have failed. It doubles up to maxOnDemandRetry.
	punchRetry = 2 * time.Minute
	// punchAgain is the least time between two requests of a node that are followed.
	punchAgain = time.Second
	// maxCrossings pairs of addresses are considered.
	maxCrossings = 4
)

// punch is what we know of simultaneous attempts with a peer.
type punch struct {
	conn  *conn // the attempt that is under way
	left  int   // tries of ours that are left, beyond this one
	ours  bool  // we have asked for it
	at    []crossing
	timer *timer.Timer // when we begin to dial
	next  time.Time
	wait  time.Duration
	asked time.Time // last request of the peer that was followed
}

// crossing is where two nodes expect each other.
type crossing struct{ theirs, own netip.AddrPort }

// crossings are the pairs of addresses at which p and we may meet: as others see us. Best
// is what one node sees of both.
func (d *dialer) crossings(p *peer) (list []crossing) {
	type seenBy struct {
		by   node.Name
		addr netip.AddrPort
	}
	seen := func(name node.Name) (out []seenBy) {
		for e := range d.graph.To(name) {
			if a, ok := e.Addr.Addr(); ok && d.canCross(a) && e.From != p.name && e.From != d.cfg.Name {
				out = append(out, seenBy{e.From, netip.AddrPortFrom(a.Addr().Unmap(), a.Port())})
			}
		}
		return out
	}
	own, theirs := seen(d.cfg.Name), seen(p.name)
	for _, same := range []bool{true, false} {
		for _, t := range theirs {
			for _, o := range own {
				x := crossing{t.addr, o.addr}
				if (t.by == o.by) == same && x.theirs.Addr() != x.own.Addr() && d.addresses.believable(x.theirs) && x.theirs.Addr().Is4() == x.own.Addr().Is4() &&
					!slices.Contains(list, x) && len(list) < maxCrossings {
					list = append(list, x)
				}
			}
		}
	}
	return list
}

// canCross tells whether a connection may meet one at a. Our own address is Here for most nodes.
func (d *dialer) canCross(a netip.AddrPort) bool {
	return usable(a) && d.addresses.locate(a.Addr()) != Inside && a.Addr().Unmap().IsGlobalUnicast()
}

// punches tells whether p and we can dial each other at the same moment.
func (d *dialer) punches(p *peer) bool {
	return d.cfg.Punch && !d.down && p != d.self && p.reachable() && p.conn() == nil && d.keyring.loginKey(p) != nil && d.cfg.Key != nil &&
		p.path().Options.Has(wire.Punch) && d.relays.answersEchoes(p)
}

// punch begins to dial p together with it, if the two need that.
func (d *dialer) punch(p *peer) {
	u := p.punch()
	switch {
	case !d.punches(p) || !p.session().ready() || u.ours || u.conn != nil || d.now.Before(u.next):
		return
	case d.relays.isDirect(p) || d.now.Sub(p.lastSent()) > talkingFor || d.now.Sub(p.talkBegan()) < onDemandAfter || d.punching() >= maxPunches:
		return
	}
	if u.at = d.crossings(p); len(u.at) == 0 {
		return
	}
	u.ours, u.left = true, punchTries
	u.wait = min(max(2*u.wait, punchRetry), maxOnDemandRetry)
	u.next = d.now.Add(u.wait + d.jitter(u.wait/4))
	d.nextPunch(p)
}

// punching is how many attempts of this kind are under way.
func (d *dialer) punching() (n int) {
	for _, p := range d.order {
		if u := p.punchIfAny(); u != nil && (u.ours || u.conn != nil) {
			n++
		}
	}
	return n
}

// nextPunch makes the next try of ours.
func (d *dialer) nextPunch(p *peer) {
	u := p.punch()
	if u.conn != nil || !u.ours {
		return
	}
	if d.nodes[p.name] != p || !d.punches(p) || !p.session().ready() || u.left == 0 || d.relays.isDirect(p) {
		u.ours, u.at = false, nil
		return
	}
	x := u.at[(punchTries-u.left)%len(u.at)]
	u.left--
	d.relays.askEcho(p, SendEcho{Path: EchoAsPackets}, wire.MinEcho, punchEcho, func(a echoed) {
		switch {
		case u.conn != nil || !u.ours: // the peer was first
		case a.lost || !d.punches(p):
			d.nextPunch(p)
		default:
			d.logf(2, Info, "asking %s to dial us at %s, while we dial it at %s", p.name, x.own, x.theirs)
			d.emit(SendEcho{Node: p.name, Data: wire.Echo{Kind: wire.EchoDial, Seen: x.own, Size: wire.SeenEcho}.Append(nil)})
			d.timers.Cancel(u.timer)
			u.timer = d.after(a.rtt/2, func() {
				if u.conn == nil && d.punches(p) {
					d.dialTogether(p, x.theirs)
				} else {
					d.nextPunch(p)
				}
			})
		}
	})
}

// punchAsked follows a request of p to dial it now.
func (d *dialer) punchAsked(p *peer, to netip.AddrPort) {
	u := p.punch()
	if !d.punches(p) || d.now.Sub(u.asked) < punchAgain || !d.seenAt(p, to) {
		return
	}
	switch c := u.conn; {
	case c == nil && !u.timer.Waiting():
		if !u.ours && d.punching() >= maxPunches {
			return
		}
	case d.cfg.Name < p.name || c != nil && !c.isDialling():
		return // both have asked: the smaller name's request counts
	case c != nil:
		if c.remote == to {
			return
		}
		d.links.forget(c)
		d.emit(CloseConn{Conn: c.id, Reason: "the peer wants to meet at another address"})
	}
	d.timers.Cancel(u.timer)
	u.asked = d.now
	d.dialTogether(p, to)
}

// seenAt tells whether the neighbours of p see it at a. Nobody may have us dial arbitrary addresses.
func (d *dialer) seenAt(p *peer, a netip.AddrPort) bool {
	if !d.canCross(a) || !d.addresses.believable(a) {
		return false
	}
	for e := range d.graph.To(p.name) {
		if at, ok := e.Addr.Addr(); ok && at.Addr().Unmap() == a.Addr() && at.Port() == a.Port() {
			return true
		}
	}
	return false
}

// dialTogether dials p, which dials us.
func (d *dialer) dialTogether(p *peer, to netip.AddrPort) {
	c := d.links.newDial(p, to)
	p.punch().conn = c
	d.logf(1, Info, "connecting to %s at %s, while it connects to us", p.name, to)
	d.emit(Dial{
		Conn: c.id, Node: p.name, To: Endpoint{Host: to.Addr().String(), Port: strconv.Itoa(int(to.Port()))},
		Timeout: punchTime, From: d.cfg.Port,
	})
}

// punchEnded: c, on which both have dialled, is activated or gone.
func (d *dialer) punchEnded(c *conn, success bool) {
	p := c.peer
	u := p.punch()
	u.conn = nil
	if !success {
		if u.ours {
			d.after(d.jitter(500*time.Millisecond), func() { d.nextPunch(p) })
		}
		return
	}
	if u.ours && d.dials[p.name] == nil && d.cfg.AutoConnect {
		if o := d.addDialTarget(p.name, true); o != nil { // so that it is let go when nobody needs it
			o.onDemand = true
		}
	}
	u.ours, u.at, u.wait = false, nil, 0
}

// punchForgotten: c, on which both have dialled, is in no table any more.
func (d *dialer) punchForgotten(c *conn) {
	if u := c.peer.punch(); u.conn == c {
		u.conn = nil
	}
}

// punchIfAny returns what there is, nil if there is nothing.
func (p *peer) punchIfAny() *punch {
	if p.contacted == nil {
		return nil
	}
	return &p.contacted.punch
}

// punch is what was tried to dial p and be dialled by it at the same moment.
func (p *peer) punch() *punch { return &p.contact().punch }
