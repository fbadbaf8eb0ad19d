package daemon

import (
	"context"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/route"
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

// event queues an event for the protocol core. It waits while the queue is full, or the connection that it came from has used
// up its share of the protocol core's time; that slows down this connection and nothing else.
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

// call runs fn on the protocol core's goroutine and waits for it. It reports whether fn
// ran: it does not when the node has stopped. What carries out effects must
// not call: it is on that goroutine.
func (d *Daemon) call(fn func()) bool {
	ran := make(chan struct{})
	select {
	case d.calls <- func() { fn(); close(ran) }:
		<-ran
		return true
	case <-d.done:
		return false
	}
}

// eventLoop is the only goroutine that touches the protocol core.
func (d *Daemon) eventLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	requests := map[mesh.ConnID]int{} // taken in in this turn
	for {
		if d.answerCalls() {
			timer.Reset(0) // what they have changed is carried out now
		}
		var began time.Time
		select {
		case <-ctx.Done():
			return
		case e := <-d.events:
			began = time.Now()
			d.handle(e, requests)
		case e := <-d.reports:
			began = time.Now()
			d.core.Handle(began, e)
		case fn := <-d.calls:
			fn()
			began = time.Now()
		case <-timer.C:
			began = time.Now()
		}
		d.drain(requests)
		now := time.Now()
		if at := d.core.Deadline(); !at.IsZero() && !at.After(now) {
			d.core.Tick(now)
		}
		d.flush(now)
		if len(requests) > 0 {
			d.shares.charge(requests, time.Since(began))
			clear(requests)
		}
		wait := time.Hour
		if at := d.core.Deadline(); !at.IsZero() {
			wait = max(time.Until(at), 0)
		}
		timer.Reset(wait)
	}
}

// drain takes in what else is queued, so that the effects of all of it are
// worked out once. Who waits for an answer waits for one event, not for all of them.
func (d *Daemon) drain(requests map[mesh.ConnID]int) {
	for range batch {
		d.answerCalls()
		select {
		case e := <-d.events:
			d.handle(e, requests)
		case e := <-d.reports:
			d.core.Handle(time.Now(), e)
		default:
			return
		}
	}
}

// answerCalls lets those go first who wait for an answer, such as a command of the operator.
func (d *Daemon) answerCalls() (some bool) {
	for {
		select {
		case fn := <-d.calls:
			fn()
			some = true
		default:
			return some
		}
	}
}

// handle takes in an event of the queue, and counts the request if it is one.
func (d *Daemon) handle(e mesh.Event, requests map[mesh.ConnID]int) {
	if r, ok := e.(mesh.Request); ok {
		requests[r.Conn]++
	}
	d.core.Handle(time.Now(), e)
}

// flush carries out what the protocol core wants done.
func (d *Daemon) flush(now time.Time) {
	for _, e := range d.core.Flush(now) {
		d.apply(e)
	}
}

// shutdownCore lets the protocol core end its connections.
func (d *Daemon) shutdownCore() {
	d.call(func() {
		d.core.Handle(time.Now(), mesh.Shutdown{})
		d.flush(time.Now())
	})
}

// apply carries out one effect of the protocol core. Nothing here may block.
func (d *Daemon) apply(e mesh.Effect) {
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
		d.netif.Node(e.Node, true)
		d.seen.node(e.Node, true)
		d.distribution.nodeUp()
		d.script.NodeUp(d.env(e.Node, e.Addr))
	case mesh.NodeDown:
		d.standby.node(e.Node, false)
		d.netif.Node(e.Node, false)
		d.seen.node(e.Node, false)
		d.script.NodeDown(d.env(e.Node, e.Addr))
		d.distribution.nodeDown(e.Node)
	case mesh.SubnetUp:
		d.subnetUp(e)
	case mesh.SubnetDown:
		d.subnetDown(e)
	case mesh.SaveKey:
		d.persister.saveKey(e.Node, e.Key)
	case mesh.SaveLearned:
		d.persister.saveLearned(e)
	case mesh.KeyContested:
		d.persister.contested(e)
	case mesh.SaveAddresses:
		d.persister.saveAddresses(e.Node, e.Addrs)
	case mesh.Log:
		d.log.fromMesh(e)
	default:
		// A test sees to it that this cannot happen. If it does, a node that works
		// but for this is better than none.
		d.log.printf(0, mesh.Error, "internal error: unhandled effect %T; please report this", e)
	}
}

// subnetUp: a subnet can be reached now.
func (d *Daemon) subnetUp(e mesh.SubnetUp) {
	d.script.SubnetUp(d.subnetEnv(e.Owner, e.Subnet, e.Addr))
	if e.Owner != d.network().Name {
		if d.network().Settings.Mode == route.ByAddress { // else everybody is on the link
			d.netif.Add(e.Owner, e.Subnet)
		}
		d.noteConflict(e.Owner, e.Subnet)
		d.distribution.subnetUp(e.Owner, e.Subnet)
	}
}

// subnetDown: it cannot any more.
func (d *Daemon) subnetDown(e mesh.SubnetDown) {
	d.script.SubnetDown(d.subnetEnv(e.Owner, e.Subnet, e.Addr))
	if e.Owner != d.network().Name {
		d.netif.Remove(e.Owner, e.Subnet)
		d.forgetConflict(e.Owner, e.Subnet)
		d.distribution.subnetDown(e.Owner, e.Subnet)
	}
}
