//go:build linux

package e2e

import (
	"testing"
	"time"

	"tincan/internal/lab"
)

func TestWithoutUDPPacketsGoByTCPAndComeBackToUDP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
	alice, bob := n[0], n[1]

	unblock := w.block(lab.UDP)
	upAll(n...)
	alice.reaches(bob)
	time.Sleep(2 * time.Second)
	if alice.sees("bob").direct || bob.sees("alice").direct {
		t.Fatal("they claim that UDP works, but it is blocked")
	}
	bob.reaches(alice)

	unblock()
	alice.talksDirectly(bob)

	// Blocked while packets flow: TCP takes over again.
	w.block(lab.UDP)
	time.Sleep(5 * time.Second)
	alice.reaches(bob)
	bob.reaches(alice)
}

// On the way packets of more than 1280 bytes vanish, from before the nodes meet, and no UDP passes. The
// meta connection, and packets in it, get through.
func TestANarrowWayWithoutUDP(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"ip4", "ip6"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, family)
			w.cables = true
			n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
			alice, bob := n[0], n[1]
			w.block(lab.UDP)
			w.must(bob.link.BlackHole(1280))
			upAll(n...)
			alice.reaches(bob)
			for _, from := range n {
				to := n[0]
				if to == from {
					to = n[1]
				}
				if _, err := from.Ping(to.vpn(to.family()), 1400, 5*time.Second); err != nil {
					t.Error("large packets: ", err)
				}
			}
		})
	}
}

func TestRelaysWhenTwoNodesCannotMeet(t *testing.T) {
	t.Parallel()
	for name, blocked := range map[string]lab.Traffic{"no UDP between them": lab.UDP, "nothing between them": lab.All} {
		t.Run("static, "+name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := w.static(
				site{name: "alice", connect: []string{"bob"}},
				site{name: "bob"},
				site{name: "carol", connect: []string{"bob"}})
			w.block(blocked, n[0], n[2])
			upAll(n...)
			relayed(w, n[0], n[1], n[2])
		})
		t.Run("by invitation, "+name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			alice, bob, carol := w.node("alice"), w.node("bob"), w.node("carol")
			w.block(blocked, alice, carol)
			bob.found()
			bob.up()
			alice.joins(bob.invite("alice"))
			carol.joins(bob.invite("carol"))
			relayed(w, alice, bob, carol)
		})
	}
}

// relayed checks that a and c talk with the help of b.
func relayed(w *world, a, b, c *node) {
	w.Helper()
	w.allReach("ip4", a, b, c)
	a.talksDirectly(b)
	c.talksDirectly(b)
	e, err := a.Echo(c.vpn("ip4"), 20*time.Millisecond)
	w.must(err)
	time.Sleep(2 * time.Second)
	if count := e.Stop(); count.Lost() > count.Sent/20 {
		w.Errorf("through the relay: %s", count)
	}
	if a.sees(c.Name()).direct || c.sees(a.Name()).direct {
		w.Error("they claim that UDP works between them, but it is blocked")
	}
	began := time.Now()
	a.sends(2<<20, c, c.vpn("ip4"))
	// If what is too large was lost each time, this would take minutes.
	if took := time.Since(began); took > 10*time.Second {
		w.Errorf("2 MiB by TCP through the relay took %v", took)
	}
}

func TestACableIsPulledOutAndPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(
		site{name: "alice"},
		site{name: "bob", connect: []string{"alice"}},
		site{name: "carol", connect: []string{"alice", "bob"}})
	alice, bob, carol := n[0], n[1], n[2]
	upAll(n...)
	w.allReach("ip4", n...)
	w.must(bob.link.Down())
	w.eventually("the others notice that bob has gone", patience, func() bool {
		return !alice.sees("bob").reachable && !carol.sees("bob").reachable
	})
	w.allReach("ip4", alice, carol)
	w.must(bob.link.Up())
	w.allReach("ip4", n...)
}

func TestALossyNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	_, err := w.internet.Lose(5, lab.All)
	w.must(err)
	n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
	upAll(n...)
	w.allReach("ip4", n...)
	n[0].talksDirectly(n[1])
	e, err := n[0].Echo(n[1].vpn("ip4"), 5*time.Millisecond)
	w.must(err)
	time.Sleep(5 * time.Second)
	// Each echo passes the router twice: a tenth of them is lost, and no more.
	count := e.Stop()
	t.Log(count)
	if count.Lost() > count.Sent/4 {
		t.Errorf("with a loss of 5 %% each way: %s", count)
	}
}

func TestNodesBehindNATMeet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		left, right lab.NAT
		direct      bool
	}{
		{"both with stable ports", lab.PortRestricted, lab.PortRestricted, true},
		{"one with a port for each destination", lab.Symmetric, lab.PortRestricted, false},
		{"both with a port for each destination", lab.Symmetric, lab.Symmetric, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			hub, left, right := w.node("hub"), w.behindNAT("left", c.left), w.behindNAT("right", c.right)
			hub.found()
			hub.up()
			left.joins(hub.invite("left"))
			right.joins(hub.invite("right"))
			w.allReach("ip4", hub, left, right)
			if c.direct {
				left.talksDirectly(right)
			}
		})
	}
}

// behindNAT adds a node behind a router of its own that translates addresses: the kernel
// does that here, as it does in home routers.
func (w *world) behindNAT(name string, kind lab.NAT) *node {
	w.Helper()
	n := w.gated(name, w.internet.Attach)
	w.must(n.gate.NAT(kind))
	return n
}
