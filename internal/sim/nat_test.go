package sim

import (
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// behindNoFirewall makes hosts called a and z behind NATs without a firewall, which know each other by a
// third one.
func behindNoFirewall(w *World) (a, z *Host) {
	a, z, mid := star(w, "m")
	for _, pair := range [][2]*Host{{a, z}, {z, a}} {
		pair[0].Knows(pair[1], false)
	}
	for _, h := range []*Host{a, z} {
		h.BehindNAT()
		h.NoFirewall = true
		h.Kill()
		h.Start(mid[0].Name)
	}
	return a, z
}

func direct(a, b *Host) bool { return a.peers[b.Name].Confirmed && b.peers[a.Name].Confirmed }

func TestTwoBehindNATsWithoutFirewallMeet(t *testing.T) {
	for seed := range uint64(20) {
		w := New(seed)
		a, z := behindNoFirewall(w)
		w.Run(5 * time.Second)
		w.stream(a, z)
		if took, ok := w.Until(3*time.Second, func() bool { return direct(a, z) }); !ok {
			t.Errorf("seed %d: no direct path after %s", seed, took)
		}
		// Not only once: after a rest in which the NATs have forgotten everything, too.
	}
}

// The path rests until the NATs have forgotten it. Then one side has something to say again.
func TestNATsWithoutFirewallAreOpenedAgainAfterARest(t *testing.T) {
	for seed := range uint64(10) {
		w := New(seed)
		a, z := behindNoFirewall(w)
		w.Run(5 * time.Second)
		meet := func() {
			t.Helper()
			if _, _, _, ok := w.Reaches(a, z, 5*time.Second); !ok {
				t.Fatalf("seed %d: not reached", seed)
			}
			end := w.Now.Add(5 * time.Second)
			for w.Now.Before(end) && !direct(a, z) {
				w.Ping(a, z, func(Trace, Trace) {})
				w.Run(100 * time.Millisecond)
			}
			if !direct(a, z) {
				t.Errorf("seed %d: no direct path", seed)
			}
		}
		meet()
		w.Run(10 * time.Minute)
		if direct(a, z) {
			t.Fatalf("seed %d: the path never rests", seed)
		}
		meet()
	}
}

// Something has spoilt it: one side has sent before the other. Later it comes right.
func TestAfterAPauseNATsWithoutFirewallAreTriedAgain(t *testing.T) {
	for seed := range uint64(10) {
		w := New(seed)
		a, z := behindNoFirewall(w)
		w.Run(5 * time.Second)
		z.tracked[a.outside()] = tracked{last: w.Now, unasked: true}
		w.stream(a, z)
		if _, ok := w.Until(2*time.Second, func() bool { return direct(a, z) }); ok {
			t.Fatalf("seed %d: the model lets in what it cannot", seed)
		}
		if took, ok := w.Until(time.Minute, func() bool { return direct(a, z) }); !ok {
			t.Errorf("seed %d: no direct path after %s", seed, took)
		}
	}
}

// A node of tinc does not know that it should wait. Ours opens its own NAT all the same, and pauses.
func TestProbesThatDieOnTheWayGoToNATsOnly(t *testing.T) {
	w := New(3)
	a, z := behindNoFirewall(w)
	a.Record, z.Record = true, true
	w.Run(5 * time.Second)
	w.stream(a, z)
	w.Run(5 * time.Second)
	opened := map[node.Name]int{}
	for _, e := range a.Effects {
		if p, ok := e.(mesh.SendProbe); ok && p.TTL > 0 {
			opened[p.Node]++
			if pr, err := wire.ParseProbe(p.Data); err != nil || pr.Kind != wire.ProbeRequest {
				t.Errorf("it is no request: %v %v", pr, err)
			}
		}
	}
	if opened[z.Name] == 0 || len(opened) != 1 {
		t.Errorf("probes that die on the way: %v", opened)
	}
}
