package daemon

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/control"
	"tincan/internal/mesh"
)

const (
	logQueue = 1024
	// logTimeout is how long a log that does not move can hold up start and end.
	logTimeout = 2 * time.Second
)

// logger passes messages to the operator's log and to whoever listens over the
// control socket, each up to its own debug level.
//
// It never waits. The operator's log is written by a goroutine of its own, since
// a terminal that has been stopped with Ctrl-S would otherwise stop the node;
// what does not fit the queue is left out and counted.
type logger struct {
	current atomic.Int32 // debug level
	most    atomic.Int32 // highest level that anybody listens to
	names   *hostnames

	queue   chan logEntry // nil: there is no operator's log
	lost    atomic.Int64
	stop    chan struct{}
	written chan struct{} // closed when the writer has ended

	mu    sync.Mutex
	next  int
	subs  map[int]subscriber
	limit logLimit
}

type logEntry struct {
	record  control.LogRecord
	level   int
	flushed chan struct{} // if set: no record, tell when you are here
}

type subscriber struct {
	level int // -1: the daemon's
	sink  func(control.LogRecord)
}

// newLogger starts a logger that writes to out, which may be nil.
func newLogger(out func(control.LogRecord), level int) *logger {
	l := &logger{names: newHostnames(lookUpName), subs: map[int]subscriber{}, stop: make(chan struct{}), written: make(chan struct{})}
	l.setLevel(level)
	if out == nil {
		close(l.written)
		return l
	}
	l.queue = make(chan logEntry, logQueue)
	go func() {
		defer close(l.written)
		l.write(out)
	}()
	return l
}

func (l *logger) write(out func(control.LogRecord)) {
	put := func(e logEntry) {
		if e.flushed != nil {
			close(e.flushed)
			return
		}
		if n := l.lost.Swap(0); n > 0 {
			out(control.LogRecord{Time: time.Now(), Priority: mesh.Warning, Text: fmt.Sprintf("%d messages were suppressed: they came faster than they could be logged", n)})
		}
		e.record.Text = l.names.replace(e.record.Text)
		out(e.record)
	}
	for {
		select {
		case e := <-l.queue:
			put(e)
			continue
		case <-l.stop:
		}
		for len(l.queue) > 0 {
			put(<-l.queue)
		}
		return
	}
}

// flush waits until everything has been written, but not for ever.
func (l *logger) flush() {
	if l.queue == nil {
		return
	}
	e := logEntry{flushed: make(chan struct{})}
	timeout := time.After(logTimeout)
	select {
	case l.queue <- e:
	case <-timeout:
		return
	}
	select {
	case <-e.flushed:
	case <-timeout:
	}
}

// close writes what is left and ends the writer.
func (l *logger) close() {
	close(l.stop)
	select {
	case <-l.written:
	case <-time.After(logTimeout):
	}
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

// subscribe makes sink receive what is said up to a level, until cancel is called.
// sink must not block, nor call back.
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

// wanted tells whether anybody listens to what is said at level.
func (l *logger) wanted(level int) bool { return level <= int(l.most.Load()) }

// printf logs a message, unless there have been too many of its kind, see loglimit.go.
func (l *logger) printf(level int, p mesh.Priority, format string, args ...any) {
	if l.wanted(level) {
		l.limited(level, p, kindOfMessage(format, args), format, args...)
	}
}

// fromMesh logs a message of the protocol core.
func (l *logger) fromMesh(e mesh.Log) {
	if l.wanted(e.Level) {
		l.limited(e.Level, e.Priority, logKind{e.Cause, e.About}, "%s", e.Text)
	}
}

// always logs what the operator has asked for.
func (l *logger) always(level int, p mesh.Priority, format string, args ...any) {
	if l.wanted(level) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.put(logEntry{control.LogRecord{Time: time.Now(), Priority: p, Text: fmt.Sprintf(format, args...)}, level, nil})
	}
}

func (l *logger) limited(level int, p mesh.Priority, k logKind, format string, args ...any) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.limit.silent(now) {
		e.record.Time = now
		l.put(e)
	}
	ok, before, over := l.limit.allow(now, level, k)
	if !ok && over.leftOut > 1 && over.leftOut&(over.leftOut-1) != 0 {
		return // the text of some of them is enough
	}
	e := logEntry{control.LogRecord{Time: now, Priority: p, Text: fmt.Sprintf(format, args...) + andMore(before)}, level, nil}
	if !ok {
		over.last = e
		return
	}
	l.put(e)
}

// leftOut is how many messages were left out since the start because there were too many of their kind.
func (l *logger) leftOut() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit.total
}

// put hands an entry to the log and to whoever listens. The caller holds l.mu.
func (l *logger) put(e logEntry) {
	r, level := e.record, e.level
	current := l.level()
	if level <= current && l.queue != nil {
		select {
		case l.queue <- e:
		default:
			l.lost.Add(1)
		}
	}
	for _, s := range l.subs {
		if level <= s.level || s.level < 0 && level <= current {
			s.sink(r)
		}
	}
}

// failed logs an error that the node goes on with, and the advice that comes with it.
func (l *logger) failed(level int, p mesh.Priority, err error) {
	l.printf(level, p, "%v", err)
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		l.printf(level, p, "hint: %s", h.Hint())
	}
}
