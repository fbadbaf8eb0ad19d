package mesh

import (
	"container/heap"
	"time"
)

// timers runs functions at a time. It is driven by [Mesh.Tick]; equal times run in
// the order in which they were set, so that a seed gives the same run again.
type timers struct {
	heap timerHeap
	seq  uint64
}

type timer struct {
	at    time.Time
	seq   uint64
	fn    func()
	index int // position in the heap, -1 when it is not waiting
}

// set arranges for fn to run at the given time and returns a handle for cancel.
func (t *timers) set(at time.Time, fn func()) *timer {
	t.seq++
	x := &timer{at: at, seq: t.seq, fn: fn}
	heap.Push(&t.heap, x)
	return x
}

// cancel forgets x, which may be nil or have run already.
func (t *timers) cancel(x *timer) {
	if x != nil && x.index >= 0 {
		heap.Remove(&t.heap, x.index)
	}
}

// waiting tells whether x, which may be nil, has not run yet.
func (x *timer) waiting() bool { return x != nil && x.index >= 0 }

// next is the time of the earliest timer, zero if there is none.
func (t *timers) next() time.Time {
	if len(t.heap) == 0 {
		return time.Time{}
	}
	return t.heap[0].at
}

// due removes and returns the earliest timer that is not later than now, or nil.
func (t *timers) due(now time.Time) *timer {
	if len(t.heap) == 0 || t.heap[0].at.After(now) {
		return nil
	}
	return heap.Pop(&t.heap).(*timer)
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

// size is the number of timers.
func (t *timers) size() int { return len(t.heap) }

// laterThan tells whether x, which may be nil, will run after the given time.
func (x *timer) laterThan(at time.Time) bool { return x.waiting() && x.at.After(at) }

// run does what x is for.
func (x *timer) run() { x.fn() }
