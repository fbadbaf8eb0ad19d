package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// pair is the letter of the path between two nodes in a view, "" if nothing is known.
func pair(r control.MeshReport, from, to node.Name) string {
	number := map[node.Name]int{}
	for i, n := range r.Nodes {
		number[n.Name] = i
	}
	for _, row := range r.Rows {
		for k, other := range row.To {
			if row.Node == number[from] && other == number[to] {
				return row.Path[k : k+1]
			}
		}
	}
	return ""
}

// TestTheWholeMeshIsSeenFromOneNode: a node learns how two others reach each other and itself, by asking them.
func TestTheWholeMeshIsSeenFromOneNode(t *testing.T) {
	a, b, c := newNode(t, "a"), newNode(t, "b", "ConnectTo = a"), newNode(t, "c", "ConnectTo = b")
	a.knows(b, c)
	a.start()
	b.knows(a, c)
	b.start()
	c.knows(a, b)
	c.start()
	ca := a.client()
	eventually(t, "a sees both", func() bool { return a.sees(ca, "b") && a.sees(ca, "c") })
	view := a.daemon.Inside()
	var r control.MeshReport
	eventually(t, "all pairs that talk are known", func() bool {
		r = view.Mesh(0)
		return pair(r, "a", "b") != "" && pair(r, "b", "a") != "" && pair(r, "a", "c") != "" && pair(r, "c", "a") != ""
	})
	for i, want := range []string{control.MeshSelf, control.MeshTold, control.MeshTold} {
		if n := r.Nodes[i]; n.Source != want || !n.Reachable {
			t.Errorf("%+v; want source %s", n, want)
		}
	}
	for _, row := range r.Rows {
		n := len(row.To)
		if len(row.Path) != n || len(row.RTT) != n || row.Via != nil && len(row.Via) != n || row.Since != nil && len(row.Since) != n || row.MTU != nil && len(row.MTU) != n {
			t.Errorf("columns are not equally long: %+v", row)
		}
	}
	// Only what is new comes again.
	again := view.Mesh(r.Serial)
	if len(again.Nodes) != 3 || len(again.Rows) > 2 {
		t.Errorf("after serial %d: %+v", r.Serial, again)
	}
	if other := view.Mesh(1 << 40); len(other.Rows) != 3 {
		t.Errorf("after a serial of another run: %+v", other.Rows)
	}
}

// A mesh of 300 nodes that all talk is 90,000 pairs: it has to stay small, and quick to write.
func TestTheViewOfALargeMeshIsCompact(t *testing.T) {
	const nodes = 300
	index := map[node.ID]int{}
	var list []wire.PathEntry
	for i := range nodes {
		id := node.Name(fmt.Sprint("n", i)).ID()
		index[id] = i
		list = append(list, wire.PathEntry{To: id, Path: wire.PathUDP, RTT: time.Duration(i+1) * 1234 * time.Microsecond, MTU: 1400, Age: uint32(100 * i)})
	}
	r := control.MeshReport{}
	for i := range nodes {
		r.Nodes = append(r.Nodes, control.MeshNode{Name: node.Name(fmt.Sprint("n", i)), Source: control.MeshTold})
		row := viewRow{list: list, at: time.Unix(1, 0)}
		r.Rows = append(r.Rows, row.form(i, index))
	}
	text, err := json.Marshal(r)
	if err != nil || len(text) > 3<<20 || strings.Contains(string(text), "via") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func BenchmarkTheViewOfALargeMesh(b *testing.B) {
	index := map[node.ID]int{}
	var list []wire.PathEntry
	for i := range 300 {
		id := node.Name(fmt.Sprint("n", i)).ID()
		index[id] = i
		list = append(list, wire.PathEntry{To: id, Path: wire.PathUDP, RTT: 12345 * time.Microsecond, MTU: 1400, Age: 100})
	}
	row := viewRow{list: list, at: time.Unix(1, 0)}
	b.ReportAllocs()
	for b.Loop() {
		var rows []control.MeshRow
		for i := range 300 {
			rows = append(rows, row.form(i, index))
		}
		if _, err := json.Marshal(rows); err != nil {
			b.Fatal(err)
		}
	}
}

// What a node tells comes in parts. Where they begin was guessed from the last time; what is missing between them is asked for.
func TestAnswersInParts(t *testing.T) {
	id := func(n int) (id node.ID) { id[0] = byte(n); return id }
	part := func(after int, more bool, to ...int) pathsPart {
		p := pathsPart{after: id(after), told: true, more: more}
		for _, n := range to {
			p.list = append(p.list, wire.PathEntry{To: id(n)})
		}
		return p
	}
	for name, c := range map[string]struct {
		parts   []pathsPart
		missing int // -1: nothing
		begin   []int
	}{
		"one":                      {[]pathsPart{part(0, false, 1, 2)}, -1, []int{0}},
		"nothing":                  {[]pathsPart{part(0, false)}, -1, []int{0}},
		"more to come":             {[]pathsPart{part(0, true, 1, 2)}, 2, nil},
		"as guessed":               {[]pathsPart{part(0, true, 1, 2), part(2, true, 3, 4), part(4, false, 5)}, -1, []int{0, 2, 4}},
		"fewer than before":        {[]pathsPart{part(0, false, 1), part(2, false), part(4, false)}, -1, []int{0}},
		"new ones in between":      {[]pathsPart{part(0, true, 1, 2), part(4, false, 5)}, 2, nil},
		"and what was missing":     {[]pathsPart{part(0, true, 1, 2), part(4, false, 5), part(2, true, 3, 4)}, -1, []int{0, 2, 4}},
		"overlapping":              {[]pathsPart{part(0, true, 1, 3), part(2, true, 3, 4), part(4, false, 5)}, -1, []int{0, 3, 4}},
		"more than before":         {[]pathsPart{part(0, true, 1, 2), part(2, true, 3, 4)}, 4, nil},
		"one that does not go on":  {[]pathsPart{part(0, true, 1, 2), part(2, true, 1, 2)}, -1, []int{0}},
		"one that goes backwards":  {[]pathsPart{part(0, true, 5), part(5, true, 3)}, -1, []int{0}},
		"one that was lost":        {[]pathsPart{part(0, true, 1, 2), {after: id(2)}, part(4, false, 5)}, 2, nil},
		"the only one was lost":    {[]pathsPart{{}}, 0, nil},
		"more, but nothing at all": {[]pathsPart{part(0, true)}, -1, []int{0}},
	} {
		q := question{parts: c.parts}
		after, missing := q.missing()
		if want := c.missing >= 0; missing != want || want && after != id(c.missing) {
			t.Errorf("%s: missing %v after %v", name, missing, after)
		}
		if missing {
			continue
		}
		list, begin := q.list()
		for i, e := range list {
			if i > 0 && bytes.Compare(e.To[:], list[i-1].To[:]) <= 0 {
				t.Errorf("%s: not in order: %v", name, list)
			}
		}
		var want []node.ID
		for _, n := range c.begin {
			want = append(want, id(n))
		}
		if !slices.Equal(begin, want) {
			t.Errorf("%s: parts begin after %v", name, begin)
		}
	}
	endless := question{}
	for i := range maxParts {
		endless.parts = append(endless.parts, part(i, true, i+1))
	}
	if _, missing := endless.missing(); missing {
		t.Error("there is no end to what a node may tell")
	}
}

// A datagram that is lost does not cost the whole answer, and a node that does not answer at all is not asked for ever.
func TestWhatIsLostIsAskedForAgain(t *testing.T) {
	c := newCore(nil)
	v := newMeshView(&Daemon{core: c})
	v.asking.Lock()
	v.open++
	first := v.part(&question{node: "b"}, node.ID{})
	v.asking.Unlock()
	lost := func(id uint64) { v.told(mesh.PathsTold{ID: id, Node: "b", Err: mesh.ErrNoAnswer}) }
	id := first.ID
	for range maxLost {
		lost(id)
		select {
		case e := <-c.reports:
			again, ok := e.(mesh.AskPaths)
			if !ok || again.ID == id || again.Node != "b" || !again.After.IsZero() {
				t.Fatalf("%+v", e)
			}
			id = again.ID
		default:
			t.Fatal("it is not asked again")
		}
	}
	lost(id)
	if len(c.reports) > 0 || len(v.answers) != 1 || v.answers[0].err == nil || v.open != 0 || len(v.waiting) != 0 {
		t.Errorf("%d questions, %d answers, %d open", len(c.reports), len(v.answers), v.open)
	}
	lost(id) // it comes late: nobody waits
}
