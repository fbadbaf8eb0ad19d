package mesh

import (
	"cmp"
	"slices"
	"time"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// The data plane's table of subnets follows what changes, entry by entry. Only where most of
// it changes it is recreated. When changes pour in, each publication takes in
// all that have come since the last one.
const (
	// fewRoutes changes are always told one by one; more, if they are less than a sixteenth of the table.
	fewRoutes = 64
	// publishEvery is the least time between two publications for each subnet beyond smallTable; a
	// table that is recreated takes about a fifth of that.
	publishEvery = 10 * time.Microsecond
	smallTable   = 1000
	// maxPublishWait bounds it.
	maxPublishWait = 500 * time.Millisecond
)

// routesToPublish is what has changed since routes were published last.
type routesToPublish struct {
	dirty   bool // something has
	whole   bool // so much that all are to be published
	changed map[claim]struct{}
	turn    turn
}

// claim is a subnet of a node.
type claim struct {
	owner  node.Name
	subnet subnet.Subnet
}

// touchRoute has the subnet of p published, or that it has it no more.
func (sn *subnets) touchRoute(p *peer, s subnet.Subnet) {
	r := &sn.routes
	r.dirty = true
	if r.whole {
		return
	}
	r.changed[claim{p.name, s}] = struct{}{}
	if n := len(r.changed); n > fewRoutes && n > sn.total/16 {
		r.whole = true
		clear(r.changed)
	}
}

// publishRoutes tells the data plane what has changed.
func (sn *subnets) publishRoutes() {
	r := &sn.routes
	if !r.dirty || sn.mayWait(&r.turn, sn.publishWait()) {
		return
	}
	whole := r.whole
	r.dirty, r.whole = false, false
	r.turn.done(sn.now)
	if whole {
		sn.emit(PublishRoutes{Routes: sn.allRoutes()})
		return
	}
	e := ChangeRoutes{Tree: append([]node.Name{}, sn.reach.broadcastTree()...)}
	for c := range r.changed {
		p := sn.nodes[c.owner]
		if p != nil {
			if _, ok := p.owns.subnets[c.subnet]; ok {
				e.Set = append(e.Set, sn.owned(p, c.subnet))
				continue
			}
		}
		e.Gone = append(e.Gone, Owned{Subnet: c.subnet, Owner: c.owner})
	}
	clear(r.changed)
	slices.SortFunc(e.Set, compareOwned)
	slices.SortFunc(e.Gone, compareOwned)
	sn.emit(e)
}

func compareOwned(a, b Owned) int {
	return cmp.Or(cmp.Compare(a.Owner, b.Owner), subnet.Compare(a.Subnet, b.Subnet))
}

// publishWait is the least time between two publications now.
func (sn *subnets) publishWait() time.Duration {
	return min(max(0, time.Duration(sn.total-smallTable)*publishEvery), maxPublishWait)
}

// owned describes a subnet of p.
func (sn *subnets) owned(p *peer, s subnet.Subnet) Owned {
	return Owned{Subnet: s, Owner: p.name, Reachable: p.reachable(), Rank: sn.rank(p, s), Claimed: sn.reach.onlyClaimed(p)}
}

// rank is how well founded it is that p has s.
func (sn *subnets) rank(p *peer, s subnet.Subnet) subnet.Rank {
	if p == sn.self {
		return subnet.Own
	}
	if sn.reach.silent(p) {
		return subnet.Silent
	}
	s.Weight = subnet.DefaultWeight
	if _, ok := p.owns.written[s]; ok {
		return subnet.Written
	}
	return subnet.Announced
}

// setWritten takes note of the subnets in the host file of p.
func (sn *subnets) setWritten(p *peer, list []subnet.Subnet) {
	old := p.owns.written
	p.owns.written = nil
	for _, s := range list {
		if p.owns.written == nil {
			p.owns.written = make(map[subnet.Subnet]struct{}, len(list))
		}
		s.Weight = subnet.DefaultWeight
		p.owns.written[s] = struct{}{}
	}
	if len(old)+len(p.owns.written) == 0 {
		return
	}
	for s := range p.owns.subnets {
		plain := s
		plain.Weight = subnet.DefaultWeight
		_, was := old[plain]
		if _, is := p.owns.written[plain]; is != was {
			sn.touchRoute(p, s)
		}
	}
}

// allRoutes is the whole table, in the order of owners and of their subnets.
func (sn *subnets) allRoutes() Routes {
	r := Routes{Subnets: make([]Owned, 0, sn.total+len(sn.cfg.BroadcastSubnets)), Tree: []node.Name{}}
	for _, p := range sn.order {
		for _, s := range sortedSubnets(p) {
			r.Subnets = append(r.Subnets, sn.owned(p, s))
		}
	}
	for _, s := range sn.cfg.BroadcastSubnets {
		r.Subnets = append(r.Subnets, Owned{Subnet: s, Reachable: true})
	}
	r.Tree = append(r.Tree, sn.reach.broadcastTree()...)
	return r
}

// ownSubnetsDown tells that our own subnets are no longer reached, as this node shuts down.
func (sn *subnets) ownSubnetsDown() {
	for _, s := range sortedSubnets(sn.self) {
		sn.emit(SubnetDown{Owner: sn.cfg.Name, Subnet: s})
	}
}

// subnetCount is the number of subnets of all nodes.
func (sn *subnets) subnetCount() int { return sn.total }

// treeChanged has the broadcast tree published.
func (sn *subnets) treeChanged() { sn.routes.dirty = true }

// publishAllRoutes has the whole table published.
func (sn *subnets) publishAllRoutes() { sn.routes.dirty, sn.routes.whole = true, true }

// hasSubnets tells whether p has announced any.
func (p *peer) hasSubnets() bool { return len(p.owns.subnets) > 0 }
