package reconcile

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tincan/internal/node"
)

var testNetwork = Network{1, 2, 3}

// testSet is a set in which items can be bad, early and superseded. An item is
//
//	kind u8 ‖ needs u16: so many urgent items of key 0 have to be there ‖ key u32 ‖ serial u32 ‖ filling
//
// Of two with the same key the higher serial stays; those of key 0 are never superseded.
type testSet struct {
	items  map[ID][]byte
	latest map[uint32]ID
	urgent int
	offers int
	bad    int // offers that were refused
}

const (
	kindOrdinary = 'o'
	kindUrgent   = 'u'
	itemHead     = 11
)

func newSet() *testSet { return &testSet{items: map[ID][]byte{}, latest: map[uint32]ID{}} }

func makeItem(kind byte, needs int, key, serial uint32, size int, random *rand.Rand) []byte {
	item := make([]byte, max(size, itemHead+8))
	item[0] = kind
	binary.BigEndian.PutUint16(item[1:], uint16(needs))
	binary.BigEndian.PutUint32(item[3:], key)
	binary.BigEndian.PutUint32(item[7:], serial)
	for i := itemHead; i+8 <= len(item); i += 8 {
		binary.BigEndian.PutUint64(item[i:], random.Uint64())
	}
	return item
}

func (s *testSet) Get(id ID) []byte { return s.items[id] }

func (s *testSet) Offer(item []byte) (Verdict, Change) {
	s.offers++
	if len(item) < itemHead || item[0] != kindOrdinary && item[0] != kindUrgent {
		s.bad++
		return Refused, Change{}
	}
	if int(binary.BigEndian.Uint16(item[1:])) > s.urgent {
		return Early, Change{}
	}
	return s.add(item)
}

func (s *testSet) add(item []byte) (Verdict, Change) {
	it := ItemOf(item, item[0] == kindUrgent)
	if s.items[it.ID] != nil {
		return Accepted, Change{}
	}
	c := Change{Added: []Item{it}}
	if key := binary.BigEndian.Uint32(item[3:]); key != 0 {
		if old, ok := s.latest[key]; ok {
			before := s.items[old]
			if slices.Compare(before[7:], item[7:]) >= 0 {
				s.bad++
				return Refused, Change{}
			}
			delete(s.items, old)
			c.Gone = append(c.Gone, old)
		}
		s.latest[key] = it.ID
	}
	s.items[it.ID] = item
	if it.Urgent && binary.BigEndian.Uint32(item[3:]) == 0 {
		s.urgent++
	}
	return Accepted, c
}

// net is a network of nodes under virtual time.
type net struct {
	t      testing.TB
	now    time.Time
	random *rand.Rand
	nodes  map[node.Name]*testNode
	names  []node.Name
	links  map[[2]node.Name]bool
	events events
	number int

	loss, double     float64
	minDelay, spread time.Duration
	messages, bytes  int
	longest          int
	seen             func(from node.Name, o Out)
}

type testNode struct {
	*Reconciler
	set  *testSet
	tick time.Time // when the next tick is in the queue
}

type event struct {
	at     time.Time
	number int
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].number < e[j].number
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newNet(t testing.TB, seed uint64) *net {
	return &net{
		t: t, now: epoch, random: rand.New(rand.NewPCG(seed, 1)), nodes: map[node.Name]*testNode{},
		links: map[[2]node.Name]bool{}, minDelay: 10 * time.Millisecond, spread: 10 * time.Millisecond,
	}
}

func (w *net) after(d time.Duration, do func()) {
	w.number++
	heap.Push(&w.events, event{w.now.Add(d), w.number, do})
}

func (w *net) node(i int) *testNode { return w.nodes[w.names[i]] }

// add adds n nodes with empty sets.
func (w *net) add(n int) {
	for range n {
		name := node.Name(fmt.Sprintf("n%03d", len(w.names)))
		set := newSet()
		w.nodes[name] = &testNode{Reconciler: New(name, testNetwork, set), set: set}
		w.names = append(w.names, name)
	}
}

// give adds an item to the set of node i, as its owner does.
func (w *net) give(i int, item []byte) {
	n := w.node(i)
	if v, c := n.set.add(item); v == Accepted {
		n.Changed(w.now, c)
	}
	w.send(w.names[i])
}

func pair(a, b node.Name) [2]node.Name {
	if a > b {
		a, b = b, a
	}
	return [2]node.Name{a, b}
}

func (w *net) link(a, b int) {
	x, y := w.names[a], w.names[b]
	if x == y || w.links[pair(x, y)] {
		return
	}
	w.links[pair(x, y)] = true
	w.nodes[x].Join(w.now, y)
	w.nodes[y].Join(w.now, x)
	w.send(x)
	w.send(y)
}

func (w *net) cut(a, b int) {
	x, y := w.names[a], w.names[b]
	delete(w.links, pair(x, y))
	w.nodes[x].Leave(y)
	w.nodes[y].Leave(x)
}

// send carries what a node wants sent, and has it ticked when it wants to be.
func (w *net) send(name node.Name) {
	n := w.nodes[name]
	for _, o := range n.Flush() {
		w.messages++
		w.bytes += len(o.Data)
		w.longest = max(w.longest, len(o.Data))
		if w.seen != nil {
			w.seen(name, o)
		}
		times := 1
		if w.random.Float64() < w.double {
			times = 2
		}
		for range times {
			if w.random.Float64() < w.loss {
				continue
			}
			delay := w.minDelay + time.Duration(w.random.Int64N(int64(w.spread)+1))
			w.after(delay, func() {
				to := w.nodes[o.To]
				if to == nil || !w.links[pair(name, o.To)] {
					return
				}
				if err := to.Handle(w.now, name, o.Data); err != nil {
					w.t.Fatalf("%s to %s: %v", name, o.To, err)
				}
				w.send(o.To)
			})
		}
	}
	next := n.Next()
	if next.IsZero() || !n.tick.IsZero() && !n.tick.After(next) && n.tick.After(w.now) {
		return
	}
	next = later(next, w.now)
	n.tick = next
	w.after(next.Sub(w.now), func() {
		if n.tick.Equal(w.now) {
			n.tick = time.Time{}
			n.Tick(w.now)
			if next := n.Next(); !next.IsZero() && !next.After(w.now) {
				w.t.Fatalf("%s has ticked and still wants to", name)
			}
			w.send(name)
		}
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// run lets time pass.
func (w *net) run(d time.Duration) { w.until(d, func() bool { return false }) }

// until lets time pass until done, at most d. It returns how long that took.
func (w *net) until(d time.Duration, done func() bool) time.Duration {
	start, end := w.now, w.now.Add(d)
	for len(w.events) > 0 && !w.events[0].at.After(end) {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
		if done() {
			return w.now.Sub(start)
		}
	}
	w.now = end
	return d
}

// agree tells whether all sets are the same.
func (w *net) agree() bool {
	for _, n := range w.nodes {
		if n.root != w.node(0).root {
			return false
		}
	}
	return true
}

// check fails unless all nodes agree, and each tree is that of its set.
func (w *net) check(what string) {
	w.t.Helper()
	for _, name := range w.names {
		n := w.nodes[name]
		if n.Len() != len(n.set.items) {
			w.t.Fatalf("%s: %s has %d items in its tree, %d in its set", what, name, n.Len(), len(n.set.items))
		}
		if n.root != w.node(0).root {
			w.t.Fatalf("%s: %s has %d items and %s %d, and they differ", what, name, n.Len(), w.names[0], w.node(0).Len())
		}
		for _, o := range n.Neighbours(w.now) {
			if !o.Agrees {
				w.t.Errorf("%s: %s does not know that %s agrees", what, name, o.Name)
			}
		}
	}
}
