package sim

import (
	"slices"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// natted makes hosts called a and z that know each other by a third one, and have no UDP.
func natted(w *World, change func(h *Host, c *mesh.Config)) (a, z *Host) {
	w.UDP = func(_, _ *Host) bool { return false }
	a, z, mid := star(w, "m")
	for _, h := range []*Host{a, z} {
		h.Configure = func(c *mesh.Config) {
			c.Punch, c.AutoConnect = true, true
			change(h, c)
		}
	}
	for _, pair := range [][2]*Host{{a, z}, {z, a}} {
		pair[0].Knows(pair[1], false)
	}
	a.BehindNAT()
	z.BehindNAT()
	for _, h := range []*Host{a, z} {
		h.Kill()
		h.Start(mid[0].Name)
	}
	return a, z
}

func TestTwoBehindNATsDialEachOther(t *testing.T) {
	for name, change := range map[string]func(h *Host, c *mesh.Config){
		"both want it":        func(*Host, *mesh.Config) {},
		"only the first name": func(h *Host, c *mesh.Config) { c.AutoConnect = h.Name == "a" },
		"only the last name":  func(h *Host, c *mesh.Config) { c.AutoConnect = h.Name == "z" },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5) {
				w := New(seed)
				a, z := natted(w, change)
				w.Run(5 * time.Second)
				w.stream(a, z)
				took, ok := w.Until(20*time.Second, func() bool { return a.connected("z") && z.connected("a") })
				if !ok {
					t.Errorf("seed %d: no connection after %s", seed, took)
					continue
				}
				if w.Run(time.Minute); !a.connected("z") || !z.connected("a") {
					t.Errorf("seed %d: the connection has not stayed", seed)
				}
				if a.Punched > 2 || z.Punched > 2 {
					t.Errorf("seed %d: %d and %d attempts", seed, a.Punched, z.Punched)
				}
			}
		})
	}
}

// One of the two may be reached by then. It accepts, and knows nothing of crossing.
func TestAnAttemptThatWasMeantToCrossIsAccepted(t *testing.T) {
	for _, open := range []node.Name{"a", "z"} {
		w := New(7)
		a, z := natted(w, func(*Host, *mesh.Config) {})
		w.hosts[open].Opens = true
		w.stream(a, z)
		if _, ok := w.Until(25*time.Second, func() bool { return a.connected("z") && z.connected("a") }); !ok {
			t.Errorf("%s open: no connection", open)
		}
	}
}

// Nobody is asked who does not say that it understands, and the asking ends where nothing helps.
func TestAttemptsToCrossAreFew(t *testing.T) {
	w := New(1)
	a, z := natted(w, func(h *Host, c *mesh.Config) { c.Punch = h.Name == "a" })
	w.stream(a, z)
	if w.Run(time.Minute); a.Punched+z.Punched > 0 {
		t.Errorf("%d and %d attempts, though z cannot", a.Punched, z.Punched)
	}

	w = New(2)
	a, z = natted(w, func(*Host, *mesh.Config) {})
	pair := []node.Name{"a", "z"}
	w.TCP = func(from, to *Host) bool { return !slices.Contains(pair, from.Name) || !slices.Contains(pair, to.Name) }
	w.stream(a, z)
	w.Run(10 * time.Minute)
	if n := a.Punched; n == 0 || n > 24 { // three of each side's, after 0, 2 and 6 minutes
		t.Errorf("%d attempts in ten minutes", n)
	}
}
