package mesh

import "time"

// AutoConnect and traffic. A pair that talks for a while without a direct path gets a
// connection of its own: over it the two tell each other their addresses, and if UDP stays
// blocked their packets have TCP without a detour. And no connection is let go while packets
// travel over it or thanks to it.

const (
	// onDemandAfter is how long a pair has to talk before it is given a connection.
	onDemandAfter = 5 * time.Second
	// maxOnDemand connections are made, or in use, beyond those that hold the mesh together.
	maxOnDemand = 4
	// onDemandRetry is the wait after a first attempt to connect a pair. It doubles up to maxOnDemandRetry.
	onDemandRetry    = time.Minute
	maxOnDemandRetry = time.Hour
	// inUse is how long after the last packet a connection counts as used; one that
	// was made for a pair is kept for longer, lest it come and go with their talks.
	inUse         = 30 * time.Second
	onDemandInUse = 5 * time.Minute
)

// onDemand is what AutoConnect knows of a pair that talks.
type onDemand struct {
	next time.Time // no attempt to connect before
	wait time.Duration
}

// used takes note that packets travel over the connection to p, or thanks to it.
func (d *dialer) used(p *peer) {
	if p == nil || p == d.self {
		return
	}
	d.reconsider()
	if p.conn() != nil {
		p.conn().dial.used = d.now
	}
	if !p.usable() {
		if c := d.reach.nextHopConn(p); c != nil {
			c.dial.used = d.now
		}
	}
}

// spare tells whether AutoConnect may let go of c.
func (d *dialer) spare(c *conn) bool { return d.now.Sub(c.dial.used) > d.keepFor(c) }

// keepFor is how long after the last packet that travelled over c, or thanks to it, it counts as used.
func (d *dialer) keepFor(c *conn) time.Duration {
	if c.dial.out != nil && c.dial.out.onDemand {
		return onDemandInUse
	}
	return inUse
}

// connectOnDemand dials the nodes that we talk with a lot and have no direct path to.
func (d *dialer) connectOnDemand() {
	n := 0
	for _, o := range d.dials {
		if o.onDemand && (o.conn == nil || !o.conn.isActive() || !d.spare(o.conn)) {
			n++
		}
	}
	for _, p := range d.relays.inTalk() {
		h := p.onDemand()
		switch {
		case n >= maxOnDemand:
			return
		case p.conn() != nil || d.relays.isDirect(p) || !p.reachable() || d.now.Sub(p.lastSent()) > talkingFor,
			d.now.Sub(p.talkBegan()) < onDemandAfter, d.now.Before(h.next), d.dials[p.name] != nil, !d.hasAnyAddress(p):
			continue
		}
		if !d.keyring.mayLogIn(p) {
			if p.minor() >= 2 && d.keyring.mightVouch(p) {
				p.session().begin()
			}
			continue
		}
		h.wait = min(max(2*h.wait, onDemandRetry), maxOnDemandRetry)
		h.next = d.now.Add(h.wait + d.jitter(h.wait/4))
		d.logf(2, Info, "heavy traffic with %s: opening a direct connection", p.name)
		if o := d.addDialTarget(p.name, true); o != nil {
			o.onDemand = true
			n++
		}
	}
}

// cameOver takes note that something came over c.
func (d *dialer) cameOver(c *conn) {
	if c != nil {
		c.dial.used = d.now
	}
}

// onDemand is what AutoConnect knows of p as one that we talk with.
func (p *peer) onDemand() *onDemand { return &p.contact().onDemand }
