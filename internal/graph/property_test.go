package graph

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"tincan/internal/node"
	"tincan/internal/wire"
)

type edgeList []Edge

// randomGraph makes edges between n nodes: mostly in both directions, now and
// then with different weights and options, or in one direction only.
func randomGraph(rnd *rand.Rand, n, links int) edgeList {
	var edges edgeList
	name := func(i int) node.Name { return node.Name(fmt.Sprint("n", i)) }
	options := func() wire.Options {
		if rnd.IntN(5) == 0 {
			return wire.Indirect
		}
		return 0
	}
	for range links {
		i, j := rnd.IntN(n), rnd.IntN(n)
		if i == j {
			continue
		}
		e := Edge{From: name(i), To: name(j), Weight: rnd.IntN(12) - 2, Options: options()}
		edges = append(edges, e)
		if rnd.IntN(10) > 0 {
			e.From, e.To = e.To, e.From
			if rnd.IntN(4) == 0 {
				e.Weight, e.Options = rnd.IntN(40), options()
			}
			edges = append(edges, e)
		}
	}
	// One edge for each pair, so that the order of insertion cannot matter.
	slices.SortStableFunc(edges, func(a, b Edge) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return slices.CompactFunc(edges, func(a, b Edge) bool { return a.From == b.From && a.To == b.To })
}

func (edges edgeList) build(self node.Name, rnd *rand.Rand) *Graph {
	edges = slices.Clone(edges)
	if rnd != nil {
		rnd.Shuffle(len(edges), func(i, j int) { edges[i], edges[j] = edges[j], edges[i] })
	}
	g := New(self)
	for _, e := range edges {
		g.Set(e)
	}
	return g
}

// naiveTree is section "broadcast tree" of tinc 1.1 word for word.
func naiveTree(g *Graph) map[[2]node.Name]bool {
	edges := slices.Collect(g.All())
	slices.SortFunc(edges, func(a, b *Edge) int {
		return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	paths, visited, tree := g.Paths(), map[node.Name]bool{}, map[[2]node.Name]bool{}
	for _, e := range edges {
		if paths[e.From].Reachable {
			visited[e.From] = true
			break
		}
	}
	skipped := false
	for i := 0; i < len(edges); i++ {
		e := edges[i]
		if _, ok := g.Get(e.To, e.From); !ok || visited[e.From] == visited[e.To] {
			skipped = true
			continue
		}
		visited[e.From], visited[e.To] = true, true
		tree[[2]node.Name{min(e.From, e.To), max(e.From, e.To)}] = true
		if skipped {
			skipped = false
			i = -1
		}
	}
	return tree
}

// flood returns the nodes connected with self by edges in both directions.
func flood(g *Graph, self node.Name) map[node.Name]bool {
	seen, queue := map[node.Name]bool{self: true}, []node.Name{self}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for e := range g.From(n) {
			if _, both := g.Get(e.To, n); both && !seen[e.To] {
				seen[e.To] = true
				queue = append(queue, e.To)
			}
		}
	}
	return seen
}

func forRandomGraphs(t *testing.T, f func(t *testing.T, rnd *rand.Rand, edges edgeList, g *Graph)) {
	for seed := range uint64(1500) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		n := 2 + rnd.IntN(14)
		edges := randomGraph(rnd, n, 1+rnd.IntN(3*n))
		f(t, rnd, edges, edges.build("n0", rnd))
		if t.Failed() {
			t.Fatalf("seed %d: %v", seed, edges)
		}
	}
}

func TestTreeEqualsTincsWayToGrowIt(t *testing.T) {
	forRandomGraphs(t, func(t *testing.T, _ *rand.Rand, _ edgeList, g *Graph) {
		if got, want := undirected(g.Tree()), naiveTree(g); !maps.Equal(got, want) {
			t.Errorf("tree %v, want %v", got, want)
		}
	})
}

func TestTreeSpansWhatIsReachable(t *testing.T) {
	forRandomGraphs(t, func(t *testing.T, _ *rand.Rand, _ edgeList, g *Graph) {
		reachable, tree := flood(g, "n0"), g.Tree()
		if len(tree) != len(reachable)-1 {
			t.Errorf("%d edges for %d nodes", len(tree), len(reachable))
		}
		seen, queue := map[node.Name]bool{"n0": true}, []node.Name{"n0"}
		for len(queue) > 0 {
			for _, n := range tree.Adjacent(queue[0]) {
				if !seen[n] {
					seen[n] = true
					queue = append(queue, n)
				}
			}
			queue = queue[1:]
		}
		if !maps.Equal(seen, reachable) {
			t.Errorf("the tree leads to %v, reachable are %v", seen, reachable)
		}
	})
}

func TestAllNodesComputeTheSameTree(t *testing.T) {
	forRandomGraphs(t, func(t *testing.T, rnd *rand.Rand, edges edgeList, g *Graph) {
		want := g.Tree()
		for n := range flood(g, "n0") {
			if got := edges.build(n, rnd).Tree(); !slices.Equal(got, want) {
				t.Errorf("%s sees %v, n0 %v", n, got, want)
			}
		}
	})
}

func TestPathsMakeSense(t *testing.T) {
	forRandomGraphs(t, func(t *testing.T, _ *rand.Rand, _ edgeList, g *Graph) {
		reachable := flood(g, "n0")
		for n, p := range g.Paths() {
			if p.Reachable != reachable[n] {
				t.Errorf("%s: reachable %v", n, p.Reachable)
			}
			if !p.Reachable || n == "n0" {
				continue
			}
			if _, ok := g.Get("n0", p.NextHop); !ok || !reachable[p.NextHop] {
				t.Errorf("%s: next hop %s is not adjacent", n, p.NextHop)
			}
			if p.Prev == nil || p.Prev.To != n || p.Options != p.Prev.Options {
				t.Errorf("%s: last edge %v", n, p.Prev)
			}
			if !p.Indirect && p.Via != n || p.Indirect && p.Via == n {
				t.Errorf("%s: indirect %v, but via %s", n, p.Indirect, p.Via)
			}
		}
	})
}

// The bound that protects the search against made-up weights must not cost anybody
// their connection.
func TestSearchWithoutCorrectionsReachesAll(t *testing.T) {
	forRandomGraphs(t, func(t *testing.T, _ *rand.Rand, _ edgeList, g *Graph) {
		reachable := flood(g, "n0")
		g.searchPaths(0)
		for i, s := range g.search.states {
			if n := g.vertices[i].name; n != "" && s.visited != reachable[n] {
				t.Errorf("%s: visited %v", n, s.visited)
			}
		}
		if visits := len(g.search.queue); visits != len(reachable) {
			t.Errorf("%d visits for %d nodes", visits, len(reachable))
		}
	})
}

func TestOrderOfInsertionDoesNotMatter(t *testing.T) {
	forRandomGraphs(t, func(t *testing.T, rnd *rand.Rand, edges edgeList, g *Graph) {
		other := New("n0")
		for range 20 { // a history of edges that came and went
			other.Set(Edge{From: node.Name(fmt.Sprint("n", rnd.IntN(20))), To: node.Name(fmt.Sprint("x", rnd.IntN(5)))})
		}
		for _, e := range slices.Collect(other.All()) {
			other.Paths()
			other.Delete(e.From, e.To)
		}
		for e := range edges.build("n0", rnd).All() {
			other.Set(*e)
		}
		want, got := g.Paths(), other.Paths()
		for n, p := range want {
			q := got[n]
			if (p.Prev == nil) != (q.Prev == nil) || p.Prev != nil && *p.Prev != *q.Prev {
				t.Errorf("%s: last edge %v or %v", n, p.Prev, q.Prev)
			}
			p.Prev, q.Prev = nil, nil
			if p != q {
				t.Errorf("%s: %+v or %+v", n, p, q)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d or %d paths", len(want), len(got))
		}
	})
}

// What is kept from one search or tree to the next must not show in the results.
func TestChangesOneByOneGiveWhatAllAtOnceGives(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		g, n := New("n0"), 3+rnd.IntN(10)
		name := func(i int) node.Name { return node.Name(fmt.Sprint("n", i)) }
		known := map[node.Name]Path{"n0": {Reachable: true, NextHop: "n0", Via: "n0"}}
		for step := range 60 {
			for range 1 + rnd.IntN(4) {
				from, to := name(rnd.IntN(n)), name(rnd.IntN(n))
				if from == to {
					continue
				}
				if rnd.IntN(3) == 0 {
					g.Delete(from, to)
					continue
				}
				e := Edge{From: from, To: to, Weight: rnd.IntN(4)}
				if rnd.IntN(4) == 0 {
					e.Options = wire.Indirect
				}
				g.Set(e)
				if rnd.IntN(3) > 0 {
					e.From, e.To = to, from
					g.Set(e)
				}
			}
			fresh := New("n0")
			for e := range g.All() {
				fresh.Set(*e)
			}
			if got, want := g.Tree(), fresh.Tree(); !slices.Equal(got, want) || !slices.Equal(g.Adjacent(), want.Adjacent("n0")) {
				t.Fatalf("seed %d, step %d: tree %v, adjacent %v; want %v", seed, step, got, g.Adjacent(), want)
			}
			g.Changes(func(n node.Name, p Path) { known[n] = p })
			for n, want := range fresh.Paths() {
				got := known[n]
				if (got.Prev == nil) != (want.Prev == nil) || got.Prev != nil && *got.Prev != *want.Prev {
					t.Fatalf("seed %d, step %d: last edge to %s is %v, want %v", seed, step, n, got.Prev, want.Prev)
				}
				if got.Prev, want.Prev = nil, nil; got != want {
					t.Fatalf("seed %d, step %d: path to %s is %+v, want %+v", seed, step, n, got, want)
				}
			}
		}
	}
}

func TestChangesTellsOnlyWhatChanged(t *testing.T) {
	g := large(1000, 3000)
	g.Changes(func(node.Name, Path) {})
	g.Set(Edge{From: "node00001", To: "newcomer"})
	g.Changes(func(node.Name, Path) {}) // there is one name more, so that is all of them
	g.Set(Edge{From: "newcomer", To: "node00001"})
	var changed []node.Name
	g.Changes(func(n node.Name, p Path) { changed = append(changed, n) })
	if !slices.Equal(changed, []node.Name{"newcomer"}) {
		t.Errorf("%d nodes have changed: %.100v", len(changed), changed)
	}
}

// Where nobody asks for the tree, what it would have to look at must not gather.
func TestChangesForTheTreeAreBounded(t *testing.T) {
	g := New("a")
	g.Set(Edge{From: "b", To: "a"})
	for i := range 3 * maxTouched {
		g.Set(Edge{From: "a", To: "b", Weight: i})
	}
	if k := len(g.tree.touched); k > maxTouched {
		t.Errorf("%d changes are kept", k)
	}
	if got := g.Tree(); !slices.Equal(got, Tree{{"b", "a"}}) {
		t.Errorf("tree %v", got)
	}
}

func large(nodes, edges int) *Graph {
	rnd := rand.New(rand.NewPCG(1, 1))
	name := func(i int) node.Name { return node.Name(fmt.Sprintf("node%05d", i)) }
	g := New(name(0))
	link := func(i, j int) {
		w := 1 + rnd.IntN(200)
		g.Set(Edge{From: name(i), To: name(j), Weight: w})
		g.Set(Edge{From: name(j), To: name(i), Weight: w})
	}
	for i := 1; i < nodes; i++ {
		link(i, rnd.IntN(i))
	}
	for g.Len() < edges {
		link(rnd.IntN(nodes), rnd.IntN(nodes))
	}
	return g
}

// flap takes away the first edge of the last node, or gives it back.
func flap(g *Graph) func() {
	var e *Edge
	for e = range g.From(g.Nodes()[9999]) {
		break
	}
	there := true
	return func() {
		if there = !there; there {
			g.Set(*e)
		} else {
			g.Delete(e.From, e.To)
		}
	}
}

func BenchmarkPaths(b *testing.B) {
	g := large(10000, 30000)
	change := flap(g)
	b.ReportAllocs()
	for b.Loop() {
		change()
		g.Changes(func(node.Name, Path) {})
	}
}

func BenchmarkTree(b *testing.B) {
	g := large(10000, 30000)
	change := flap(g)
	b.ReportAllocs()
	for b.Loop() {
		change()
		g.Tree()
	}
}
