package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// line makes hosts a, b, c … each of which connects to the one before it.
func line(w *World, n int) []*Host {
	var hs []*Host
	for i := range n {
		hs = append(hs, w.Add(node.Name(fmt.Sprintf("n%02d", i))))
	}
	for i := 1; i < n; i++ {
		hs[i].Knows(hs[i-1], true)
		hs[i-1].Knows(hs[i], false)
	}
	for i, h := range hs {
		if i == 0 {
			h.Start()
		} else {
			h.Start(hs[i-1].Name)
		}
	}
	return hs
}

func TestTwoNodesMeetAndUseUDP(t *testing.T) {
	w := New(1)
	hs := line(w, 2)
	_, _, took, ok := w.Reaches(hs[0], hs[1], 5*time.Second)
	if !ok {
		t.Fatal("no packet got through in 5 s")
	}
	t.Log("first answer after ", took)
	w.Run(3 * time.Second)
	there, back, _, ok := w.Reaches(hs[0], hs[1], time.Second)
	if !ok || !there.UDP || !back.UDP {
		t.Fatalf("after 3 s: %+v, %+v; want UDP both ways", there, back)
	}
}

func TestNodesThatKnowOnlyAMiddleOneTalkDirectly(t *testing.T) {
	w := New(2)
	hs := line(w, 3)
	w.Run(2 * time.Second)
	if _, _, _, ok := w.Reaches(hs[0], hs[2], 5*time.Second); !ok {
		t.Fatal("no packet got through")
	}
	// keep talking for a while: the keys are learned, the session is made, UDP opens
	for range 5 {
		w.Reaches(hs[0], hs[2], time.Second)
		w.Run(time.Second)
	}
	there, _, _, ok := w.Reaches(hs[0], hs[2], time.Second)
	if !ok || !there.UDP || len(there.Hops) != 2 {
		t.Fatalf("%+v: want one hop by UDP", there)
	}
}

// What stands in a connection when it ends is lost, as in a kernel.
func TestNoPacketComesOutOfAConnectionThatHasEnded(t *testing.T) {
	w := New(1)
	w.UDP = func(_, _ *Host) bool { return false }
	hs := line(w, 2)
	w.Run(2 * time.Second)
	a, b := hs[0], hs[1]
	if _, _, _, ok := w.Reaches(a, b, 5*time.Second); !ok {
		t.Fatal("no packet got through")
	}
	late, cut := 0, true
	w.TCP = func(_, _ *Host) bool { return !cut }
	w.Send(a, b, 64, func(Trace) { late++ })
	a.Cut(b)
	cut = false
	w.Run(10 * time.Second)
	if _, _, _, ok := w.Reaches(a, b, 5*time.Second); !ok || late > 0 {
		t.Errorf("after the connection was made again: answers %v, %d packets of the one before", ok, late)
	}
}

func TestBlockedPairIsRelayed(t *testing.T) {
	w := New(3)
	ends := map[node.Name]bool{"n00": true, "n02": true}
	w.UDP = func(a, b *Host) bool { return !(ends[a.Name] && ends[b.Name]) }
	w.TCP = w.UDP
	hs := line(w, 3)
	w.Run(2 * time.Second)
	for range 5 {
		w.Reaches(hs[0], hs[2], 2*time.Second)
		w.Run(time.Second)
	}
	there, _, _, ok := w.Reaches(hs[0], hs[2], time.Second)
	if !ok || len(there.Hops) != 3 || !there.UDP {
		t.Fatalf("%+v: want two hops by UDP", there)
	}
}

func TestWithoutUDPThereIsTCP(t *testing.T) {
	w := New(4)
	w.UDP = func(_, _ *Host) bool { return false }
	hs := line(w, 3)
	if _, _, took, ok := w.Reaches(hs[0], hs[2], 5*time.Second); !ok {
		t.Fatalf("no packet got through in %s", took)
	}
}

func TestSessionsBegunFromBothSidesAtOnceSucceed(t *testing.T) {
	for _, delay := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond, 900 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			w := New(5)
			w.Delay = func(_, _ *Host) time.Duration { return delay }
			hs := line(w, 3)
			w.Until(20*time.Second, func() bool { return hs[0].peers["n02"].Reachable && hs[2].peers["n00"].Reachable })
			hs[0].known["n02"], hs[2].known["n00"] = host(hs[2]), host(hs[0])
			hs[0].event(mesh.HostLoaded{Node: "n02", Known: true, Host: host(hs[2])})
			hs[2].event(mesh.HostLoaded{Node: "n00", Known: true, Host: host(hs[0])})
			hs[0].event(mesh.Traffic{Node: "n02"})
			hs[2].event(mesh.Traffic{Node: "n00"})
			took, ok := w.Until(9*time.Second+4*delay, func() bool { // the second exchange is a way there and back
				a, b := hs[0].peers["n02"], hs[2].peers["n00"]
				return a.Tunnel != nil && b.Tunnel != nil && !a.Hold && !b.Hold
			})
			if !ok {
				t.Fatalf("no session after %s", took)
			}
			if _, _, _, ok := w.Reaches(hs[0], hs[2], 5*time.Second); !ok {
				t.Fatal("the two sessions do not fit together")
			}
		})
	}
}

func host(h *Host) mesh.Host {
	k := h.Key.Public()
	return mesh.Host{Key: &k}
}

// One of the four messages that make a session is lost with a connection that ends on the way, while
// the two nodes go on reaching each other over another path.
func TestALostMessageOfAHandshakeIsRepeatedSoon(t *testing.T) {
	for lost := range 4 {
		w := New(7)
		w.UDP = func(_, _ *Host) bool { return false }
		a, b, c, d := w.Add("a"), w.Add("b"), w.Add("c"), w.Add("d")
		for _, h := range []*Host{a, b, c, d} {
			for _, o := range []*Host{a, b, c, d} {
				h.Knows(o, o != h && o != c)
			}
		}
		a.Start()
		b.Start("a")
		d.Start("a")
		c.Start("b", "d")
		w.Run(5 * time.Second)
		n := 0
		w.OnSend = func(from, to *Host, text string) {
			f := strings.Fields(text)
			if len(f) < 4 || f[0] != "15" && f[0] != "16" || from != c && to != c || !(f[1] == "a" && f[2] == "c" || f[1] == "c" && f[2] == "a") {
				return
			}
			if n == lost {
				w.After(time.Millisecond, func() { from.Cut(to) })
			}
			n++
		}
		if _, _, took, ok := w.Reaches(a, c, 4*time.Second); !ok || n <= lost {
			t.Errorf("message %d of %d is lost: no packet there and back within %s", lost+1, n, took)
		}
	}
}

// The end of a connection is told over a slow path, too, and arrives there after the news that it was made
// again. Nobody may go on believing in the end.
func TestTheEndOfAConnectionIsHeardAfterItsNewBeginning(t *testing.T) {
	w := New(9)
	a, b, c := w.Add("a"), w.Add("b"), w.Add("c")
	for _, h := range []*Host{a, b, c} {
		for _, o := range []*Host{a, b, c} {
			h.Knows(o, o != h)
		}
	}
	b.Start()
	c.Start("b")
	a.Start("b", "c")
	w.Run(10 * time.Second)
	w.Delay = func(from, to *Host) time.Duration {
		if from == b && to == c {
			return 4 * time.Second
		}
		return 10 * time.Millisecond
	}
	a.Cut(c)
	w.Run(8 * time.Second)
	if !a.connected("c") {
		t.Fatal("a and c have no connection again")
	}
	b.Kill()
	w.Run(3 * time.Second)
	if !a.peers["c"].Reachable || !c.peers["a"].Reachable {
		t.Errorf("a reaches c: %t, c reaches a: %t, want both: they are connected", a.peers["c"].Reachable, c.peers["a"].Reachable)
	}
}

// Who answers after more than the time after which the start is repeated, gets a session all the same.
func TestVerySlowWaysHaveSessions(t *testing.T) {
	for _, delay := range []time.Duration{300 * time.Millisecond, 500 * time.Millisecond} {
		w := New(8)
		w.UDP = func(_, _ *Host) bool { return false }
		hs := line(w, 3)
		w.Run(3 * time.Second)
		w.Delay = func(_, _ *Host) time.Duration { return delay }
		// They ask for each other's key, and make a session: four ways there and back, and the packet's own.
		limit := 24*delay + 2*time.Second
		if _, _, took, ok := w.Reaches(hs[0], hs[2], limit); !ok {
			t.Errorf("%s over each connection: no packet there and back within %s", delay, took)
		}
	}
}

func TestKeysAreRenewedWithoutLosingTheSession(t *testing.T) {
	w := New(6)
	hs := []*Host{w.Add("alice"), w.Add("bob")}
	hs[0].Knows(hs[1], true)
	hs[1].Knows(hs[0], true)
	for _, h := range hs {
		h.Configure = func(c *mesh.Config) { c.KeyExpire = 2 * time.Second }
	}
	hs[0].Start("bob")
	hs[1].Start("alice")
	w.Run(3 * time.Second)
	if hs[0].peers["bob"].Tunnel == nil {
		t.Fatal("no session")
	}
	again, tunnels := 0, map[any]bool{}
	w.Log = func(_ *Host, l mesh.Log) {
		if strings.Contains(l.Text, "established") || strings.Contains(l.Text, "starting a") {
			again++
		}
	}
	lost := 0
	for range 400 {
		got := false
		w.Ping(hs[0], hs[1], func(_, _ Trace) { got = true })
		w.Run(250 * time.Millisecond)
		if !got {
			lost++
		}
		tunnels[hs[0].peers["bob"].Tunnel] = true
	}
	if again > 0 || len(tunnels) < 30 {
		t.Errorf("the session was started %d times again, and there were %d tunnels", again, len(tunnels))
	}
	if lost > 2 {
		t.Errorf("%d of 400 packets were lost while keys were renewed about 40 times", lost)
	}
}

func TestKilledNodeComesBackAndOthersGoOn(t *testing.T) {
	w := New(7)
	alice, bob, carol := w.Add("alice"), w.Add("bob"), w.Add("carol")
	for _, h := range []*Host{bob, carol} {
		h.Knows(alice, true)
		alice.Knows(h, false)
		h.Configure = func(c *mesh.Config) { c.AutoConnect = true }
	}
	alice.Start()
	bob.Start("alice")
	carol.Start("alice")
	if _, _, _, ok := w.Reaches(bob, carol, 5*time.Second); !ok {
		t.Fatal("bob and carol do not meet")
	}
	w.Run(20 * time.Second) // AutoConnect joins bob and carol directly
	alice.Kill()
	w.Run(2 * time.Second)
	if _, _, _, ok := w.Reaches(bob, carol, 10*time.Second); !ok {
		t.Fatal("bob and carol lost each other with alice")
	}
	alice.Start()
	if _, _, took, ok := w.Reaches(bob, alice, 30*time.Second); !ok {
		t.Fatal("alice does not come back")
	} else {
		t.Log("alice is back after ", took)
	}
}

func TestCrossingConnectionsLeaveOne(t *testing.T) {
	for seed := range seeds(20) {
		w := New(seed)
		w.Delay = func(_, _ *Host) time.Duration { return time.Duration(1+w.Rand.IntN(100)) * time.Millisecond }
		a, b := w.Add("alice"), w.Add("bob")
		a.Knows(b, true)
		b.Knows(a, true)
		a.Start("bob")
		b.Start("alice")
		took, ok := w.Until(30*time.Second, func() bool { return a.peers["bob"].Reachable && b.peers["alice"].Reachable })
		if !ok {
			t.Fatalf("seed %d: no connection", seed)
		}
		w.Run(5 * time.Second)
		if n := len(a.Core.Conns()); n != 1 {
			t.Errorf("seed %d: %d connections after %s: %+v", seed, n, took, a.Core.Conns())
		}
	}
}

func TestManyNodesConverge(t *testing.T) {
	t.Parallel()
	const n = 60
	w := New(8)
	w.Delay = func(_, _ *Host) time.Duration { return time.Duration(5+w.Rand.IntN(40)) * time.Millisecond }
	var hs []*Host
	for i := range n {
		hs = append(hs, w.Add(node.Name(fmt.Sprintf("n%02d", i))))
	}
	for i, h := range hs {
		for j, o := range hs {
			if i != j {
				h.Knows(o, j%10 == 0)
			}
		}
		h.Configure = func(c *mesh.Config) { c.AutoConnect = true }
	}
	for _, h := range hs {
		h.Start()
	}
	took, ok := w.Until(90*time.Second, func() bool {
		for _, h := range hs {
			reached := 0
			for _, p := range h.peers {
				if p.Reachable && p.Node != h.Name {
					reached++
				}
			}
			if reached != n-1 {
				return false
			}
		}
		return true
	})
	if !ok {
		t.Fatal("not every node reaches every other after 90 s")
	}
	total := 0
	for _, k := range w.Sent {
		total += k
	}
	t.Logf("converged after %s; %d requests", took, total)
	if limit := 60 * n * n; total > limit {
		t.Errorf("%d requests for %d nodes are a storm (limit %d)", total, n, limit)
	}
	for _, i := range []int{3, 17, 42} {
		if _, _, _, ok := w.Reaches(hs[i], hs[59-i], 20*time.Second); !ok {
			t.Errorf("%s does not reach %s", hs[i].Name, hs[59-i].Name)
		}
	}
}

// Somebody has waited for a node for so long that the next attempt is minutes away. It comes back, and
// is heard of from others.
func TestANodeThatComesBackIsDialledSoon(t *testing.T) {
	t.Parallel()
	for seed := range seeds(10) {
		w := New(seed)
		a, b, c := w.Add("a"), w.Add("b"), w.Add("c")
		for _, h := range []*Host{a, b, c} {
			for _, o := range []*Host{a, b, c} {
				if h != o {
					h.Knows(o, true)
				}
			}
		}
		a.Start("b", "c")
		c.Start()
		w.Run(30 * time.Minute)
		b.Start("c")
		took, ok := w.Until(time.Minute, func() bool {
			for _, x := range a.Core.Conns() {
				if x.Node == "b" && x.Active {
					return true
				}
			}
			return false
		})
		if !ok || took > 3*time.Second {
			t.Errorf("seed %d: connected after %s (%v), want 3s at most", seed, took, ok)
		}

		// It comes and goes from now on, and refuses what a wants of it.
		w.TCP = func(x, y *Host) bool { return x != a && y != a || x != b && y != b }
		a.Cut(b)
		w.Run(5 * time.Minute)
		dials := w.Dials
		for range 60 {
			b.Cut(c)
			w.Run(5 * time.Second)
		}
		if k := w.Dials - dials; k > 60+5*8 {
			t.Errorf("seed %d: %d attempts in five minutes, in which it became reachable 60 times", seed, k)
		}
	}
}
