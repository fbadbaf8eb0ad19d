package quality

import (
	"testing"
	"time"
)

func TestPathQuality(t *testing.T) {
	var q Path
	if q.Measured() || q.Loss() != 0 || q.Wait() != firstEchoWait {
		t.Errorf("at first %+v", q)
	}
	for range sampleSize {
		q.Answered(100 * time.Millisecond)
	}
	if q.rtt.srtt != 100*time.Millisecond || q.Cost() != q.rtt.srtt || q.Wait() < 125*time.Millisecond || q.Wait() > 150*time.Millisecond {
		t.Errorf("steady: %+v, cost %s, wait %s", q, q.Cost(), q.Wait())
	}
	q.Lost()
	q.Lost()
	if q.missed != 2 || q.Cost() != q.rtt.srtt {
		t.Errorf("two lost by chance cost %s", q.Cost()-q.rtt.srtt)
	}
	for range sampleSize / 4 {
		q.Lost()
		q.Answered(100 * time.Millisecond)
	}
	if q.missed != 0 || q.Loss() < 0.25 || q.Cost() < 2*q.rtt.srtt {
		t.Errorf("lossy: %+v, loss %.2f, cost %s", q, q.Loss(), q.Cost())
	}
	for range sampleSize {
		q.Answered(100 * time.Millisecond)
	}
	if q.Loss() != 0 {
		t.Errorf("what is long ago still counts: %.2f", q.Loss())
	}
}
