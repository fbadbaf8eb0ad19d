// Package graph keeps the edges of the mesh and finds out what follows from
// them: which nodes are reachable, over which next hop, and which edges carry broadcasts.
//
// The algorithms are tinc's to the letter, since nodes that disagree about
// next hops send packets in circles. It does not know connections or time.
package graph

import (
	"cmp"
	"iter"
	"slices"

	"tincan/internal/node"
	"tincan/internal/wire"
)

// Edge says that From has a meta connection with To. An edge counts only
// together with its reverse.
type Edge struct {
	From, To node.Name
	Weight   int // smaller is better; may be negative
	Options  wire.Options
	// Nonce of the request that told of the edge. Two edges that differ in nothing else are the same.
	Nonce uint32
	Addr  wire.Address // of To as seen by From, with its UDP port
	Local wire.Address // of From on that connection
	// By is whoever told of the edge, if the caller wants to remember that. It makes no difference either.
	By node.Name
}

// Same tells whether e and o say the same, whoever told of them.
func (e Edge) Same(o Edge) bool {
	e.Nonce, e.By = o.Nonce, o.By
	return e == o
}

// Graph is the set of known edges as one node sees them. It is not safe for
// concurrent use. An *Edge it hands out never changes: replacing an edge puts
// another in its place.
type Graph struct {
	index    map[node.Name]int32
	vertices []vertex // by index; self is vertex 0
	free     []int32  // unused vertices
	edges    int

	search searchScratch
	tree   forest
}

// me is the vertex of self.
const me int32 = 0

// vertex is a node. Vertices without edges are reused, except that of self.
type vertex struct {
	name  node.Name
	out   []*arc // by name of the other end
	in    []*arc // by name of the other end
	hops  []hop  // what the search needs of out, in one piece of memory
	stale bool   // hops has to be recreated
}

// arc is an edge with its place in the graph.
type arc struct {
	edge     *Edge
	from, to int32
	version  uint32 // grows when the weight of either direction changes, or one of them comes or goes
	gone     bool
	reverse  *arc // nil if there is none
}

// hop is an edge in both directions as the search sees it.
type hop struct {
	edge     *Edge
	weight   int
	to       int32
	indirect bool
}

// New returns a graph without edges, to be seen by node self.
func New(self node.Name) *Graph {
	return &Graph{
		index:    map[node.Name]int32{self: 0},
		vertices: []vertex{{name: self}},
	}
}

// Set adds an edge or replaces the one between the same nodes. It tells whether
// that changed anything. An edge from a node to itself is ignored.
func (g *Graph) Set(e Edge) (changed bool) {
	if e.From == e.To {
		return false
	}
	if a := g.arc(e.From, e.To); a != nil {
		if a.edge.Same(e) {
			if a.edge.Nonce != e.Nonce { // it is told with another one from now on
				a.edge = &e
			}
			return false
		}
		if a.edge.Weight != e.Weight {
			g.tree.touch(a)
		}
		a.edge = &e
		g.vertices[a.from].stale = true
		return true
	}
	a := &arc{edge: &e, from: g.vertex(e.From), to: g.vertex(e.To)}
	if a.reverse = g.arc(e.To, e.From); a.reverse != nil {
		a.reverse.reverse = a
		g.vertices[a.to].stale = true
		g.tree.touch(a)
	}
	g.vertices[a.from].stale = true
	from, to := &g.vertices[a.from], &g.vertices[a.to]
	i, _ := findTo(from.out, e.To)
	from.out = slices.Insert(from.out, i, a)
	i, _ = findFrom(to.in, e.From)
	to.in = slices.Insert(to.in, i, a)
	g.edges++
	return true
}

// Get returns the edge between two nodes.
func (g *Graph) Get(from, to node.Name) (*Edge, bool) {
	if a := g.arc(from, to); a != nil {
		return a.edge, true
	}
	return nil, false
}

// Delete removes an edge and tells whether it was there.
func (g *Graph) Delete(from, to node.Name) bool {
	a := g.arc(from, to)
	if a == nil {
		return false
	}
	f, t := &g.vertices[a.from], &g.vertices[a.to]
	i, _ := findTo(f.out, to)
	f.out = slices.Delete(f.out, i, i+1)
	i, _ = findFrom(t.in, from)
	t.in = slices.Delete(t.in, i, i+1)
	a.gone, f.stale = true, true
	if a.reverse != nil {
		g.tree.touch(a)
		a.reverse.reverse, t.stale = nil, true
	}
	g.edges--
	g.release(a.from)
	g.release(a.to)
	return true
}

// Len is the number of (directed) edges.
func (g *Graph) Len() int { return g.edges }

// Links is the number of edges that lead from a node to one with a greater name.
func (g *Graph) Links() (n int) {
	for i := range g.vertices {
		for _, a := range g.vertices[i].out {
			if a.edge.From < a.edge.To {
				n++
			}
		}
	}
	return n
}

// OutDegree is the number of edges that n originated.
func (g *Graph) OutDegree(n node.Name) int {
	if i, ok := g.index[n]; ok {
		return len(g.vertices[i].out)
	}
	return 0
}

// Nodes returns the names of all nodes with an edge, in order. The caller owns the slice.
func (g *Graph) Nodes() []node.Name {
	names := make([]node.Name, 0, len(g.index))
	for name, i := range g.index {
		if v := &g.vertices[i]; len(v.out)+len(v.in) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// From yields the edges that n originated, by name of the other end. The graph
// must not change meanwhile.
func (g *Graph) From(n node.Name) iter.Seq[*Edge] {
	return func(yield func(*Edge) bool) {
		if i, ok := g.index[n]; ok {
			each(g.vertices[i].out, yield)
		}
	}
}

// To yields the edges that lead to n, by name of the other end. The graph must
// not change meanwhile.
func (g *Graph) To(n node.Name) iter.Seq[*Edge] {
	return func(yield func(*Edge) bool) {
		if i, ok := g.index[n]; ok {
			each(g.vertices[i].in, yield)
		}
	}
}

// All yields every edge, by name of From and then of To. The graph must not
// change meanwhile.
func (g *Graph) All() iter.Seq[*Edge] {
	return func(yield func(*Edge) bool) {
		for _, name := range g.Nodes() {
			if !each(g.vertices[g.index[name]].out, yield) {
				return
			}
		}
	}
}

func each(arcs []*arc, yield func(*Edge) bool) bool {
	for _, a := range arcs {
		if !yield(a.edge) {
			return false
		}
	}
	return true
}

// vertex returns the index of a node, which it creates if it must.
func (g *Graph) vertex(n node.Name) int32 {
	i, ok := g.index[n]
	if ok {
		return i
	}
	if last := len(g.free) - 1; last >= 0 {
		i, g.free = g.free[last], g.free[:last]
		g.vertices[i].name = n
	} else {
		i = int32(len(g.vertices))
		g.vertices = append(g.vertices, vertex{name: n})
	}
	g.index[n] = i
	g.search.renamed = true
	return i
}

// release forgets a vertex that has lost its last edge.
func (g *Graph) release(i int32) {
	v := &g.vertices[i]
	if i == me || len(v.out)+len(v.in) > 0 {
		return
	}
	delete(g.index, v.name)
	*v = vertex{}
	g.free = append(g.free, i)
	g.search.renamed = true
}

func (g *Graph) arc(from, to node.Name) *arc {
	i, ok := g.index[from]
	if !ok {
		return nil
	}
	out := g.vertices[i].out
	if j, ok := findTo(out, to); ok {
		return out[j]
	}
	return nil
}

func findTo(arcs []*arc, n node.Name) (int, bool) {
	return slices.BinarySearchFunc(arcs, n, func(a *arc, n node.Name) int { return cmp.Compare(a.edge.To, n) })
}

func findFrom(arcs []*arc, n node.Name) (int, bool) {
	return slices.BinarySearchFunc(arcs, n, func(a *arc, n node.Name) int { return cmp.Compare(a.edge.From, n) })
}
