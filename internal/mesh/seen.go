package mesh

import "time"

// seen remembers the texts of flooded requests, so that each is handled once.
//
// It holds two generations. An entry lives for one to two periods, or less when
// more than seenLimit texts come in a period: then a text that still circulates
// is handled again, which changes nothing and therefore goes no further.
type seen struct {
	young, old map[string]struct{}
	turned     time.Time
}

const (
	seenPeriod = time.Minute
	seenLimit  = 100_000
)

// first tells whether text was not seen before, and remembers it.
func (s *seen) first(now time.Time, text string) bool {
	if s.young == nil || now.Sub(s.turned) >= seenPeriod || len(s.young) >= seenLimit {
		s.old, s.young, s.turned = s.young, make(map[string]struct{}), now
	}
	if _, ok := s.young[text]; ok {
		return false
	}
	if _, ok := s.old[text]; ok {
		return false
	}
	s.young[text] = struct{}{}
	return true
}
