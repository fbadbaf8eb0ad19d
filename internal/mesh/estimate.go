package mesh

import "time"

// estimate is what is known of a round trip time: a moving mean and how far single
// samples stray from it (RFC 6298). The zero value knows nothing.
type estimate struct {
	mean, stray time.Duration
}

// add takes in one sample.
func (e *estimate) add(sample time.Duration) {
	sample = max(sample, time.Microsecond)
	if e.mean == 0 {
		e.mean, e.stray = sample, sample/2
		return
	}
	e.stray += ((sample - e.mean).Abs() - e.stray) / 4
	e.mean += (sample - e.mean) / 8
}

// answer is how long an answer may be on its way, if it is not lost: at least so
// long, which is also the answer when nothing is known.
func (e *estimate) answer(least time.Duration) time.Duration {
	return max(least, e.mean+4*e.stray)
}
