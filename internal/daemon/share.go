package daemon

import (
	"sync"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/rate"
)

// Each neighbour has a share of the protocol core: what its requests cost is charged to its connection, and whoever has
// used up its share waits, as the reader of that connection does, before its next request is
// taken in. So one that asks for much slows down itself; requests of others, and this machine's own commands, find a short queue.

const (
	// shareQueued requests of one connection may wait for the core.
	shareQueued = 64
	// shareBurst of its time a connection may use at once, such as a newcomer that tells of a large mesh.
	shareBurst = time.Second
	// shareParts: after that it gets this part of the time of the core: one half.
	shareParts = 2
)

// shares are the accounts of connections.
type shares struct {
	mu     sync.Mutex
	conns  map[mesh.ConnID]*account
	swept  time.Time
	waited uint64 // requests that had to wait since their connection had used up its time
}

// account is what one connection has used.
type account struct {
	queued int           // requests that the core has not taken in
	time   rate.Bucket   // of the core, times shareParts
	wake   chan struct{} // room for one: queued has become less
}

// enter waits until a request of a connection may be queued, or until done is closed.
func (s *shares) enter(id mesh.ConnID, done <-chan struct{}) {
	for first := true; ; first = false {
		s.mu.Lock()
		a := s.conns[id]
		if a == nil {
			a = &account{wake: make(chan struct{}, 1)}
			if s.conns == nil {
				s.conns = map[mesh.ConnID]*account{}
			}
			s.conns[id] = a
		}
		over := a.time.Used(time.Now()) - shareParts*shareBurst
		if a.queued < shareQueued && over <= 0 {
			a.queued++
			s.mu.Unlock()
			return
		}
		if first && over > 0 {
			s.waited++
		}
		s.mu.Unlock()
		// The queue wakes us; a debt takes its time.
		again := time.NewTimer(max(over, time.Millisecond))
		select {
		case <-again.C:
		case <-a.wake:
		case <-done:
			again.Stop()
			return
		}
		again.Stop()
	}
}

// waits is how many requests had to wait.
func (s *shares) waits() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waited
}

// charge has the connections pay for what the core did for their requests, of each so many, together in that time.
func (s *shares) charge(requests map[mesh.ConnID]int, took time.Duration) {
	total := 0
	for _, n := range requests {
		total += n
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range requests {
		if a := s.conns[id]; a != nil {
			a.queued -= n
			a.time.Spend(now, shareParts*took*time.Duration(n)/time.Duration(total))
			poke(a.wake)
		}
	}
	if now.Sub(s.swept) < time.Second {
		return
	}
	s.swept = now
	for id, a := range s.conns {
		if a.queued == 0 && a.time.Used(now) == 0 {
			delete(s.conns, id)
		}
	}
}
