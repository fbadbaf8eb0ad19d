package mesh

import "time"

// repeats counts how often the same routed request was passed on lately, in two periods
// of which the older one is complete.
type repeats struct {
	current, previous map[digest]int
	since             time.Time
}

// tooMany counts text and tells whether it has been passed on too often, or others
// from the same node to the same node have.
func (r *repeats) tooMany(now time.Time, text string) bool {
	if r.current == nil || now.Sub(r.since) >= repeatPeriod || len(r.current) > seenLimit {
		if r.previous, r.current = r.current, map[digest]int{}; now.Sub(r.since) >= 2*repeatPeriod {
			r.previous = nil
		}
		r.since = now
	}
	return r.count(text) > maxRepeats || r.count(pairOf(text)) > maxOfPair
}

func (r *repeats) count(text string) int {
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

// pass sends a routed request of another node on towards to, unless that would
// send it back to c, where it came from, or it seems to run in circles.
func (rc *reach) pass(c *conn, to *peer, text string) {
	next := rc.nextHopConn(to)
	switch {
	case next == nil:
	case next == c:
		rc.logf(3, Debug, "not sending a request for %s back to %s", to.name, c)
	case rc.repeats.tooMany(rc.now, text):
		rc.logf(2, Info, "routing loop: dropped a request for %s", to.name)
	default:
		rc.links.sendText(next, text)
	}
}

// route sends a request towards p over the meta connections.
func (rc *reach) route(p *peer, text []byte) {
	if c := rc.nextHopConn(p); c != nil {
		rc.links.send(c, text)
	}
}

// size is the number of requests that are remembered.
func (r *repeats) size() int { return len(r.current) + len(r.previous) }
