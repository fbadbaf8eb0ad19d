package dataplane

import (
	"slices"
	"sync"
	"time"

	"tincan/internal/mesh"
)

// The last message of a handshake goes to the brain, and the records behind it on the same
// connection come straight here. They may be quicker. So records that cannot be opened yet are
// kept for a moment, until the new keys are published.

// Bounds of the records that came before their keys.
const (
	earlyFor        = time.Second
	maxEarlyPerPeer = 8
	maxEarly        = 64
)

// earlyRecords keeps records until their keys come. The zero value is ready. It is
// safe for concurrent use.
type earlyRecords struct {
	mu      sync.Mutex
	waiting []earlyRecord // oldest first
}

type earlyRecord struct {
	from, hop *peer
	since     time.Duration
	record    []byte
}

// add keeps a copy of record. If there are too many it is given up, and the result is false.
func (e *earlyRecords) add(from, hop *peer, record []byte, now time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(now)
	count := 0
	for i := range e.waiting {
		if e.waiting[i].from == from {
			count++
		}
	}
	if count >= maxEarlyPerPeer || len(e.waiting) >= maxEarly {
		return false
	}
	e.waiting = append(e.waiting, earlyRecord{from, hop, now, slices.Clone(record)})
	return true
}

// take removes and returns what came from a peer and is still worth opening.
func (e *earlyRecords) take(from *peer, now time.Duration) (records []earlyRecord) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(now)
	e.waiting = slices.DeleteFunc(e.waiting, func(r earlyRecord) bool {
		if r.from != from {
			return false
		}
		records = append(records, r)
		return true
	})
	return records
}

// expire removes what has waited too long. The caller holds e.mu.
func (e *earlyRecords) expire(now time.Duration) {
	n := 0
	for n < len(e.waiting) && now-e.waiting[n].since > earlyFor {
		n++
	}
	e.waiting = slices.Delete(e.waiting, 0, n)
}

// tooEarly takes a record from a meta connection that cannot be opened now.
func (c *courier) tooEarly(from, hop *peer, record []byte, why Reason) {
	if c.again || !c.p.early.add(from, hop, record, c.now) {
		c.p.undecodable(from, c.now, why)
		return
	}
	c.p.unopened(from, c.now, int(from.bad.Add(1)))
}

// unopened tells the brain that records of from could not be opened.
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
	c := p.courier()
	defer p.couriers.Put(c)
	c.again = true
	for _, r := range records {
		c.fromRecord(r.from, r.hop, r.record)
	}
}
