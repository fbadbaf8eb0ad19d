package sim

import (
	"fmt"
	"testing"
	"time"

	"tincan/internal/forward"
	"tincan/internal/mesh"
	"tincan/internal/node"
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

// What status tells of the first hop is where small packets really go, in networks with nodes of
// tinc 1.0, too.
func TestFirstHopIsWherePacketsGo(t *testing.T) {
	kinds := map[string]int{}
	for seed := range uint64(20) {
		n := newNetwork(t, seed+1, 0.3*float64(seed%2))
		n.w.Run(20 * time.Second)
		for range 5 {
			for _, a := range n.hosts {
				for _, b := range n.hosts {
					if a == b || !a.Up || !b.Up || a.Old {
						continue
					}
					a.event(mesh.Traffic{Node: b.Name}) // which may choose another relay
					said := a.Core.FirstHop(b.Name)
					old := a.peers[b.Name].Legacy != nil
					n.w.emit(a, b, 86, false, Trace{UDP: true, Hops: []node.Name{a.Name}}, func(r Trace) {
						kind := fmt.Sprintf("legacy %v, relayed %v, UDP %v", old, len(r.Hops) > 2, said.UDP)
						switch {
						case said.Node == "": // it waited for a session, or for the UDP path
							kinds["waited"]++
						case r.Hops[1] != said.Node:
							t.Fatalf("seed %d, %s to %s: said to go by %s, went %v (%s)", seed+1, a.Name, b.Name, said.Node, r.Hops, kind)
						case r.UDP && !said.UDP || len(r.Hops) == 2 && r.UDP != said.UDP:
							t.Fatalf("seed %d, %s to %s: said to go by UDP: %v, went by UDP: %v (%s)", seed+1, a.Name, b.Name, said.UDP, r.UDP, kind)
						default:
							kinds[kind]++
						}
					})
				}
			}
			n.w.Run(3 * time.Second)
		}
	}
	t.Log(kinds)
	for _, relayed := range []bool{false, true} {
		for _, udp := range []bool{false, true} {
			for _, old := range []bool{false, true} {
				if kind := fmt.Sprintf("legacy %v, relayed %v, UDP %v", old, relayed, udp); kinds[kind] == 0 {
					t.Errorf("no packet went like this, so nothing is known of it: %s", kind)
				}
			}
		}
	}
}
