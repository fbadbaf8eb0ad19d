// Package seen remembers requests that were seen, so that each is handled once, and none runs in circles.
package seen

import (
	"crypto/sha256"
	"time"
)

// Texts remembers the texts of flooded requests, so that each is handled once.
//
// It holds two generations. An entry lives for one to two periods, or less when
// more than Limit texts come in a period: then a text that still circulates
// is handled again, which changes nothing and therefore goes no further.
type Texts struct {
	current, previous map[digest]struct{}
	turned            time.Time
}

const (
	period = time.Minute
	// Limit is how many texts a generation has at most.
	Limit = 100_000
)

// digest stands for a text of any length.
type digest [16]byte

func digestOf(text string) digest {
	sum := sha256.Sum256([]byte(text))
	return digest(sum[:])
}

// Has tells whether text is remembered.
func (s *Texts) Has(text string) bool {
	if len(s.current)+len(s.previous) == 0 {
		return false
	}
	d := digestOf(text)
	_, young := s.current[d]
	_, old := s.previous[d]
	return young || old
}

// Size is how many are remembered.
func (s *Texts) Size() int { return len(s.current) + len(s.previous) }

// First tells whether text was not seen before, and remembers it.
func (s *Texts) First(now time.Time, text string) bool {
	if s.current == nil || now.Sub(s.turned) >= period || len(s.current) >= Limit {
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
