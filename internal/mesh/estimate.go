package mesh

import "time"

// estimate is what is known of a round trip time: a moving mean and how far single
// samples stray from it (RFC 6298). The zero value knows nothing.
type estimate struct {
	srtt, rttvar time.Duration
}

// add takes in one sample.
func (e *estimate) add(sample time.Duration) {
	sample = max(sample, time.Microsecond)
	if e.srtt == 0 {
		e.srtt, e.rttvar = sample, sample/2
		return
	}
	e.rttvar += ((sample - e.srtt).Abs() - e.rttvar) / 4
	e.srtt += (sample - e.srtt) / 8
}

// answer is how long an answer may be on its way, if it is not lost: at least so
// long, which is also the answer when nothing is known.
func (e *estimate) answer(least time.Duration) time.Duration {
	return max(least, e.srtt+4*e.rttvar)
}

// base is the round trip time of a path on which nothing waits: the shortest of the last minutes. The zero
// value knows nothing.
type base struct {
	current, previous time.Duration // shortest in this window and the one before it, 0: none
	since             time.Time     // beginning of this window
}

// baseWindow is how long a route may have become longer until that is believed.
const baseWindow = 2 * time.Minute

func (b *base) add(now time.Time, sample time.Duration) {
	sample = max(sample, time.Microsecond)
	if b.current != 0 && now.Sub(b.since) >= baseWindow {
		b.previous, b.current = b.current, 0
	}
	if b.current == 0 {
		b.current, b.since = sample, now
	}
	b.current = min(b.current, sample)
}

// shortest is 0 if there is no sample.
func (b *base) shortest() time.Duration {
	if b.previous != 0 {
		return min(b.current, b.previous)
	}
	return b.current
}

// queued tells whether packets that took so long have waited in a queue.
func (b *base) queued(rtt time.Duration) bool {
	shortest := b.shortest()
	return shortest != 0 && rtt > shortest+max(queuedFor, shortest/4)
}

// queuedFor is how long a packet waits in a queue that is worth the name, at least.
const queuedFor = 10 * time.Millisecond
