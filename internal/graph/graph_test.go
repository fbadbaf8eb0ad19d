package graph

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"tincan/internal/node"
	"tincan/internal/wire"
)

type graphCase struct {
	Note   string
	Myself node.Name
	Edges  []struct {
		From, To node.Name
		Weight   int
		Options  wire.Options
	}
	Nodes []nodeCase
	MST   [][2]node.Name
}

type nodeCase struct {
	Name             node.Name
	Reachable        bool
	NextHop, Via     node.Name
	Indirect         bool
	Distance         int
	WeightedDistance int       `json:"weighted_distance"`
	PrevEdgeFrom     node.Name `json:"prev_edge_from"`
	Options          wire.Options
}

func load(t testing.TB) []graphCase {
	t.Helper()
	var v struct{ Cases []graphCase }
	data, err := os.ReadFile("testdata/tinc11-graph.json")
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v.Cases
}

func (c graphCase) graph() *Graph {
	g := New(c.Myself)
	for _, e := range c.Edges {
		g.Set(Edge{From: e.From, To: e.To, Weight: e.Weight, Options: e.Options})
	}
	return g
}

func TestPathsAgreeWithTinc(t *testing.T) {
	for _, c := range load(t) {
		t.Run(c.Note, func(t *testing.T) {
			paths := c.graph().Paths()
			for _, want := range c.Nodes {
				p, ok := paths[want.Name]
				if p.Reachable != want.Reachable {
					t.Errorf("%s: reachable %v", want.Name, p.Reachable)
				}
				if !want.Reachable {
					if ok && (p.Distance != -1 || p.NextHop != "" || p.Prev != nil) {
						t.Errorf("%s is unreachable, but has the path %+v", want.Name, p)
					}
					continue
				}
				var prev node.Name
				if p.Prev != nil {
					prev = p.Prev.From
				}
				if p.NextHop != want.NextHop || p.Via != want.Via || p.Indirect != want.Indirect ||
					p.Distance != want.Distance || p.WeightedDistance != want.WeightedDistance ||
					prev != want.PrevEdgeFrom || p.Options != want.Options {
					t.Errorf("%s: %+v (from %q), want %+v", want.Name, p, prev, want)
				}
			}
			for name := range paths {
				if !slices.ContainsFunc(c.Nodes, func(n nodeCase) bool { return n.Name == name }) {
					t.Errorf("path to %s, which does not exist", name)
				}
			}
		})
	}
}

func TestTreeAgreesWithTinc(t *testing.T) {
	for _, c := range load(t) {
		t.Run(c.Note, func(t *testing.T) {
			want := map[[2]node.Name]bool{}
			for _, e := range c.MST {
				want[e] = true
			}
			if got := undirected(c.graph().Tree()); !maps.Equal(got, want) {
				t.Errorf("tree %v, want %v", got, want)
			}
		})
	}
}

// undirected returns the edges with the smaller name first.
func undirected(tree Tree) map[[2]node.Name]bool {
	set := map[[2]node.Name]bool{}
	for _, e := range tree {
		set[[2]node.Name{min(e.A, e.B), max(e.A, e.B)}] = true
	}
	return set
}

func TestChangingEdges(t *testing.T) {
	g := New("a")
	ab := Edge{From: "a", To: "b", Weight: 1}
	if !g.Set(ab) {
		t.Error("a new edge changed nothing")
	}
	if g.Set(ab) {
		t.Error("the same edge once more changed something")
	}
	old, _ := g.Get("a", "b")
	ab.Weight = 2
	if !g.Set(ab) {
		t.Error("another weight changed nothing")
	}
	if e, ok := g.Get("a", "b"); !ok || e.Weight != 2 || old.Weight != 1 {
		t.Errorf("weight is %d, and %d in the edge handed out before", e.Weight, old.Weight)
	}
	if g.Set(Edge{From: "a", To: "a"}) || g.Len() != 1 {
		t.Error("an edge from a node to itself was taken")
	}
	if g.Delete("b", "a") || !g.Delete("a", "b") || g.Delete("a", "b") {
		t.Error("Delete does not tell whether the edge was there")
	}
	if n := g.Nodes(); len(n) != 0 {
		t.Errorf("nodes without edges: %v", n)
	}
	if p := g.Paths(); len(p) != 1 || !p["a"].Reachable || p["a"].NextHop != "a" {
		t.Errorf("alone in the world, yet paths are %v", p)
	}
}

func TestVerticesAreReused(t *testing.T) {
	g := New("self")
	for i := range 1000 {
		n := node.Name(fmt.Sprint("n", i))
		g.Set(Edge{From: n, To: "self"})
		g.Delete(n, "self")
	}
	if len(g.vertices) != 2 {
		t.Errorf("%d vertices for a graph that never had more than 2 nodes", len(g.vertices))
	}
}

func TestIterationIsInNameOrder(t *testing.T) {
	g := randomGraph(rand.New(rand.NewPCG(3, 4)), 12, 30).build("n0", nil)
	var all []string
	for e := range g.All() {
		all = append(all, string(e.From)+" "+string(e.To))
	}
	if len(all) != g.Len() || !slices.IsSorted(all) {
		t.Errorf("All yields %v", all)
	}
	for _, n := range g.Nodes() {
		var from, to []string
		for e := range g.From(n) {
			from = append(from, string(e.From)+" "+string(e.To))
		}
		for e := range g.To(n) {
			to = append(to, string(e.To)+" "+string(e.From))
		}
		wantFrom, wantTo := 0, 0
		for _, s := range all {
			f, t, _ := strings.Cut(s, " ")
			if f == string(n) {
				wantFrom++
			}
			if t == string(n) {
				wantTo++
			}
		}
		if len(from) != wantFrom || len(to) != wantTo || !slices.IsSorted(from) || !slices.IsSorted(to) {
			t.Errorf("From(%s) yields %v, To %v", n, from, to)
		}
	}
}
