package sim

import (
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// ask sends an echo and returns what became of it.
func ask(w *World, from *Host, e mesh.Echo) mesh.EchoResult {
	e.ID, e.Timeout = 1, 2*time.Second
	from.Echoed = nil
	from.event(e)
	w.Until(3*time.Second, func() bool { return len(from.Echoed) > 0 })
	if len(from.Echoed) == 0 {
		return mesh.EchoResult{}
	}
	return from.Echoed[0]
}

func TestEchoOverEachPath(t *testing.T) {
	for _, middle := range []string{"tincan", "tinc 1.1"} {
		t.Run("with "+middle+" in the middle", func(t *testing.T) {
			w := New(11)
			ends := map[node.Name]bool{"n00": true, "n02": true}
			blocked := false
			w.UDP = func(a, b *Host) bool { return !blocked || !(ends[a.Name] && ends[b.Name]) }
			hs := make([]*Host, 3)
			for i, n := range []node.Name{"n00", "n01", "n02"} {
				hs[i] = w.Add(n)
			}
			hs[1].Plain = middle != "tincan"
			for _, i := range []int{0, 2} {
				hs[i].Knows(hs[1], true)
				hs[1].Knows(hs[i], false)
			}
			hs[1].Start()
			hs[0].Start("n01")
			hs[2].Start("n01")
			w.Run(2 * time.Second)
			if r := ask(w, hs[0], mesh.Echo{Node: "n02", Path: mesh.EchoTCP}); r.Err != nil || !r.There.TCP || r.There.Hop != "n01" {
				t.Errorf("the first, by TCP: %+v", r)
			}
			for range 3 {
				w.Reaches(hs[0], hs[2], time.Second)
				w.Run(time.Second)
			}
			want := mesh.Leg{Hop: "n01"}
			if r := ask(w, hs[0], mesh.Echo{Node: "n02", Path: mesh.EchoUDP, Via: "n01", Size: 1000}); r.Err != nil || r.There != want || r.Back != want || r.RTT != 40*time.Millisecond {
				t.Errorf("relayed: %+v", r)
			}
			if r := ask(w, hs[0], mesh.Echo{Node: "n02", Path: mesh.EchoUDP}); r.Err != nil || r.There != (mesh.Leg{}) || r.RTT != 20*time.Millisecond {
				t.Errorf("direct: %+v", r)
			}
			blocked = true
			if r := ask(w, hs[0], mesh.Echo{Node: "n02", Path: mesh.EchoUDP}); r.Err != mesh.ErrNoAnswer {
				t.Errorf("direct, blocked: %+v", r)
			}
			r := ask(w, hs[0], mesh.Echo{Node: "n01"})
			if plain := hs[1].Plain; plain != r.Probed || r.Err != nil || r.RTT <= 0 {
				t.Errorf("to the middle: %+v", r)
			}
		})
	}
}
