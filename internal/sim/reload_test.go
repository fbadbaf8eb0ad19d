package sim

import (
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// reload has the node of h read its files again, of which one may have changed.
func (h *Host) reload(change func(*mesh.Config)) {
	c := h.cfg
	c.Hosts = map[node.Name]mesh.Host{}
	for n, f := range h.known {
		c.Hosts[n] = f
	}
	if change != nil {
		change(&c)
	}
	h.event(mesh.Reconfigured{Config: c})
}

func TestAReloadDoesNotDisturbTraffic(t *testing.T) {
	t.Parallel()
	for seed := range seeds(3) {
		for name, direct := range map[string]bool{"direct": true, "relayed": false} {
			w := New(seed)
			w.UDP = between(true, map[[2]node.Name]bool{{"a", "z"}: direct})
			a, z, mid := star(w, "r0", "r1", "r2")
			w.Run(5 * time.Second)
			s := w.stream(a, z)
			w.Run(20 * time.Second)
			s.fresh()
			for range 20 {
				for _, h := range append([]*Host{a, z}, mid...) {
					h.reload(nil)
				}
				w.Run(time.Duration(500+w.Rand.IntN(500)) * ms)
			}
			if s.gap > 50*ms || !s.last.UDP {
				t.Errorf("seed %d, %s: silence of %s, then %+v", seed, name, s.gap, s.last)
			}
			// Whom to connect to is left to the node now: what stands may stay.
			s.fresh()
			a.reload(func(c *mesh.Config) { c.ConnectTo, c.AutoConnect = nil, true })
			w.Run(20 * time.Second)
			if s.gap > 50*ms || !s.last.UDP {
				t.Errorf("seed %d, %s, without ConnectTo: silence of %s, then %+v", seed, name, s.gap, s.last)
			}
		}
	}
}
