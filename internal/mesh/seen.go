package mesh

import (
	"crypto/sha256"
	"time"
)

// seen remembers the texts of flooded requests, so that each is handled once.
//
// It holds two generations. An entry lives for one to two periods, or less when
// more than seenLimit texts come in a period: then a text that still circulates
// is handled again, which changes nothing and therefore goes no further.
type seen struct {
	current, previous map[digest]struct{}
	turned            time.Time
}

const (
	seenPeriod = time.Minute
	seenLimit  = 100_000
)

// digest stands for a text of any length.
type digest [16]byte

func digestOf(text string) digest {
	sum := sha256.Sum256([]byte(text))
	return digest(sum[:])
}

// has tells whether text is remembered.
func (s *seen) has(text string) bool {
	if len(s.current)+len(s.previous) == 0 {
		return false
	}
	d := digestOf(text)
	_, young := s.current[d]
	_, old := s.previous[d]
	return young || old
}

func (s *seen) size() int { return len(s.current) + len(s.previous) }

// first tells whether text was not seen before, and remembers it.
func (s *seen) first(now time.Time, text string) bool {
	if s.current == nil || now.Sub(s.turned) >= seenPeriod || len(s.current) >= seenLimit {
		s.previous, s.current, s.turned = s.current, map[digest]struct{}{}, now
	}
	d := digestOf(text)
	if _, ok := s.current[d]; ok {
		return false
	}
	if _, ok := s.previous[d]; ok {
		return false
	}
	s.current[d] = struct{}{}
	return true
}
