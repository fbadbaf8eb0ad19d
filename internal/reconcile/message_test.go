package reconcile

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// text writes a message again.
func (m *message) text() []byte {
	data := appendHeader(nil, m.ask, m.network, m.root)
	for i := range m.parts {
		data = m.parts[i].append(data)
	}
	return data
}

// examples are messages of all kinds, by what they show.
func examples() map[string]*message {
	ids := [3]ID{IDOf([]byte("a")), IDOf([]byte("b")), IDOf([]byte("c"))}
	p := prefix{}.child(ids[0].nibble(0)).child(ids[0].nibble(1)).child(ids[0].nibble(2))
	u := prefix{urgent: true}
	kids := &[16]sum{3: {1, fingerprint(ids[0][:])}, 15: {300, fingerprint(ids[1][:])}}
	head := message{network: Network{1, 2, 3, 4, 5, 6, 7, 8}, root: fingerprint(ids[2][:])}
	with := func(ask bool, parts ...part) *message {
		m := head
		m.ask, m.parts = ask, parts
		return &m
	}
	return map[string]*message{
		"nothing but the header": with(false),
		"the sums of a set, with the question for those of the other": with(true,
			part{kind: partSum, prefix: u}, part{kind: partSum, sum: sum{10000, fingerprint(ids[0][:])}}),
		"the children of the whole and of a prefix of three nibbles": with(false, part{kind: partKids, kids: kids}, part{kind: partKids, prefix: p, kids: kids}),
		"all that is below a prefix, and another that is empty": with(false,
			part{kind: partList, prefix: p, items: []Item{{ids[0], 4096, false}}}, part{kind: partList, prefix: u}),
		"two items, one of them urgent": with(false, part{kind: partHave, items: []Item{{ids[1], 1, false}, {ids[0], 200, true}}}),
		"the question for two items, of one only the third chunk": with(false,
			part{kind: partWant, wants: []want{{ids[0], 1}, {ids[1], 4}}}),
		"an item, and the last chunk of another that nobody has asked for": with(false,
			part{kind: partGive, give: give{id: ids[0], size: 1, bytes: []byte("a")}},
			part{kind: partGive, give: give{pushed: true, id: ids[1], size: 1026, chunk: 1, bytes: []byte("xy")}}),
		"an item that the sender does not have": with(false, part{kind: partGive, give: give{id: ids[2]}}),
	}
}

// TestVectors: the form of messages does not change by accident.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/messages.txt")
	if err != nil {
		t.Fatal(err)
	}
	left := examples()
	for line := range strings.Lines(string(data)) {
		what, text, ok := strings.Cut(strings.TrimSpace(line), ": ")
		m := left[what]
		if !ok || m == nil {
			t.Errorf("there is no example %q", what)
			continue
		}
		delete(left, what)
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.text(); !bytes.Equal(got, raw) {
			t.Errorf("%s is written as %x, not %x", what, got, raw)
		}
		got, err := parse(raw)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if !bytes.Equal(got.text(), raw) {
			t.Errorf("%s is not read as it was written", what)
		}
	}
	for what, m := range left {
		t.Errorf("missing: %s: %x", what, m.text())
	}
}

func TestWhatIsNotAMessage(t *testing.T) {
	head := appendHeader(nil, false, testNetwork, fingerprint{})
	id := IDOf([]byte("a"))
	item := func(size ...byte) []byte { return append(append([]byte{}, id[:]...), size...) }
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for what, data := range map[string][]byte{
		"nothing":                         {},
		"half a header":                   head[:20],
		"another version":                 append([]byte{2}, head[1:]...),
		"a flag that is not known":        append([]byte{1, 2}, head[2:]...),
		"too long":                        make([]byte, MaxMessage+1),
		"a part that is not known":        cat(head, []byte{7}),
		"a sum that ends in the count":    cat(head, []byte{1, 0, 0x80}),
		"a count that is not minimal":     cat(head, []byte{1, 0, 0x80, 0}),
		"a count that is too large":       cat(head, []byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}),
		"a sum without its fingerprint":   cat(head, []byte{1, 0, 1, 0}),
		"a prefix of 64 nibbles":          cat(head, []byte{1, 64}, id[:], []byte{0}),
		"a prefix that is not filled":     cat(head, []byte{1, 1, 0x11, 0}),
		"a child that is empty":           cat(head, []byte{2, 0, 0, 1, 0}),
		"a list that is shorter":          cat(head, []byte{4, 2}, item(0, 1)),
		"an item of no bytes":             cat(head, []byte{4, 1}, item(0, 0)),
		"an item of 4097 bytes":           cat(head, []byte{4, 1}, item(0x10, 1)),
		"a list that does not ascend":     cat(head, []byte{3, 0, 2}, item(0, 1), item(0, 1)),
		"an item beside the prefix":       cat(head, []byte{3, 1, 0x10, 1}, item(0, 1)),
		"an urgent item in a list":        cat(head, []byte{3, 0, 1}, item(0x80, 1)),
		"no chunk that is wanted":         cat(head, []byte{5, 1}, item(0)),
		"a fifth chunk":                   cat(head, []byte{5, 1}, item(16)),
		"an item without its bytes":       cat(head, []byte{6, 0}, item(0, 5, 0), []byte("1234")),
		"a chunk that does not exist":     cat(head, []byte{6, 0}, item(0, 5, 1)),
		"a push of what is not there":     cat(head, []byte{6, 1}, item(0, 0, 0)),
		"a second chunk of what is not":   cat(head, []byte{6, 0}, item(0, 0, 1)),
		"a giving with an unknown flag":   cat(head, []byte{6, 2}, item(0, 1, 0), []byte("1")),
		"a giving of more than 4096 byte": cat(head, []byte{6, 0}, item(0x10, 1, 4), []byte("1")),
	} {
		if m, err := parse(data); err == nil {
			t.Errorf("%s is read as %+v", what, m)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range examples() {
		f.Add(m.text())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parse(data)
		if err != nil {
			return
		}
		if !bytes.Equal(m.text(), data) {
			t.Errorf("%x is written again as %x", data, m.text())
		}
	})
}

// FuzzNeighbours: three nodes, one of which says whatever the input makes of it, in between of what it would say. Nothing may
// panic or grow, and the two others agree in the end, also with its valid items.
func FuzzNeighbours(f *testing.F) {
	for _, m := range examples() {
		f.Add(uint64(1), append([]byte{0, byte(len(m.text()) / 8)}, m.text()...))
	}
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		w := newNet(t, seed)
		w.loss = 0.05
		w.add(3)
		w.scatter(40)
		w.link(0, 1)
		w.link(1, 2)
		w.link(0, 2)
		r := rand.New(rand.NewPCG(seed, 2))
		for len(data) > 2 {
			n := min(8*int(data[1]), len(data)-2)
			text := data[2 : 2+n]
			if data[0]&1 == 1 { // with a header that fits
				text = append(appendHeader(nil, data[0]&2 != 0, testNetwork, w.node(2).root), text...)
			}
			to := w.names[data[0]>>2&1]
			_ = w.nodes[to].Handle(w.now, w.names[2], text)
			w.send(to)
			w.bounded()
			w.run(duration(r))
			data = data[2+n:]
		}
		same := func() bool { return w.node(0).root == w.node(1).root }
		w.until(hour, same)
		if !same() {
			t.Errorf("seed %d: two nodes do not agree because of a third", seed)
		}
		w.bounded()
	})
}
