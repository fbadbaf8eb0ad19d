package mesh

import (
	"math"
	"time"
)

// Sizes in bytes of Ethernet frame, as tinc counts them (tinc 1.1, section on path MTU).
const (
	maxFrame = 1518 // largest frame
	minFrame = 512  // smallest MTU worth having
	minProbe = 18   // smallest probe
)

// pmtu searches for the largest frame that reaches a node by UDP. Its steps are
// those of tinc 1.1, so that both ends of a path agree about what fits.
type pmtu struct {
	mtu    int // what routing may use
	min    int // largest size known to pass
	max    int // smallest size thought not to pass, less one
	probes int // steps of the search; below zero: -1 found, less: being checked
	last   time.Time
}

func newPMTU() pmtu { return pmtu{mtu: maxFrame, max: maxFrame} }

// reset starts over, keeping the value in use.
func (p *pmtu) reset() { p.min, p.max, p.probes = 0, maxFrame, 0 }

// fixed tells whether the search has ended with a result.
func (p *pmtu) fixed() bool { return p.min == p.max }

func (p *pmtu) fixIfDone() {
	if p.probes >= 0 && (p.probes == 20 || p.min >= p.max) {
		p.min = min(p.min, p.max)
		p.max, p.mtu, p.probes = p.min, p.min, -1
	}
}

// step returns the sizes of the probes to send now, if any. guess is the size that
// the kernel's route promises, 0 if it does not know.
func (p *pmtu) step(now time.Time, pingInterval time.Duration, guess int) []int {
	elapsed := now.Sub(p.last)
	if !p.last.IsZero() {
		switch {
		case p.probes > 0 && elapsed < 333*time.Millisecond,
			p.probes == -1 && elapsed < pingInterval,
			p.probes < -1 && elapsed < time.Second:
			return nil
		}
	}
	p.last = now
	p.fixIfDone()
	if p.probes < -3 { // three checks went unanswered: the path has changed
		p.probes, p.min = 0, 0
	}
	if p.probes < 0 {
		sizes := []int{max(p.max, minProbe)}
		if p.probes == -1 && p.max+1 < maxFrame {
			sizes = append(sizes, max(p.max+1, minProbe))
		}
		p.probes--
		return sizes
	}
	if p.probes == 0 {
		p.max = maxFrame
		if guess >= minFrame && guess < maxFrame {
			p.max = guess
		}
	}
	size := p.candidate()
	p.probes++
	return []int{size}
}

// candidate is the next size to try between min and max: first large, then in ever
// finer steps upwards from what is known.
func (p *pmtu) candidate() int {
	lo := max(p.min, minFrame)
	d := p.max - lo
	if d <= 0 {
		return lo
	}
	pos := float32(7 - p.probes%8)
	f := float32(1)
	if p.max == maxFrame {
		f = 0.97
	}
	return lo + int(math.RoundToEven(float64(float32(math.Pow(float64(d), float64(f*pos/7))))))
}

// answered takes note that a probe of the given size has passed.
func (p *pmtu) answered(now time.Time, size int) {
	switch {
	case size > p.max: // the path got better
		p.min, p.max, p.probes = size, maxFrame, 1
		return
	case p.probes < 0 && size == p.max:
		p.probes, p.last = -1, now
	}
	if size > p.min {
		p.min = size
		p.fixIfDone()
	}
}

// tooLong takes note that the kernel refused a frame of the given size. Unlike
// tinc it also takes back what was known to pass: packets of that size would be lost.
func (p *pmtu) tooLong(size int) {
	limit := max(size-1, minFrame)
	p.max, p.mtu = min(p.max, limit), min(p.mtu, limit)
	p.min = min(p.min, p.max)
	p.fixIfDone()
}
