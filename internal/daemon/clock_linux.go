package daemon

import (
	"time"

	"golang.org/x/sys/unix"
)

// readClocks: of two clocks that nobody can set, one goes on during sleep.
func readClocks() clocks {
	var awake, all unix.Timespec
	c := clocks{running: time.Now()}
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) == nil && unix.ClockGettime(unix.CLOCK_BOOTTIME, &all) == nil {
		c.slept = time.Duration(all.Nano() - awake.Nano())
	}
	return c
}
