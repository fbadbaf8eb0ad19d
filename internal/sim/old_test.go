package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// mixed makes hosts in a row, each of which connects to the one before it. The letter
// says what a node speaks: o only tinc 1.0, n more.
func mixed(w *World, kinds string) []*Host {
	var hs []*Host
	for i, k := range kinds {
		h := w.Add(node.Name(fmt.Sprintf("n%02d", i)))
		h.MakeRSA()
		h.Old = k == 'o'
		hs = append(hs, h)
	}
	for i := 1; i < len(hs); i++ {
		hs[i].Knows(hs[i-1], true)
		for _, h := range hs[:i] {
			h.Knows(hs[i], false)
			if h != hs[i-1] {
				hs[i].Knows(h, false)
			}
		}
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

func TestThreeInARowInAllMixtures(t *testing.T) {
	for _, kinds := range []string{"oo", "on", "no", "ooo", "oon", "ono", "onn", "noo", "non", "nno", "ooooo", "nonon", "onono"} {
		for _, udp := range []string{"direct", "relayed", "none"} {
			t.Run(kinds+" "+udp, func(t *testing.T) {
				w := New(11)
				ends := map[*Host]bool{}
				w.UDP = func(a, b *Host) bool { return udp == "direct" || udp == "relayed" && !(ends[a] && ends[b]) }
				hs := mixed(w, kinds)
				first, last := hs[0], hs[len(hs)-1]
				ends[first], ends[last] = true, true
				w.Run(2 * time.Second)
				for range 25 { // talk until the best path is found
					w.Reaches(first, last, 2*time.Second)
					w.Reaches(last, first, 2*time.Second)
					w.Run(time.Second)
				}
				there, back, _, ok := w.Reaches(first, last, time.Second)
				if !ok {
					t.Fatal("no packet got through")
				}
				// Records between two that speak SPTPS cannot pass by UDP through one that does not.
				sealed := !first.Old && !last.Old
				between := len(kinds) > 2 && strings.Contains(kinds[1:len(kinds)-1], "n")
				wantUDP := udp == "direct" || udp == "relayed" && len(hs) > 2 && (!sealed || between)
				if there.UDP != wantUDP || back.UDP != wantUDP {
					t.Errorf("there by %+v, back by %+v; want UDP: %t", there, back, wantUDP)
				}
				if udp == "direct" && len(there.Hops) != 2 {
					t.Errorf("there by %+v, want it direct", there)
				}
				complain(t, w)
			})
		}
	}
}

// complain fails the test if a node of tinc 1.0 was told something that it does not know.
func complain(t *testing.T, w *World) {
	t.Helper()
	if k := len(w.Misunderstood); k > 0 {
		t.Errorf("%d requests that tinc 1.0 does not know:\n%s", k, strings.Join(w.Misunderstood[:min(k, 10)], "\n"))
	}
}

func TestIndirectOldNodeIsReachedThroughItsNeighbour(t *testing.T) {
	for _, kinds := range []string{"noo", "nno", "ooo", "ono"} {
		t.Run(kinds, func(t *testing.T) {
			w := New(12)
			hs := mixed(w, kinds)
			hs[2].Kill()
			hs[2].Configure = func(c *mesh.Config) { c.Indirect = true }
			hs[2].Start(hs[1].Name)
			for range 15 {
				w.Reaches(hs[0], hs[2], 2*time.Second)
				w.Run(time.Second)
			}
			there, _, _, ok := w.Reaches(hs[0], hs[2], time.Second)
			if !ok || !there.UDP || len(there.Hops) != 3 {
				t.Errorf("%+v: want two hops by UDP", there)
			}
			complain(t, w)
		})
	}
}

// Nodes that know only each other's RSA keys, but speak more, exchange their Ed25519 keys.
func TestUpgrade(t *testing.T) {
	w := New(13)
	a, b := w.Add("alice"), w.Add("bob")
	for _, h := range []*Host{a, b} {
		h.MakeRSA()
	}
	a.Knows(b, true)
	b.Knows(a, true)
	for _, h := range []*Host{a, b} {
		for n, f := range h.known {
			f.Key = nil
			h.known[n] = f
		}
	}
	a.Start("bob")
	b.Start("alice")
	if _, _, took, ok := w.Reaches(a, b, 20*time.Second); !ok {
		t.Fatalf("no packet after %s", took)
	}
	for _, h := range []*Host{a, b} {
		for _, c := range h.Core.Conns() {
			if c.Active && c.Legacy {
				t.Errorf("%s still speaks the old protocol", h.Name)
			}
		}
		if len(h.known) != 1 {
			t.Fatal(h.known)
		}
		for n, f := range h.known {
			if f.Key == nil {
				t.Errorf("%s has not saved the key of %s", h.Name, n)
			}
		}
	}
}

// A node of tinc 1.0 is replaced by one that speaks more, in the same directory, between an old and a
// new neighbour.
func TestOldNodeIsReplaced(t *testing.T) {
	w := New(14)
	hs := mixed(w, "oon")
	if _, _, _, ok := w.Reaches(hs[0], hs[2], 10*time.Second); !ok {
		t.Fatal("no packet got through before")
	}
	hs[1].Kill()
	hs[1].Old = false
	hs[1].Start(hs[0].Name)
	_, _, took, ok := w.Reaches(hs[0], hs[2], 30*time.Second)
	if !ok {
		t.Fatal("no packet got through after")
	}
	t.Log("back after ", took)
	if took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	complain(t, w)
}

func TestOldKeysAreRenewedWithLittleLoss(t *testing.T) {
	w := New(15)
	hs := mixed(w, "non")
	for _, h := range hs {
		h.Kill()
		h.Configure = func(c *mesh.Config) { c.KeyExpire = 10 * time.Second }
	}
	for i, h := range hs {
		if i == 0 {
			h.Start()
		} else {
			h.Start(hs[i-1].Name)
		}
	}
	for range 10 {
		w.Reaches(hs[0], hs[1], time.Second)
		w.Run(time.Second)
	}
	lost := 0
	for range 400 {
		got := false
		w.Ping(hs[0], hs[1], func(_, _ Trace) { got = true })
		w.Run(250 * time.Millisecond)
		if !got {
			lost++
		}
	}
	if lost > 10 {
		t.Errorf("%d of 400 packets were lost while keys were renewed about ten times on each side", lost)
	}
	complain(t, w)
}

func TestRandomMixedNetworks(t *testing.T) {
	first, last := randomSeeds()
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, seed, float64(seed%5+1)/5)
			n.trouble(2 * time.Minute)
			n.heal()
			n.converges(5 * time.Minute)
			n.talks(60 * time.Second)
			n.isQuiet(time.Minute)
			complain(t, n.w)
		})
	}
}

// Twelve nodes of both kinds, of which those of tinc 1.0 restart again and again: what is said stays in
// proportion to what happens.
func TestOldNodesRestartWithoutAStorm(t *testing.T) {
	const n = 12
	w := New(16)
	w.Delay = func(_, _ *Host) time.Duration { return time.Duration(1+w.Rand.IntN(20)) * time.Millisecond }
	var hs []*Host
	dials := map[*Host][]node.Name{}
	for i := range n {
		h := w.Add(node.Name(fmt.Sprintf("n%02d", i)))
		h.MakeRSA()
		h.Old = i%2 == 1
		h.Configure = func(c *mesh.Config) { c.AutoConnect = !h.Old }
		hs = append(hs, h)
	}
	for i, h := range hs {
		for j, o := range hs {
			if i != j {
				h.Knows(o, true)
			}
		}
		for k := 1; k <= 2; k++ {
			dials[h] = append(dials[h], hs[(i+k)%n].Name)
		}
		h.Start(dials[h]...)
	}
	w.Run(20 * time.Second)
	before, restarts := w.sent(), 0
	for end := w.Now.Add(time.Minute); w.Now.Before(end); {
		if h := hs[w.Rand.IntN(n/2)*2+1]; h.Up {
			h.Kill()
			restarts++
			w.After(time.Duration(200+w.Rand.IntN(2000))*time.Millisecond, func() { h.Start(dials[h]...) })
		}
		w.Run(time.Duration(w.Rand.IntN(2000)) * time.Millisecond)
	}
	w.Run(10 * time.Second)
	perRestart := (w.sent() - before) / restarts
	t.Logf("%d restarts, %d requests each", restarts, perRestart)
	// A neighbour that comes back is told everything (about 2*4*n edges and n subnets, by each of
	// its four neighbours), and its edges go away and come by twice over every connection.
	if limit := 4*9*n + 4*4*4*n; perRestart > limit {
		t.Errorf("%d requests for each restart, want %d at most", perRestart, limit)
	}
	for _, a := range hs {
		for _, b := range hs {
			if a != b {
				if _, _, _, ok := w.Reaches(a, b, 10*time.Second); !ok {
					t.Errorf("%s does not reach %s", a.Name, b.Name)
				}
			}
		}
	}
	complain(t, w)
}

func (w *World) sent() int {
	k := 0
	for _, n := range w.Sent {
		k += n
	}
	return k
}
