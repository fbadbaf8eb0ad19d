package dataplane

import (
	"slices"
	"sync"
	"time"

	"tincan/internal/sptps"
)

// Bounds of the first packets for nodes without a session: they wait until there is one,
// so that the first ping gets its answer. (tinc drops them.)
const (
	holdFor        = 2 * time.Second
	maxHeldPerPeer = 16
	maxHeld        = 256
)

// pendingQueue keeps what cannot be sent or opened yet. Its limits must not change. It is
// safe for concurrent use.
type pendingQueue struct {
	patience      time.Duration
	perPeer, most int
	refuse        bool // if there are too many the new one is given up, else the oldest one is

	mu      sync.Mutex
	waiting []pendingPacket // oldest first
}

// pendingPacket is a packet that waits for keys of peer.
type pendingPacket struct {
	peer, hop *peer // hop is the neighbour that it came from, if it came from one
	since     time.Duration
	data      []byte
	tried     *sptps.Tunnel // the keys that did not open it
}

// add keeps g with a copy of its data, unless it is refused. givenUp is how many of the others were
// given up: those that have waited too long, and the one that made room.
func (w *pendingQueue) add(g pendingPacket) (kept bool, givenUp int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.waiting)
	w.expire(g.since)
	first, count := -1, 0
	for i := range w.waiting {
		if w.waiting[i].peer == g.peer {
			if count == 0 {
				first = i
			}
			count++
		}
	}
	inTheWay := -1
	switch {
	case count >= w.perPeer:
		inTheWay = first
	case len(w.waiting) >= w.most:
		inTheWay = 0
	}
	if inTheWay >= 0 {
		if w.refuse {
			return false, before - len(w.waiting)
		}
		w.waiting = slices.Delete(w.waiting, inTheWay, inTheWay+1)
	}
	givenUp = before - len(w.waiting)
	g.data = slices.Clone(g.data)
	w.waiting = append(w.waiting, g)
	return true, givenUp
}

// take removes and returns those that are ready by the state of their peer. givenUp is how many others
// went: those that have waited too long, and those whose peer is not known any more.
func (w *pendingQueue) take(now time.Duration, ready func(*pendingPacket, *state) bool) (packets []pendingPacket, givenUp int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.waiting)
	w.expire(now)
	w.waiting = slices.DeleteFunc(w.waiting, func(g pendingPacket) bool {
		s := g.peer.state.Load()
		if s != nil && ready(&g, s) {
			packets = append(packets, g)
			return true
		}
		return s == nil
	})
	return packets, before - len(w.waiting) - len(packets)
}

// expire removes what has waited too long. The caller holds w.mu.
func (w *pendingQueue) expire(now time.Duration) {
	n := 0
	for n < len(w.waiting) && now-w.waiting[n].since > w.patience {
		n++
	}
	w.waiting = slices.Delete(w.waiting, 0, n)
}
