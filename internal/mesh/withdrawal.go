package mesh

import (
	"time"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// In tinc's protocol anybody may say that a connection or a subnet of others has ended, and nobody can see whether that is
// true. In a signed network, where members may be dishonest, it waits for a moment, while it goes on to those that it is
// about. They answer if it is false (decision 040). What a node says of its own, over its own connection with us, counts at once.

// withheldFor is how long a withdrawal waits for an answer: longer than a request takes through a large mesh and back.
const withheldFor = time.Second

// withdrawn is the end of an edge or a subnet, as it was told.
type withdrawn struct {
	what   [2]node.Name  // the ends of an edge, or the owner of a subnet and what stands for it
	subnet subnet.Subnet // zero: it is about an edge
	text   string
	since  time.Time
}

// withdrawals are those that wait.
type withdrawals struct {
	queue []*withdrawn // the oldest first; of them those count that are in by
	by    map[[2]node.Name]*withdrawn
	due   alarm
}

// withhold has what c says about the end of something that others have wait, and tells the others. If it does not have to wait it
// returns false.
func (t *topology) withhold(c *conn, w withdrawn) bool {
	if !t.roll.enforced() || t.cfg.TunnelServer || c.peer.name == w.what[0] || c.peer.name == w.what[1] {
		return false
	}
	if t.withheld.by[w.what] != nil {
		return true
	}
	if t.withheld.by == nil {
		t.withheld.by = map[[2]node.Name]*withdrawn{}
	}
	w.since = t.now
	t.withheld.by[w.what] = &w
	t.withheld.queue = append(t.withheld.queue, &w)
	t.by(&t.withheld.due, t.now.Add(withheldFor), t.endWithheld)
	t.links.flood(c, w.text)
	return true
}

// uphold: somebody says that an edge, or a subnet that the second name stands for, is still there. It tells whether a
// withdrawal has waited for that. Then those who were told of that one have to be told of this, too.
func (t *topology) uphold(from, to node.Name) bool {
	what := [2]node.Name{from, to}
	if t.withheld.by[what] == nil {
		return false
	}
	delete(t.withheld.by, what)
	return true
}

// endWithheld takes out what nobody has stood up for.
func (t *topology) endWithheld() {
	q := &t.withheld.queue
	for len(*q) > 0 && !t.now.Before((*q)[0].since.Add(withheldFor)) {
		w := (*q)[0]
		*q = (*q)[1:]
		if t.withheld.by[w.what] != w {
			continue
		}
		delete(t.withheld.by, w.what)
		// Who has become our neighbour meanwhile was told that it is there.
		for _, c := range t.links.activeConns() {
			if !c.activeSince().Before(w.since) {
				t.links.send(c, []byte(w.text))
			}
		}
		if w.subnet != (subnet.Subnet{}) {
			t.subnets.withdraw(w.what[0], w.subnet)
		} else {
			t.withdraw(w.what[0], w.what[1])
		}
	}
	if len(*q) > 0 {
		t.by(&t.withheld.due, (*q)[0].since.Add(withheldFor), t.endWithheld)
	}
}

// withdraw takes out an edge, if there is one.
func (t *topology) withdraw(from, to node.Name) {
	if old, ok := t.graph.Get(from, to); ok {
		t.outdated(*old)
		t.deleteEdge(from, to)
		t.reach.graphChanged()
		t.reach.orphan(to)
	}
}
