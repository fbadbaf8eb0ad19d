package seen

import "time"

const (
	// MaxRepeats of the same routed request are passed on in RepeatPeriod or a little more.
	// Nodes that disagree about the next hop would send it in circles, and daemons that do not
	// count have done so a million times.
	MaxRepeats = 8
	// MaxOfPair requests of one kind from one node to another are passed on in that time,
	// whatever they say. A handshake takes three.
	MaxOfPair    = 100
	RepeatPeriod = 10 * time.Second
)

// Repeats counts how often the same routed request was passed on lately, in two periods
// of which the older one is complete.
type Repeats struct {
	current, previous map[digest]int
	since             time.Time
}

// TooMany counts text and tells whether it has been passed on too often, or others
// from the same node to the same node have.
func (r *Repeats) TooMany(now time.Time, text string) bool {
	if r.current == nil || now.Sub(r.since) >= RepeatPeriod || len(r.current) > Limit {
		if r.previous, r.current = r.current, map[digest]int{}; now.Sub(r.since) >= 2*RepeatPeriod {
			r.previous = nil
		}
		r.since = now
	}
	return r.count(text) > MaxRepeats || r.count(pairOf(text)) > MaxOfPair
}

func (r *Repeats) count(text string) int {
	d := digestOf(text)
	r.current[d]++
	return r.current[d] + r.previous[d]
}

// pairOf is the beginning of a routed request, "KIND FROM TO".
func pairOf(text string) string {
	words := 0
	for i := range len(text) {
		if text[i] == ' ' {
			if words++; words == 3 {
				return text[:i+1]
			}
		}
	}
	return text + " "
}

// Size is the number of requests that are remembered.
func (r *Repeats) Size() int { return len(r.current) + len(r.previous) }
