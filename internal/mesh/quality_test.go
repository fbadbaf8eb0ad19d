package mesh

import (
	"testing"
	"time"
)

func TestPathQuality(t *testing.T) {
	var q quality
	if q.measured() || q.loss() != 0 || q.wait() != firstEchoWait {
		t.Errorf("at first %+v", q)
	}
	for range sampleSize {
		q.answered(100 * time.Millisecond)
	}
	if q.rtt.srtt != 100*time.Millisecond || q.cost() != q.rtt.srtt || q.wait() < 125*time.Millisecond || q.wait() > 150*time.Millisecond {
		t.Errorf("steady: %+v, cost %s, wait %s", q, q.cost(), q.wait())
	}
	q.lost()
	q.lost()
	if q.missed != 2 || q.cost() != q.rtt.srtt {
		t.Errorf("two lost by chance cost %s", q.cost()-q.rtt.srtt)
	}
	for range sampleSize / 4 {
		q.lost()
		q.answered(100 * time.Millisecond)
	}
	if q.missed != 0 || q.loss() < 0.25 || q.cost() < 2*q.rtt.srtt {
		t.Errorf("lossy: %+v, loss %.2f, cost %s", q, q.loss(), q.cost())
	}
	for range sampleSize {
		q.answered(100 * time.Millisecond)
	}
	if q.loss() != 0 {
		t.Errorf("what is long ago still counts: %.2f", q.loss())
	}
}
