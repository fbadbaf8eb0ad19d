package graph

import (
	"slices"

	"tincan/internal/node"
	"tincan/internal/wire"
)

// Path is how one node is reached.
type Path struct {
	Reachable bool
	// Indirect is set if the node must not be sent UDP directly.
	Indirect bool
	// NextHop is the adjacent node over which requests to the node go.
	NextHop node.Name
	// Via is the last node on the path that takes direct UDP: the node itself, or a
	// relay, or self if already the first edge is indirect.
	Via node.Name
	// Distance is the number of hops, -1 if the node is unreachable.
	Distance int
	// WeightedDistance is the sum of the weights on the path to which NextHop belongs.
	WeightedDistance int
	// Prev is the last edge of the path, nil for self and unreachable nodes.
	Prev *Edge
	// Options are those of Prev. Their minor is that of the node.
	Options wire.Options
}

// state is a Path with indices instead of names.
type state struct {
	prev      *Edge
	nexthop   int32
	via       int32
	distance  int32
	visited   bool
	indirect  bool
	wdistance int
}

type searchScratch struct {
	states  []state
	before  []state // of the search before
	queue   []int32
	renamed bool // a vertex has got another name since Changes looked
}

// maxVisits is how often the search visits a node on average before it stops to make
// corrections. Honest graphs need a handful of visits; weights made up for it could otherwise keep
// the search busy.
const maxVisits = 64

// Paths searches the best path from self to every node that has an edge. Self
// is in the result in any case, unreachable nodes are with Reachable false. The
// caller owns the map.
//
// Hops count more than weights, and direct paths more than hops. A direct path
// that is found late may raise a node's distance while NextHop and
// WeightedDistance stay those of the path found first; tinc does the same.
func (g *Graph) Paths() map[node.Name]Path {
	g.searchPaths(maxVisits * len(g.vertices))
	paths := make(map[node.Name]Path, len(g.index))
	for i := range g.vertices {
		if g.vertices[i].name != "" {
			paths[g.vertices[i].name] = g.path(int32(i))
		}
	}
	return paths
}

// Changes searches like [Graph.Paths], and calls yield for the nodes whose path may have changed
// since the last search, in no particular order. The others have the path that they had, unless
// all is true: then yield was called for every node that has an edge. The graph must not
// change meanwhile.
func (g *Graph) Changes(yield func(node.Name, Path)) (all bool) {
	s := &g.search
	s.states, s.before = s.before, s.states
	g.searchPaths(maxVisits * len(g.vertices))
	all = s.renamed || len(s.before) != len(s.states)
	s.renamed = false
	for i := range s.states {
		if name := g.vertices[i].name; name != "" && (all || s.states[i] != s.before[i]) {
			yield(name, g.path(int32(i)))
		}
	}
	return all
}

// path is what the search has found out about vertex i.
func (g *Graph) path(i int32) Path {
	s := &g.search.states[i]
	if !s.visited {
		return Path{Indirect: true, Distance: -1}
	}
	p := Path{
		Reachable:        true,
		Indirect:         s.indirect,
		NextHop:          g.vertices[s.nexthop].name,
		Via:              g.vertices[s.via].name,
		Distance:         int(s.distance),
		WeightedDistance: s.wdistance,
		Prev:             s.prev,
	}
	if s.prev != nil {
		p.Options = s.prev.Options
	}
	return p
}

// searchPaths fills g.search.states, by vertex: breadth first, with corrections (tinc 1.1),
// the latter only during so many visits.
func (g *Graph) searchPaths(visits int) {
	states := slices.Grow(g.search.states[:0], len(g.vertices))[:len(g.vertices)]
	clear(states)
	states[me].visited = true // nexthop and via are self already
	queue := append(g.search.queue[:0], me)

	for head := 0; head < len(queue); head++ {
		exhausted := head >= visits
		n := &states[queue[head]]
		v := &g.vertices[queue[head]]
		if v.stale {
			v.refresh()
		}
		for i := range v.hops {
			h := &v.hops[i]
			t := &states[h.to]
			indirect := n.indirect || h.indirect
			wdistance := n.wdistance + h.weight
			lighter := t.distance == n.distance+1 && t.wdistance > wdistance
			if t.visited && (exhausted || (!t.indirect || indirect) && !lighter) {
				continue
			}
			if !t.visited || lighter {
				t.nexthop = n.nexthop
				if n.nexthop == me {
					t.nexthop = h.to
				}
				t.wdistance = wdistance
			}
			t.visited = true
			t.indirect = indirect
			t.via = h.to
			if indirect {
				t.via = n.via
			}
			t.prev = h.edge
			t.distance = n.distance + 1
			queue = append(queue, h.to)
		}
	}
	g.search.states, g.search.queue = states, queue
}

// refresh rebuilds the hops of v: the edges that have a reverse and do not lead to self.
func (v *vertex) refresh() {
	v.stale = false
	v.hops = v.hops[:0]
	for _, a := range v.out {
		if a.reverse != nil && a.to != me {
			v.hops = append(v.hops, hop{a.edge, a.edge.Weight, a.to, a.edge.Options.Has(wire.Indirect)})
		}
	}
	clear(v.hops[len(v.hops):cap(v.hops)]) // keep no deleted edge alive
}
