package pmtu

import (
	"math/rand/v2"
	"testing"
	"time"
)

// strand is a path on which probes take 20 ms, frames above limit vanish, and others
// with a chance of loss.
type strand struct {
	p     Search
	now   time.Time
	limit int
	loss  float64
	rand  *rand.Rand
	sent  int // bytes
}

func newStrand(limit int) *strand {
	return &strand{p: New(), now: time.Unix(1000, 0), limit: limit, rand: rand.New(rand.NewPCG(1, 2))}
}

// run lets time pass until the search is over, and returns how long that took.
func (s *strand) run(route, tries int) time.Duration {
	begin := s.now
	for s.now.Sub(begin) < time.Minute {
		for _, size := range s.p.Step(s.now, 60*time.Millisecond, tries, time.Minute, func() int { return route }, 61) {
			s.sent += size
			if size <= s.limit && s.rand.Float64() >= s.loss {
				s.p.Answered(s.now.Add(20*time.Millisecond), size)
			}
		}
		if s.p.Fixed() {
			break
		}
		s.now = s.now.Add(60 * time.Millisecond)
	}
	return s.now.Sub(begin)
}

func TestTheMTUSearchFindsTheExactSizeInAFewRoundTrips(t *testing.T) {
	for _, route := range []int{0, 1439} {
		for limit := MinFrame; limit <= 1439; limit++ {
			s := newStrand(limit)
			took := s.run(route, 2)
			if s.p.mtu != limit || s.p.min != limit {
				t.Fatalf("route %d, path %d: found %d", route, limit, s.p.mtu)
			}
			if took > 1100*time.Millisecond {
				t.Errorf("route %d, path %d: took %s", route, limit, took)
			}
			if s.sent > 64<<10 {
				t.Errorf("route %d, path %d: sent %d bytes", route, limit, s.sent)
			}
		}
	}
}

func TestCommonSizesAreFoundAtOnce(t *testing.T) {
	for _, mtu := range []int{1500, 1492, 1420, 1280} {
		s := newStrand(mtu - 61)
		s.p.Step(s.now, 0, 2, time.Minute, func() int { return 1439 }, 61)
		s.p.Step(s.now, 0, 2, time.Minute, func() int { return 1439 }, 61)
		for _, trial := range s.p.tried {
			if trial.size <= s.limit {
				s.p.Answered(s.now, trial.size)
			}
		}
		if s.p.min < s.limit-150 {
			t.Errorf("a link of %d: the first probes prove %d of %d", mtu, s.p.min, s.limit)
		}
	}
	s := newStrand(1439)
	if took := s.run(1439, 2); took > 0 {
		t.Errorf("a path as wide as the route took %s", took)
	}
}

// One lost probe at the start of the search used to cost eight seconds.
func TestLostProbesDoNotHoldUpTheMTUSearch(t *testing.T) {
	var worst time.Duration
	low := 0
	for seed := range uint64(200) {
		s := newStrand(1439)
		s.rand, s.loss = rand.New(rand.NewPCG(seed, 1)), 0.1
		worst = max(worst, s.run(1439, 2))
		if s.p.mtu < 1439 {
			low++
		}
	}
	if worst > 1500*time.Millisecond {
		t.Errorf("with a tenth of all probes lost it took up to %s", worst)
	}
	if low > 10 {
		t.Errorf("with a tenth of all probes lost it ended too low %d times in 200", low)
	}
}

func TestASearchThatEndedTooLowLooksUpAgainSoon(t *testing.T) {
	s := newStrand(1200)
	s.run(1439, 2)
	s.limit = 1439
	s.now = s.now.Add(growSoon)
	s.run(1439, 2) // sends the check
	if s.p.Fixed() {
		s.now = s.now.Add(time.Millisecond)
		s.run(1439, 2)
	}
	if s.p.mtu != 1439 {
		t.Errorf("%s after the path has grown to 1439 the search says %d", growSoon, s.p.mtu)
	}
}

func TestAPathThatShrinksIsFoundAgain(t *testing.T) {
	s := newStrand(1439)
	s.run(1439, 2)
	s.limit = 1219
	s.p.Shrunk(s.now, s.p.min, 1100)
	if s.p.min != 1100 || s.p.mtu != 1100 {
		t.Errorf("a shrunk path: %d proved, %d in use; want what was seen to pass", s.p.min, s.p.mtu)
	}
	if took := s.run(1439, 2); s.p.mtu != 1219 || took > 600*time.Millisecond {
		t.Errorf("found %d after %s", s.p.mtu, took)
	}
}

func TestAPathThatIsTooNarrowIsTriedAgainNowAndThen(t *testing.T) {
	s := newStrand(300)
	s.run(1439, 2)
	if s.p.Fixed() || s.p.min != 0 || s.p.mtu != MaxFrame {
		t.Errorf("nothing passes: min %d mtu %d", s.p.min, s.p.mtu)
	}
	if s.sent > 256<<10 {
		t.Errorf("%d bytes of probes in a minute", s.sent)
	}
	s.limit = 1400
	s.run(1439, 2)
	if s.p.mtu != 1400 {
		t.Errorf("when it is wide enough: %d", s.p.mtu)
	}
}

func TestTheKernelsWordOnAFrameCountsAtOnce(t *testing.T) {
	s := newStrand(1439)
	s.run(1439, 2)
	s.p.TooLong(s.now, 1300)
	if s.p.mtu != 1299 || s.p.min != 1299 {
		t.Errorf("mtu %d, proved %d", s.p.mtu, s.p.min)
	}
}
