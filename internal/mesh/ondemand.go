package mesh

import "time"

// AutoConnect and traffic. A pair that talks for a while without a direct path gets a
// connection of its own: over it the two tell each other their addresses, and if UDP stays
// blocked their packets have TCP without a detour. And no connection is let go while packets
// travel over it or thanks to it.

const (
	// hotAfter is how long a pair has to talk before it is given a connection.
	hotAfter = 5 * time.Second
	// maxHot connections are made, or in use, beyond those that hold the mesh together.
	maxHot = 4
	// hotRetry is the wait after a first attempt to connect a pair. It doubles up to maxHotRetry.
	hotRetry    = time.Minute
	maxHotRetry = time.Hour
	// inUse is how long after the last packet a connection counts as used; one that
	// was made for a pair is kept for longer, lest it come and go with their talks.
	inUse    = 30 * time.Second
	hotInUse = 5 * time.Minute
)

// onDemand is what AutoConnect knows of a pair that talks.
type onDemand struct {
	next time.Time // no attempt to connect before
	wait time.Duration
}

// used takes note that packets travel over the connection to p, or thanks to it.
func (m *Mesh) used(p *peer) {
	if p == nil || p == m.self {
		return
	}
	if p.conn != nil {
		p.conn.used = m.now
	}
	if !p.usable() {
		if c := m.nextHopConn(p); c != nil {
			c.used = m.now
		}
	}
}

// spare tells whether AutoConnect may let go of c.
func (m *Mesh) spare(c *conn) bool {
	keep := inUse
	if c.out != nil && c.out.hot {
		keep = hotInUse
	}
	return m.now.Sub(c.used) > keep
}

// connectOnDemand dials the nodes that we talk with a lot and have no direct path to.
func (m *Mesh) connectOnDemand() {
	n := 0
	for _, o := range m.dials {
		if o.hot && (o.conn == nil || !o.conn.isActive() || !m.spare(o.conn)) {
			n++
		}
	}
	for _, p := range m.inTalk() {
		h := p.onDemand()
		switch {
		case n >= maxHot:
			return
		case p.conn != nil || m.isDirect(p) || !p.reachable || m.now.Sub(p.lastSent()) > talkingFor,
			m.now.Sub(p.talkBegan()) < hotAfter, m.now.Before(h.next), m.dials[p.name] != nil, !m.hasAnyAddress(p):
			continue
		}
		if !m.mayLogIn(p) {
			if p.minor() >= 2 && m.mightVouch(p) {
				p.session.begin()
			}
			continue
		}
		h.wait = min(max(2*h.wait, hotRetry), maxHotRetry)
		h.next = m.now.Add(h.wait + m.jitter(h.wait/4))
		m.logf(2, Info, "heavy traffic with %s: opening a direct connection", p.name)
		if o := m.addDialTarget(p.name, true); o != nil {
			o.hot = true
			n++
		}
	}
}

// usedBy takes note that something came over c.
func (m *Mesh) cameOver(c *conn) {
	if c != nil {
		c.used = m.now
	}
}
