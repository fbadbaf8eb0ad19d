package daemon

import (
	"context"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/script"
)

// Sizes of the queues towards the brain. When the first is full the readers of
// meta connections wait; when the second is full reports of the data plane are
// dropped and come again.
const (
	eventQueue  = 1024
	reportQueue = 1024
	// batch is how many events are taken in before the effects are carried out.
	batch = 256
)

// event queues an event for the brain. It waits while the queue is full, or the connection that it came from has used
// up its share of the brain's time; that slows down this connection and nothing else.
func (d *Daemon) event(e mesh.Event) {
	if r, ok := e.(mesh.Request); ok {
		d.shares.enter(r.Conn, d.done)
	}
	select {
	case d.events <- e:
	case <-d.done:
	}
}

// report queues a report of the data plane, or drops it.
func (d *Daemon) report(e mesh.Event) bool {
	select {
	case d.reports <- e:
		return true
	default:
		return false
	}
}

// ask runs fn on the brain's goroutine and waits for it. It reports whether fn
// ran: it does not when the node has stopped. What carries out effects must
// not ask: it is on that goroutine.
func (d *Daemon) ask(fn func()) bool {
	ran := make(chan struct{})
	select {
	case d.calls <- func() { fn(); close(ran) }:
		<-ran
		return true
	case <-d.done:
		return false
	}
}

// think is the only goroutine that touches the brain.
func (d *Daemon) think(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	requests := map[mesh.ConnID]int{} // taken in in this turn
	for {
		var began time.Time
		select {
		case <-ctx.Done():
			return
		case e := <-d.events:
			began = time.Now()
			d.handle(e, requests)
		case e := <-d.reports:
			began = time.Now()
			d.brain.Handle(began, e)
		case fn := <-d.calls:
			fn()
			began = time.Now()
		case <-timer.C:
			began = time.Now()
		}
		d.takeWaiting(requests)
		now := time.Now()
		if at := d.brain.Deadline(); !at.IsZero() && !at.After(now) {
			d.brain.Tick(now)
		}
		d.flush(now)
		if len(requests) > 0 {
			d.shares.charge(requests, time.Since(began))
			clear(requests)
		}
		wait := time.Hour
		if at := d.brain.Deadline(); !at.IsZero() {
			wait = max(time.Until(at), 0)
		}
		timer.Reset(wait)
	}
}

// takeWaiting takes in what else is queued, so that the effects of all of it are
// worked out once.
func (d *Daemon) takeWaiting(requests map[mesh.ConnID]int) {
	for range batch {
		select {
		case e := <-d.events:
			d.handle(e, requests)
		case e := <-d.reports:
			d.brain.Handle(time.Now(), e)
		default:
			return
		}
	}
}

// handle takes in an event of the queue, and counts the request if it is one.
func (d *Daemon) handle(e mesh.Event, requests map[mesh.ConnID]int) {
	if r, ok := e.(mesh.Request); ok {
		requests[r.Conn]++
	}
	d.brain.Handle(time.Now(), e)
}

// flush carries out what the brain wants done.
func (d *Daemon) flush(now time.Time) {
	for _, e := range d.brain.Flush(now) {
		d.do(e)
	}
}

// shutdownBrain lets the brain say good-bye.
func (d *Daemon) shutdownBrain() {
	d.ask(func() {
		d.brain.Handle(time.Now(), mesh.Shutdown{})
		d.flush(time.Now())
	})
}

// do carries out one effect of the brain. Nothing here may block.
func (d *Daemon) do(e mesh.Effect) {
	switch e := e.(type) {
	case mesh.Dial, mesh.SendLine, mesh.Secure, mesh.SecureLegacy, mesh.Send, mesh.CloseConn, mesh.Attach, mesh.HandOver:
		d.conns.Do(e)
	case mesh.SendProbe:
		d.plane.SendProbe(e)
	case mesh.SendEcho:
		d.plane.SendEcho(e)
	case mesh.EchoResult:
		d.echoes.answered(e)
	case mesh.TunnelledData:
		d.plane.Tunnelled(e)
	case mesh.PublishPeers:
		d.plane.PublishPeers(e.Peers)
		d.graph.changed()
	case mesh.PublishRoutes:
		d.plane.PublishRoutes(e.Routes)
		d.graph.changed()
	case mesh.ChangeRoutes:
		d.plane.ChangeRoutes(e)
		d.graph.changed()
	case mesh.NodeUp:
		d.standby.node(e.Node, true)
		d.face.node(e.Node, true)
		d.seen.node(e.Node, true)
		d.script.NodeUp(d.env(e.Node, e.Addr))
	case mesh.NodeDown:
		d.standby.node(e.Node, false)
		d.face.node(e.Node, false)
		d.seen.node(e.Node, false)
		d.script.NodeDown(d.env(e.Node, e.Addr))
		d.spread.nodeDown(e.Node)
	case mesh.SubnetUp:
		d.subnetUp(e)
	case mesh.SubnetDown:
		d.subnetDown(e)
	case mesh.SaveKey:
		d.disk.saveKey(e.Node, e.Key)
	case mesh.SaveLearned:
		d.disk.saveLearned(e)
	case mesh.KeyContested:
		d.disk.contested(e)
	case mesh.SaveAddresses:
		d.disk.saveAddresses(e.Node, e.Addrs)
	case mesh.Log:
		d.log.fromMesh(e)
	default:
		// A test sees to it that this cannot happen. If it does, a node that works
		// but for this is better than none.
		d.log.printf(0, mesh.Error, "nobody knows how to do %T; please report this", e)
	}
}

// subnetUp: a subnet can be reached now.
func (d *Daemon) subnetUp(e mesh.SubnetUp) {
	d.script.Queue(script.SubnetUp, d.subnetEnv(e.Owner, e.Subnet, e.Addr))
	if e.Owner != d.network().Name {
		if d.network().Settings.Mode == "router" { // else everybody is on the link
			d.face.add(e.Owner, e.Subnet)
		}
		d.noteClash(e.Owner, e.Subnet)
		d.spread.subnetUp(e.Owner, e.Subnet)
	}
}

// subnetDown: it cannot any more.
func (d *Daemon) subnetDown(e mesh.SubnetDown) {
	d.script.Queue(script.SubnetDown, d.subnetEnv(e.Owner, e.Subnet, e.Addr))
	if e.Owner != d.network().Name {
		d.face.remove(e.Owner, e.Subnet)
		d.spread.subnetDown(e.Owner, e.Subnet)
	}
}
