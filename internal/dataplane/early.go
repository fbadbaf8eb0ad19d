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
func (w *worker) tooEarly(r pendingPacket, why Reason) {
	kept, givenUp := false, 0
	if !w.again {
		kept, givenUp = w.early.add(r)
	}
	w.p.dropN(Undecodable, givenUp)
	if !kept {
		w.p.drop(why)
	}
	w.p.unopened(r.peer, w.now)
}

// unopened tells the protocol core that another record of from could not be opened.
func (p *Plane) unopened(from *peer, now time.Duration) {
	count := int(from.bad.Add(1))
	p.event(&from.undecodable, now, newsEvery, func() mesh.Event {
		return mesh.Undecodable{Node: from.name, Count: count}
	})
}

// openEarly opens what came before its keys did.
func (w *worker) openEarly() {
	if len(w.early.waiting) == 0 {
		return
	}
	records, givenUp := w.early.take(w.now, func(r *pendingPacket, s *state) bool { return s.Tunnel != nil && s.Tunnel != r.tried })
	w.p.dropN(Undecodable, givenUp)
	w.again = true
	for _, r := range records {
		w.fromRecord(r.peer, r.hop, r.data)
	}
	w.again = false
}
