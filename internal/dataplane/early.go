package dataplane

import (
	"time"

	"tincan/internal/mesh"
)

// The last message of a handshake goes to the protocol core, while the records after it on the same
// connection come directly here and may overtake it. So records that cannot be opened yet are
// kept briefly, until the new keys are published.

// Bounds of the records that arrive before their keys.
const (
	maxEarlyAge     = time.Second
	maxEarlyPerPeer = 8
	maxEarly        = 64
)

// keepEarly queues a record from a meta connection that cannot be opened yet.
func (w *worker) keepEarly(r pendingPacket, why Reason) {
	kept, expired := false, 0
	if !w.retrying {
		kept, expired = w.early.add(r)
	}
	w.p.dropN(Undecodable, expired)
	if !kept {
		w.p.drop(why)
	}
	w.p.reportUndecodable(r.peer, w.now)
}

// reportUndecodable reports to the protocol core that another record of from could not be opened.
func (p *Plane) reportUndecodable(from *peer, now time.Duration) {
	count := int(from.openFailures.Add(1))
	p.event(&from.undecodable, now, reportEvery, func() mesh.Event {
		return mesh.Undecodable{Node: from.name, Count: count}
	})
}

// openEarly opens records that arrived before their keys.
func (w *worker) openEarly() {
	if len(w.early.waiting) == 0 {
		return
	}
	records, expired := w.early.take(w.now, func(r *pendingPacket, s *state) bool { return s.Tunnel != nil && s.Tunnel != r.tried })
	w.p.dropN(Undecodable, expired)
	w.retrying = true
	for _, r := range records {
		w.fromRecord(r.peer, r.hop, r.data)
	}
	w.retrying = false
}
