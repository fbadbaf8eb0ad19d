package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"tincan/internal/graph"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// Flooding alone does not keep all nodes in agreement. When connections are made while
// news travel, a node may hear of a change before it is told the state before that
// change, and stays behind for good: with an edge that is gone, without one that
// exists, or with an old weight. tinc has no remedy.
//
// Here neighbours compare what they know. A PING carries four words more, which tinc
// ignores as it does with any words after a request:
//
//	8 - - EDGES SUBNETS
//
// They are digests of the edges and subnets of all reachable nodes ("-": do not compare): sums
// of the hashes of each, so a change costs the same however large the mesh is. In the place of the first two, earlier
// versions had hashes of all that they knew, one after the other; with these nothing is compared.
// When both sides differ and it is not because things are changing, each tells the other
// once more all that it knows. What is wrong is then corrected by the node that it
// is about, as always.

const (
	// maxDiffering is how many PINGs in a row may differ while things change all the time.
	maxDiffering = 5
	// minRepair and maxRepair are the waits between two repairs on a connection. The wait
	// doubles while they do not help: the other side may be bound not to know everything.
	minRepair = 5 * time.Minute
	maxRepair = 6 * time.Hour
)

// peerDigest is what a neighbour and we thought when its last PING came.
type peerDigest struct {
	own, theirs wire.Ping
	differed    int // PINGs in a row
	repaired    time.Time
	wait        time.Duration // before the next repair
}

// sums are the digests of some edges and subnets.
type sums struct{ edges, subnets uint64 }

// hashOf stands for one edge or subnet in a digest.
func hashOf(parts ...any) uint64 {
	sum := sha256.Sum256(fmt.Appendln(nil, parts...))
	return binary.BigEndian.Uint64(sum[:])
}

// setEdge adds an edge or replaces the one between the same nodes. Both nodes are known.
func (t *topology) setEdge(e graph.Edge) {
	t.countEdge(e.From, e.To, false)
	t.graph.Set(e)
	t.countEdge(e.From, e.To, true) // as it is stored
}

// deleteEdge removes an edge, if there is one.
func (t *topology) deleteEdge(from, to node.Name) {
	t.countEdge(from, to, false)
	t.graph.Delete(from, to)
}

// countEdge adds the edge between two nodes, if there is one, to the digests or takes it out of them.
func (t *topology) countEdge(from, to node.Name, add bool) {
	p := t.nodes[from]
	e, ok := t.graph.Get(from, to)
	if p == nil || !ok {
		return
	}
	h, n := hashOf(e.From, e.To, e.Addr, e.Options, e.Weight), 1
	if !add {
		h, n = -h, -1
	}
	t.chargeTo(e.By, share{edges: n})
	p.topo.sums.edges += h
	if p.reachable() {
		t.sums.edges += h
	}
}

// countSubnet adds a subnet of p to the digests or takes it out of them.
func (t *topology) countSubnet(p *peer, s subnet.Subnet, add bool) {
	h := hashOf(p.name, s)
	if !add {
		h = -h
	}
	p.topo.sums.subnets += h
	if p.reachable() {
		t.sums.subnets += h
	}
}

// countNode adds what p has announced to the digests, or takes it out of them.
func (t *topology) countNode(p *peer, add bool) {
	if add {
		t.sums.edges, t.sums.subnets = t.sums.edges+p.topo.sums.edges, t.sums.subnets+p.topo.sums.subnets
	} else {
		t.sums.edges, t.sums.subnets = t.sums.edges-p.topo.sums.edges, t.sums.subnets-p.topo.sums.subnets
	}
}

// stateDigest is the PING with our digests.
func (t *topology) stateDigest() wire.Ping {
	p := wire.Ping{Edges: fmt.Sprintf("%016x", t.sums.edges), Subnets: wire.NotCompared}
	if !t.cfg.StrictSubnets { // else ours are those of the host files
		p.Subnets = fmt.Sprintf("%016x", t.sums.subnets)
	}
	return p
}

func (t *topology) ping(c *conn) {
	var p wire.Ping
	if !t.cfg.TunnelServer {
		p = t.stateDigest()
	}
	t.links.send(c, p.Append(nil))
}

// compareDigests looks at the PING of a neighbour.
func (t *topology) compareDigests(c *conn, text string) {
	theirs, err := wire.ParsePing(text)
	if err != nil || theirs == (wire.Ping{}) || t.cfg.TunnelServer || t.reach.graphHasChanged() {
		return
	}
	mine := t.stateDigest()
	o := &c.news.digest
	if agree(mine.Edges, theirs.Edges) && agree(mine.Subnets, theirs.Subnets) {
		o.differed = 0
		if t.now.Sub(o.repaired) > o.wait { // not sooner: nobody may ask for repairs at will
			o.wait = 0
		}
		return
	}
	steady := o.differed > 0 && o.own == mine && o.theirs == theirs
	o.own, o.theirs = mine, theirs
	o.differed++
	if !steady && o.differed < maxDiffering || o.wait > 0 && t.now.Sub(o.repaired) < o.wait {
		return
	}
	t.logf(2, Info, "state differs from %s: resending all edges and subnets", c)
	o.repaired, o.differed = t.now, 0
	o.wait = min(max(2*o.wait, minRepair), maxRepair)
	t.sendFullState(c, func(p *peer) bool { return p.reachable() }, func(*graph.Edge) bool { return true }, t.addEdgeWithNewNonce)
}

// agree compares digests, unless one of them is not to be compared.
func agree(a, b string) bool { return a == b || a == wire.NotCompared || b == wire.NotCompared }

// tellLost is how long news of a node that got lost are told to newcomers. If they were told as long
// as they are kept, each newcomer would keep them as long again, and they would never die.
const tellLost = 10 * time.Minute

// sendEverything tells a new neighbour all that we know.
func (t *topology) sendEverything(c *conn) {
	if t.cfg.TunnelServer {
		for _, s := range sortedSubnets(t.self) {
			t.subnets.sendSubnet(c, t.subnets.addedSubnet(t.cfg.Name, s))
		}
		return
	}
	dead := 0
	alive := func(name node.Name) bool {
		if t.reach.graphHasChanged() { // who can be reached is not known yet
			return true
		}
		if p := t.nodes[name]; p != nil && (p.reachable() || p.known()) {
			return true
		}
		dead++
		return dead <= maxDeadTold
	}
	t.sendFullState(c, func(p *peer) bool {
		return alive(p.name) && (p.reachable() || t.reach.graphHasChanged() || t.now.Sub(later(p.since(), p.born)) < tellLost)
	}, func(e *graph.Edge) bool { return alive(e.To) }, addEdge)
}

// sendFullState tells c the subnets of the nodes that are chosen, and those of their edges that are.
func (t *topology) sendFullState(c *conn, choose func(*peer) bool, chooseEdge func(*graph.Edge) bool, addEdge func(graph.Edge) []byte) {
	for _, p := range t.order {
		if !choose(p) {
			continue
		}
		for _, s := range sortedSubnets(p) {
			t.subnets.sendSubnet(c, t.subnets.addedSubnet(p.name, s))
		}
		for e := range t.graph.From(p.name) {
			if chooseEdge(e) {
				t.links.send(c, addEdge(*e))
			}
		}
	}
}

// connNews is what topology keeps of a connection.
type connNews struct {
	digest  peerDigest              // of the peer about the mesh
	gaveWay time.Time               // when nodes that it brought gave way to others that it brought, see giveWay
	hearsay map[[2]node.Name]string // what others said last of edges and subnets of the peer, where it contradicts the peer
	own     map[node.Name]struct{}  // neighbours that the peer itself says it has
}
