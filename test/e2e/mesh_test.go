//go:build linux

package e2e

import (
	"fmt"
	"testing"
)

func TestTwoNodesInEveryFamilyOverEveryFamily(t *testing.T) {
	t.Parallel()
	for _, underlay := range []string{"ip4", "ip6"} {
		t.Run("over "+underlay, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, underlay)
			n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
			upAll(n...)
			for _, inside := range []string{"ip4", "ip6"} {
				w.allReach(inside, n...)
			}
			n[0].talksDirectly(n[1])
			n[1].talksDirectly(n[0])
		})
	}
}

func TestThreeNodesByInvitation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carol := w.node("alice"), w.node("bob"), w.node("carol")
	alice.found()
	alice.up()
	bob.joins(alice.invite("bob"))
	carol.joins(alice.invite("carol"))
	w.allReach("ip4", alice, bob, carol)
	// The two newcomers find a direct path to each other.
	bob.talksDirectly(carol)
	carol.talksDirectly(bob)
}

func TestEightNodesInAChainOfConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	var sites []site
	for i := range 8 {
		s := site{name: fmt.Sprintf("n%d", i+1)}
		if i > 0 {
			s.connect = []string{sites[i-1].name}
		}
		sites = append(sites, s)
	}
	n := w.static(sites...)
	upAll(n...)
	w.allReach("ip4", n...)
	w.allReach("ip6", n...)
	// The ends of the chain talk to each other, not through the other six.
	n[0].talksDirectly(n[7])
}

func TestLargePacketsPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
	upAll(n...)
	n[0].talksDirectly(n[1])
	for _, size := range []int{1200, 1372, 4000, 20000} {
		w.eventually(fmt.Sprintf("an echo of %d bytes passes", size), patience, func() bool {
			_, err := n[0].Ping(n[1].vpn("ip4"), size, patience/10)
			return err == nil
		})
	}
}
