package daemon

import (
	"context"
	"os"
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

// bootEvery is how often the clocks are read where the kernel can wake us by a clock that goes on during sleep: then
// what was due meanwhile comes at once after it.
const bootEvery = 10 * time.Second

// clockTicks are when the clocks are to be read, and how far these moments are apart. They end with ctx.
func clockTicks(ctx context.Context) (<-chan struct{}, time.Duration) {
	if ticks, err := bootTicks(ctx, bootEvery); err == nil {
		return ticks, bootEvery
	}
	return secondTicks(ctx)
}

// bootTicks are ticks of the clock that goes on during sleep.
func bootTicks(ctx context.Context, every time.Duration) (<-chan struct{}, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	each := unix.NsecToTimespec(int64(every))
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: each, Value: each}, nil); err != nil {
		unix.Close(fd)
		return nil, err
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	ticks := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { timer.Close() })
	go func() {
		defer stop()
		var expirations [8]byte
		for {
			if _, err := timer.Read(expirations[:]); err != nil {
				return
			}
			poke(ticks)
		}
	}()
	return ticks, nil
}
