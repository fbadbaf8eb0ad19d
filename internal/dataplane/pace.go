package dataplane

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"tincan/internal/node"
)

// How often a report may be repeated.
const (
	trafficEvery = 250 * time.Millisecond
	heardEvery   = 250 * time.Millisecond
	tooLongEvery = 100 * time.Millisecond
	reportEvery  = time.Second
)

// pacer allows something once in each period. The zero value allows the first
// time. It is safe for concurrent use. It is no [rate.Bucket]: the goroutines of
// the fast path share it without a lock, and what turns out not to be done, as
// the queue of reports is full, is undone.
type pacer struct{ last atomic.Int64 }

// tooSoon reports whether it is too early at time now.
func (l *pacer) tooSoon(now, every time.Duration) bool {
	last := l.last.Load()
	return last != 0 && now-time.Duration(last) < every
}

// try succeeds at time now if enough time has passed since the last success
// (before). Of several concurrent callers one succeeds.
func (l *pacer) try(now, every time.Duration) (before int64, ok bool) {
	before = l.last.Load()
	if before != 0 && now-time.Duration(before) < every {
		return before, false
	}
	return before, l.last.CompareAndSwap(before, int64(now))
}

// undo reverts a successful try.
func (l *pacer) undo(now time.Duration, before int64) { l.last.CompareAndSwap(int64(now), before) }

// pairPacer limits reports about pairs of nodes, of which there may be
// very many, in fixed space: pairs that hash to the same slot share its limit.
type pairPacer struct{ slots [1024]pacer }

var pairSeed = maphash.MakeSeed()

func (l *pairPacer) of(from, to node.ID) *pacer {
	var b [12]byte
	copy(b[:], from[:])
	copy(b[6:], to[:])
	return &l.slots[maphash.Bytes(pairSeed, b[:])%uint64(len(l.slots))]
}
