//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// TestAHostMovesToAnotherNetwork is what happens when somebody unplugs the cable
// and Wi-Fi takes over: another interface, address and default route.
func TestAHostMovesToAnotherNetwork(t *testing.T) {
	t.Parallel()
	for _, kind := range []kind{tincan, tinc11} {
		t.Run("away from "+kind.String(), func(t *testing.T) {
			if kind == tinc11 {
				needTinc(t)
			}
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.static(site{name: "alice", connect: []string{"bob"}}, site{name: "bob", kind: kind}, site{name: "carol", connect: []string{"bob"}})
			alice, bob, carol := n[0], n[1], n[2]
			upAll(n...)
			w.allReach("ip4", n...)
			alice.talksDirectly(bob)
			alice.talksDirectly(carol)
			time.Sleep(time.Second)

			wifi, err := w.internet.Attach(alice.Host, "10.99.77.2/24") // the router is known there as .1
			w.must(err)
			w.must(wifi.Up())
			near, err := alice.Echo(bob.vpn("ip4"), 10*time.Millisecond)
			w.must(err)
			far, err := alice.Echo(carol.vpn("ip4"), 10*time.Millisecond)
			w.must(err)
			time.Sleep(500 * time.Millisecond)
			_, err = alice.Run("ip", "addr", "del", fmt.Sprintf("%s/24", alice.Addr("ip4")), "dev", "eth0")
			w.must(err)
			w.must(alice.link.Down())
			_, err = alice.Run("ip", "route", "replace", "default", "via", "10.99.77.1")
			w.must(err)
			time.Sleep(5 * time.Second)
			toBob, toCarol := near.Stop(), far.Stop()
			t.Logf("moved to another network: traffic stood still for %v (a neighbour) and %v (not a neighbour)",
				toBob.LongestGap.Round(time.Millisecond), toCarol.LongestGap.Round(time.Millisecond))
			const limit = 5 * time.Second // a quarter of a second on a machine with time to spare
			if toCarol.LongestGap > limit || toBob.LongestGap > limit && kind == tincan {
				t.Errorf("that is more than %v", limit)
			}
			if toBob.LongestGap > 2*limit { // tinc itself does not look for us
				t.Errorf("that is more than %v", 2*limit)
			}
			alice.talksDirectly(bob)
			alice.talksDirectly(carol)
		})
	}
}
