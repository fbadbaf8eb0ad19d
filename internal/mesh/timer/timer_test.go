package timer

import (
	"slices"
	"testing"
	"time"
)

func TestTimersRunInOrder(t *testing.T) {
	var q Queue
	var ran []string
	begin := time.Unix(1000, 0)
	set := func(name string, after time.Duration) *Timer {
		return q.Set(begin.Add(after), func() { ran = append(ran, name) })
	}
	set("late", 2*time.Second)
	first := set("first", time.Second)
	set("second", time.Second) // equal times run in the order in which they were set
	cancelled := set("cancelled", time.Second)
	q.Cancel(cancelled)
	q.Cancel(cancelled)
	q.Cancel(nil)
	if !first.Waiting() || cancelled.Waiting() || (*Timer)(nil).Waiting() {
		t.Error("first, and nobody else, waits")
	}
	if !first.LaterThan(begin) || first.LaterThan(begin.Add(time.Second)) {
		t.Error("first runs after one second")
	}
	if q.Size() != 3 || !q.Next().Equal(begin.Add(time.Second)) {
		t.Errorf("%d timers, the next at %s", q.Size(), q.Next())
	}
	run := func(now time.Time) {
		for x := q.Due(now); x != nil; x = q.Due(now) {
			x.Run()
		}
	}
	run(begin.Add(time.Second - 1))
	if len(ran) != 0 {
		t.Errorf("%v ran too early", ran)
	}
	run(begin.Add(time.Second))
	if want := []string{"first", "second"}; !slices.Equal(ran, want) {
		t.Errorf("%v ran, want %v", ran, want)
	}
	run(begin.Add(time.Hour))
	if len(ran) != 3 || q.Size() != 0 || !q.Next().IsZero() || first.Waiting() {
		t.Errorf("%v ran, %d are left", ran, q.Size())
	}
}
