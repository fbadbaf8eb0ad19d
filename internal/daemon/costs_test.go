package daemon

import (
	"testing"

	"tincan/internal/hybrid"
)

func TestCostsOfCiphers(t *testing.T) {
	costs := measureCosts()
	if costs[0].Cipher != hybrid.Stock || (len(costs) == 2) != hasAES() {
		t.Errorf("%v, with AES: %v", costs, hasAES())
	}
	if !hasAES() && costs[0] != (hybrid.Cost{Cipher: hybrid.Stock}) {
		t.Errorf("measured without need: %v", costs)
	}
	for _, c := range costs {
		if hasAES() && (c.Nanos < 20 || c.Nanos > 50_000_000) {
			t.Errorf("%v takes %d ns", c.Cipher, c.Nanos)
		}
	}
}

func BenchmarkMeasureCosts(b *testing.B) {
	for b.Loop() {
		measureCosts()
	}
}
