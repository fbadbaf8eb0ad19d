package daemon

import (
	"context"
	"sync/atomic"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// standby brings the interface up when the first other node can be reached, and takes
// it down when none can any more (DeviceStandby).
type standby struct {
	reachable map[node.Name]struct{} // belongs to the protocol core's goroutine
	wanted    atomic.Bool
	news      chan struct{} // room for one
}

func newStandby() *standby {
	return &standby{reachable: map[node.Name]struct{}{}, news: make(chan struct{}, 1)}
}

// node: another node can be reached, or cannot any more. It does not wait. s may be nil.
func (s *standby) node(name node.Name, up bool) {
	if s == nil {
		return
	}
	if up {
		s.reachable[name] = struct{}{}
	} else {
		delete(s.reachable, name)
	}
	s.wanted.Store(len(s.reachable) > 0)
	poke(s.news)
}

// standBy keeps the interface as it should be, until ctx ends; then it is down.
func (d *Daemon) standBy(ctx context.Context) {
	up := false
	for {
		switch wanted := d.standby.wanted.Load() && ctx.Err() == nil; {
		case wanted && !up:
			up = true
			if err := d.interfaceUp(ctx); err != nil {
				d.log.failed(0, mesh.Error, err)
			}
		case !wanted && up:
			up = false
			d.interfaceDown()
		}
		select {
		case <-d.standby.news:
		case <-ctx.Done():
			if up {
				d.interfaceDown()
			}
			return
		}
	}
}
