package quality

import "time"

// Bounds are the upper bounds of the buckets of a [Histogram].
var Bounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
}

// Histogram counts durations by their length. The zero value is ready.
type Histogram struct {
	Count   uint64
	Sum     time.Duration
	Buckets [len(Bounds)]uint32 // how many lie between the bound before and this one; what is longer is in none
}

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	h.Count++
	h.Sum += d
	for i, bound := range Bounds {
		if d <= bound {
			h.Buckets[i]++
			return
		}
	}
}
