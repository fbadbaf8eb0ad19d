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
	// heldLength is how late a timer must be to count as being stopped as a whole:
	// by a signal, a debugger, or with the virtual machine.
	heldLength = 5 * time.Second
)

const (
	wasAsleep  = "the machine was asleep"
	wasStopped = "this process was stopped for a while"
)

// sleptSince reports whether the machine has slept between two readings of how long it has since it was started.
func sleptSince(before, now time.Duration) bool { return now-before >= napLength }

// stoppedSince reports whether this process was stopped while it waited for a timer; zero: for none.
func stoppedSince(due, now time.Time) bool { return !due.IsZero() && now.Sub(due) >= heldLength }

// watchClocks tells the protocol core when the machine has slept.
func (d *Daemon) watchClocks(ctx context.Context) {
	ticks := clockTicks(ctx)
	last := readSlept()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		now := readSlept()
		if sleptSince(last, now) {
			d.core.event(mesh.NetworkChanged{Reason: wasAsleep, Worked: d.places.worked()})
		}
		last = now
	}
}

// secondTicks are ticks of a clock that stands still during sleep: they have to be frequent, so that
// little time is lost after it. They end with ctx.
func secondTicks(ctx context.Context) <-chan struct{} {
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
	return ticks
}
