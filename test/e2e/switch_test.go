//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"
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
	t.Parallel()
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

// TestHub: in hub mode every frame reaches all others once, also one for a station that has been
// heard elsewhere, and nobody announces stations.
func TestHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	hub := "Mode = hub\n"
	n := w.legacy(
		site{name: "alpha", extra: hub, connect: []string{"beta"}},
		site{name: "beta", kind: tinc10, extra: hub},
		site{name: "gamma", extra: hub, connect: []string{"beta"}},
	)
	s := &segments{world: w, nodes: n}
	var cards []*card
	for _, node := range n {
		node.up()
		cards = append(cards, &card{s: s, dev: rawOn(w, node, "home")})
	}
	for _, family := range []string{"ip4", "ip6"} {
		w.allReach(family, n...)
	}
	// The stations make themselves known, and the sessions stand afterwards.
	for i, from := range cards {
		hello := etherFrame(broadcastMAC, macOf(i), 0x88b5, fmt.Append(nil, "hello from ", i))
		for j, to := range cards {
			if i != j {
				to.awaits(hello, func() { from.sends(hello) })
			}
		}
	}
	for i, from := range cards {
		for j := range cards {
			letter := etherFrame(macOf(j), macOf(i), 0x88b5, fmt.Append(nil, "letter from ", i, " to ", j))
			from.sends(letter)
			for k, c := range cards {
				if k == i {
					continue
				}
				what := fmt.Sprintf("a letter from %s to the station at %s came to %s", n[i].Name(), n[j].Name(), n[k].Name())
				if !c.hears(letter, 5*time.Second) {
					t.Errorf("not: %s", what)
				} else if c.hears(letter, 50*time.Millisecond) {
					t.Errorf("more than once: %s", what)
				}
			}
		}
	}
	if macs := n[0].macsOf("alpha") + n[0].macsOf("beta") + n[0].macsOf("gamma"); macs != 0 {
		t.Errorf("%d stations are announced:\n%s", macs, n[0].control("dump", "subnets"))
	}
}
