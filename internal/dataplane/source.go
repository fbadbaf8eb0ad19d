package dataplane

import (
	"net/netip"
	"time"

	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
)

// A packet that ends here has to come from the node that announces its source address: else a member could speak in
// the name of another one. Only packets are looked at, in router mode: whoever else passes them on has nothing to check.
//
// What is let through all the same:
//
//   - broadcasts that spread along the tree, since each node on their way seals them again,
//   - packets of nodes that speak the protocol of tinc 1.0 and have no connection with us: relays open and
//     seal them again, too,
//   - ICMP errors, which any router may send, and which nodes send in the name of an address they did not reach,
//   - link-local and unspecified sources, which lead nowhere,
//   - addresses that nobody announces, from a node that announces none at all, or that has just become
//     reachable: its announcements may still be on their way.

// newcomerFor is how long a node may send from addresses that nobody has announced yet.
const newcomerFor = 5 * time.Second

// dropFalse counts a packet of a node whose source address is another's.
func (p *Plane) dropFalse(from *peer) {
	p.drop(FalseSource)
	from.falsely.add(p, 1)
}

// FalseSources counts the packets of a node that were dropped for their source address.
func (p *Plane) FalseSources(name node.Name) Dropped {
	d := Dropped{Reason: FalseSource.String()}
	if pr := p.dir.Load().byName[name]; pr != nil && pr.falsely.count.Load() > 0 {
		d.Count, d.Last = pr.falsely.count.Load(), time.Unix(0, pr.falsely.last.Load())
	}
	return d
}

// trueSource is [Plane.trueSource] for a packet from r.from. The answer for the last address is remembered, so a batch
// of one flow pays for one lookup.
func (r *receiver) trueSource(p []byte) bool {
	src, ok := packet.Src(p)
	if !ok || r.options.AnySource || r.theirOf == r.from && r.theirs == src {
		return true
	}
	ok, other := r.routes.table.MaySend(r.from.name, src)
	if ok {
		r.theirs, r.theirOf = src, r.from
		return true
	}
	return r.p.letThrough(r.from, other.Owner, r.routes, p, src, r.now)
}

// trueSource tells whether a packet that came from a node and is for our device may have its source address.
func (p *Plane) trueSource(from *peer, routes *routes, ip []byte, now time.Duration) bool {
	src, ok := packet.Src(ip)
	if !ok || p.options.Load().AnySource { // what is no IP packet is for others to drop
		return true
	}
	ok, other := routes.table.MaySend(from.name, src)
	return ok || p.letThrough(from, other.Owner, routes, ip, src, now)
}

// letThrough tells whether a packet is let through although its source address src is not one of from's but of owner's;
// nil: nobody's.
func (p *Plane) letThrough(from, owner *peer, routes *routes, ip []byte, src netip.Addr, now time.Duration) bool {
	switch {
	case src.IsLinkLocalUnicast(), src.IsUnspecified(), isICMPError(ip):
		return true
	case p.options.Load().Broadcast == route.Tree && p.isBroadcast(routes, ip):
		return true
	case owner == p.everyone:
		return false
	case owner != nil:
		s := owner.state.Load()
		return s.speaksLegacy() && !s.Adjacent
	}
	s := from.state.Load()
	return from.subnets.Load() == 0 || s != nil && now-s.since < newcomerFor
}

// isBroadcast tells whether a packet is for everybody.
func (p *Plane) isBroadcast(routes *routes, ip []byte) bool {
	dst, ok := packet.Dst(ip)
	if !ok {
		return false
	}
	owner, _ := routes.lookup(dst)
	return owner == p.everyone
}

// isICMPError tells whether a packet is an error message of ICMP that is not about routes.
func isICMPError(ip []byte) bool {
	h, ok := packet.Parse(ip)
	if !ok || h.Fragment || h.Transport >= len(ip) {
		return false
	}
	switch typ := ip[h.Transport]; h.Proto {
	case packet.ProtoICMP:
		return typ == 3 || typ == 11 || typ == 12
	case packet.ProtoICMPv6:
		return typ >= 1 && typ <= 4
	}
	return false
}
