package daemon

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// readSlept is how long the machine has slept since it was started: of two clocks that nobody can set, one goes on during sleep.
func readSlept() time.Duration {
	var awake, all unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &all) != nil {
		return 0
	}
	return time.Duration(all.Nano() - awake.Nano())
}

// wallEvery is how often the clocks are read where the kernel tells when the clock on the wall jumps, as it does after sleep.
const wallEvery = time.Minute

// clockTicks are when the clocks are to be read. They end with ctx.
func clockTicks(ctx context.Context) <-chan struct{} {
	if ticks, err := wallTicks(ctx, wallEvery); err == nil {
		return ticks
	}
	return secondTicks(ctx)
}

// wallTicks are ticks of the clock on the wall. There is another one as soon as that clock has been set, by somebody or
// because it stood still while the machine slept.
func wallTicks(ctx context.Context, every time.Duration) (<-chan struct{}, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	set := func() error {
		const cancelOnSet = unix.TFD_TIMER_ABSTIME | unix.TFD_TIMER_CANCEL_ON_SET
		at := unix.NsecToTimespec(time.Now().Add(every).UnixNano())
		err := unix.TimerfdSettime(fd, cancelOnSet, &unix.ItimerSpec{Value: at}, nil)
		if errors.Is(err, unix.ECANCELED) { // it is set, and the clock has been set since the last time
			return nil
		}
		return err
	}
	if err := set(); err != nil {
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
			if _, err := timer.Read(expirations[:]); err != nil && !errors.Is(err, unix.ECANCELED) {
				return
			}
			poke(ticks)
			if set() != nil {
				return
			}
		}
	}()
	return ticks, nil
}
