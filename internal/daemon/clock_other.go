//go:build !linux

package daemon

import (
	"context"
	"time"
)

// clockZero is where both clocks are counted from.
var clockZero = time.Now()

// readClocks: the wall clock runs ahead of the monotonic one by the time slept. It does so,
// too, when somebody sets it forward: then everything is tried again in vain, which does no harm.
func readClocks() clocks {
	now := time.Now()
	return clocks{running: now, slept: now.Round(0).Sub(clockZero.Round(0)) - now.Sub(clockZero)}
}

// clockTicks are when the clocks are to be read, and how far these moments are apart.
func clockTicks(ctx context.Context) (<-chan struct{}, time.Duration) { return secondTicks(ctx) }
