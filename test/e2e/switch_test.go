//go:build linux

package e2e

import (
	"fmt"
	"testing"
)

// bridged are lines of tinc.conf for a network in switch mode.
const bridged = "Mode = switch\n"

// switchPeers are the programs that a tincan shares a switched network with.
func switchPeers() []kind {
	kinds := []kind{tincan, tinc10}
	if tincDir != "" {
		kinds = append(kinds, tinc11)
	}
	return kinds
}

// TestSwitchedNetwork: the interfaces of all nodes are on one Ethernet, whichever program
// the others run and whoever dials.
func TestSwitchedNetwork(t *testing.T) {
	for _, peer := range switchPeers() {
		for _, dials := range []string{"tincan dials", "tincan is dialled"} {
			t.Run(fmt.Sprintf("%s, %s", peer, dials), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "ip4")
				a, b := site{name: "alpha", extra: bridged}, site{name: "beta", kind: peer, extra: bridged}
				if dials == "tincan dials" {
					a.connect = []string{"beta"}
				} else {
					b.connect = []string{"alpha"}
				}
				n := w.legacy(a, b)
				n[0].up()
				n[1].up()
				for _, family := range []string{"ip4", "ip6"} {
					w.allReach(family, n...)
				}
				talksByUDP(w, n[0], n[1])
				w.must(send(n[0], n[1], n[1].vpn("ip4"), 3<<20))
				w.must(send(n[1], n[0], n[0].vpn("ip6"), 3<<20))
			})
		}
	}
}
