package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/b64"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

// says sends a request over all of h's connections, whatever its protocol core thinks of it.
func (h *Host) says(text string) {
	for _, id := range slices.Sorted(maps.Keys(h.links)) {
		l := h.links[id]
		if l.secure != nil && !l.closed {
			l.put(delivery{text: text})
		}
	}
}

// lie is a request of a member who wants to do harm to the others, by chance.
func lie(r *rand.Rand, others []*Host) []string {
	honest := func() node.Name { return others[r.IntN(len(others))].Name }
	ghost := func() node.Name { return node.Name(fmt.Sprint("ghost", r.IntN(5000))) }
	any := func() node.Name {
		if r.IntN(2) == 0 {
			return ghost()
		}
		return honest()
	}
	edge := func(from, to node.Name) string {
		return fmt.Sprintf("12 %x %s %s 203.0.113.%d 655 700000c %d", r.Uint32(), from, to, r.IntN(256), r.IntN(200))
	}
	junk := make([]byte, 32+r.IntN(64))
	for i := range junk {
		junk[i] = byte(r.Uint32())
	}
	switch r.IntN(11) {
	case 0: // an invented node, and its key
		g := ghost()
		return []string{edge("mallory", g), edge(g, "mallory"), fmt.Sprintf("15 %s %s 20 %s", g, honest(), b64.Encode(junk[:32]))}
	case 1: // a forged edge
		return []string{edge(any(), any())}
	case 2: // a withdrawn one
		return []string{fmt.Sprintf("13 %x %s %s", r.Uint32(), any(), any())}
	case 3: // somebody's address
		return []string{fmt.Sprintf("10 %x %s %s#%d", r.Uint32(), any(), others[r.IntN(len(others))].Subnet(), r.IntN(10))}
	case 4: // an address taken away
		o := others[r.IntN(len(others))]
		return []string{fmt.Sprintf("11 %x %s %s", r.Uint32(), o.Name, o.Subnet())}
	case 5: // any subnet
		return []string{fmt.Sprintf("10 %x %s 10.%d.%d.0/24", r.Uint32(), any(), r.IntN(256), r.IntN(256))}
	case 6: // a planted key
		n := honest()
		return []string{fmt.Sprintf("15 %s %s 19", n, honest()), fmt.Sprintf("15 %s %s 20 %s", n, honest(), b64.Encode(junk[:32]))}
	case 7: // a forged handshake
		if r.IntN(2) == 0 {
			return forgedStarts(r, honest(), honest())
		}
		return []string{fmt.Sprintf("15 %s %s 15 %s", any(), honest(), b64.Encode(junk)), fmt.Sprintf("16 %s %s %s -1 -1 -1 %d", any(), honest(), b64.Encode(junk), r.IntN(12))}
	case 8: // keys of tinc 1.0
		return []string{fmt.Sprintf("14 %x %s", r.Uint32(), any()), fmt.Sprintf("15 %s %s", any(), honest()), fmt.Sprintf("16 %s %s %x 91 64 4 0", any(), honest(), junk[:24])}
	case 9: // a wrong address, a wrong MTU
		return []string{fmt.Sprintf("22 %s %s 203.0.113.9 655", any(), honest()), fmt.Sprintf("23 %s %s %d", any(), honest(), 500+r.IntN(1000))}
	}
	return []string{fmt.Sprintf("8 - - %016x %016x", r.Uint64(), r.Uint64())} // a false digest
}

// forgedStarts are the first records of a handshake of two nodes, in either role. They are well-formed, so only a signature tells
// that they are forged.
func forgedStarts(r *rand.Rand, from, to node.Name) []string {
	first := func() string {
		record := []byte{4: 128, 69: 0} // number 0, a record of a handshake, version 0, nonce, ephemeral key
		for i := range record[6:] {
			record[6+i] = byte(r.Uint32())
		}
		return b64.Encode(record)
	}
	return []string{fmt.Sprintf("15 %s %s 15 %s", from, to, first()), fmt.Sprintf("16 %s %s %s -1 -1 -1 0", from, to, first())}
}

// TestForgedStartsDelayNoSession lets nodes in a row make their sessions while a member at its end, in their names, sends the
// beginnings of handshakes to all of them.
func TestForgedStartsDelayNoSession(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := New(seed)
			var honest []*Host
			mallory := w.Add("mallory")
			for i := range 5 {
				h := w.Add(node.Name(fmt.Sprintf("n%02d", i)))
				for j, o := range honest {
					h.Knows(o, j == i-1)
					o.Knows(h, false)
				}
				h.Knows(mallory, false)
				honest = append(honest, h)
			}
			for i, h := range honest {
				if i == 0 {
					h.Start()
				} else {
					h.Start(honest[i-1].Name)
				}
			}
			at := honest[w.Rand.IntN(len(honest))]
			mallory.Knows(at, true)
			mallory.Start(at.Name)
			w.Run(20 * time.Second)
			type pair struct{ from, to node.Name }
			answered := map[pair]bool{}
			pairs := 0
			for round := range 30 {
				pairs = 0
				for _, a := range honest {
					for _, b := range honest {
						if a == b {
							continue
						}
						pairs++
						if p := (pair{a.Name, b.Name}); !answered[p] {
							w.Ping(a, b, func(_, _ Trace) { answered[p] = true })
						}
					}
				}
				for range 20 {
					for _, a := range honest {
						for _, b := range honest {
							if round < 3 && a != b && w.Rand.IntN(20) == 0 { // three of each kind for a pair
								for _, text := range forgedStarts(w.Rand, a.Name, b.Name) {
									mallory.says(text)
								}
							}
						}
					}
					w.Run(5 * time.Millisecond)
				}
			}
			if len(answered) < pairs {
				t.Errorf("of %d pairs %d reach each other after three seconds", pairs, len(answered))
			}
		})
	}
}

// TestAMaliciousMember lets a member with a valid key lie for a minute. Meanwhile neighbours reach each other, and none of
// them leaves the mesh; of nodes that are further away only they themselves can say what is so, which takes a moment. Between
// these nothing is demanded while she lies, but all reach each other ten minutes after she has left.
// In any case no key is learned, and nobody remembers more than its bounds.
func TestAMaliciousMember(t *testing.T) {
	first, last := uint64(1), seeds(5)
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			neighbours := seed%2 == 1
			w := New(seed)
			if *seedFlag != 0 {
				w.Log = func(h *Host, l mesh.Log) { t.Logf("%s %s: %s", w.Now.Format("04:05.000"), h.Name, l.Text) }
			}
			var honest []*Host
			mallory := w.Add("mallory")
			for i := range 4 {
				h := w.Add(node.Name(fmt.Sprintf("n%02d", i)))
				for j, o := range honest {
					h.Knows(o, neighbours || j == i-1)
					o.Knows(h, false)
				}
				h.Knows(mallory, false)
				honest = append(honest, h)
			}
			at := honest[w.Rand.IntN(len(honest))]
			mallory.Knows(at, true)
			for i, h := range honest {
				h.Record = true
				var dials []node.Name
				for j, o := range honest[:i] {
					if neighbours || j == i-1 {
						dials = append(dials, o.Name)
					}
				}
				h.Start(dials...)
			}
			mallory.Start(at.Name)
			w.Run(20 * time.Second)
			for _, h := range honest {
				h.Effects = nil
			}
			sent, arrived := 0, 0
			ask := func() {
				for _, a := range honest {
					for _, b := range honest {
						if a != b {
							sent++
							w.Ping(a, b, func(_, _ Trace) { arrived++ })
						}
					}
				}
			}
			ask()
			w.Run(10 * time.Second) // sessions are made
			sent, arrived = 0, 0
			for range 60 {
				ask()
				for range 10 {
					for range 20 {
						for _, text := range lie(w.Rand, honest) {
							mallory.says(text)
						}
					}
					w.Run(100 * time.Millisecond)
				}
			}
			w.Run(2 * time.Second)
			t.Logf("all are neighbours: %v; while she lies, %d of %d echoes are answered", neighbours, arrived, sent)
			if neighbours && arrived*100 < sent*99 {
				t.Errorf("of %d echoes between the others %d were answered", sent, arrived)
			}
			var names []string
			for _, h := range honest {
				names = append(names, string(h.Name))
			}
			for _, h := range honest {
				for _, e := range h.Effects {
					switch e := e.(type) {
					case mesh.NodeDown:
						if neighbours && slices.Contains(names, string(e.Node)) {
							t.Errorf("for %s, %s has left the mesh", h.Name, e.Node)
						}
					case mesh.SaveKey:
						t.Errorf("%s writes a key of %s", h.Name, e.Node)
					case mesh.SaveLearned:
						if !strings.HasPrefix(string(e.Node), "ghost") || !e.Gone {
							t.Errorf("%s learns a key of %s", h.Name, e.Node)
						}
					}
				}
				if s, b := h.Core.Size(), h.Core.Bounds(); s.Nodes > b.Unknown/5+10 || s.Edges > b.Edges/2+100 || s.Subnets > b.Subnets/8+100 {
					t.Errorf("%s remembers %+v", h.Name, s)
				}
			}
			mallory.Kill()
			w.Run(10 * time.Minute)
			ask()
			w.Run(10 * time.Second) // sessions are made
			sent, arrived = 0, 0
			for range 5 {
				ask()
				w.Run(time.Second)
			}
			if arrived < sent {
				t.Errorf("after she has left, of %d echoes %d were answered", sent, arrived)
			}
		})
	}
}
