//go:build !linux

package daemon

import (
	"context"
	"time"
)

// clockZero is where both clocks are counted from.
var clockZero = time.Now()

// readSlept: the wall clock runs ahead of the monotonic one by the time slept. It does so,
// too, when somebody sets it forward: then everything is tried again in vain, which does no harm.
func readSlept() time.Duration {
	now := time.Now()
	return now.Round(0).Sub(clockZero.Round(0)) - now.Sub(clockZero)
}

// clockTicks are when the clocks are to be read.
func clockTicks(ctx context.Context) <-chan struct{} { return secondTicks(ctx) }
