package dataplane

import (
	"net/netip"

	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/subnet"
)

// Packets for addresses outside of the mesh leave it by exit nodes. Nobody announces those addresses, since all nodes would
// send packets there: each node decides for its own packets which exit node they take. So there are three questions where
// packets inside of the mesh have one:
//
//   - outbound: a packet of our device goes to the owner of its destination, or to the exit node that is chosen for it.
//   - inbound: a packet of a peer goes to the owner of its destination. If this node is an exit node, what nobody owns goes to
//     our device, and from there out of the mesh. It never goes to an exit node that was chosen for our own packets.
//   - the source of a packet from a peer may be outside of the mesh if our packets for that address leave by this peer.
//
// What somebody in the mesh has comes before what lies outside, but a claim of a member to public addresses does not, unless
// it is founded (host file, roster) and narrower: members must not be able to take packets away from the exit node.

// ExitMode says which packets of peers leave the mesh by this node.
type ExitMode uint8

// The modes.
const (
	ExitOff     ExitMode = iota
	ExitPublic           // those for public addresses, and queries for DNS servers
	ExitPrivate          // also those for private networks
)

// ViaPrefix says that packets for a prefix leave the mesh by the exit node of a line.
type ViaPrefix struct {
	Prefix netip.Prefix // of 0 bits: everything of its family
	Line   int
}

// ViaExit is the exit node of a line now. Without a Node, or for a family that it has not, packets are refused.
type ViaExit struct {
	Node       node.Name
	IPv4, IPv6 bool
}

// via is by which exit nodes packets of this node leave the mesh. It is immutable.
type via struct {
	table *subnet.Table[int] // lines
	exits []viaExit
}

type viaExit struct{ v4, v6 *peer } // nil: none works

// uses adds the exit nodes.
func (v *via) uses(used map[*peer]bool) {
	if v == nil {
		return
	}
	for _, e := range v.exits {
		used[e.v4], used[e.v6] = true, true
	}
}

// BuildVia makes the table for [Outside.SetVia]. Of the same prefix in several lines the first one counts. It takes a second for
// some hundred thousand.
func BuildVia(list []ViaPrefix) *subnet.Table[int] {
	entries := make([]subnet.Entry[int], 0, len(list))
	seen := make(map[netip.Prefix]struct{}, len(list))
	for _, v := range list {
		if _, ok := seen[v.Prefix]; ok {
			continue
		}
		seen[v.Prefix] = struct{}{}
		entries = append(entries, subnet.Entry[int]{Subnet: subnet.FromPrefix(v.Prefix), Owner: v.Line, OwnerName: "via", Reachable: true})
	}
	return subnet.Build(entries)
}

// Outside is the part of a plane that knows where packets leave the mesh. Its methods that change something must be called where
// [Plane.PublishPeers] is.
type Outside struct{ p *Plane }

// SetVia says for which addresses packets leave the mesh by which lines, of which each has one of exits; nil: none do.
func (o Outside) SetVia(table *subnet.Table[int], exits []ViaExit) {
	p := o.p
	r := *p.routes.Load()
	if r.via = nil; table != nil {
		r.via = &via{table: table, exits: make([]viaExit, len(exits))}
		for i, e := range exits {
			if e.Node == "" || e.Node == p.cfg.Self {
				continue
			}
			if e.IPv4 {
				r.via.exits[i].v4 = p.peerNamed(e.Node)
			}
			if e.IPv6 {
				r.via.exits[i].v6 = p.peerNamed(e.Node)
			}
		}
	}
	p.routes.Store(&r)
}

// SetExit says which packets of peers leave the mesh by this node.
func (o Outside) SetExit(mode ExitMode) {
	r := *o.p.routes.Load()
	r.exit = mode
	o.p.routes.Store(&r)
}

// LeavesBy is the line, and the exit node of it, by which packets for an address leave the mesh. ok is false for an address that
// is somebody's in the mesh, or for which there is no line; without a name no exit node works.
func (o Outside) LeavesBy(addr netip.Addr) (line int, exit node.Name, ok bool) {
	r := o.p.routes.Load()
	if r.via == nil {
		return 0, "", false
	}
	pr, ok := r.leavesBy(addr)
	if !ok {
		return 0, "", false
	}
	e, _ := r.via.table.Lookup(addr)
	if pr != nil {
		exit = pr.name
	}
	return e.Owner, exit, true
}

// outbound finds who a packet of our device for an address goes to.
func (r *routes) outbound(addr netip.Addr) (owner *peer, reachable bool) {
	if r.via != nil {
		if exit, ok := r.leavesBy(addr); ok {
			s := (*state)(nil)
			if exit != nil {
				s = exit.state.Load()
			}
			return exit, s != nil && s.Reachable
		}
	}
	return r.lookup(addr)
}

// leavesBy finds the exit node by which our packets for an address leave, nil if none works. ok is false if they go to somebody
// in the mesh, or nobody has said where they are to leave.
func (r *routes) leavesBy(addr netip.Addr) (exit *peer, ok bool) {
	line, ok := r.via.table.Lookup(addr)
	if !ok {
		return nil, false
	}
	if e, found := r.table.Lookup(addr); found && r.keeps(&e, addr, line.Subnet.Prefix().Bits()) {
		return nil, false
	}
	if exit = r.via.exits[line.Owner].v4; addr.Is6() {
		exit = r.via.exits[line.Owner].v6
	}
	return exit, true
}

// keeps reports whether an address stays in the mesh, where e is what counts for it, although there is a line for a prefix
// of so many bits.
func (r *routes) keeps(e *subnet.Entry[*peer], addr netip.Addr, bits int) bool {
	narrower := e.Subnet.Prefix().Bits() > bits
	switch {
	case e.OwnerName == "", e.Rank == subnet.Own:
		return true // for everybody, or our own
	case isPrivate(addr):
		return narrower
	default:
		return narrower && (e.Rank > subnet.Announced || r.grants != nil)
	}
}

// inbound finds who a packet of a peer for an address goes to.
func (r *routes) inbound(addr netip.Addr, self *peer) (owner *peer, reachable bool) {
	if r.exit == ExitOff {
		return r.lookup(addr)
	}
	e, found := r.table.Lookup(addr)
	if found && r.keeps(&e, addr, 0) {
		return e.Owner, e.Reachable
	}
	if isPublic(addr) || r.exit == ExitPrivate && isPrivate(addr) {
		return self, true
	}
	if !found {
		return nil, false
	}
	return e.Owner, e.Reachable
}

func isPrivate(addr netip.Addr) bool { return subnet.Private(netip.PrefixFrom(addr, addr.BitLen())) }

var (
	global6   = netip.MustParsePrefix("2000::/3")
	thisHost4 = netip.MustParsePrefix("0.0.0.0/8")
	future4   = netip.MustParsePrefix("240.0.0.0/4")
)

// isPublic reports whether addr may be that of a machine in the internet.
func isPublic(addr netip.Addr) bool {
	if addr.Is6() {
		return global6.Contains(addr)
	}
	return addr.IsGlobalUnicast() && !isPrivate(addr) && !thisHost4.Contains(addr) && !future4.Contains(addr)
}

// isQuery reports whether an IP packet is for a DNS server.
func isQuery(ip []byte) bool {
	const dns = 53
	h, ok := packet.Parse(ip)
	if !ok || h.Fragment || h.Transport+4 > len(ip) || h.Proto != packet.ProtoUDP && h.Proto != packet.ProtoTCP {
		return false
	}
	return ip[h.Transport+2] == 0 && ip[h.Transport+3] == dns
}
