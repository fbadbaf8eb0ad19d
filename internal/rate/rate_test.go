package rate

import (
	"testing"
	"time"
)

var start = time.Unix(1000, 0)

func TestABurstAndThenOneEach(t *testing.T) {
	l := Limit{Burst: 5, Every: time.Second}
	var b Bucket
	for i := range 5 {
		if !b.Left(l, start) || !b.Take(l, start) {
			t.Fatalf("not even %d", i+1)
		}
	}
	if b.Left(l, start) || b.Take(l, start) || b.Take(l, start.Add(time.Second-1)) {
		t.Error("one more than the burst")
	}
	if now := start.Add(time.Second); !b.Take(l, now) || b.Take(l, now) {
		t.Error("not one more after a second")
	}
	now := start.Add(-time.Hour)
	if b.Take(l, now) {
		t.Error("a clock that is set back gives more")
	}
	if now = now.Add(time.Second); !b.Take(l, now) {
		t.Error("a clock that is set back stops all")
	}
	now, n := now.Add(time.Hour), 0
	for b.Take(l, now) {
		n++
	}
	if n != 5 {
		t.Errorf("%d at once after an hour", n)
	}
}

func TestAReservationWaitsItsTurn(t *testing.T) {
	l := PerSecond(10)
	var b Bucket
	for range 10 {
		b.Take(l, start)
	}
	for i := range 3 {
		want := time.Duration(i+1) * 100 * time.Millisecond
		if wait, ok := b.Reserve(l, start, 300*time.Millisecond); !ok || wait != want {
			t.Errorf("reservation %d has to wait %v: %v", i, wait, ok)
		}
	}
	if wait, ok := b.Reserve(l, start, 300*time.Millisecond); ok || wait != 400*time.Millisecond {
		t.Errorf("a wait of %v is allowed", wait)
	}
	if used := b.Used(start); used != 1300*time.Millisecond {
		t.Errorf("%v used: what was refused was counted", used)
	}
}

func TestSpendingMoreThanThereIs(t *testing.T) {
	var b Bucket
	b.Spend(start, time.Minute)
	b.Spend(start.Add(time.Second), time.Minute)
	if used := b.Used(start.Add(2 * time.Second)); used != 118*time.Second {
		t.Errorf("%v used", used)
	}
	b.Spend(start.Add(2*time.Second), -time.Minute)
	if used := b.Used(start.Add(2 * time.Second)); used != 58*time.Second {
		t.Errorf("%v used when a minute was given back", used)
	}
	if used := b.Used(start.Add(time.Hour)); used != 0 {
		t.Errorf("%v used after an hour", used)
	}
}
