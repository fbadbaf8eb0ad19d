package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Flooding alone does not keep all nodes of one mind. When connections are made while
// news travel, a node may hear of a change before it is told the state before that
// change, and stays behind for good: with an edge that is gone, without one that
// exists, or with an old weight. tinc has no remedy.
//
// Here neighbours compare what they know. A PING carries two words more, which tinc
// ignores as it does with any words behind a request:
//
//	8 EDGES SUBNETS
//
// They are digests of the edges and subnets of all reachable nodes ("-": do not compare).
// When both sides differ and it is not because things are changing, each tells the other
// once more all that it knows. What is wrong is then corrected by the node that it
// is about, as always.

const (
	// patience is how many PINGs in a row may differ while things change all the time.
	patience = 5
	// minRepair and maxRepair are the waits between two repairs on a connection. The wait
	// doubles while they do not help: the other side may be bound not to know everything.
	minRepair = 5 * time.Minute
	maxRepair = 6 * time.Hour

	uncompared = "-"
)

// opinion is what a neighbour and we thought when its last PING came.
type opinion struct {
	mine, theirs string
	differed     int // PINGs in a row
	repaired     time.Time
	wait         time.Duration // before the next repair
}

// knowledge returns the digests that go with a PING.
func (m *Mesh) knowledge() string {
	if m.known != "" {
		return m.known
	}
	edges, subnets := sha256.New(), sha256.New()
	for _, p := range m.order {
		if !p.reachable {
			continue
		}
		for e := range m.graph.From(p.name) {
			fmt.Fprintln(edges, e.From, e.To, e.Addr, e.Options, e.Weight)
		}
		for _, s := range sortedSubnets(p) {
			fmt.Fprintln(subnets, p.name, s)
		}
	}
	short := func(sum []byte) string { return hex.EncodeToString(sum[:8]) }
	m.known = short(edges.Sum(nil)) + " "
	if m.cfg.StrictSubnets { // ours are those of the host files
		m.known += uncompared
	} else {
		m.known += short(subnets.Sum(nil))
	}
	return m.known
}

func (m *Mesh) ping(c *conn) {
	text := "8"
	if !m.cfg.TunnelServer {
		text += " " + m.knowledge()
	}
	m.send(c, []byte(text))
}

// compare looks at the PING of a neighbour.
func (m *Mesh) compare(c *conn, text string) {
	words := strings.Fields(text)
	if len(words) < 3 || m.cfg.TunnelServer || m.graphDirty {
		return
	}
	mine, theirs := m.knowledge(), strings.Clone(words[1]+" "+words[2])
	o := &c.opinion
	if len(theirs) > 64 || agree(mine, theirs) {
		o.differed = 0
		if m.now.Sub(o.repaired) > o.wait { // not sooner: nobody shall ask for repairs at will
			o.wait = 0
		}
		return
	}
	steady := o.differed > 0 && o.mine == mine && o.theirs == theirs
	o.mine, o.theirs = mine, theirs
	o.differed++
	if !steady && o.differed < patience || o.wait > 0 && m.now.Sub(o.repaired) < o.wait {
		return
	}
	m.logf(2, Info, "%s and we do not know the same mesh; telling it all once more", c)
	o.repaired, o.differed = m.now, 0
	o.wait = min(max(2*o.wait, minRepair), maxRepair)
	m.tellAll(c, func(p *peer) bool { return p.reachable }, m.addEdgeAnew)
}

// agree compares digests, but for those that are not to be compared.
func agree(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] && x[i] != uncompared && y[i] != uncompared {
			return false
		}
	}
	return true
}
