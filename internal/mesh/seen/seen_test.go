package seen

import (
	"fmt"
	"testing"
	"time"
)

func TestTextsAreRememberedForAWhile(t *testing.T) {
	var s Texts
	now := time.Unix(1000, 0)
	if s.Has("a") || !s.First(now, "a") || s.First(now, "a") || !s.Has("a") || s.Has("b") {
		t.Fatal("a is new once")
	}
	now = now.Add(period)
	if !s.First(now, "b") || s.First(now, "a") {
		t.Error("a is remembered for one period more")
	}
	now = now.Add(2 * period)
	if !s.First(now, "c") || s.First(now, "b") {
		t.Error("b is remembered as long as nothing is said")
	}
	if now = now.Add(period); !s.First(now, "d") || !s.First(now, "a") {
		t.Error("a is forgotten in the end")
	}
}

func TestTextsAreBounded(t *testing.T) {
	var s Texts
	now := time.Unix(1000, 0)
	for i := range 2*Limit + 1 {
		s.First(now, fmt.Sprint(i))
	}
	if s.Size() > 2*Limit {
		t.Errorf("%d texts are remembered", s.Size())
	}
}

func TestRepeatsAreCounted(t *testing.T) {
	var r Repeats
	now := time.Unix(1000, 0)
	count := func(text func(int) string) (passed int) {
		for i := range 3 * MaxOfPair {
			if !r.TooMany(now, text(i)) {
				passed++
			}
		}
		return passed
	}
	if n := count(func(int) string { return "15 a b 19" }); n != MaxRepeats {
		t.Errorf("the same was passed on %d times, want %d", n, MaxRepeats)
	}
	if n := count(func(i int) string { return fmt.Sprint("16 c d ", i) }); n != MaxOfPair {
		t.Errorf("%d of one pair were passed on, want %d", n, MaxOfPair)
	}
	if now = now.Add(2 * RepeatPeriod); r.TooMany(now, "15 a b 19") {
		t.Error("it is not passed on later either")
	}
	if r.Size() != 2 {
		t.Errorf("%d are remembered", r.Size())
	}
}
