package sim

import (
	"fmt"
	"testing"
	"time"

	"tincan/internal/forward"
	"tincan/internal/mesh"
)

// The protocol core, which measures and explains, and the router of the simulator, which
// carries, agree on the next step of every packet in random networks: with TCPOnly nodes behind
// relays, NATs, path MTUs, and connections that come and go.
func TestCoreAndRouterAgreeOnTheNextHop(t *testing.T) {
	hops := map[forward.Hop]int{}
	for seed := range uint64(20) {
		n := newNetwork(t, seed+1, 0)
		n.w.Run(20 * time.Second)
		for range 5 {
			for _, a := range n.hosts {
				for _, b := range n.hosts {
					if a == b || !a.Up || !b.Up {
						continue
					}
					n.w.Send(a, b, 1400, func(Trace) {})
					for _, size := range []int{0, 64, 900, 1250, 1400, 1451} {
						want := a.Core.Hop(b.Name, size)
						x, ok := a.route(b, size, true)
						if !ok {
							continue
						}
						hops[want]++
						if got := fmt.Sprint(x.udp, x.next); got != fmt.Sprint(want != forward.HopMeta, nameOf(a.peers[b.Name], want)) {
							t.Fatalf("seed %d, %s to %s, %d bytes: the core says %d, the router goes to %s", seed+1, a.Name, b.Name, size, want, got)
						}
					}
				}
			}
			n.w.Run(3 * time.Second)
		}
	}
	for _, h := range []forward.Hop{forward.HopMeta, forward.HopVia, forward.HopNext, forward.HopRelay} {
		if hops[h] == 0 {
			t.Errorf("no packet went by hop %d, so nothing is known of it: %v", h, hops)
		}
	}
}

func nameOf(st mesh.PeerState, h forward.Hop) string {
	switch h {
	case forward.HopRelay:
		return string(st.Relay)
	case forward.HopVia:
		return string(st.Via)
	}
	return string(st.NextHop)
}
