package reconcile

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"tincan/internal/node"
)

const hour = time.Hour

func duration(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(2 * time.Second))) }

// bounded fails if a node keeps more of a neighbour than it may.
func (w *net) bounded() {
	w.t.Helper()
	for _, name := range w.names {
		n := w.nodes[name].Reconciler
		asked := 0
		for _, o := range n.order {
			size := 0
			for _, q := range o.outstanding {
				size += q.item.Size
			}
			if size != o.size {
				w.t.Fatalf("%s has asked %s for %d bytes, not %d", name, o.name, size, o.size)
			}
			asked += len(o.outstanding)
			if len(o.explore) > maxExplore || len(o.wanted) > maxWanted || len(o.outstanding) > maxOutstanding || len(o.early) > maxEarly ||
				len(o.announce) > maxAnnounce || len(o.push) > maxAnnounce || size > maxOutstandingBytes+MaxItem ||
				o.questions > maxQuestions+1 || o.partial != nil && len(o.partial.bytes) > MaxItem || len(o.parts)+len(o.pushed) > 0 {
				w.t.Fatalf("%s keeps too much of %s", name, o.name)
			}
		}
		if len(n.asked) > asked || len(n.useless[0]) > maxUseless || len(n.useless[1]) > maxUseless {
			w.t.Fatalf("%s keeps too much: %d, %d, %d", name, len(n.asked), len(n.useless[0]), len(n.useless[1]))
		}
	}
}

// liar is a neighbour without a Reconciler, which sends what a test makes of it.
type liar struct {
	w      *net
	victim node.Name
	random *rand.Rand
	heard  int // bytes
	sent   int // messages
}

// attack has neighbour "zz" of node 0 send what next returns, for so long, and hear what the victim answers.
func attack(w *net, d, every time.Duration, next func(l *liar) []part, answer func(l *liar, m *message) []part) *liar {
	l := &liar{w: w, victim: w.names[0], random: w.random}
	name := node.Name("zz")
	victim := w.nodes[l.victim]
	victim.Join(w.now, name)
	say := func(parts []part) {
		if len(parts) == 0 {
			return
		}
		var root fingerprint
		binary.BigEndian.PutUint64(root[:], w.random.Uint64())
		m := message{network: testNetwork, root: root, parts: parts}
		l.sent++
		if err := victim.Handle(w.now, name, m.text()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.seen = func(from node.Name, o Out) {
		if o.To != name {
			return
		}
		l.heard += len(o.Data)
		if m, err := parse(o.Data); err == nil && answer != nil {
			if parts := answer(l, &m); len(parts) > 0 {
				w.after(0, func() { say(parts); w.send(l.victim) })
			}
		}
	}
	w.send(l.victim)
	for end := w.now.Add(d); w.now.Before(end); {
		say(next(l))
		w.send(l.victim)
		w.bounded()
		w.run(every)
	}
	return l
}

func randomID(r *rand.Rand) (id ID) {
	for i := 0; i < len(id); i += 8 {
		binary.BigEndian.PutUint64(id[i:], r.Uint64())
	}
	return id
}

// attacks are what a neighbour may try.
func attacks() map[string]struct {
	next   func(l *liar) []part
	answer func(l *liar, m *message) []part
} {
	type attack = struct {
		next   func(l *liar) []part
		answer func(l *liar, m *message) []part
	}
	claim := func(l *liar) []part {
		items := make([]Item, 30)
		for i := range items {
			items[i] = Item{ID: randomID(l.random), Size: 1 + l.random.IntN(MaxItem), Urgent: l.random.IntN(2) == 0}
		}
		return []part{{kind: partHave, items: items}}
	}
	quiet := func(*liar) []part { return nil }
	rubbish := map[ID][]byte{}
	return map[string]attack{
		"claims ids without end and gives nothing": {next: claim},
		"claims ids and says then that it does not have them": {next: claim, answer: func(l *liar, m *message) (parts []part) {
			for _, p := range m.parts {
				for _, w := range p.wants[:min(len(p.wants), 10)] {
					parts = append(parts, part{kind: partGive, give: give{id: w.id}})
				}
			}
			return parts
		}},
		"gives something else than it has claimed": {next: claim, answer: func(l *liar, m *message) []part {
			for _, p := range m.parts {
				for _, w := range p.wants {
					return []part{{kind: partGive, give: give{id: w.id, size: 5, bytes: []byte("wrong")}}}
				}
			}
			return nil
		}},
		"gives items that are worth nothing": {
			next: func(l *liar) []part {
				if len(rubbish) > 100000 {
					clear(rubbish)
				}
				var items []Item
				for range 30 {
					b := binary.BigEndian.AppendUint64([]byte("rubbish"), l.random.Uint64())
					rubbish[IDOf(b)] = b
					items = append(items, ItemOf(b, false))
				}
				return []part{{kind: partHave, items: items}}
			},
			answer: func(l *liar, m *message) (parts []part) {
				for _, p := range m.parts {
					for _, w := range p.wants[:min(len(p.wants), 15)] {
						b := rubbish[w.id]
						parts = append(parts, part{kind: partGive, give: give{id: w.id, size: len(b), bytes: b}})
					}
				}
				return parts
			},
		},
		"pushes items that are worth nothing": {next: func(l *liar) (parts []part) {
			for range 10 {
				b := binary.BigEndian.AppendUint64([]byte("rubbish"), l.random.Uint64())
				parts = append(parts, part{kind: partGive, give: give{pushed: true, id: IDOf(b), size: len(b), bytes: b}})
			}
			return parts
		}},
		"pushes first chunks of items": {next: func(l *liar) []part {
			return []part{{kind: partGive, give: give{pushed: true, id: randomID(l.random), size: MaxItem, bytes: make([]byte, chunkLen)}}}
		}},
		"has a tree without end": {
			next: func(l *liar) []part {
				p := prefix{}
				for range l.random.IntN(20) {
					p = p.child(l.random.IntN(16))
				}
				kids := new([16]sum)
				for i := range kids {
					kids[i] = sum{1 + l.random.IntN(maxCount-1), fingerprint(randomBytes(l.random))}
				}
				return []part{{kind: partKids, prefix: p, kids: kids}}
			},
			answer: func(l *liar, m *message) []part {
				for _, p := range m.parts {
					if p.kind == partKids || p.kind == partList {
						return []part{{kind: partSum, prefix: p.prefix, sum: sum{1 << 20, fingerprint(randomBytes(l.random))}}}
					}
				}
				return nil
			},
		},
		"asks for the whole set again and again": {
			next: func(l *liar) []part {
				var parts []part
				for i := range 16 {
					for j := range 16 {
						parts = append(parts, part{kind: partList, prefix: prefix{}.child(i).child(j)})
					}
				}
				return parts[:200]
			},
			answer: func(l *liar, m *message) []part {
				var wants []want
				for _, p := range m.parts {
					for _, it := range p.items {
						wants = append(wants, want{it.ID, 15})
					}
				}
				if len(wants) == 0 {
					return nil
				}
				return []part{{kind: partWant, wants: wants}}
			},
		},
		"says each time that its set is another": {next: func(l *liar) []part {
			return []part{{kind: partSum, sum: sum{1000, fingerprint(randomBytes(l.random))}}}
		}, answer: func(l *liar, m *message) []part { return nil }},
		"says nothing": {next: quiet},
	}
}

func randomBytes(r *rand.Rand) []byte { id := randomID(r); return id[:len(fingerprint{})] }

// TestALiarCostsLittle: whatever a neighbour says a thousand times a second, the victim keeps little, answers in
// moderation, judges few of its items, and the others come to an agreement.
func TestALiarCostsLittle(t *testing.T) {
	lasts := 10 * time.Second
	if testing.Short() {
		lasts /= 2
	}
	for what, a := range attacks() {
		t.Run(what, func(t *testing.T) {
			w := newNet(t, 8)
			w.add(3)
			for range 3000 {
				item := makeItem(kindOrdinary, 0, 0, 0, 250, w.random)
				w.give(0, item)
				w.give(1, item)
			}
			w.link(0, 1)
			w.run(5 * time.Second)
			w.node(0).set.offers = 0
			w.after(time.Second, func() {
				w.link(0, 2)
				w.give(1, makeItem(kindUrgent, 0, 0, 0, 250, w.random))
			})
			agreed := time.Duration(0)
			start := w.now
			l := attack(w, lasts, time.Millisecond, func(l *liar) []part {
				if agreed == 0 && w.now.Sub(start) > 2*time.Second && w.agree() {
					agreed = w.now.Sub(start) - time.Second
				}
				return a.next(l)
			}, func(l *liar, m *message) []part {
				if a.answer == nil {
					return nil
				}
				return a.answer(l, m)
			})
			t.Logf("%d messages in %v: %d items judged, %d KiB of answers, others agreed after %v", l.sent, lasts, w.node(0).set.offers, l.heard>>10, agreed)
			if agreed == 0 || agreed > 6*time.Second {
				t.Errorf("the other nodes agreed after %v", agreed)
			}
			if offers := w.node(0).set.offers; offers > 1+64+20*11 {
				t.Errorf("%d items were judged", offers)
			}
			if most := 256 + 1100*11; l.heard>>10 > most {
				t.Errorf("the victim answered %d KiB, more than %d", l.heard>>10, most)
			}
			w.node(0).Leave("zz")
			w.run(time.Minute)
			w.check("at the end")
		})
	}
}

// TestALiarDelaysNothingForLong: it claims each item that others have, and gives none.
func TestALiarDelaysNothingForLong(t *testing.T) {
	w := newNet(t, 9)
	w.add(2)
	var claims [][]Item
	for i := range 500 {
		item := makeItem(kindOrdinary, 0, 0, 0, 250, w.random)
		w.give(1, item)
		if i%25 == 0 {
			claims = append(claims, nil)
		}
		claims[len(claims)-1] = append(claims[len(claims)-1], ItemOf(item, true))
	}
	w.after(10*time.Millisecond, func() { w.link(0, 1) })
	i := 0
	agreed := time.Duration(0)
	start := w.now
	attack(w, 20*time.Second, 10*time.Millisecond, func(l *liar) []part {
		if agreed == 0 && w.agree() {
			agreed = w.now.Sub(start)
		}
		i++
		return []part{{kind: partHave, items: claims[i%len(claims)]}}
	}, nil)
	if agreed == 0 || agreed > 6*time.Second {
		t.Errorf("500 items took %v", agreed)
	}
}

// TestNobodyCanHaveAnItemRefused: a neighbour gives something else for the id of a good item.
func TestNobodyCanHaveAnItemRefused(t *testing.T) {
	w := newNet(t, 10)
	w.add(2)
	item := makeItem(kindOrdinary, 0, 0, 0, 250, w.random)
	wrong := append([]byte{}, item...)
	wrong[len(wrong)-1] ^= 1
	attack(w, time.Second, 100*time.Millisecond, func(l *liar) []part {
		return []part{{kind: partHave, items: []Item{ItemOf(item, false)}}}
	}, func(l *liar, m *message) []part {
		for _, p := range m.parts {
			for _, want := range p.wants {
				return []part{{kind: partGive, give: give{id: want.id, size: len(wrong), bytes: wrong}}}
			}
		}
		return nil
	})
	if w.node(0).Len() != 0 || w.node(0).set.offers != 0 {
		t.Fatal("something was taken in")
	}
	w.give(1, item)
	w.link(0, 1)
	if took := w.until(time.Minute, w.agree); took > 3*time.Second {
		t.Errorf("the item came after %v", took)
	}
}

// TestMessagesFromNobody: who is no neighbour is not listened to.
func TestMessagesFromNobody(t *testing.T) {
	w := newNet(t, 11)
	w.add(1)
	item := makeItem(kindUrgent, 0, 0, 0, 100, w.random)
	m := message{network: testNetwork, parts: []part{{kind: partGive, give: give{pushed: true, id: IDOf(item), size: len(item), bytes: item}}}}
	if err := w.node(0).Handle(w.now, "stranger", m.text()); err != nil || w.node(0).Len() != 0 || len(w.node(0).Flush()) != 0 {
		t.Errorf("a stranger was listened to: %v", err)
	}
}

func BenchmarkOneMissingOf10000(b *testing.B) {
	w := unlinked(b, 10000, 0, 0, 200)
	w.link(0, 1)
	w.run(5 * time.Second)
	b.ReportAllocs()
	for b.Loop() {
		w.give(0, makeItem(kindOrdinary, 0, 0, 0, 250, w.random))
		w.until(time.Minute, w.agree)
	}
}

func BenchmarkSumFromANeighbourThatAgrees(b *testing.B) {
	w := unlinked(b, 10000, 0, 0, 200)
	w.link(0, 1)
	w.run(5 * time.Second)
	r := w.node(0).Reconciler
	n := w.node(1).neighbours[w.names[0]]
	n.sendRoot(w.now)
	n.flush(w.now)
	data := w.node(1).Flush()[0].Data
	b.ReportAllocs()
	for b.Loop() {
		w.now = w.now.Add(10 * time.Millisecond)
		if err := r.Handle(w.now, w.names[1], data); err != nil {
			b.Fatal(err)
		}
	}
	if len(r.Flush()) != 0 {
		b.Fatal("it was answered")
	}
}
