package reconcile

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"tincan/internal/node"
)

// pairOf returns two neighbours that agree on so many items.
func pairOf(t testing.TB, items int) *net {
	w := newNet(t, 1)
	w.add(2)
	for range items {
		item := makeItem(kindOrdinary, 0, 0, 0, 200, w.random)
		w.give(0, item)
		w.give(1, item)
	}
	w.link(0, 1)
	w.run(5 * time.Second)
	w.check("at the start")
	w.messages, w.bytes = 0, 0
	return w
}

// unlinked returns two nodes that have so many items in common, and extra more each, not yet connected.
func unlinked(t testing.TB, items, extraA, extraB, size int) *net {
	w := newNet(t, 2)
	w.add(2)
	for range items {
		item := makeItem(kindOrdinary, 0, 0, 0, size, w.random)
		w.give(0, item)
		w.give(1, item)
	}
	for range extraA {
		w.give(0, makeItem(kindOrdinary, 0, 0, 0, size, w.random))
	}
	for range extraB {
		w.give(1, makeItem(kindOrdinary, 0, 0, 0, size, w.random))
	}
	return w
}

func TestThoseThatAgreeAreSilent(t *testing.T) {
	w := pairOf(t, 10000)
	w.run(time.Hour)
	if w.messages < 40 || w.messages > 60 {
		t.Errorf("%d messages in an hour, not about one a minute", w.messages)
	}
	if most := 60 * 100; w.bytes > most {
		t.Errorf("%d bytes in an hour, more than %d", w.bytes, most)
	}
	t.Logf("10,000 items, nothing missing: %d messages, %d bytes in an hour", w.messages, w.bytes)
}

// TestTheCostIsInProportionToTheDifference: also the figures in the package's documentation.
func TestTheCostIsInProportionToTheDifference(t *testing.T) {
	for _, c := range []struct {
		items, a, b, size int
		messages, bytes   int           // at most
		time              time.Duration // at most
	}{
		{10000, 0, 1, 200, 10, 2500, time.Second},
		{10000, 1, 0, 200, 10, 2500, time.Second},
		{10000, 1, 1, 200, 14, 5000, time.Second},
		{10000, 10, 0, 200, 50, 25000, 2 * time.Second},
		{10000, 50, 50, 200, 250, 150000, 4 * time.Second},
		{100000, 0, 1, 200, 12, 3000, time.Second},
		{0, 1, 0, 4096, 10, 5500, time.Second},
		{0, 10000, 0, 250, 5600, 4200000, 8 * time.Second},
	} {
		if testing.Short() && c.items > 10000 {
			continue
		}
		t.Run(fmt.Sprintf("%d items, and %d and %d more of %d bytes", c.items, c.a, c.b, c.size), func(t *testing.T) {
			w := unlinked(t, c.items, c.a, c.b, c.size)
			w.link(0, 1)
			took := w.until(time.Minute, w.agree)
			w.run(3 * time.Second)
			w.check("at the end")
			t.Logf("%d messages, %d bytes, %v", w.messages, w.bytes, took.Round(time.Millisecond))
			if w.messages > c.messages || w.bytes > c.bytes || took > c.time {
				t.Errorf("more than %d messages, %d bytes or %v", c.messages, c.bytes, c.time)
			}
			if w.longest > MaxMessage {
				t.Errorf("a message of %d bytes", w.longest)
			}
		})
	}
}

func TestANewItemCostsFourMessages(t *testing.T) {
	w := pairOf(t, 1000)
	w.give(0, makeItem(kindOrdinary, 0, 0, 0, 300, w.random))
	took := w.until(time.Minute, w.agree)
	w.run(10 * time.Second)
	w.check("at the end")
	if w.messages > 4 || took > 100*time.Millisecond { // HAVE, WANT, GIVE, SUM
		t.Errorf("%d messages, %v", w.messages, took)
	}
}

func TestAnUrgentItemIsPushed(t *testing.T) {
	for _, size := range []int{100, 1024, 1025, 4096} {
		w := pairOf(t, 1000)
		w.give(0, makeItem(kindUrgent, 0, 0, 0, size, w.random))
		took := w.until(time.Minute, w.agree)
		w.run(10 * time.Second)
		w.check("at the end")
		if most := (size+1023)/1024 + 1; w.messages > most || took > 25*time.Millisecond {
			t.Errorf("%d bytes: %d messages, more than %d; %v", size, w.messages, most, took)
		}
	}
}

func TestAnUrgentItemIsNeverSentBack(t *testing.T) {
	w := newNet(t, 3)
	w.add(20)
	for i := range 19 {
		w.link(i, i+1)
	}
	w.run(5 * time.Second)
	pushes := map[[2]string]int{}
	w.seen = func(from node.Name, o Out) {
		if m, err := parse(o.Data); err == nil && o.Urgent && m.parts[0].give.pushed {
			pushes[[2]string{string(from), string(o.To)}]++
		}
	}
	w.give(0, makeItem(kindUrgent, 0, 0, 0, 300, w.random))
	took := w.until(time.Minute, w.agree)
	w.run(time.Minute)
	if took > 19*20*time.Millisecond {
		t.Errorf("it took %v over 19 links of at most 20 ms", took)
	}
	if len(pushes) != 19 {
		t.Errorf("%d links were pushed over, not 19: %v", len(pushes), pushes)
	}
	for link, n := range pushes {
		if n != 1 || link[0] > link[1] {
			t.Errorf("%d pushes from %s to %s", n, link[0], link[1])
		}
	}
}

func TestUrgentItemsComeFirst(t *testing.T) {
	w := newNet(t, 4)
	w.add(2)
	for i := range 3000 {
		kind := byte(kindOrdinary)
		if i%30 == 0 {
			kind = kindUrgent
		}
		w.give(0, makeItem(kind, 0, 0, 0, 250, w.random))
	}
	w.link(0, 1)
	all := w.node(0).urgent.root.count
	b := w.node(1)
	first := -1 // how many ordinary ones there were when the urgent ones were complete
	w.until(time.Minute, func() bool {
		if first < 0 && b.urgent.root.count == all {
			first = b.ordinary.root.count
		}
		return w.agree()
	})
	if !w.agree() || first != 0 {
		t.Errorf("%d ordinary items came before the last of %d urgent ones", first, all)
	}
}

// TestItemsThatCameTooEarlyAreAskedForAgain: each of a chain can be judged only after the one before.
func TestItemsThatCameTooEarlyAreAskedForAgain(t *testing.T) {
	w := newNet(t, 5)
	w.add(2)
	for i := range 12 {
		w.give(0, makeItem(kindUrgent, i, 0, 0, 300, w.random))
	}
	for i := range 500 {
		w.give(0, makeItem(kindOrdinary, i%12, 0, 0, 250, w.random))
	}
	w.link(0, 1)
	took := w.until(time.Minute, w.agree)
	w.run(3 * time.Second)
	w.check("at the end")
	if took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if extra := w.node(1).set.offers - 512; extra > 80 {
		t.Errorf("%d items were offered too early", extra)
	}
}

func TestSupersededItemsAreGivenUp(t *testing.T) {
	w := newNet(t, 6)
	w.add(3)
	for key := range uint32(600) {
		before := makeItem(kindOrdinary, 0, key+1, 1, 250, w.random)
		w.give(0, before)
		w.give(1, before)
		w.give(2, before)
		w.give(0, makeItem(kindOrdinary, 0, key+1, 2, 250, w.random))
	}
	w.link(0, 1)
	w.link(1, 2)
	took := w.until(time.Minute, w.agree)
	w.run(5 * time.Second)
	w.check("at the end")
	if w.node(0).Len() != 600 || took > 10*time.Second {
		t.Errorf("%d items after %v", w.node(0).Len(), took)
	}
	for i := range 3 {
		if bad := w.node(i).set.bad; bad > 150 {
			t.Errorf("node %d was offered %d superseded items", i, bad)
		}
	}
}

// shapes connect nodes in all kinds of ways.
var shapes = map[string]func(w *net){
	"line": func(w *net) {
		for i := range len(w.names) - 1 {
			w.link(i, i+1)
		}
	},
	"tree": func(w *net) {
		for i := 1; i < len(w.names); i++ {
			w.link(i, (i-1)/3)
		}
	},
	"star": func(w *net) {
		for i := 1; i < len(w.names); i++ {
			w.link(0, i)
		}
	},
	"full mesh": func(w *net) {
		for i := range w.names {
			for j := range i {
				w.link(i, j)
			}
		}
	},
	"random mesh": func(w *net) {
		for i := 1; i < len(w.names); i++ {
			w.link(i, w.random.IntN(i))
			w.link(i, w.random.IntN(i))
		}
	},
}

// scatter gives random nodes random items: some at many nodes, some at one, some that supersede others.
func (w *net) scatter(items int) {
	for range 2 { // which others need
		w.give(w.random.IntN(len(w.names)), makeItem(kindUrgent, 0, 0, 0, 100, w.random))
	}
	for range items {
		kind := byte(kindOrdinary)
		if w.random.IntN(5) == 0 {
			kind = kindUrgent
		}
		size := 30 + w.random.IntN(500)
		if w.random.IntN(10) == 0 {
			size = 1 + w.random.IntN(MaxItem)
		}
		key, serial := uint32(0), uint32(0)
		if w.random.IntN(3) == 0 {
			key, serial = uint32(1+w.random.IntN(items)), w.random.Uint32N(4)
		}
		needs := 0
		if w.random.IntN(10) == 0 {
			needs = w.random.IntN(3)
		}
		item := makeItem(kind, needs, key, serial, size, w.random)
		w.give(w.random.IntN(len(w.names)), item)
		if w.random.IntN(3) == 0 {
			for range w.random.IntN(len(w.names)) {
				w.give(w.random.IntN(len(w.names)), item)
			}
		}
	}
}

func seeds(t *testing.T, n int) []uint64 {
	if testing.Short() {
		n = max(1, n/4)
	}
	first := rand.Uint64()
	t.Logf("seeds from %d on", first)
	list := []uint64{1, 2}
	for i := range n {
		list = append(list, first+uint64(i))
	}
	return list
}

func TestAllNodesAgreeInTheEnd(t *testing.T) {
	for name, connect := range shapes {
		t.Run(name, func(t *testing.T) {
			for _, seed := range seeds(t, 6) {
				w := newNet(t, seed)
				w.loss, w.double = 0.2*w.random.Float64(), 0.1*w.random.Float64()
				w.minDelay = time.Duration(w.random.Int64N(int64(100 * time.Millisecond)))
				w.spread = time.Duration(w.random.Int64N(int64(300 * time.Millisecond)))
				w.add(2 + w.random.IntN(14))
				w.scatter(w.random.IntN(300))
				connect(w)
				w.scatter(20)
				took := w.until(10*time.Minute, w.agree)
				w.run(6 * time.Minute)
				w.check(fmt.Sprintf("seed %d", seed))
				if took > 3*time.Minute {
					t.Errorf("seed %d: %d nodes agreed after %v", seed, len(w.names), took)
				}
			}
		})
	}
}

func TestNodesAgreeWhileNeighboursComeAndGo(t *testing.T) {
	for _, seed := range seeds(t, 10) {
		w := newNet(t, seed)
		w.loss, w.double = 0.1, 0.05
		w.spread = 200 * time.Millisecond
		w.add(12)
		shapes["random mesh"](w)
		for range 200 {
			switch w.random.IntN(3) {
			case 0:
				w.cut(w.random.IntN(12), w.random.IntN(12))
			case 1:
				w.link(w.random.IntN(12), w.random.IntN(12))
			case 2:
				w.scatter(2)
			}
			w.run(time.Duration(w.random.Int64N(int64(3 * time.Second))))
		}
		shapes["line"](w)
		w.until(20*time.Minute, w.agree)
		w.run(6 * time.Minute)
		w.check(fmt.Sprintf("seed %d", seed))
	}
}

func TestPartitionsHeal(t *testing.T) {
	w := newNet(t, 7)
	w.add(20)
	shapes["line"](w)
	w.cut(9, 10)
	w.scatter(400)
	w.run(time.Minute)
	if w.agree() {
		t.Fatal("they agree over a line that is cut")
	}
	w.link(9, 10)
	if took := w.until(time.Minute, w.agree); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	w.run(10 * time.Second)
	w.check("after the partition")
}

func TestOtherNetworksAreToldApart(t *testing.T) {
	set := newSet()
	r := New("alice", Network{9}, set)
	r.Join(epoch, "bob")
	other := New("bob", Network{8}, newSet())
	other.Join(epoch, "alice")
	for _, o := range other.Flush() {
		if err := r.Handle(epoch, "bob", o.Data); err != ErrOtherNetwork {
			t.Errorf("the error is %v", err)
		}
	}
}
