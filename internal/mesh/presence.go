package mesh

import (
	"time"

	"tincan/internal/graph"
	"tincan/internal/node"
)

// That there is a connection between two nodes is not signed. So in a signed network a member can say that others are
// reachable which are off; but it cannot answer in their name. Whoever is reachable by what others say has to prove it here, by a
// session or a login: before that it is only claimed to be reachable, which nobody outside of the protocol core takes for more,
// and after two attempts without an answer it is silent. In a network of many members a session with each would
// be too much: there a node is believed to be reachable until it has not answered packets.
const (
	// maxProving members at most are asked to prove themselves.
	maxProving = 100
	// proveEach for each member is the time within which the nodes of a mesh that has just come up are asked.
	proveEach = 20 * time.Millisecond
	// askAgainAfter is how long a silent node is left alone at first. The wait doubles up to maxAskAgain.
	askAgainAfter = time.Minute
	maxAskAgain   = time.Hour
)

// onlyClaimed tells whether p is reachable by what others say, and has not proven it.
func (rc *reach) onlyClaimed(p *peer) bool {
	return p.reach.reachable && !p.reach.proven && p.conn() == nil && rc.mustProve(p)
}

// silent tells whether p is said to be reachable in a signed network, but has not answered.
func (rc *reach) silent(p *peer) bool {
	return p.reach.silent && p.reach.reachable && p.conn() == nil && rc.roll.enforced()
}

func (rc *reach) mustProve(p *peer) bool { return p != rc.self && rc.roll.mustProve(p.name) }

// answered: p has proven that it is there.
func (rc *reach) answered(p *peer) {
	was := rc.silent(p) || !p.reach.proven && rc.mustProve(p)
	p.reach.proven, p.reach.silent, p.reach.answered = true, false, rc.now
	p.reach.asked, p.reach.askWait = time.Time{}, 0
	rc.askNoMore(p)
	if p.reach.reachable && !p.reach.up {
		rc.comeUp(p)
	}
	if was {
		rc.touchRoutes(p)
		rc.touch(p)
	}
}

// unanswered: p has left two beginnings of a session without an answer.
func (rc *reach) unanswered(p *peer) {
	if !rc.roll.enforced() || p.conn() != nil || p.session().ready() && !rc.mustProve(p) {
		return
	}
	p.reach.proven, p.reach.silent = false, true
	rc.touchRoutes(p)
	rc.touch(p)
	if p.reach.up && rc.mustProve(p) {
		rc.goDown(p)
	}
	rc.askAgain(p)
}

// doubt has p prove once more that it is there: what spoke for it has ended.
func (rc *reach) doubt(p *peer) {
	switch {
	case !p.reach.reachable:
		p.reach.proven = false
	case p.conn() == nil && rc.mustProve(p) && !p.reach.asking.Waiting():
		rc.prove(p)
	}
}

// prove asks p to prove that it is there, soon: not all at the same moment.
func (rc *reach) prove(p *peer) {
	since := rc.now
	inDoubt := func() bool {
		return p.reach.reachable && p.conn() == nil && !p.reach.silent && p.reach.answered.Before(since) && rc.mustProve(p)
	}
	rc.askNoMore(p)
	p.reach.asking = rc.after(rc.jitter(time.Duration(len(rc.nodes))*proveEach), func() {
		p.reach.asking = nil
		if !inDoubt() {
			return
		}
		if p.reach.asked.IsZero() {
			p.reach.asked = rc.now
		} else if rc.now.Sub(p.reach.asked) >= handshakeTimeout { // it became unreachable before it was asked twice
			rc.unanswered(p)
			p.session().prove()
			return
		}
		p.session().prove()
		p.reach.asking = rc.after(handshakeTimeout+time.Second, func() {
			p.reach.asking = nil
			if inDoubt() {
				p.session().prove()
			}
		})
	})
}

// askAgain asks p, which is silent, once more after a while, though nobody may have packets for it. That it has become
// unreachable meanwhile, and reachable again, changes nothing: anybody can say that.
func (rc *reach) askAgain(p *peer) {
	rc.askNoMore(p)
	if !p.reach.askAt.After(rc.now) {
		p.reach.askWait = min(max(2*p.reach.askWait, askAgainAfter), maxAskAgain)
		p.reach.askAt = rc.now.Add(p.reach.askWait)
	}
	p.reach.asking = rc.after(p.reach.askAt.Sub(rc.now), func() {
		p.reach.asking = nil
		if rc.silent(p) {
			rc.askAgain(p)
			p.session().prove()
		}
	})
}

func (rc *reach) askNoMore(p *peer) {
	rc.timers.Cancel(p.reach.asking)
	p.reach.asking = nil
}

// comeUp: p can be reached, as far as this node believes it.
func (rc *reach) comeUp(p *peer) {
	p.reach.up, p.reach.since = true, rc.now
	rc.logf(1, Info, "node %s became reachable", p.name)
	p.reach.announced, p.reach.hidden = p.addr(), false
	rc.emit(NodeUp{Node: p.name, Addr: p.addr()})
	for _, s := range sortedSubnets(p) {
		rc.emit(SubnetUp{Owner: p.name, Subnet: s, Addr: p.addr()})
	}
}

// goDown is the opposite of comeUp.
func (rc *reach) goDown(p *peer) {
	p.reach.up, p.reach.since = false, rc.now
	rc.logf(1, Info, "node %s became unreachable", p.name)
	// What a script did for an address is undone for the same address.
	rc.emit(NodeDown{Node: p.name, Addr: p.reach.announced})
	for _, s := range sortedSubnets(p) {
		rc.emit(SubnetDown{Owner: p.name, Subnet: s, Addr: p.reach.announced})
	}
}

// proofsChanged: other nodes than before may have to prove that they are there.
func (rc *reach) proofsChanged() {
	rc.followTree()
	for _, p := range rc.order {
		switch {
		case p == rc.self || !p.reach.reachable:
		case rc.onlyClaimed(p):
			if !p.reach.silent && !p.reach.asking.Waiting() {
				rc.touchRoutes(p)
				rc.touch(p)
				rc.prove(p)
			}
		case !p.reach.up:
			rc.comeUp(p)
			rc.touchRoutes(p)
			rc.touch(p)
		}
	}
}

// hopsCount is how long broadcasts may still come by the way of before when the tree has changed: others have heard of that
// earlier or later.
const hopsCount = 10 * time.Second

// followTree works out by which neighbour the broadcasts of each node have to come. In a signed network those of a member that
// come by another one are somebody else's.
func (rc *reach) followTree() {
	if !rc.cfg.Broadcast || rc.cfg.TunnelServer || !rc.roll.enforced() {
		if rc.treeVersion > 0 {
			rc.treeVersion = 0
			rc.setHops(nil, false)
		}
		return
	}
	hops, version := rc.graph.TreeHops(rc.cfg.Name, rc.treeVersion)
	if hops == nil {
		return
	}
	rc.setHops(hops, rc.treeVersion > 0)
	rc.treeVersion = version
	if rc.treeSettles.Waiting() {
		rc.timers.Cancel(rc.treeSettles)
	}
	rc.treeSettles = rc.after(hopsCount, func() {
		for _, p := range rc.order {
			if p.reach.hop[1] != "" {
				p.reach.hop[1] = ""
				rc.touch(p)
			}
		}
	})
}

// setHops takes over hops; keep has those of before count for a while.
func (rc *reach) setHops(hops map[node.Name]node.Name, keep bool) {
	for _, p := range rc.order {
		now := [2]node.Name{hops[p.name]}
		switch {
		case !keep:
		case now[0] != p.reach.hop[0]:
			now[1] = p.reach.hop[0]
		default:
			now[1] = p.reach.hop[1]
		}
		if now != p.reach.hop {
			p.reach.hop = now
			rc.touch(p)
		}
	}
}

// treeHops are the neighbours by which broadcasts of p may come, "" for none.
func (rc *reach) treeHops(p *peer) [2]node.Name {
	if rc.onlyClaimed(p) || rc.silent(p) {
		return [2]node.Name{}
	}
	return p.reach.hop
}

// touchRoutes has the subnets of p published anew.
func (rc *reach) touchRoutes(p *peer) {
	for _, s := range sortedSubnets(p) {
		rc.subnets.touchRoute(p, s)
	}
}

// lastHop is the node by whose connection with p it is reached.
func lastHop(p *graph.Path) node.Name {
	if p.Prev == nil {
		return ""
	}
	return p.Prev.From
}

// isUp tells whether p is reachable, and not only claimed to be.
func (p *peer) isUp() bool { return p.reach.up }
