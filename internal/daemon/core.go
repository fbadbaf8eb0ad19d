package daemon

import (
	"context"
	"time"

	"tincan/internal/mesh"
)

// Sizes of the queues towards the protocol core. When the first is full the readers of
// meta connections wait; when the second is full reports of the data plane are
// dropped and come again.
const (
	eventQueue  = 1024
	reportQueue = 1024
	// batch is how many events are taken in before the effects are carried out.
	batch = 256
)

// core is the goroutine of the protocol core, and the queues that lead to it. What it
// wants done is done by apply, on that goroutine.
type core struct {
	mesh    *mesh.Mesh // for the goroutine of run alone; set before it begins
	apply   func(mesh.Effect)
	events  chan mesh.Event
	reports chan mesh.Event
	calls   chan func()
	shares  shares        // of connections in its time
	due     time.Time     // when the timer that run waits for is, zero: for none
	done    chan struct{} // closed when it has ended
}

// newCore makes the queues. What is put into them waits for run.
func newCore(apply func(mesh.Effect)) *core {
	return &core{
		apply:  apply,
		events: make(chan mesh.Event, eventQueue), reports: make(chan mesh.Event, reportQueue),
		calls: make(chan func()), done: make(chan struct{}),
	}
}

// event queues an event for the protocol core. It waits while the queue is full, or the connection that it came from has used
// up its share of the protocol core's time; that slows down this connection and nothing else.
func (c *core) event(e mesh.Event) {
	if r, ok := e.(mesh.Request); ok {
		c.shares.enter(r.Conn, c.done)
	}
	select {
	case c.events <- e:
	case <-c.done:
	}
}

// report queues a report of the data plane, or drops it.
func (c *core) report(e mesh.Event) bool {
	select {
	case c.reports <- e:
		return true
	default:
		return false
	}
}

// call runs fn on the protocol core's goroutine and waits for it. It reports whether fn
// ran: it does not when the node has stopped. What carries out effects must
// not call: it is on that goroutine.
func (c *core) call(fn func(*mesh.Mesh)) bool {
	ran := make(chan struct{})
	select {
	case c.calls <- func() { fn(c.mesh); close(ran) }:
		<-ran
		return true
	case <-c.done:
		return false
	}
}

// run is the only goroutine that touches the protocol core, until ctx ends.
func (c *core) run(ctx context.Context) {
	defer close(c.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	requests := map[mesh.ConnID]int{} // taken in in this turn
	for {
		if c.answerCalls() {
			timer.Reset(0) // what they have changed is carried out now
		}
		var began time.Time
		select {
		case <-ctx.Done():
			return
		case e := <-c.events:
			began = c.awoke(time.Now())
			c.handle(e, requests)
		case e := <-c.reports:
			began = c.awoke(time.Now())
			c.mesh.Handle(began, e)
		case fn := <-c.calls:
			fn()
			began = c.awoke(time.Now())
		case <-timer.C:
			began = c.awoke(time.Now())
		}
		c.drain(requests)
		now := time.Now()
		if at := c.mesh.Deadline(); !at.IsZero() && !at.After(now) {
			c.mesh.Tick(now)
		}
		c.flush(now)
		if len(requests) > 0 {
			c.shares.charge(requests, time.Since(began))
			clear(requests)
		}
		wait := time.Hour
		c.due = time.Time{}
		if at := c.mesh.Deadline(); !at.IsZero() {
			now = time.Now()
			wait = max(at.Sub(now), 0)
			c.due = now.Add(wait)
		}
		timer.Reset(wait)
	}
}

// awoke tells the protocol core if this process was stopped before now, and returns that.
func (c *core) awoke(now time.Time) time.Time {
	if stoppedSince(c.due, now) {
		c.mesh.Handle(now, mesh.NetworkChanged{Reason: wasStopped})
	}
	return now
}

// drain takes in what else is queued, so that the effects of all of it are
// worked out once. Who waits for an answer waits for one event, not for all of them.
func (c *core) drain(requests map[mesh.ConnID]int) {
	for range batch {
		c.answerCalls()
		select {
		case e := <-c.events:
			c.handle(e, requests)
		case e := <-c.reports:
			c.mesh.Handle(time.Now(), e)
		default:
			return
		}
	}
}

// answerCalls lets those go first who wait for an answer, such as a command of the operator.
func (c *core) answerCalls() (some bool) {
	for {
		select {
		case fn := <-c.calls:
			fn()
			some = true
		default:
			return some
		}
	}
}

// handle takes in an event of the queue, and counts the request if it is one.
func (c *core) handle(e mesh.Event, requests map[mesh.ConnID]int) {
	if r, ok := e.(mesh.Request); ok {
		requests[r.Conn]++
	}
	c.mesh.Handle(time.Now(), e)
}

// flush carries out what the protocol core wants done.
func (c *core) flush(now time.Time) {
	for _, e := range c.mesh.Flush(now) {
		c.apply(e)
	}
}

// shutdown lets the protocol core end its connections.
func (c *core) shutdown() {
	c.call(func(m *mesh.Mesh) {
		m.Handle(time.Now(), mesh.Shutdown{})
		c.flush(time.Now())
	})
}
