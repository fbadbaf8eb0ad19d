// Package quality is what is learned of a path by asking over it: how long an answer takes, and how often there is none.
package quality

import (
	"math/bits"
	"time"
)

// Path is how good one path to a node is, learned from echoes: round trip time and loss.
type Path struct {
	rtt    RTT
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

// Answered takes note of an answer after rtt.
func (q *Path) Answered(rtt time.Duration) {
	q.rtt.Add(rtt)
	q.missed = 0
	q.note(0)
}

// Lost takes note that no answer came in time.
func (q *Path) Lost() {
	q.missed++
	q.note(1)
}

func (q *Path) note(bit uint32) {
	q.losses = q.losses<<1 | bit
	q.count = min(q.count+1, sampleSize)
}

// Measured tells whether there was an answer yet.
func (q *Path) Measured() bool { return q.rtt.srtt > 0 }

// Mean is the mean round trip time, 0 if there was no answer yet.
func (q *Path) Mean() time.Duration { return q.rtt.srtt }

// Loss is the share of lost echoes, 0 to 1.
func (q *Path) Loss() float64 {
	return float64(bits.OnesCount32(q.losses)) / float64(max(q.count, leastSample))
}

// Wait is how long an answer may take.
func (q *Path) Wait() time.Duration {
	if !q.Measured() {
		return firstEchoWait
	}
	return min(q.rtt.Answer(max(minEchoWait, q.rtt.srtt+q.rtt.srtt/4)), maxEchoWait)
}

// Cost is the delay without loss that would be as bad: a loss of an eighth counts as twice the
// delay. Two lost echoes are chance, and cost nothing.
func (q *Path) Cost() time.Duration {
	lost := max(bits.OnesCount32(q.losses)-2, 0)
	return q.rtt.srtt + q.rtt.srtt*time.Duration(8*lost)/time.Duration(max(q.count, leastSample))
}

// Count is how many of the last echoes count.
func (q *Path) Count() int { return q.count }

// Missed is the number of echoes that were lost since the last answer.
func (q *Path) Missed() int { return q.missed }
