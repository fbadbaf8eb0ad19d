package graph

import (
	"cmp"
	"slices"

	"tincan/internal/node"
)

// Tree is the broadcast tree: edges that join all reachable nodes without a circle, the
// lightest first. All nodes that know the same edges have the same tree.
type Tree []TreeEdge

// TreeEdge stands for both directions of an edge.
type TreeEdge struct{ A, B node.Name }

// Adjacent returns the neighbours of n in the tree, in order.
func (t Tree) Adjacent(n node.Name) []node.Name {
	var names []node.Name
	for _, e := range t {
		switch n {
		case e.A:
			names = append(names, e.B)
		case e.B:
			names = append(names, e.A)
		}
	}
	slices.Sort(names)
	return names
}

// Adjacent returns the neighbours of self in the broadcast tree, in order. The caller must
// not change it.
func (g *Graph) Adjacent() []node.Name {
	g.Tree()
	return g.tree.adjacent
}

// TreeHops returns the neighbour of self in the broadcast tree towards each node in it, and which version of the tree that is: if
// it is the version of the caller, the map is nil.
func (g *Graph) TreeHops(self node.Name, version uint64) (map[node.Name]node.Name, uint64) {
	tree := g.Tree()
	if g.tree.version == version {
		return nil, version
	}
	next := make(map[node.Name][]node.Name, len(tree)+1)
	for _, e := range tree {
		next[e.A] = append(next[e.A], e.B)
		next[e.B] = append(next[e.B], e.A)
	}
	hops := make(map[node.Name]node.Name, len(tree))
	for _, hop := range next[self] {
		hops[hop] = hop
		for queue := []node.Name{hop}; len(queue) > 0; queue = queue[1:] {
			for _, n := range next[queue[0]] {
				if _, seen := hops[n]; !seen && n != self {
					hops[n] = hop
					queue = append(queue, n)
				}
			}
		}
	}
	return hops, g.tree.version
}

// link is an edge in both directions, in tinc's global order of edges: that of the two directions
// that comes first in it stands for both.
type link struct {
	weight  int
	arc     *arc
	version uint32 // of arc; if that has another one by now, the link is no more
}

func (l link) compare(o link) int {
	if l.weight != o.weight {
		return cmp.Compare(l.weight, o.weight)
	}
	if c := cmp.Compare(l.arc.edge.From, o.arc.edge.From); c != 0 {
		return c
	}
	return cmp.Compare(l.arc.edge.To, o.arc.edge.To)
}

// forest is what is kept from one tree for the next one.
type forest struct {
	links   []link // in order, as they were when the last tree was made
	touched []*arc // what has changed since then
	rebuild bool   // too much has: begin again
	spare   []link
	trees   []int32 // union-find forest over vertices; a root is its own parent
	tree    Tree    // the last one
	version uint64  // how often it was made

	adjacent []node.Name // of self in tree
}

// maxTouched changes are remembered. Where nobody asks for the tree they would gather.
const maxTouched = 4096

// touch notes that the weight or existence of a link changes. It is called while both directions exist.
func (f *forest) touch(a *arc) {
	a.version++
	if a.reverse != nil {
		a.reverse.version++
	}
	if len(f.touched) >= maxTouched {
		f.rebuild, f.touched, f.links = true, nil, nil
	}
	if !f.rebuild {
		f.touched = append(f.touched, a)
	}
}

// linkOf is the link that a is a direction of; false if there is none.
func linkOf(a *arc) (link, bool) {
	if a.gone || a.reverse == nil {
		return link{}, false
	}
	l := link{a.edge.Weight, a, a.version}
	if back := (link{a.reverse.edge.Weight, a.reverse, a.reverse.version}); back.compare(l) < 0 {
		l = back
	}
	return l, true
}

// Tree returns the broadcast tree of the nodes that are reachable from self. It is valid
// until it is asked for again, and must not be changed.
//
// tinc grows it from one reachable node: it goes through the edges by weight and
// names, takes the first that leads out of what it has, and starts over. As that
// order has no ties there is just one minimum spanning tree, and it is found in one
// go by taking every edge in that order that does not close a circle.
func (g *Graph) Tree() Tree {
	f := &g.tree
	if len(f.touched) == 0 && !f.rebuild && f.tree != nil {
		return f.tree
	}
	g.sortLinks()
	f.version++
	f.trees = slices.Grow(f.trees[:0], len(g.vertices))[:len(g.vertices)]
	for i := range f.trees {
		f.trees[i] = int32(i)
	}
	taken := f.spare[:0]
	for _, l := range f.links {
		if from, to := root(f.trees, l.arc.from), root(f.trees, l.arc.to); from != to {
			f.trees[from] = to
			taken = append(taken, l)
		}
	}
	f.tree, f.adjacent = slices.Grow(f.tree[:0], len(taken)+1), nil
	for _, l := range taken {
		if root(f.trees, l.arc.from) != root(f.trees, me) { // on an island
			continue
		}
		f.tree = append(f.tree, TreeEdge{l.arc.edge.From, l.arc.edge.To})
		switch me {
		case l.arc.from:
			f.adjacent = append(f.adjacent, l.arc.edge.To)
		case l.arc.to:
			f.adjacent = append(f.adjacent, l.arc.edge.From)
		}
	}
	slices.Sort(f.adjacent)
	clear(taken) // keep no deleted edge alive
	f.spare = taken[:0]
	return f.tree
}

// sortLinks brings the links up to date: few change between two trees, and the
// others are in order already.
func (g *Graph) sortLinks() {
	f := &g.tree
	var fresh []link
	add := func(a *arc) {
		if l, ok := linkOf(a); ok {
			fresh = append(fresh, l)
		}
	}
	if f.rebuild {
		for i := range g.vertices {
			for _, a := range g.vertices[i].out {
				add(a)
			}
		}
	}
	for _, a := range f.touched {
		add(a)
	}
	clear(f.touched)
	f.touched, f.rebuild = f.touched[:0], false
	slices.SortFunc(fresh, link.compare)
	fresh = slices.Compact(fresh) // a link may have been touched more than once

	merged := slices.Grow(f.spare[:0], len(f.links)+len(fresh))
	for _, l := range f.links {
		if l.version != l.arc.version {
			continue
		}
		for len(fresh) > 0 && fresh[0].compare(l) < 0 {
			merged, fresh = append(merged, fresh[0]), fresh[1:]
		}
		merged = append(merged, l)
	}
	merged = append(merged, fresh...)
	clear(f.links)
	f.links, f.spare = merged, f.links[:0]
}

// root finds the root of i, and shortens the path for the next time.
func root(parent []int32, i int32) int32 {
	for parent[i] != i {
		parent[i] = parent[parent[i]]
		i = parent[i]
	}
	return i
}
