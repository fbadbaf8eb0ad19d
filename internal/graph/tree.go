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

// Adjacent returns the neighbours of n in the broadcast tree, in order.
func (g *Graph) Adjacent(n node.Name) []node.Name { return g.Tree().Adjacent(n) }

// link is an edge in both directions, with what tinc's global order of edges looks at. Ranks
// stand for names, since comparing numbers is much cheaper.
type link struct {
	weight   int
	from, to int32 // ranks of the names
	arc      *arc
}

func (l link) compare(o link) int {
	if l.weight != o.weight {
		return cmp.Compare(l.weight, o.weight)
	}
	if l.from != o.from {
		return cmp.Compare(l.from, o.from)
	}
	return cmp.Compare(l.to, o.to)
}

type treeScratch struct {
	ranked bool    // order and rank are right
	order  []int32 // vertices by name
	rank   []int32 // by vertex: its place in order
	links  []link
	trees  []int32 // union-find forest over vertices; a root is its own parent
}

// Tree returns the broadcast tree of the nodes that are reachable from self. The
// caller owns it.
//
// tinc grows it from one reachable node: it goes through the edges by weight and
// names, takes the first that leads out of what it has, and starts over. As that
// order has no ties there is just one minimum spanning tree, and it is found in one
// go by taking every edge in that order that does not close a circle.
func (g *Graph) Tree() Tree {
	g.rankNames()
	g.collectLinks()
	s := &g.tree
	slices.SortFunc(s.links, link.compare)

	s.trees = slices.Grow(s.trees[:0], len(g.vertices))[:len(g.vertices)]
	for i := range s.trees {
		s.trees[i] = int32(i)
	}
	taken := s.links[:0]
	for _, l := range s.links {
		if from, to := root(s.trees, l.arc.from), root(s.trees, l.arc.to); from != to {
			s.trees[from] = to
			taken = append(taken, l)
		}
	}
	tree := make(Tree, 0, len(taken))
	for _, l := range taken {
		if root(s.trees, l.arc.from) == root(s.trees, me) { // not on an island
			tree = append(tree, TreeEdge{l.arc.edge.From, l.arc.edge.To})
		}
	}
	clear(s.links) // keep no deleted edge alive
	return tree
}

func (g *Graph) rankNames() {
	s := &g.tree
	if s.ranked {
		return
	}
	s.ranked = true
	s.order = s.order[:0]
	for i := range g.vertices {
		s.order = append(s.order, int32(i))
	}
	slices.SortFunc(s.order, func(a, b int32) int { return cmp.Compare(g.vertices[a].name, g.vertices[b].name) })
	s.rank = slices.Grow(s.rank[:0], len(s.order))[:len(s.order)]
	for rank, i := range s.order {
		s.rank[i] = int32(rank)
	}
}

// collectLinks finds the edges that have a reverse. Of the two directions, the
// one that comes first in the order counts.
func (g *Graph) collectLinks() {
	s := &g.tree
	s.links = s.links[:0]
	for i := range g.vertices {
		for _, a := range g.vertices[i].out {
			if a.reverse == nil {
				continue
			}
			from, to := s.rank[a.from], s.rank[a.to]
			l := link{a.edge.Weight, from, to, a}
			if l.compare(link{a.reverse.edge.Weight, to, from, nil}) < 0 {
				s.links = append(s.links, l)
			}
		}
	}
}

// root finds the root of i, and shortens the way for the next time.
func root(parent []int32, i int32) int32 {
	for parent[i] != i {
		parent[i] = parent[parent[i]]
		i = parent[i]
	}
	return i
}
