package daemon

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/control"
	"tincan/internal/mesh"
)

// logger passes messages to the operator's log and to whoever listens over the
// control socket, each up to its own debug level.
type logger struct {
	out     func(control.LogRecord)
	current atomic.Int32 // debug level
	most    atomic.Int32 // highest level that anybody listens to

	mu   sync.Mutex
	next int
	subs map[int]subscriber
}

type subscriber struct {
	level int // -1: the daemon's
	sink  func(control.LogRecord)
}

func newLogger(out func(control.LogRecord), level int) *logger {
	l := &logger{out: out, subs: map[int]subscriber{}}
	l.setLevel(level)
	return l
}

func (l *logger) level() int { return int(l.current.Load()) }

// setLevel sets the debug level and returns the old one.
func (l *logger) setLevel(n int) int {
	old := int(l.current.Swap(int32(n)))
	l.mu.Lock()
	l.updateMost()
	l.mu.Unlock()
	return old
}

func (l *logger) updateMost() {
	most := int(l.current.Load())
	for _, s := range l.subs {
		most = max(most, s.level)
	}
	l.most.Store(int32(most))
}

func (l *logger) subscribe(level int, sink func(control.LogRecord)) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.next
	l.next++
	l.subs[id] = subscriber{level, sink}
	l.updateMost()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs, id)
		l.updateMost()
	}
}

func (l *logger) printf(level int, p mesh.Priority, format string, args ...any) {
	if level > int(l.most.Load()) {
		return
	}
	r := control.LogRecord{Time: time.Now(), Priority: p, Text: fmt.Sprintf(format, args...)}
	current := l.level()
	if level <= current && l.out != nil {
		l.out(r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.subs {
		if level <= s.level || s.level < 0 && level <= current {
			s.sink(r)
		}
	}
}
