package daemon

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
)

// viewOf is a view of n nodes that all reach each other.
func viewOf(n int, at time.Time, rtt int) control.MeshReport {
	r := control.MeshReport{}
	for i := range n {
		r.Nodes = append(r.Nodes, control.MeshNode{Reachable: true, Source: control.MeshTold})
		row := control.MeshRow{Node: i, Time: at}
		for j := range n {
			if i != j {
				row.To, row.RTT, row.Via, row.Loss = append(row.To, j), append(row.RTT, rtt), append(row.Via, -1), append(row.Loss, 0)
			}
		}
		row.Path = strings.Repeat("u", len(row.To))
		r.Rows = append(r.Rows, row)
	}
	return r
}

func TestThePastIsTheLastHour(t *testing.T) {
	var p meshPast
	began := time.Now().UTC().Truncate(time.Millisecond)
	for i := range 100 {
		at := began.Add(time.Duration(i) * pastEvery)
		p.add(at, func() control.MeshReport { return viewOf(3, at, i) })
	}
	times := p.times()
	if len(times) != 61 || times[0] != began.Add(39*pastEvery) || times[60] != began.Add(99*pastEvery) {
		t.Fatalf("%d views are kept, from %v to %v", len(times), times[0].Sub(began), times[len(times)-1].Sub(began))
	}
	for _, c := range []struct {
		at   time.Time
		want int
	}{{times[10], 49}, {times[10].Add(time.Second), 49}, {began, 39}, {times[60].Add(time.Hour), 99}} {
		r, ok := p.at(c.at)
		if want := viewOf(3, began.Add(time.Duration(c.want)*pastEvery), c.want); !ok || !reflect.DeepEqual(r.Rows, want.Rows) {
			t.Errorf("at %v: %+v, want %+v", c.at.Sub(began), r.Rows, want.Rows)
		}
	}
	if _, ok := new(meshPast).at(began); ok {
		t.Error("there is something before the first minute")
	}
}

// What a relay, loss and an edge were is kept, too.
func TestThePastKeepsPaths(t *testing.T) {
	var p meshPast
	row := control.MeshRow{Node: 1, To: []int{0, 2, 3}, Path: "uRe", Via: []int{-1, 3, -1}, RTT: []int{1234, 2_000_000, 7000}, Loss: []int{10, 995, 0}}
	p.add(time.Now(), func() control.MeshReport {
		return control.MeshReport{Nodes: make([]control.MeshNode, 4), Rows: []control.MeshRow{row}}
	})
	if r, _ := p.at(time.Now()); !reflect.DeepEqual(r.Rows[0], row) {
		t.Errorf("%+v, want %+v", r.Rows[0], row)
	}
}

// The largest view, all of it new each minute, for hours.
func TestThePastIsBounded(t *testing.T) {
	var p meshPast
	at := time.Now()
	r := viewOf(maxMeshNodes, at, 1)
	for range 120 {
		at = at.Add(pastEvery)
		p.add(at, func() control.MeshReport { return r })
	}
	if p.bytes > maxPast || len(p.views) == 0 {
		t.Errorf("%d views of %d bytes in all are kept", len(p.views), p.bytes)
	}
	if n := len(p.views); n > 1 && p.views[1].at.Sub(p.views[0].at) != pastRare {
		t.Errorf("large ones are kept every %v", p.views[1].at.Sub(p.views[0].at))
	}
}

// Nobody looks: the node keeps what it knows by itself, and asks nobody.
func TestThePastWithoutAnybodyLooking(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b", "ConnectTo = a")
	a.knows(b)
	a.start()
	b.knows(a)
	b.start()
	ca := a.client()
	eventually(t, "a sees b", func() bool { return a.sees(ca, "b") })
	v := a.daemon.meshView
	eventually(t, "a path to b is known", func() bool { return pair(v.now(time.Now()), "a", "b") != "" })
	v.past.add(time.Now(), func() control.MeshReport { return v.now(time.Now()) })
	r, ok := a.daemon.Inside().MeshAt(time.Now())
	if !ok || pair(r, "a", "b") == "" || pair(r, "b", "a") != "" {
		t.Errorf("%v %+v", ok, r)
	}
	if len(a.daemon.Inside().MeshPast()) != 1 {
		t.Errorf("%v", a.daemon.Inside().MeshPast())
	}
}
