// Package pmtu finds out how large frames may be on a path. It sends nothing: it says which probes to send.
package pmtu

import (
	"slices"
	"time"
)

// Sizes in bytes of Ethernet frame, as tinc counts them (tinc 1.1, section on path MTU).
const (
	MaxFrame = 1518 // largest frame
	MinFrame = 512  // smallest MTU worth having
)

// Search looks for the largest frame that reaches a node by UDP. tinc tries one size
// after the other, three a second, so that one lost probe costs seconds. Here several sizes
// are tried at the same time, and again before they count as too large: it ends after a
// few round trips.
type Search struct {
	mtu int // what routing may use
	min int // largest size known to pass
	max int // largest size that may pass

	state   state
	narrow  bool      // the last search found that MinFrame does not pass
	begun   bool      // the limit of the route was asked for
	last    time.Time // last step
	tried   []trial   // sizes under test, ascending
	grown   int       // looks for growth since the last search
	nextUp  time.Time // the next of them
	proved  time.Time // when a frame of size min passed last
	rounds  int       // of this search
	ceiling int       // max at the beginning of this search
	was     int       // what passed before the path seemed to shrink, at wasAt; 0: it never did
	wasAt   time.Time
}

type state uint8

const (
	searching state = iota
	found           // min is the result
	hopeless        // not even MinFrame passes
)

// trial is one size under test.
type trial struct{ size, count int }

const (
	// width is how many sizes are tried at a time.
	width = 6
	// growSoon and growLater are when larger sizes are tried once more after a search, whose
	// probes may have been lost. After that it is done at each PingInterval.
	growSoon, growLater = 5 * time.Second, 20 * time.Second
	// growBack is how soon after the path seemed to shrink the size of before is tried again. Each
	// further try takes half as long again.
	growBack = time.Second
	// maxRounds ends a search that others keep from ending.
	maxRounds = 40
)

// commonMTUs are MTUs of links, in bytes of IP packet, the most common first.
var commonMTUs = []int{1500, 1492, 1420, 1280, 1400, 1480, 1460, 1450, 1380, 1340, 1180, 1000, 800, 576}

// New returns a search that has not begun.
func New() Search { return Search{mtu: MaxFrame, max: MaxFrame} }

// Reset starts over, keeping the value in use.
func (p *Search) Reset() {
	*p = Search{mtu: p.mtu, max: MaxFrame, last: p.last}
}

// Fixed tells whether the search has ended with a result.
func (p *Search) Fixed() bool { return p.state == found }

// Shrunk takes note that frames of a size that was thought to pass are lost, and that
// those of another size pass. That is what routing uses at once: a meta connection would be
// no better, for its segments are lost on the same path.
func (p *Search) Shrunk(now time.Time, lost, passes int) {
	limit, was := max(min(p.min, lost)-1, MinFrame), p.min
	p.Reset()
	p.max = limit
	p.ceiling = limit
	p.begun = true
	p.last = time.Time{}
	p.was, p.wasAt = was, now
	p.rounds = 1
	if passes >= MinFrame {
		p.min, p.mtu, p.proved = min(passes, limit), min(passes, limit), now
	}
}

// Ladder is sizes below the one in use of which some will pass when that does not.
func (p *Search) Ladder(overhead int) (sizes []int) {
	for _, mtu := range commonMTUs {
		if size := mtu - overhead; size < p.min && size > MinFrame && len(sizes) < width-1 {
			sizes = append(sizes, size)
		}
	}
	return append(sizes, MinFrame)
}

// Step returns the sizes of the probes to send now, if any. Answers take up to wait, and
// a size is tried so many times before it counts as too large. limit, which is asked when a
// search begins, is the largest frame that the kernel's route promises, 0 if it does not know, and overhead what a packet on the
// path has more than a frame.
func (p *Search) Step(now time.Time, wait time.Duration, tries int, pingInterval time.Duration, limit func() int, overhead int) []int {
	if p.state != searching {
		return p.check(now, pingInterval)
	}
	if !p.last.IsZero() && now.Sub(p.last) < wait {
		return nil
	}
	p.last = now
	if !p.begun {
		p.begun, p.max = true, MaxFrame
		if limit := limit(); limit >= MinFrame && limit < MaxFrame {
			p.max = limit
		}
		p.ceiling = p.max
	}
	p.rounds++
	p.judge(now, tries)
	if p.state != searching {
		return nil
	}
	if p.rounds == 1 && p.min < MinFrame { // mostly that is all
		p.tried = append(p.tried, trial{size: p.max})
	} else if len(p.tried) == 0 || p.rounds == 2 {
		p.choose(overhead)
	}
	var sizes []int
	for i := range p.tried {
		// The smallest that has not passed decides; the others get their chance once.
		if t := &p.tried[i]; i == 0 || t.count == 0 {
			t.count++
			sizes = append(sizes, t.size)
		}
	}
	return sizes
}

// judge draws the conclusions of what was answered and what was not.
func (p *Search) judge(now time.Time, tries int) {
	p.tried = slices.DeleteFunc(p.tried, func(t trial) bool { return t.size <= p.min || t.size > p.max })
	if len(p.tried) > 0 && p.tried[0].count >= tries {
		p.max = min(p.max, p.tried[0].size-1)
		p.tried = nil
	}
	switch {
	case p.max < MinFrame && p.min < MinFrame, p.rounds > maxRounds && p.min < MinFrame:
		p.state, p.narrow, p.tried = hopeless, true, nil
		p.nextUp = now.Add(growSoon)
	case p.min >= p.max, p.rounds > maxRounds:
		p.end(now)
	}
}

// end takes what was found.
func (p *Search) end(now time.Time) {
	p.max = p.min
	p.mtu = p.min
	p.state = found
	p.tried = nil
	p.proved = now
	p.nextUp = now.Add(growSoon)
	if p.was > p.min {
		p.nextUp = now.Add(growBack)
	}
}

// choose chooses the sizes to try between what passes and what may pass.
func (p *Search) choose(overhead int) {
	lo, hi := max(p.min, MinFrame-1), p.max
	add := func(size int) {
		if size > lo && size <= hi && len(p.tried) < width && !slices.ContainsFunc(p.tried, func(t trial) bool { return t.size == size }) {
			p.tried = append(p.tried, trial{size: size})
		}
	}
	add(hi)
	if overhead > 0 {
		for _, mtu := range commonMTUs {
			if len(p.tried) < width-1 || p.min >= MinFrame {
				add(mtu - overhead)
			}
		}
	}
	add(MinFrame)
	for i := width; i > 0; i-- {
		add(lo + (hi-lo)*i/width)
	}
	for size := lo + 1; len(p.tried) < width && size <= hi && hi-lo <= width; size++ {
		add(size)
	}
	slices.SortFunc(p.tried, func(a, b trial) int { return a.size - b.size })
}

// check looks now and then whether the result still holds and whether more would pass.
func (p *Search) check(now time.Time, pingInterval time.Duration) []int {
	if now.Before(p.nextUp) {
		return nil
	}
	p.grown++
	p.last = now
	switch p.grown {
	case 1:
		p.nextUp = now.Add(growLater)
	default:
		p.nextUp = now.Add(pingInterval)
	}
	back := p.was > p.min && p.state == found
	if spent := now.Sub(p.wasAt); back && spent < pingInterval {
		p.nextUp = now.Add(max(growBack, spent/2))
	}
	if p.state == hopeless {
		p.Reset()
		p.narrow = true // until the search shows otherwise
		return []int{MinFrame}
	}
	sizes := []int{p.min}
	if p.min < MaxFrame-1 {
		sizes = append(sizes, p.min+1)
	}
	if p.ceiling > p.min+1 {
		sizes = append(sizes, p.ceiling)
	}
	if back && p.was > p.min+1 && p.was != p.ceiling {
		sizes = append(sizes, p.was)
	}
	return sizes
}

// Answered takes note that a probe of the given size has passed.
func (p *Search) Answered(now time.Time, size int) {
	if size >= p.min && size >= MinFrame {
		p.proved, p.narrow = now, false
	}
	switch {
	case size <= p.min:
		return
	case size > p.max || p.state == hopeless && size >= MinFrame: // the path got better
		mtu, ceiling := p.mtu, max(p.ceiling, size)
		if p.state != searching && size > p.ceiling {
			ceiling = MaxFrame
		}
		*p = Search{mtu: max(mtu, size), min: size, max: ceiling, ceiling: ceiling, begun: true, proved: now}
	default:
		p.min = size
	}
	if p.min >= p.max {
		p.end(now)
	}
}

// TooLong takes note that the kernel refused a frame of the given size. Unlike
// tinc it also takes back what was known to pass: packets of that size would be lost.
func (p *Search) TooLong(now time.Time, size int) {
	limit := max(size-1, MinFrame)
	p.begun = true
	p.max, p.mtu, p.ceiling = min(p.max, limit), min(p.mtu, limit), min(max(p.ceiling, limit), limit)
	p.min = min(p.min, p.max)
	if p.min >= p.max && p.state == searching {
		p.end(now)
	}
}

// MTU is the largest frame that routing may use.
func (p *Search) MTU() int { return p.mtu }

// Passes is the largest frame known to pass, 0 if none is.
func (p *Search) Passes() int { return p.min }

// Most is the largest frame that may pass.
func (p *Search) Most() int { return p.max }

// Narrow tells whether the last search found that MinFrame does not pass.
func (p *Search) Narrow() bool { return p.narrow }

// Searching tells whether the search has not ended yet.
func (p *Search) Searching() bool { return p.state == searching }

// Due is when Step has something to do after the search has ended, zero if it has not.
func (p *Search) Due() time.Time {
	if p.state == searching {
		return time.Time{}
	}
	return p.nextUp
}

// Told sets what routing may use, as others say, until the search finds it out.
func (p *Search) Told(mtu int) { p.mtu = mtu }
