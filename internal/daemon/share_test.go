package daemon

import (
	"testing"
	"time"

	"tincan/internal/mesh"
)

// Whoever has used up its time waits for about as long again; others do not.
func TestSharesOfTheCore(t *testing.T) {
	var s shares
	done := make(chan struct{})
	for id := range mesh.ConnID(3) {
		s.enter(id, done)
	}
	s.charge(map[mesh.ConnID]int{1: 1}, shareBurst+time.Hour)
	s.enter(2, done)
	s.charge(map[mesh.ConnID]int{2: 2}, shareBurst+50*time.Millisecond)
	began := time.Now()
	s.enter(2, done)
	if d := time.Since(began); d < 50*time.Millisecond || d > time.Hour/2 {
		t.Errorf("it waited for %v", d)
	}
	if s.waited != 1 {
		t.Errorf("%d waits were counted", s.waited)
	}
}

// A connection cannot fill the queue.
func TestSharesOfTheQueue(t *testing.T) {
	var s shares
	done := make(chan struct{})
	for range shareQueued {
		s.enter(1, done)
	}
	entered := make(chan struct{})
	go func() { s.enter(1, done); close(entered) }()
	s.enter(2, done)
	select {
	case <-entered:
		t.Fatal("there is room for more")
	case <-time.After(20 * time.Millisecond):
	}
	s.charge(map[mesh.ConnID]int{1: 1}, 0)
	<-entered
	stuck := make(chan struct{})
	go func() { s.enter(1, done); close(stuck) }()
	close(done)
	<-stuck
	s.swept = time.Time{}
	s.charge(map[mesh.ConnID]int{1: shareQueued, 2: 1}, 0)
	if len(s.conns) != 0 {
		t.Errorf("%d accounts are kept", len(s.conns))
	}
}
