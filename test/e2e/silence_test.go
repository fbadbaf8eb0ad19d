//go:build linux

package e2e

import (
	"slices"
	"testing"
	"time"
)

// TestADeadPathIsReplaced lets each of the commonest paths die a few times. The limits
// are generous, for machines that do more than this; TestFailingOver measures.
func TestADeadPathIsReplaced(t *testing.T) {
	t.Parallel()
	const limit = 8 * time.Second
	chosen := []string{
		"UDP, echoes, TCP to fall back to",
		"UDP, one way flow",
		"UDP in one direction, echoes",
		"relay killed, another is there",
		"MTU, a TCP stream",
	}
	seen := 0
	for _, f := range failures() {
		if !slices.Contains(chosen, f.name) {
			continue
		}
		seen++
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			s := f.build(w)
			for range 2 {
				o := s.trial(w)
				t.Logf("no packets for %v, then %v", o.gap, o.loss)
				if o.gap > limit || o.loss > limit {
					t.Errorf("no packets for %v, and for %v when it came back", o.gap, o.loss)
				}
			}
		})
	}
	if seen != len(chosen) {
		t.Errorf("only %d of %d failures have been tried", seen, len(chosen))
	}
}
