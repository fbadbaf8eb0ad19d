package dataplane

import (
	"time"

	"tincan/internal/mesh"
)

// The last message of a handshake goes to the protocol core, and the records after it on the same
// connection come straight here. They may be quicker. So records that cannot be opened yet are
// kept for a moment, until the new keys are published.

// Bounds of the records that came before their keys.
const (
	earlyFor        = time.Second
	maxEarlyPerPeer = 8
	maxEarly        = 64
)

// tooEarly takes a record from a meta connection that cannot be opened now.
func (c *slowPath) tooEarly(from, hop *peer, record []byte, why Reason) {
	kept := false
	if !c.again {
		kept, _ = c.p.early.add(pendingPacket{from, hop, c.now, record})
	}
	if !kept {
		c.p.undecodable(from, c.now, why)
		return
	}
	c.p.unopened(from, c.now, int(from.bad.Add(1)))
}

// unopened tells the protocol core that records of from could not be opened.
func (p *Plane) unopened(from *peer, now time.Duration, count int) {
	p.event(&from.undecodable, now, newsEvery, func() mesh.Event {
		return mesh.Undecodable{Node: from.name, Count: count}
	})
}

// openEarly opens what came before the keys of pr did.
func (p *Plane) openEarly(pr *peer) {
	records := p.early.take(pr, p.now())
	if len(records) == 0 {
		return
	}
	c := p.slowPath()
	defer p.slowPaths.Put(c)
	c.again = true
	for _, r := range records {
		c.fromRecord(r.peer, r.hop, r.data)
	}
}
