package dataplane

import (
	"slices"
	"sync"
	"time"

	"tincan/internal/sptps"
)

// Bounds of the first packets for nodes without a session: they are pending until there is one,
// so that the first ping is answered. (tinc drops them.)
const (
	maxPendingAge     = 2 * time.Second
	maxPendingPerPeer = 16
	maxPending        = 256
)

// pendingQueue holds packets that cannot be sealed or opened yet. Its limits must not change. It is
// safe for concurrent use.
type pendingQueue struct {
	maxAge       time.Duration
	perPeer, max int
	rejectNew    bool // if the queue is full drop the new packet, else the oldest one

	mu      sync.Mutex
	waiting []pendingPacket // oldest first
}

// pendingPacket is a packet that waits for a session with peer.
type pendingPacket struct {
	peer, hop *peer // hop is the neighbour that it came from, or nil
	since     time.Duration
	data      []byte
	tried     *sptps.Tunnel // the keys that did not open it
}

// add queues k with a copy of its data, unless it is rejected. expired is how many others were
// dropped: those that have waited too long, and the one that was evicted for k.
func (w *pendingQueue) add(k pendingPacket) (kept bool, expired int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.waiting)
	w.expire(k.since)
	first, count := -1, 0
	for i := range w.waiting {
		if w.waiting[i].peer == k.peer {
			if count == 0 {
				first = i
			}
			count++
		}
	}
	evict := -1
	switch {
	case count >= w.perPeer:
		evict = first
	case len(w.waiting) >= w.max:
		evict = 0
	}
	if evict >= 0 {
		if w.rejectNew {
			return false, before - len(w.waiting)
		}
		w.waiting = slices.Delete(w.waiting, evict, evict+1)
	}
	expired = before - len(w.waiting)
	k.data = slices.Clone(k.data)
	w.waiting = append(w.waiting, k)
	return true, expired
}

// take removes and returns those that are ready by the state of their peer. expired is how many others
// were dropped: those that have waited too long, and those whose peer is no longer known.
func (w *pendingQueue) take(now time.Duration, ready func(*pendingPacket, *state) bool) (packets []pendingPacket, expired int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.waiting)
	w.expire(now)
	w.waiting = slices.DeleteFunc(w.waiting, func(k pendingPacket) bool {
		s := k.peer.state.Load()
		if s != nil && ready(&k, s) {
			packets = append(packets, k)
			return true
		}
		return s == nil
	})
	return packets, before - len(w.waiting) - len(packets)
}

// expire drops what has waited too long. The caller holds w.mu.
func (w *pendingQueue) expire(now time.Duration) {
	n := 0
	for n < len(w.waiting) && now-w.waiting[n].since > w.maxAge {
		n++
	}
	w.waiting = slices.Delete(w.waiting, 0, n)
}
