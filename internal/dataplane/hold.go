package dataplane

import (
	"slices"
	"sync"
	"time"
)

// Bounds of the packets that wait for a session.
const (
	holdFor        = 2 * time.Second
	maxHeldPerPeer = 16
	maxHeld        = 256
)

// waitingRoom keeps the first packets for nodes without a session until there is one, so that
// the first ping gets its answer. (tinc drops them.) The zero value is ready. It is
// safe for concurrent use.
type waitingRoom struct {
	mu      sync.Mutex
	waiting []heldPacket // oldest first
}

type heldPacket struct {
	to    *peer
	since time.Duration
	frame []byte
}

// add keeps a copy of frame. It returns how many were given up for it: those that
// have waited too long, and the oldest if there are too many.
func (w *waitingRoom) add(to *peer, frame []byte, now time.Duration) (givenUp int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.waiting)
	w.expire(now)
	first, count := -1, 0
	for i := range w.waiting {
		if w.waiting[i].to == to {
			if count == 0 {
				first = i
			}
			count++
		}
	}
	switch {
	case count >= maxHeldPerPeer:
		w.waiting = slices.Delete(w.waiting, first, first+1)
	case len(w.waiting) >= maxHeld:
		w.waiting = slices.Delete(w.waiting, 0, 1)
	}
	givenUp = before - len(w.waiting)
	w.waiting = append(w.waiting, heldPacket{to, now, slices.Clone(frame)})
	return givenUp
}

// take removes and returns the packets for to that are still worth sending.
func (w *waitingRoom) take(to *peer, now time.Duration) (frames [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(now)
	w.waiting = slices.DeleteFunc(w.waiting, func(h heldPacket) bool {
		if h.to != to {
			return false
		}
		frames = append(frames, h.frame)
		return true
	})
	return frames
}

// forget removes the packets for to.
func (w *waitingRoom) forget(to *peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = slices.DeleteFunc(w.waiting, func(h heldPacket) bool { return h.to == to })
}

// expire removes what has waited too long. The caller holds w.mu.
func (w *waitingRoom) expire(now time.Duration) {
	n := 0
	for n < len(w.waiting) && now-w.waiting[n].since > holdFor {
		n++
	}
	w.waiting = slices.Delete(w.waiting, 0, n)
}
