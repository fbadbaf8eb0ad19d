package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/reconcile"
	"tincan/internal/roster"
	"tincan/internal/wire"
)

// notes is an Exchange of items that all are good: those that begin with "!" are urgent.
type notes struct {
	rec   *reconcile.Reconciler
	items map[reconcile.ID][]byte
	near  []node.Name
}

func newNotes(name node.Name) *notes {
	n := &notes{items: map[reconcile.ID][]byte{}}
	n.rec = reconcile.New(name, reconcile.Network{1}, n)
	return n
}

func (n *notes) Get(id reconcile.ID) []byte { return n.items[id] }

func (n *notes) Offer(item []byte) (reconcile.Verdict, reconcile.Change) {
	it := reconcile.ItemOf(item, item[0] == '!')
	n.items[it.ID] = item
	return reconcile.Accepted, reconcile.Change{Added: []reconcile.Item{it}}
}

func (n *notes) SetNeighbours(now time.Time, names []node.Name) {
	for _, o := range n.near {
		if !slices.Contains(names, o) {
			n.rec.Leave(o)
		}
	}
	for _, o := range names {
		if !slices.Contains(n.near, o) {
			n.rec.Join(now, o)
		}
	}
	n.near = slices.Clone(names)
}

func (n *notes) Restart(now time.Time, name node.Name) { n.rec.Join(now, name) }
func (n *notes) Receive(now time.Time, from node.Name, data []byte) error {
	return n.rec.Handle(now, from, data)
}
func (n *notes) Next() time.Time                 { return n.rec.Next() }
func (n *notes) Tick(now time.Time)              { n.rec.Tick(now) }
func (n *notes) Flush(time.Time) []reconcile.Out { return n.rec.Flush() }
func (h *Host) has(item string) bool {
	return h.Exchange.(*notes).items[reconcile.IDOf([]byte(item))] != nil
}
func all(hs []*Host, ok func(h *Host) bool) bool {
	return !slices.ContainsFunc(hs, func(h *Host) bool { return !ok(h) })
}
func exchangers(hs []*Host) (some []*Host) {
	for _, h := range hs {
		if h.Exchange != nil {
			some = append(some, h)
		}
	}
	return some
}

// note gives an item to a host.
func (h *Host) note(item string) {
	n := h.Exchange.(*notes)
	_, c := n.Offer([]byte(item))
	n.rec.Changed(h.now(), c)
	h.Exchanged()
}

// someStock gives all but the stock hosts an Exchange.
func someStock(hs []*Host, stock func(i int) bool) {
	for i, h := range hs {
		if h.Plain = stock(i); !h.Plain {
			h.Exchange = newNotes(h.Name)
		}
	}
}

func TestIslandsBehindStockNodesAgree(t *testing.T) {
	for _, shape := range []string{"tt", "tst", "sts", "ttsstt", "tstst", "tsstsstst", "tttstttsttt"} {
		t.Run(shape, func(t *testing.T) {
			w := New(1)
			hs := make([]*Host, len(shape))
			for i := range hs {
				hs[i] = w.Add(node.Name(fmt.Sprintf("n%02d", i)))
			}
			someStock(hs, func(i int) bool { return shape[i] == 's' })
			for _, h := range hs {
				for _, o := range hs {
					if h != o {
						h.Knows(o, true)
					}
				}
			}
			for i, h := range hs {
				if i > 0 {
					h.Start(hs[i-1].Name)
				} else {
					h.Start()
				}
			}
			w.OnSend = func(from, to *Host, text string) {
				if k, err := wire.RequestKind(text); err == nil && k == wire.KindRoster && to.Plain {
					t.Errorf("%s has sent a stock node %q", from.Name, text)
				}
			}
			w.Run(30 * time.Second)
			some := exchangers(hs)
			some[0].note("!one")
			some[len(some)-1].note("two")
			if took, ok := w.Until(2*time.Second, func() bool { return all(some, func(h *Host) bool { return h.has("!one") }) }); !ok {
				t.Errorf("the urgent item did not come within %v", took)
			}
			if took, ok := w.Until(10*time.Second, func() bool { return all(some, func(h *Host) bool { return h.has("two") }) }); !ok {
				t.Errorf("the other item did not come within %v", took)
			}
		})
	}
}

// TestAnUrgentItemReachesALargeMesh: a tenth of the nodes run tinc. "make sim" does it with a thousand.
func TestAnUrgentItemReachesALargeMesh(t *testing.T) {
	large(t, 100, func(t *testing.T, seed uint64, n int) {
		w, hs := crowd(seed, n, nil)
		someStock(hs, func(i int) bool { return i%10 == 3 })
		start(w, hs)
		w.Run(time.Minute)
		some := exchangers(hs)
		some[w.Rand.IntN(len(some))].note("!removed")
		took, ok := w.Until(time.Minute, func() bool { return all(some, func(h *Host) bool { return h.has("!removed") }) })
		t.Logf("%d nodes after %v", len(some), took)
		if !ok || took > 2*time.Second {
			t.Errorf("it took %v", took)
		}

		// Two halves without each other, with news on both sides.
		half := func(h *Host) bool { return h.Addr.Addr().As4()[3]%2 == 0 }
		w.TCP = func(from, to *Host) bool { return half(from) == half(to) }
		w.UDP = w.TCP
		w.Run(2 * time.Minute)
		for i, h := range some[:10] {
			h.note(fmt.Sprintf("!half %v, %d", half(h), i))
		}
		w.Run(time.Minute)
		w.TCP = func(_, _ *Host) bool { return true }
		w.UDP = w.TCP
		same := func(h *Host) bool { return len(h.Exchange.(*notes).items) == 11 }
		if all(some, same) {
			t.Error("news crossed a partition")
		}
		took, ok = w.Until(20*time.Minute, func() bool { return all(some, same) })
		t.Logf("halves agree %v after the partition", took)
		if !ok {
			t.Error("they do not agree after the partition")
		}
	})
}

// TestARemovalInALargeMesh: a tenth of the nodes run tinc, the others keep real rosters. "make sim" does it with a thousand.
func TestARemovalInALargeMesh(t *testing.T) {
	large(t, 100, func(t *testing.T, seed uint64, n int) {
		w, hs := crowd(seed, n, nil)
		roll := newSigned(t, hs...)
		var tincan []*Host
		for i, h := range hs {
			if h.Plain = i%10 == 3; !h.Plain {
				h.Keep(roll.Clone())
				tincan = append(tincan, h)
			}
		}
		if n >= 500 {
			w.Batch = time.Second // the start, which is not what this is about, costs less
		}
		start(w, hs)
		converge(t, w, hs, coldStartLimit(n))
		w.Batch = 5 * time.Millisecond
		gone := tincan[w.Rand.IntN(len(tincan))]
		var others []*Host
		for _, h := range tincan {
			if h != gone {
				others = append(others, h)
			}
		}
		for _, h := range others { // all have sessions with it
			for range 2 {
				w.Send(h, gone, 64, func(Trace) {})
			}
		}
		w.Run(5 * time.Second)
		sessions := 0
		for _, h := range others {
			if h.peers[gone.Name].Tunnel != nil {
				sessions++
			}
		}
		if sessions < len(others)*9/10 {
			t.Errorf("%d of %d have a session with it before", sessions, len(others))
		}
		raws, err := roll.SignRemoval(gone.Key.Public(), "stolen", roll.owner)
		if err != nil {
			t.Fatal(err)
		}
		others[w.Rand.IntN(len(others))].Submit(raws...)
		out := func(h *Host) bool {
			p := h.peers[gone.Name]
			return p.Tunnel == nil && !p.Reachable && !h.connected(gone.Name)
		}
		took, ok := every(w, 10*time.Millisecond, 10*time.Second, func() bool { return all(others, out) })
		t.Logf("%d nodes, of which %d had a session with the removed one: the last has ended after %v", n, sessions, took)
		if !ok || took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		w.Run(10 * time.Second)
		if !all(others, out) {
			t.Error("it came back")
		}
	})
}

// TestHalvesWithDifferentRostersJoinAgain: both halves of a mesh that was cut have removed and admitted while they were apart.
// "make sim" does it with a thousand nodes.
func TestHalvesWithDifferentRostersJoinAgain(t *testing.T) {
	large(t, 60, func(t *testing.T, seed uint64, n int) {
		const each = 10 // removals on a side, and as many admissions
		w, hs := crowd(seed, n, auto)
		roll := newSigned(t, hs...)
		for _, h := range hs {
			h.Keep(roll.Clone())
		}
		if n >= 500 {
			w.Batch = time.Second // what happens before the halves join costs less
		}
		start(w, hs)
		converge(t, w, hs, coldStartLimit(n))
		w.Run(20 * time.Second) // AutoConnect settles
		half := map[*Host]int{}
		for i, h := range hs {
			half[h] = i % 20 / 10
		}
		together := false
		w.TCP = func(a, b *Host) bool { return together || half[a] == half[b] }
		w.UDP = w.TCP
		if took, ok := every(w, time.Second, 3*time.Minute, func() bool { return reaching(hs, n/2-1) }); !ok {
			t.Fatalf("%s after the cut the halves are not apart: %s", took, views(hs))
		}
		for i := range each {
			for side, at := range []*Host{hs[0], hs[10]} {
				key := func(what int) keys.PublicKey {
					return keys.FromSeed([32]byte{byte(i), byte(side), byte(what), 8}).Public()
				}
				removal, err := roster.Sign(roll.Network(), 1, 0, &roster.Removal{Key: key(0)}, roll.owner)
				if err != nil {
					t.Fatal(err)
				}
				member, err := roster.Sign(roll.Network(), 1, 0, &roster.Member{Name: node.Name(fmt.Sprintf("new%d_%d", side, i)), Key: key(1)}, roll.owner)
				if err != nil {
					t.Fatal(err)
				}
				at.Submit(removal, member)
			}
		}
		same := func(hs []*Host, statements int) bool {
			return all(hs, func(h *Host) bool { return len(h.Keeper.Roster().IDs()) == statements })
		}
		if took, ok := every(w, time.Second, time.Minute, func() bool { return same(hs, n+1+2*each) }); !ok {
			t.Fatalf("the halves do not agree in themselves after %v", took)
		}
		w.Batch = 5 * time.Millisecond
		messages, bytes := 0, 0
		w.OnSend = func(_, _ *Host, text string) {
			if k, err := wire.RequestKind(text); err == nil && k == wire.KindRoster {
				messages, bytes = messages+1, bytes+len(text)
			}
		}
		together = true
		took, ok := every(w, 100*time.Millisecond, time.Minute, func() bool { return same(hs, n+1+4*each) })
		t.Logf("%d nodes: the halves have the same roster %v after they could reach each other, by %d messages of %d bytes a node", n, took, messages/n, bytes/n)
		if !ok || took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		if messages/n > 60 || bytes/n > 40_000 {
			t.Errorf("%d messages and %d bytes a node for %d statements", messages/n, bytes/n, 2*each)
		}
	})
}
