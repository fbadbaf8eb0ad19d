package mesh

import (
	"math/bits"
	"time"
)

// quality is how good one way to a node is, learned from echoes: round trip time and loss.
type quality struct {
	rtt    estimate
	losses uint32 // of the last echoes, one bit each, the newest lowest
	count  int    // how many of the bits count
	missed int    // echoes lost since the last answer
}

const (
	// sampleSize is how many echoes the loss is taken of, leastSample how many are
	// pretended at first, so that a single lost one says little.
	sampleSize  = 32
	leastSample = 8
	// An echo is given up after so long.
	minEchoWait   = 100 * time.Millisecond
	maxEchoWait   = 3 * time.Second
	firstEchoWait = time.Second
)

func (q *quality) answered(rtt time.Duration) {
	q.rtt.add(rtt)
	q.missed = 0
	q.note(0)
}

func (q *quality) lost() {
	q.missed++
	q.note(1)
}

func (q *quality) note(bit uint32) {
	q.losses = q.losses<<1 | bit
	q.count = min(q.count+1, sampleSize)
}

// measured tells whether there was an answer yet.
func (q *quality) measured() bool { return q.rtt.srtt > 0 }

// mean is the mean round trip time, 0 if there was no answer yet.
func (q *quality) mean() time.Duration { return q.rtt.srtt }

// loss is the share of lost echoes, 0 to 1.
func (q *quality) loss() float64 {
	return float64(bits.OnesCount32(q.losses)) / float64(max(q.count, leastSample))
}

// wait is how long an answer may take.
func (q *quality) wait() time.Duration {
	if !q.measured() {
		return firstEchoWait
	}
	return min(q.rtt.answer(max(minEchoWait, q.rtt.srtt+q.rtt.srtt/4)), maxEchoWait)
}

// cost is the delay without loss that would be as bad: a loss of an eighth counts as twice the
// delay. Two lost echoes are chance, and cost nothing.
func (q *quality) cost() time.Duration {
	lost := max(bits.OnesCount32(q.losses)-2, 0)
	return q.rtt.srtt + q.rtt.srtt*time.Duration(8*lost)/time.Duration(max(q.count, leastSample))
}
