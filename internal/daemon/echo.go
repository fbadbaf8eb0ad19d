package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"tincan/internal/control"
	"tincan/internal/mesh"
)

// echoes brings the answers to echoes to those who wait for them.
type echoes struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan mesh.EchoResult
}

// maxWaiting is how many may wait for an answer at a time.
const maxWaiting = 256

func (e *echoes) wait() (id uint64, answer chan mesh.EchoResult, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) >= maxWaiting {
		return 0, nil, errors.New("too many echo requests are pending")
	}
	if e.waiting == nil {
		e.waiting = map[uint64]chan mesh.EchoResult{}
	}
	e.last++
	answer = make(chan mesh.EchoResult, 1)
	e.waiting[e.last] = answer
	return e.last, answer, nil
}

func (e *echoes) answered(r mesh.EchoResult) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.waiting[r.ID]; c != nil {
		delete(e.waiting, r.ID)
		c <- r // it has room for one
	}
}

func (e *echoes) forget(id uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.waiting, id)
}

// echo measures the path to a node once, see [mesh.Echo]. It returns when the answer has come,
// the time is up, or ctx ends; what happened is in Err of the result.
func (d *Daemon) echo(ctx context.Context, e mesh.Echo) (mesh.EchoResult, error) {
	id, answer, err := d.echoes.wait()
	if err != nil {
		return mesh.EchoResult{}, err
	}
	defer d.echoes.forget(id)
	e.ID = id
	if !d.core.call(func(m *mesh.Mesh) { m.Handle(now(), e) }) {
		return mesh.EchoResult{}, errStopping
	}
	late := time.NewTimer(e.Timeout + time.Second) // the protocol core says sooner that time is up
	defer late.Stop()
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		return mesh.EchoResult{}, context.Cause(ctx)
	case <-d.core.done:
		return mesh.EchoResult{}, errStopping
	case <-late.C:
		return mesh.EchoResult{}, mesh.ErrNoAnswer
	}
}

// Echo is what the control socket asks (control.Echoer).
func (b *backend) Echo(r control.EchoRequest) control.EchoAnswer {
	transports := map[control.EchoTransport]mesh.EchoPath{control.EchoAny: mesh.EchoAsPackets, control.EchoUDP: mesh.EchoUDP, control.EchoTCP: mesh.EchoTCP}
	e, err := b.d.echo(context.Background(), mesh.Echo{
		Node: r.Node, Path: transports[r.Transport], Via: r.Via, Size: r.Size, Timeout: r.Timeout,
	})
	if err == nil {
		err = e.Err
	}
	a := control.EchoAnswer{
		Node: r.Node, Size: e.Size, RTT: control.Millis(e.RTT), Probed: e.Probed, Lost: errors.Is(err, mesh.ErrNoAnswer),
		There: control.EchoLeg(e.There), Back: control.EchoLeg(e.Back),
	}
	if e.Seen.IsValid() {
		a.Seen = e.Seen.String()
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}
