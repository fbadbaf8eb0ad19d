package daemon

import (
	crand "crypto/rand"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
)

func TestSleepIsToldFromABusyMachine(t *testing.T) {
	for _, c := range []struct {
		slept time.Duration
		want  bool
	}{{0, false}, {time.Second, false}, {time.Hour, true}, {-time.Hour, false}} {
		if got := sleptSince(time.Minute, time.Minute+c.slept); got != c.want {
			t.Errorf("%v: %v", c.slept, got)
		}
	}
	if first := readSlept(); sleptSince(first, readSlept()) {
		t.Error("slept between two readings in a row")
	}
	due := time.Now()
	for _, c := range []struct {
		due  time.Time
		late time.Duration
		want bool
	}{{due, 0, false}, {due, 3 * time.Second, false}, {due, -time.Minute, false}, {due, time.Minute, true}, {time.Time{}, time.Hour, false}} {
		if got := stoppedSince(c.due, due.Add(c.late)); got != c.want {
			t.Errorf("%v late: stopped %v", c.late, got)
		}
	}
}

// TestTheProtocolCoreIsToldThatItWasStopped: whatever wakes it first afterwards.
func TestTheProtocolCoreIsToldThatItWasStopped(t *testing.T) {
	m := mesh.New(mesh.Config{Name: "a"}, mesh.Deps{Rand: rand.New(rand.NewPCG(1, 2)), Secrets: crand.Reader}, time.Now())
	var said []string
	c := newCore(func(e mesh.Effect) {
		if l, ok := e.(mesh.Log); ok {
			said = append(said, l.Text)
		}
	})
	c.mesh = m
	for _, late := range []time.Duration{time.Second, time.Minute} {
		said = nil
		now := time.Now()
		c.due = now.Add(-late)
		c.awoke(now)
		c.flush(now)
		if got := slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, wasStopped) }); got != (late == time.Minute) {
			t.Errorf("%v late: %q", late, said)
		}
	}
}
