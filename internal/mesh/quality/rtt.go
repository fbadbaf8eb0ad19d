package quality

import "time"

// RTT is what is known of a round trip time: a moving mean and by how much single
// samples differ from it (RFC 6298). The zero value knows nothing.
type RTT struct {
	srtt, rttvar time.Duration
}

// Add takes in one sample.
func (e *RTT) Add(sample time.Duration) {
	sample = max(sample, time.Microsecond)
	if e.srtt == 0 {
		e.srtt, e.rttvar = sample, sample/2
		return
	}
	e.rttvar += ((sample - e.srtt).Abs() - e.rttvar) / 4
	e.srtt += (sample - e.srtt) / 8
}

// Mean is the moving mean, 0 if nothing is known.
func (e *RTT) Mean() time.Duration { return e.srtt }

// Deviation is by how much single samples differ from the mean.
func (e *RTT) Deviation() time.Duration { return e.rttvar }

// Answer is how long an answer may be on its way, if it is not lost: at least so
// long, which is also the answer when nothing is known.
func (e *RTT) Answer(least time.Duration) time.Duration {
	return max(least, e.srtt+4*e.rttvar)
}

// Floor is the round trip time of a path on which nothing waits: the shortest of the last minutes. The zero
// value knows nothing.
type Floor struct {
	current, previous time.Duration // shortest in this window and the one before it, 0: none
	since             time.Time     // beginning of this window
}

// baseWindow is how long a route may have become longer until that is believed.
const baseWindow = 2 * time.Minute

// Add takes in one sample.
func (b *Floor) Add(now time.Time, sample time.Duration) {
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
func (b *Floor) shortest() time.Duration {
	if b.previous != 0 {
		return min(b.current, b.previous)
	}
	return b.current
}

// Queued tells whether packets that took so long have waited in a queue.
func (b *Floor) Queued(rtt time.Duration) bool {
	shortest := b.shortest()
	return shortest != 0 && rtt > shortest+max(queuedFor, shortest/4)
}

// queuedFor is how long a packet waits in a queue that is worth the name, at least.
const queuedFor = 10 * time.Millisecond
