package mesh

import (
	"math/bits"
	"time"
)

// estimate is how good one way to a node is, learned from echoes: round trip time and loss.
type estimate struct {
	srtt, rttvar time.Duration // as in RFC 6298; zero: never answered
	losses       uint16        // of the last echoes, one bit each, the newest lowest
	count        int           // how many of the bits count
	missed       int           // echoes lost since the last answer
}

const (
	// sampleSize is how many echoes the loss is taken of, leastSample how many are
	// pretended at first, so that a single lost one says little.
	sampleSize  = 16
	leastSample = 8
	// An echo is given up after so long.
	minEchoWait   = 100 * time.Millisecond
	maxEchoWait   = 3 * time.Second
	firstEchoWait = time.Second
)

func (e *estimate) answered(rtt time.Duration) {
	if e.srtt == 0 {
		e.srtt, e.rttvar = rtt, rtt/2
	} else {
		e.rttvar += ((rtt - e.srtt).Abs() - e.rttvar) / 4
		e.srtt += (rtt - e.srtt) / 8
	}
	e.srtt = max(e.srtt, 1)
	e.missed = 0
	e.note(0)
}

func (e *estimate) lost() {
	e.missed++
	e.note(1)
}

func (e *estimate) note(bit uint16) {
	e.losses = e.losses<<1 | bit
	e.count = min(e.count+1, sampleSize)
}

func (e *estimate) measured() bool { return e.srtt > 0 }

// loss is the share of lost echoes, 0 to 1.
func (e *estimate) loss() float64 {
	return float64(bits.OnesCount16(e.losses)) / float64(max(e.count, leastSample))
}

// wait is how long an answer may take.
func (e *estimate) wait() time.Duration {
	if !e.measured() {
		return firstEchoWait
	}
	return min(max(e.srtt+4*e.rttvar, e.srtt+e.srtt/4, minEchoWait), maxEchoWait)
}

// cost is the delay that one would gladly take instead: a loss of an eighth counts as
// twice the delay.
func (e *estimate) cost() time.Duration {
	return time.Duration(float64(e.srtt) * (1 + 8*e.loss()))
}
