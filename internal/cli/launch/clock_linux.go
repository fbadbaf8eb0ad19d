package launch

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock by which systemd orders what it is told.
func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}
