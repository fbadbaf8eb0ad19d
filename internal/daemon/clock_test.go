package daemon

import (
	"testing"
	"time"
)

func TestSleepIsToldFromTheWallClockBeingSet(t *testing.T) {
	start := clocks{running: time.Now()}
	after := func(running, slept time.Duration) clocks {
		return clocks{running: start.running.Add(running), slept: start.slept + slept}
	}
	for _, c := range []struct {
		name string
		now  clocks
		want string
	}{
		{"nothing happened", after(time.Second, 0), ""},
		{"a busy machine", after(3*time.Second, 0), ""},
		{"the lid was closed", after(time.Second, time.Hour), "the machine was asleep"},
		{"the process was stopped", after(time.Minute, 0), "this process was stopped for a while"},
	} {
		if got := c.now.since(start, time.Second); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	first := readClocks()
	if reason := readClocks().since(first, time.Second); reason != "" {
		t.Errorf("two readings in a row: %q", reason)
	}
}
