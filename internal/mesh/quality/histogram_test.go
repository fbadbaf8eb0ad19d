package quality

import (
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 2500 * time.Millisecond, time.Minute} {
		h.Add(d)
	}
	want := Histogram{Count: 5, Sum: time.Minute + 2502*time.Millisecond + 1}
	want.Buckets[0], want.Buckets[1], want.Buckets[len(Bounds)-1] = 2, 1, 1
	if h != want {
		t.Errorf("%+v, want %+v", h, want)
	}
}
