package dataplane

import (
	"net/netip"
	"time"

	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
)

// A packet for this node must come from the node that announces its source address, so that no member can spoof
// the address of another (RFC 2827, RFC 3704). Only packets in router mode are checked, and not by relays.
//
// Exempt are:
//
//   - broadcasts along the tree, since each node on their path seals them again: they must have the address of another node
//     than this one, and in a signed network that of a member which lies behind the node that they come from in the tree,
//   - packets of nodes that use the protocol of tinc 1.0 and have no connection with this node: relays open and
//     seal them again, too,
//   - ICMP errors, which any router behind the node may send, and which nodes send from an address that they could not reach, if
//     they quote a packet from their destination to an address of the node,
//   - link-local and unspecified sources, to which nobody can reply,
//   - addresses outside of the mesh for which packets of this node leave by the node that sent this one, see outside.go,
//   - addresses that nobody announces, from a node that announces none at all, or that has just become
//     reachable: its announcements may not have arrived yet.
//
// In a signed network the source must have been granted to the node by the roster, whatever is announced, and the last of
// these exceptions does not exist.

// newNodeGrace is how long a newly reachable node may send from addresses that nobody has announced yet.
const newNodeGrace = 5 * time.Second

// dropInvalidSource counts a packet of a node whose source address is another's.
func (p *Plane) dropInvalidSource(from *peer) {
	p.drop(InvalidSource)
	from.invalidSources.add(p, 1)
}

// InvalidSources counts the packets of a node that were dropped for their source address.
func (p *Plane) InvalidSources(name node.Name) Dropped {
	d := Dropped{Reason: InvalidSource.String()}
	if pr := p.dir.Load().byName[name]; pr != nil && pr.invalidSources.count.Load() > 0 {
		d.Count, d.Last = pr.invalidSources.count.Load(), time.Unix(0, pr.invalidSources.last.Load())
	}
	return d
}

// validSource is [Plane.validSource] for a packet from r.from. The answer for the last address is remembered, so a batch
// of one flow pays for one lookup.
func (r *receiver) validSource(p []byte) bool {
	src, ok := packet.Src(p)
	if !ok || r.options.AnySource || r.srcOwner == r.from && r.src == src {
		return true
	}
	ok, owner := r.routes.maySend(r.from, src, r.dir)
	if ok {
		r.src, r.srcOwner = src, r.from
		return true
	}
	return r.p.sourceExempt(r.from, owner, r.routes, p, src, r.now)
}

// validSource reports whether a packet that came from a node and is for our device may have its source address.
func (p *Plane) validSource(from *peer, routes *routes, ip []byte, now time.Duration) bool {
	src, ok := packet.Src(ip)
	if !ok || p.options.Load().AnySource { // what is no IP packet is for others to drop
		return true
	}
	ok, owner := routes.maySend(from, src, p.dir.Load())
	return ok || p.sourceExempt(from, owner, routes, ip, src, now)
}

// maySend reports whether src is an address of from. If not, owner is whose it is; nil: nobody's.
func (r *routes) maySend(from *peer, src netip.Addr, d *directory) (ok bool, owner *peer) {
	if r.via != nil {
		if exit, ok := r.leavesBy(src); ok && exit == from {
			return true, from
		}
	}
	if r.grants == nil {
		ok, other := r.table.MaySend(from.name, src)
		return ok, other.Owner
	}
	ok, other := r.grants.MaySend(from.name, src)
	if ok || other.OwnerName == "" {
		return ok, nil
	}
	return false, d.byName[other.OwnerName]
}

// sourceExempt reports whether a packet is let through although its source address src is not one of from's but of owner's;
// nil: nobody's.
func (p *Plane) sourceExempt(from, owner *peer, routes *routes, ip []byte, src netip.Addr, now time.Duration) bool {
	switch {
	case src.IsLinkLocalUnicast(), src.IsUnspecified(), routes.answers(from, ip, p.dir.Load()):
		return true
	case p.options.Load().Broadcast == route.Tree && routes.isFor(p.broadcast, ip):
		return routes.mayBroadcast(p.cfg.Self, from, src, p.dir.Load())
	case owner == p.broadcast:
		return false
	case owner != nil:
		s := owner.state.Load()
		return s.speaksLegacy() && !s.Adjacent
	case routes.grants != nil:
		return false
	}
	s := from.state.Load()
	return from.subnets.Load() == 0 || s != nil && now-s.since < newNodeGrace
}

// isFor reports whether a packet is for owner.
func (r *routes) isFor(owner *peer, ip []byte) bool {
	dst, ok := packet.Dst(ip)
	if !ok {
		return false
	}
	found, _ := r.lookup(dst)
	return found == owner
}

// mayBroadcast reports whether a broadcast that from may have passed on may have the source src. Who sent it cannot be seen,
// but it was not this node, which is called self. In a signed network it was a member, and its way along the tree leads over from.
func (r *routes) mayBroadcast(self node.Name, from *peer, src netip.Addr, d *directory) bool {
	if r.grants == nil {
		return r.table.AnotherThan(self, src, true)
	}
	best, found := r.grants.Lookup(src)
	if !found {
		return false
	}
	for _, e := range r.grants.At(best.Subnet.Prefix().Masked()) {
		if owner := d.byName[e.OwnerName]; owner != nil && e.OwnerName != self {
			s := owner.state.Load()
			if owner == from || s != nil && (s.TreeHops[0] == from.name || s.TreeHops[1] == from.name) {
				return true
			}
		}
	}
	return false
}

// answers reports whether a packet is an error message of ICMP about one that its destination sent to an address of from.
func (r *routes) answers(from *peer, ip []byte, d *directory) bool {
	quoted := quotedByICMP(ip)
	src, ok1 := packet.Src(quoted)
	dst, ok2 := packet.Dst(quoted)
	to, _ := packet.Dst(ip)
	if !ok1 || !ok2 || src != to {
		return false
	}
	may, _ := r.maySend(from, dst, d)
	return may
}

// quotedByICMP is the beginning of the packet that an error message of ICMP, unless it is about routes, is about; nil: it is no such
// message.
func quotedByICMP(ip []byte) []byte {
	const header = 8 // of both versions
	h, ok := packet.Parse(ip)
	if !ok || h.Fragment || h.Transport+header > len(ip) {
		return nil
	}
	switch typ := ip[h.Transport]; {
	case h.Proto == packet.ProtoICMP && (typ == 3 || typ == 11 || typ == 12), h.Proto == packet.ProtoICMPv6 && typ >= 1 && typ <= 4:
		return ip[h.Transport+header:]
	}
	return nil
}
