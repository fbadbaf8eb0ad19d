package sim

import (
	"testing"
	"time"

	"tincan/internal/mesh"
)

// Two nodes without a connection that have talked, and are silent now, leave each other in
// peace: else a mesh in which everybody has talked with everybody once would never rest.
func TestThoseWhoHaveTalkedRestAfterwards(t *testing.T) {
	t.Parallel()
	for seed := range seeds(3) {
		w := New(seed)
		a, z, _ := star(w, "r")
		w.Run(5 * time.Second)
		s := w.stream(a, z)
		w.Run(10 * time.Second)
		if !s.last.UDP || len(s.last.Hops) != 2 {
			t.Fatalf("seed %d: they do not talk directly: %+v", seed, s.last)
		}
		s.on = false
		w.Run(2 * time.Minute)
		probes := 0
		w.Loss = func(from, to *Host) float64 {
			if from.Name != "r" && to.Name != "r" {
				probes++
			}
			return 0
		}
		w.Run(10 * time.Minute)
		if probes > 0 {
			t.Errorf("seed %d: %d datagrams in ten minutes", seed, probes)
		}
		if a.peers["z"].Confirmed || z.peers["a"].Confirmed {
			t.Errorf("seed %d: a path that nobody has looked at for so long counts as good", seed)
		}
		if why := a.Core.Why("z", mesh.Found{}); !why.Good {
			t.Errorf("seed %d: something is to be fixed: %+v", seed, why)
		}
		w.Loss = nil
		if there, back, took, ok := w.Reaches(a, z, 5*time.Second); !ok || took > time.Second {
			t.Errorf("seed %d: afterwards %+v %+v %s", seed, there, back, took)
		}
	}
}

// Neighbours that do not reach each other by UDP go on asking, but not for ever in a hurry: a network
// that lets no UDP through does not change by itself, and a phone has a battery.
func TestIdleNeighboursWithoutUDPAskSeldom(t *testing.T) {
	t.Parallel()
	w := New(1)
	w.UDP = func(_, _ *Host) bool { return false }
	a, b := w.Add("a"), w.Add("b")
	a.Knows(b, true)
	b.Knows(a, false)
	b.Start()
	a.Start("b")
	w.Run(3 * time.Minute)
	before := w.Datagrams
	w.Run(10 * time.Minute)
	if n := w.Datagrams - before; n > 2*70 {
		t.Errorf("%d probes in ten minutes", n)
	} else if n == 0 {
		t.Error("they have given up")
	}
	w.UDP = func(_, _ *Host) bool { return true }
	s := w.stream(a, b)
	if took, ok := w.Until(5*time.Second, func() bool { return s.last.UDP }); !ok {
		t.Errorf("no packets by UDP after %s", took)
	}
}
