package lab

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Quality is what a cable does to the packets of one direction. The zero value
// does nothing to them.
type Quality struct {
	Delay  time.Duration // how long a packet is under way
	Jitter time.Duration // at most so much longer, at random; the order is kept

	// Shares of the packets, in percent.
	Loss      float64 // lost
	Reorder   float64 // held back so long that those behind overtake them
	Duplicate float64 // delivered twice

	Rate  int           // bits a second (of Ethernet frame), 0 without limit
	Queue time.Duration // what may wait for the rate, as time on the cable; 0 means 100 ms

	MTU int  // longer IP packets vanish and nobody is told; 0 without limit
	Cut bool // nothing passes
}

// plain says that packets pass at once.
func (q Quality) plain() bool {
	return q.Delay == 0 && q.Jitter == 0 && q.Reorder == 0 && q.Rate == 0
}

const (
	// defaultQueue is what a home router keeps waiting.
	defaultQueue = 100 * time.Millisecond
	// overtaken is the least time by which a packet out of order is late.
	overtaken = 5 * time.Millisecond
	// maxUnderWay bounds the frames on one direction of a cable.
	maxUnderWay = 20000
	// etherHeader is what a frame has before its IP packet, in bytes.
	etherHeader = 14
)

// lane is one direction of a cable: frames with the times at which they come
// out. It has no clock of its own.
type lane struct {
	quality  Quality
	rnd      *rand.Rand
	free     time.Time // when the sender has put all frames on the cable
	last     time.Time // when the last frame in order comes out
	count    uint64
	underWay frames
}

// frame is one on its way.
type frame struct {
	due   time.Time
	count uint64 // of two that are due together the older one comes first
	bytes []byte
}

// enter lets a frame in. It returns how many copies of it go on at once, without
// being kept. Others come out of [lane.leave] later; of these, b is copied.
func (l *lane) enter(now time.Time, b []byte) (atOnce int) {
	q := l.quality
	if q.Cut || q.MTU > 0 && len(b) > q.MTU+etherHeader || l.chance(q.Loss) {
		return 0
	}
	if q.Rate > 0 {
		queue := q.Queue
		if queue == 0 {
			queue = defaultQueue
		}
		takes := time.Duration(len(b)) * 8 * time.Second / time.Duration(q.Rate)
		switch waiting := l.free.Sub(now); {
		case waiting <= 0:
			l.free = now
		case waiting+takes > queue: // a small one may still find room
			return 0
		}
		l.free = l.free.Add(takes)
	}
	copies := 1
	if l.chance(q.Duplicate) {
		copies = 2
	}
	if q.plain() && len(l.underWay) == 0 {
		return copies
	}
	due := now
	if q.Rate > 0 {
		due = l.free
	}
	due = due.Add(q.Delay)
	if q.Jitter > 0 {
		due = due.Add(time.Duration(l.rnd.Int64N(int64(q.Jitter))))
	}
	if l.chance(q.Reorder) {
		due = due.Add(max(q.Delay/2, overtaken))
	} else {
		if due.Before(l.last) { // a cable that got faster does not let packets overtake
			due = l.last
		}
		l.last = due
	}
	for range copies {
		if len(l.underWay) < maxUnderWay {
			l.count++
			heap.Push(&l.underWay, frame{due, l.count, append([]byte(nil), b...)})
		}
	}
	return 0
}

func (l *lane) chance(percent float64) bool {
	return percent > 0 && l.rnd.Float64()*100 < percent
}

// leave returns a frame that comes out by now, nil if there is none, and then
// the time at which the next one does, zero if the lane is empty.
func (l *lane) leave(now time.Time) (b []byte, next time.Time) {
	if len(l.underWay) == 0 {
		return nil, time.Time{}
	}
	if due := l.underWay[0].due; due.After(now) {
		return nil, due
	}
	return heap.Pop(&l.underWay).(frame).bytes, time.Time{}
}

// frames is a heap for package heap, the earliest first.
type frames []frame

func (f frames) Len() int      { return len(f) }
func (f frames) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f frames) Less(i, j int) bool {
	if !f[i].due.Equal(f[j].due) {
		return f[i].due.Before(f[j].due)
	}
	return f[i].count < f[j].count
}
func (f *frames) Push(x any) { *f = append(*f, x.(frame)) }
func (f *frames) Pop() any {
	last := len(*f) - 1
	x := (*f)[last]
	(*f)[last] = frame{}
	*f = (*f)[:last]
	return x
}
