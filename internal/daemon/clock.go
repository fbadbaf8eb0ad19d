package daemon

import (
	"context"
	"time"

	"tincan/internal/mesh"
)

// The protocol core reckons with a monotonic clock, so setting the clock on the wall does not touch it.
// That clock stands still while the machine sleeps, though the world goes on: peers have given
// us up, NATs have forgotten us, we may be in another network. So the protocol core is told.

const (
	// napLength is the shortest sleep that matters.
	napLength = 2 * time.Second
	// heldLength is how late a tick must be to count as being stopped as a whole:
	// by a signal, a debugger, or with the virtual machine.
	heldLength = 5 * time.Second
)

// clocks is one reading of all clocks.
type clocks struct {
	running time.Time     // has the monotonic clock
	slept   time.Duration // how long the machine has slept since it was started, if known
}

// since says what has happened between two readings that should be so far
// apart, "" for nothing of note.
func (c clocks) since(before clocks, apart time.Duration) string {
	switch {
	case c.slept-before.slept >= napLength:
		return "the machine was asleep"
	case c.running.Sub(before.running) >= apart+heldLength:
		return "this process was stopped for a while"
	}
	return ""
}

// watchClocks tells the protocol core when the machine has slept.
func (d *Daemon) watchClocks(ctx context.Context) {
	ticks, every := clockTicks(ctx)
	last := readClocks()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		now := readClocks()
		if reason := now.since(last, every); reason != "" {
			d.core.event(mesh.NetworkChanged{Reason: reason})
		}
		last = now
	}
}

// secondTicks are ticks of a clock that stands still during sleep: they have to be frequent, so that
// little time is lost after it. They end with ctx.
func secondTicks(ctx context.Context) (<-chan struct{}, time.Duration) {
	ticks := make(chan struct{}, 1)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				poke(ticks)
			}
		}
	}()
	return ticks, time.Second
}
