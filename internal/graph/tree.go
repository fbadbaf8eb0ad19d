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

type treeScratch struct {
	arcs   []*arc
	parent []int32 // union-find forest over vertices; a root is its own parent
}

// Tree returns the broadcast tree of the nodes that are reachable from self. The
// caller owns it.
//
// tinc grows it from one reachable node: it goes through the edges by weight and
// names, takes the first that leads out of what it has, and starts over. As that
// order has no ties there is just one minimum spanning tree, and it is found in one
// go by taking every edge in that order that does not close a circle.
func (g *Graph) Tree() Tree {
	arcs := g.tree.arcs[:0]
	for i := range g.vertices {
		for _, a := range g.vertices[i].out {
			// Of the two directions the earlier one decides.
			if a.reverse != nil && compareArcs(a, a.reverse) < 0 {
				arcs = append(arcs, a)
			}
		}
	}
	slices.SortFunc(arcs, compareArcs)

	forest := slices.Grow(g.tree.parent[:0], len(g.vertices))[:len(g.vertices)]
	for i := range forest {
		forest[i] = int32(i)
	}
	taken := arcs[:0]
	for _, a := range arcs {
		if from, to := root(forest, a.from), root(forest, a.to); from != to {
			forest[from] = to
			taken = append(taken, a)
		}
	}
	var tree Tree
	for _, a := range taken {
		if root(forest, a.from) == root(forest, me) { // not of an island
			tree = append(tree, TreeEdge{a.edge.From, a.edge.To})
		}
	}
	clear(arcs) // keep no deleted edge alive
	g.tree.arcs, g.tree.parent = arcs, forest
	return tree
}

// compareArcs is tinc's global order of edges.
func compareArcs(a, b *arc) int {
	return cmp.Or(
		cmp.Compare(a.edge.Weight, b.edge.Weight),
		cmp.Compare(a.edge.From, b.edge.From),
		cmp.Compare(a.edge.To, b.edge.To),
	)
}

// root finds the root of i, and shortens the way for the next time.
func root(parent []int32, i int32) int32 {
	for parent[i] != i {
		parent[i] = parent[parent[i]]
		i = parent[i]
	}
	return i
}
