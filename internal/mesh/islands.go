package mesh

import (
	"math/bits"
	"slices"

	"tincan/internal/node"
	"tincan/internal/rate"
	"tincan/internal/wire"
)

// Nodes that exchange rosters are on the same island if edges lead from one to the other over nothing but such nodes.
// Islands that have only nodes of tinc between them exchange rosters end to end: an island is represented by the first two
// of its nodes, in the order of names, and these talk to those of other islands inside their sessions, whose records
// nodes of tinc pass on like any packet.
//
// All nodes of an island see the same graph in the end, and choose the same. With many islands not each talks to each:
// their places in the order of names differ by a power of two, so that each has few partners, and news take few steps.
//
// In a signed network, which has to reckon with members who keep back what they hear, all nodes that exchange rosters also form
// a ring in the order of their names, in which each talks to the two beside it. So nobody can keep something from others by being
// the only one between them.

// representatives of an island.
const representatives = 2

// rosterLimit is how many messages about the roster are taken from one node. It is more than the answers to what a new
// node asks for.
var rosterLimit = rate.PerSecond(2000)

// rollState is what roll keeps of a node.
type rollState struct{ messages rate.Bucket }

// farPartners are the nodes with which the roster is exchanged that need not be neighbours.
func (r *roll) farPartners() []node.Name {
	return append(r.beyondStock(), r.besideInRing()...)
}

// besideInRing are the nodes before and after this one in the ring of all that exchange rosters.
func (r *roll) besideInRing() (names []node.Name) {
	if !r.cfg.RosterExchange || !r.governs() && !r.fetching {
		return nil
	}
	var ring []node.Name
	for _, p := range r.order {
		if p == r.self || r.exchangesFar(p) {
			ring = append(ring, p.name)
		}
	}
	own := slices.Index(ring, r.cfg.Name)
	for _, i := range []int{own + 1, own + len(ring) - 1} {
		if name := ring[i%len(ring)]; name != r.cfg.Name && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// exchangesFar tells whether p is reached, and exchanges rosters inside sessions.
func (r *roll) exchangesFar(p *peer) bool {
	return p.reachable() && p.path().Options.Has(wire.RosterExchange) && !p.session().hopByHop()
}

// beyondStock are the nodes of other islands with which the roster is exchanged, none if this node does not represent its own.
func (r *roll) beyondStock() (names []node.Name) {
	islands := r.islandsNow()
	own := slices.IndexFunc(islands, func(names []node.Name) bool { return slices.Contains(names, r.cfg.Name) })
	if own < 0 {
		return nil
	}
	for i, there := range islands {
		if d := max(i-own, own-i); bits.OnesCount(uint(d)) == 1 {
			names = append(names, there...)
		}
	}
	return names
}

// islandsNow returns the representatives of all islands by name, nil if there is only one.
func (r *roll) islandsNow() (islands [][]node.Name) {
	if !r.cfg.RosterExchange {
		return nil
	}
	at := map[node.Name]int{} // the island of each node that exchanges rosters, counted from 1; 0: not known yet
	stock := false
	for _, p := range r.order {
		switch {
		case p == r.self || r.exchangesFar(p):
			at[p.name] = 0
		case p.reachable():
			stock = true
		}
	}
	if !stock {
		return nil
	}
	var todo []node.Name
	for _, p := range r.order {
		island, exchanges := at[p.name]
		switch {
		case !exchanges:
			continue
		case island != 0:
			if i := island - 1; len(islands[i]) < representatives {
				islands[i] = append(islands[i], p.name)
			}
			continue
		}
		islands = append(islands, []node.Name{p.name})
		at[p.name] = len(islands)
		for todo = append(todo[:0], p.name); len(todo) > 0; {
			from := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for e := range r.graph.From(from) {
				if island, exchanges := at[e.To]; exchanges && island == 0 {
					at[e.To] = len(islands)
					todo = append(todo, e.To)
				}
			}
		}
	}
	return islands
}
