package sim

import (
	"fmt"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
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

// While nobody talks no timer below ten seconds runs: a node wakes to show its neighbours that it is there, and for
// what is due at a known time.
func TestIdleNodesSleep(t *testing.T) {
	t.Parallel()
	const (
		long   = 10 * time.Minute
		always = 10 + 2 // to forget what is outdated, each minute
		// For each neighbour: probes each 10 s, which wake once for both ends of a path if they are not sent at the
		// same time; PINGs and looks for a larger MTU, each minute.
		each = 60 + 20 + 20
	)
	auto := func(c *mesh.Config) { c.AutoConnect = true }
	pair := func(w *World) (a, b *Host) {
		a, b = w.Add("a"), w.Add("b")
		a.Knows(b, true)
		b.Knows(a, false)
		return a, b
	}
	starts := func(b, a *Host) []*Host {
		b.Start()
		a.Start("b")
		return []*Host{a, b}
	}
	for name, begin := range map[string]func(w *World) []*Host{
		"two nodes": func(w *World) []*Host {
			a, b := pair(w)
			return starts(b, a)
		},
		"AutoConnect, which finds nobody else": func(w *World) []*Host {
			a, b := pair(w)
			a.Configure, b.Configure = auto, auto
			return starts(b, a)
		},
		"AutoConnect, with a node that is down": func(w *World) []*Host {
			a, b := pair(w)
			c := w.Add("c")
			a.Configure, b.Configure = auto, auto
			a.Knows(c, true)
			return starts(b, a)
		},
		"without UDP": func(w *World) []*Host {
			a, b := pair(w)
			a.Configure = func(c *mesh.Config) { c.TCPOnly = true }
			b.Configure = a.Configure
			return starts(b, a)
		},
		"UDP blocked": func(w *World) []*Host {
			w.UDP = func(_, _ *Host) bool { return false }
			a, b := pair(w)
			return starts(b, a)
		},
		"a node of tinc 1.0": func(w *World) []*Host { return mixed(w, "no") },
		"a neighbour without echoes": func(w *World) []*Host {
			a, b := pair(w)
			b.Plain = true
			return starts(b, a)
		},
		"a hub with ninety-nine": func(w *World) (all []*Host) {
			hub := w.Add("hub")
			for i := range 99 {
				h := w.Add(node.Name(fmt.Sprintf("n%02d", i)))
				h.Knows(hub, true)
				hub.Knows(h, false)
				all = append(all, h)
			}
			hub.Start()
			for _, h := range all {
				h.Start("hub")
			}
			return append(all, hub)
		},
		"AutoConnect among twelve": func(w *World) []*Host {
			_, _, all := autoMesh(w, 12)
			return all
		},
		"a row after talk": func(w *World) []*Host {
			row := mixed(w, "nnn")
			w.Run(20 * time.Second)
			s := w.stream(row[0], row[2])
			w.Run(30 * time.Second)
			s.on = false
			return row
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := New(1)
			all := begin(w)
			w.Run(10 * time.Minute)
			before := map[*Host]int{}
			for _, h := range all {
				before[h] = h.Wakes
			}
			w.Run(long)
			for _, h := range all {
				neighbours := 0
				for _, c := range h.Core.Conns() {
					if c.Active {
						neighbours++
					}
				}
				wakes := h.Wakes - before[h]
				t.Logf("%s, %d neighbours: %d", h.Name, neighbours, wakes)
				if wakes > always+each*neighbours {
					t.Errorf("%s, which has %d neighbours, was woken %d times in %s", h.Name, neighbours, wakes, long)
				}
			}
		})
	}
}

// TestAPacketNowAndThenWakesLittle: for some seconds after each packet the paths in use are looked after. Where it
// went straight to a node that answers, there is little to look after.
func TestAPacketNowAndThenWakesLittle(t *testing.T) {
	t.Parallel()
	w := New(1)
	a, b := couple(t, w)
	w.Run(10 * time.Minute)
	const (
		packets = 20
		// For each packet: the packet, an echo each two seconds while it is new and their answers, the end of it.
		each = 14
	)
	before := a.Wakes
	for range packets {
		w.Send(a, b, 100, func(Trace) {})
		w.Run(30 * time.Second)
	}
	if wakes := a.Wakes - before; wakes > 120+packets*each {
		t.Errorf("woken %d times by %d packets", wakes, packets)
	} else {
		t.Logf("woken %d times", wakes)
	}
}
