// Package timer keeps what is to be done at a time. It has no clock of its own.
package timer

import (
	"container/heap"
	"time"
)

// Queue runs functions at a time. It is driven by whoever calls Due; equal times run in
// the order in which they were set, so that a seed gives the same run again.
type Queue struct {
	heap byTime
	seq  uint64
}

// Timer is a function that waits for its time.
type Timer struct {
	at    time.Time
	seq   uint64
	fn    func()
	index int // position in the heap, -1 when it is not waiting
}

// Set arranges for fn to run at the given time and returns a handle for Cancel.
func (t *Queue) Set(at time.Time, fn func()) *Timer {
	t.seq++
	x := &Timer{at: at, seq: t.seq, fn: fn}
	heap.Push(&t.heap, x)
	return x
}

// Cancel forgets x, which may be nil or have run already.
func (t *Queue) Cancel(x *Timer) {
	if x != nil && x.index >= 0 {
		heap.Remove(&t.heap, x.index)
	}
}

// Waiting tells whether x, which may be nil, has not run yet.
func (x *Timer) Waiting() bool { return x != nil && x.index >= 0 }

// Next is the time of the earliest timer, zero if there is none.
func (t *Queue) Next() time.Time {
	if len(t.heap) == 0 {
		return time.Time{}
	}
	return t.heap[0].at
}

// Due removes and returns the earliest timer that is not later than now, or nil.
func (t *Queue) Due(now time.Time) *Timer {
	if len(t.heap) == 0 || t.heap[0].at.After(now) {
		return nil
	}
	return heap.Pop(&t.heap).(*Timer)
}

type byTime []*Timer

func (h byTime) Len() int { return len(h) }
func (h byTime) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h byTime) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *byTime) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *byTime) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

// Size is the number of timers.
func (t *Queue) Size() int { return len(t.heap) }

// LaterThan tells whether x, which may be nil, will run after the given time.
func (x *Timer) LaterThan(at time.Time) bool { return x.Waiting() && x.at.After(at) }

// Run does what x is for.
func (x *Timer) Run() { x.fn() }
