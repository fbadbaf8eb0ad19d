package mesh

import (
	"cmp"
	"slices"
	"time"

	"tincan/internal/graph"
	"tincan/internal/node"
	"tincan/internal/rate"
)

// directory is all nodes that we know, and the edges between them. Every part may look them up; edges are
// changed by topology alone.
type directory struct {
	nodes     map[node.Name]*peer
	order     []*peer // all nodes by name, so that equal runs give equal transcripts
	byID      map[node.ID]*peer
	self      *peer
	graph     *graph.Graph
	dirty     map[*peer]struct{} // peers whose state may have to be published
	unplanned map[*peer]struct{} // peers at which something may be due at another time than before

	begin func(*peer) // gives a new node what it has to have
}

// peer is one node, ourselves included. Each part of the protocol core keeps what it knows of the node in a struct of its
// own, which the others do not look into: they ask by the methods of peer that stand beside the struct.
type peer struct {
	name node.Name
	id   node.ID
	born time.Time // when it was first heard of

	topo      topoState
	reach     reachState
	owns      subnetState
	trust     trust
	link      linkState
	dial      dialState
	carry     carrying
	keys      sessionState
	roll      rollState
	paths     pathState
	published PeerState // what the data plane was told last

	contacted *contact // nil: we have had nothing to do with it, see contact()
}

// peer returns the node called name, creating it (unreachable) if it is new.
func (d *directory) peer(name node.Name) *peer {
	p := d.nodes[name]
	if p == nil {
		p = &peer{name: name, id: name.ID()}
		d.begin(p)
		d.nodes[name] = p
		d.byID[p.id] = p
		i, _ := slices.BinarySearchFunc(d.order, p, byName)
		d.order = slices.Insert(d.order, i, p)
	}
	return p
}

// remove takes p out of the tables.
func (d *directory) remove(p *peer) {
	delete(d.nodes, p.name)
	delete(d.byID, p.id)
	if i, ok := slices.BinarySearchFunc(d.order, p, byName); ok {
		d.order = slices.Delete(d.order, i, i+1)
	}
	d.touch(p)
}

// touch has the state of p published, if it has changed.
func (d *directory) touch(p *peer) {
	if p != d.self {
		d.dirty[p] = struct{}{}
		d.unplanned[p] = struct{}{}
	}
}

// reschedule has it worked out anew when something is due at p.
func (d *directory) reschedule(p *peer) { d.unplanned[p] = struct{}{} }

func byName(a, b *peer) int { return cmp.Compare(a.name, b.name) }

// contact is what comes with having to do with a node: how it is reached by UDP, who relays, what was tried to
// reach it better, what it has asked for. Of most nodes of a large mesh there is none, nor of those that a
// member invents; so a node that is only heard of takes a fraction of the memory.
type contact struct {
	udp      udpPath
	relaying relaying
	onDemand onDemand
	punch    punch

	told   told        // to it, or about it
	logins logins      // of it, that were refused
	starts starts      // of sessions, by it
	echoes rate.Bucket // of its requests that are answered
	asks   rate.Bucket // of those about our paths
}
