//go:build linux || darwin || windows || freebsd || openbsd

package door

import (
	"os"
	"sync"

	"tincan/internal/device"
)

const (
	queueSlots = 256     // packets and super-packets in one direction
	queueBytes = 4 << 20 // of these together
)

// queue is one direction between the packet path and WireGuard: packets, or super-packets that are not segmented yet. In a
// steady state it does not allocate.
type queue struct {
	mu          sync.Mutex
	more, space sync.Cond
	closed      bool
	head, count int
	bytes       int
	ring        [queueSlots]slot
}

type slot struct {
	pkt []byte
	off device.Offload
}

func newQueue() *queue {
	q := &queue{}
	q.more.L, q.space.L = &q.mu, &q.mu
	return q
}

// put appends a copy of a packet. If there is no room it waits, or reports false.
func (q *queue) put(pkt []byte, off device.Offload, wait bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && (q.count == len(q.ring) || q.bytes+len(pkt) > queueBytes) {
		if !wait {
			return false
		}
		q.space.Wait()
	}
	if q.closed {
		return false
	}
	s := &q.ring[(q.head+q.count)%len(q.ring)]
	s.pkt, s.off = append(s.pkt[:0], pkt...), off
	q.count++
	q.bytes += len(pkt)
	q.more.Signal()
	return true
}

// take copies the oldest packet to buf and removes it. If there is none it waits, or returns [device.ErrAgain].
func (q *queue) take(buf []byte, wait bool) (int, device.Offload, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.count == 0 && !q.closed {
		if !wait {
			return 0, device.Offload{}, device.ErrAgain
		}
		q.more.Wait()
	}
	if q.closed {
		return 0, device.Offload{}, os.ErrClosed
	}
	s := &q.ring[q.head]
	n := copy(buf, s.pkt)
	q.head = (q.head + 1) % len(q.ring)
	q.count--
	q.bytes -= len(s.pkt)
	q.space.Signal()
	return n, s.off, nil
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
	q.space.Broadcast()
}
