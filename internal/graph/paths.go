package graph

import (
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

// state is a Path while the search goes on, with indices instead of names.
type state struct {
	prev      *arc
	nexthop   int32
	via       int32
	distance  int32
	visited   bool
	indirect  bool
	wdistance int
}

type searchScratch struct {
	states []state
	queue  []int32
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
	for i := range g.search.states {
		s := &g.search.states[i]
		switch name := g.vertices[i].name; {
		case s.visited:
			p := Path{
				Reachable:        true,
				Indirect:         s.indirect,
				NextHop:          g.vertices[s.nexthop].name,
				Via:              g.vertices[s.via].name,
				Distance:         int(s.distance),
				WeightedDistance: s.wdistance,
			}
			if s.prev != nil {
				p.Prev, p.Options = s.prev.edge, s.prev.edge.Options
			}
			paths[name] = p
		case name != "":
			paths[name] = Path{Indirect: true, Distance: -1}
		}
	}
	return paths
}

// searchPaths fills g.search.states, by vertex: breadth first, with corrections (tinc 1.1),
// the latter only during so many visits.
func (g *Graph) searchPaths(visits int) {
	states := append(g.search.states[:0], make([]state, len(g.vertices))...)
	states[me].visited = true // nexthop and via are self already
	queue := append(g.search.queue[:0], me)

	for head := 0; head < len(queue); head++ {
		exhausted := head >= visits
		n := &states[queue[head]]
		for _, a := range g.vertices[queue[head]].out {
			if a.reverse == nil || a.to == me {
				continue
			}
			t := &states[a.to]
			indirect := n.indirect || a.edge.Options.Has(wire.Indirect)
			wdistance := n.wdistance + a.edge.Weight
			lighter := t.distance == n.distance+1 && t.wdistance > wdistance
			if t.visited && (exhausted || (!t.indirect || indirect) && !lighter) {
				continue
			}
			if !t.visited || lighter {
				t.nexthop = n.nexthop
				if n.nexthop == me {
					t.nexthop = a.to
				}
				t.wdistance = wdistance
			}
			t.visited = true
			t.indirect = indirect
			t.via = a.to
			if indirect {
				t.via = n.via
			}
			t.prev = a
			t.distance = n.distance + 1
			queue = append(queue, a.to)
		}
	}
	g.search.states, g.search.queue = states, queue
}
