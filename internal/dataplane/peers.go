package dataplane

import (
	"net/netip"
	"sync/atomic"
	"time"

	"tincan/internal/flow"
	"tincan/internal/forward"
	"tincan/internal/mask"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// Sizes in bytes.
const (
	idsLen         = wire.IDsLen
	recordOverhead = 21 // record number 4, type 1, tag 16
	minDatagram    = idsLen + recordOverhead
	ethernetLen    = 14
	maxData        = 1518 // data of a record, tinc 1.1's MTU
	maxRecord      = maxData + recordOverhead
	maxFrame       = 1661 // tinc 1.1 ignores a PACKET above this
	minMTU4        = 590  // frames up to these sizes are sent whatever the path MTU
	minMTU6        = 1294
)

// Protocol minors from which a node can do something.
const (
	minorSPTPSP = 7 // SPTPS_PACKET
)

// peer is another node. It exists as long as anything refers to it; state is nil
// while the protocol core does not know the node.
type peer struct {
	name         node.Name
	id           node.ID
	state        atomic.Pointer[state] // nil: not known (any more)
	counters     counters
	openFailures atomic.Uint32 // records that could not be opened since the last good one

	silence   silence
	notDirect struct{ first, last time.Duration } // recent packets refused without a direct path; guarded by Plane.routing

	flows          flow.Peer
	subnets        atomic.Int32 // number of subnets that it announces
	invalidSources dropped      // packets with a source address outside its subnets

	traffic, heard, indirect, undecodable, tooLong pacer
}

func newPeer(name node.Name) *peer {
	return &peer{name: name, id: name.ID(), flows: flow.Peer{Name: name}}
}

// state is what the protocol core published about a peer. It is immutable.
type state struct {
	mesh.PeerState
	via, next *peer // PeerState.Via and NextHop; nil if "" or ourselves
	relay     *peer // PeerState.Relay, nil if none
	fwd       forward.Peer
	since     time.Duration // when it became reachable
}

// forward is the input of the forwarding rule for pr, nil for no node or an unknown one.
func (pr *peer) forward() *forward.Peer {
	if pr == nil {
		return nil
	}
	s := pr.state.Load()
	if s == nil {
		return nil
	}
	return &s.fwd
}

func (s *state) minor() int { return wire.Options(s.Options).Minor() }

// open reports whether packets for the peer can be sealed now.
func (s *state) open() bool { return s.ready() && !s.Hold }

// ready reports whether anything for the peer can be sealed now, such as probes.
func (s *state) ready() bool { return s != nil && (s.Tunnel != nil || s.Legacy != nil) }

func (s *state) tcpOnly() bool { return wire.Options(s.Options)&wire.TCPOnly != 0 }

// directory finds peers. It is immutable.
type directory struct {
	byID   map[node.ID]*peer
	byName map[node.Name]*peer
	byAddr map[netip.AddrPort]*peer // confirmed addresses only
	all    []*peer
	legacy *legacyNodes // nil if there are none
}

// at finds the peer that has an address, nil if there is none.
func (d *directory) at(addr netip.AddrPort) *peer {
	if pr := d.byAddr[addr]; pr != nil || d.legacy == nil {
		return pr
	}
	return d.legacy.byAddr[addr]
}

// routes is what the protocol core published with PublishRoutes, ChangeRoutes and ChangeGrants. It is immutable.
type routes struct {
	table  *subnet.Table[*peer]
	tree   []node.Name
	grants *subnet.Table[struct{}] // who may send from where by the roster; nil: the network is open
	// See outside.go. nil: none of our packets leave the mesh by another node.
	via *via
	// exit: packets of others may leave the mesh by this node.
	exit ExitMode
}

// lookup finds the owner of addr: a peer, Plane.self, Plane.broadcast, or nil.
func (r *routes) lookup(addr netip.Addr) (owner *peer, reachable bool) {
	e, ok := r.table.Lookup(addr)
	if !ok {
		return nil, false
	}
	return e.Owner, e.Reachable
}

// peerNamed returns the peer of that name, making one without state if there is
// none.
func (p *Plane) peerNamed(name node.Name) *peer {
	switch name {
	case "":
		return nil
	case p.cfg.Self:
		return p.self
	}
	pr := p.names[name]
	if pr == nil {
		pr = newPeer(name)
		p.names[name] = pr
	}
	return pr
}

// PublishPeers replaces what is known of the peers that are listed, and forgets those that are not
// Known. Packets that wait for a session will be sent.
func (p *Plane) PublishPeers(states []mesh.PeerState) {
	members := false
	addresses := false
	sessions := false
	gone := false
	for _, s := range states {
		if s.Node == p.cfg.Self || s.Node == "" {
			continue
		}
		pr := p.peerNamed(s.Node)
		old := pr.state.Load()
		if !s.Known {
			pr.state.Store(nil)
			members, gone = true, true
			continue
		}
		now := &state{PeerState: s, via: p.peerNamed(s.Via), next: p.peerNamed(s.NextHop), relay: p.peerNamed(s.Relay), fwd: s.Forward()}
		now.Addr = netip.AddrPortFrom(s.Addr.Addr().Unmap(), s.Addr.Port())
		if now.via == p.self {
			now.via = nil
		}
		if now.next == p.self {
			now.next = nil
		}
		now.since = p.now()
		if old != nil && old.Reachable && now.Reachable {
			now.since = old.since
		}
		pr.state.Store(now)
		members = members || old == nil
		if old.senderKey() != now.senderKey() {
			addresses = true
			pr.silence.reset()
		}
		if old.masks() != now.masks() {
			pr.silence.reset()
		}
		if now.open() && !old.open() {
			p.opened.Store(true)
			sessions = true
		}
		if now.Tunnel != nil && (old == nil || old.Tunnel != now.Tunnel) {
			sessions = true
		}
	}
	if gone {
		p.sweep()
	}
	if members || addresses {
		p.rebuildDirectory(members)
	}
	if sessions || gone {
		p.inbox.notify()
	}
}

// address is the address that identifies datagrams of the peer, zero if there is none.
func (s *state) address() netip.AddrPort {
	if s == nil || !s.Confirmed {
		return netip.AddrPort{}
	}
	return s.Addr
}

// senderKey is what identifies datagrams of the peer; a directory stays valid while
// no key changes.
func (s *state) senderKey() senderKey {
	if s.speaksLegacy() {
		return senderKey{addr: s.Addr, confirmed: s.Confirmed, legacy: true}
	}
	return senderKey{addr: s.address()}
}

type senderKey struct {
	addr              netip.AddrPort
	confirmed, legacy bool // confirmed: only told apart where legacy
}

// rebuildDirectory rebuilds the directory; if members is false only addresses
// have changed.
func (p *Plane) rebuildDirectory(members bool) {
	d := *p.dir.Load()
	d.byAddr = make(map[netip.AddrPort]*peer, len(p.names))
	d.legacy = nil
	if members {
		d.byID = make(map[node.ID]*peer, len(p.names))
		d.byName = make(map[node.Name]*peer, len(p.names))
		d.all = make([]*peer, 0, len(p.names))
	}
	for _, pr := range p.names {
		s := pr.state.Load()
		if s == nil {
			continue
		}
		if members {
			d.byID[pr.id] = pr
			d.byName[pr.name] = pr
			d.all = append(d.all, pr)
		}
		if s.speaksLegacy() {
			d.legacy = d.legacy.with(pr, s)
		} else if a := s.address(); a.IsValid() {
			d.byAddr[a] = pr
		}
	}
	p.dir.Store(&d)
}

// sweep forgets peers that have no state and to which nothing refers.
func (p *Plane) sweep() {
	used := make(map[*peer]bool, len(p.names))
	for _, pr := range p.names {
		if s := pr.state.Load(); s != nil {
			used[pr] = true
			used[s.via] = true
			used[s.next] = true
			used[s.relay] = true
		}
	}
	p.routes.Load().via.uses(used)
	for name, pr := range p.names {
		if !used[pr] && pr.subnets.Load() == 0 {
			delete(p.names, name)
		}
	}
}

// PublishRoutes replaces the table of subnets and the broadcast tree.
func (p *Plane) PublishRoutes(r mesh.Routes) {
	entries := p.entries(r.Subnets)
	count := make(map[*peer]int32, len(p.names))
	for _, e := range entries {
		count[e.Owner]++
	}
	for _, pr := range p.names { // never 0 in between: validSource accepts more from such a node
		pr.subnets.Store(count[pr])
	}
	next := *p.routes.Load()
	next.table, next.tree = subnet.Build(entries), r.Tree
	p.routes.Store(&next)
	p.sweep()
}

// ChangeRoutes changes some entries of the table of subnets, and replaces the broadcast tree.
func (p *Plane) ChangeRoutes(c mesh.ChangeRoutes) {
	r := *p.routes.Load()
	r.tree = c.Tree
	set, gone := p.entries(c.Set), p.entries(c.Gone)
	before := r.table
	r.table = before.Change(set, gone)
	for _, e := range set {
		if !before.Has(e.Subnet, e.OwnerName) {
			e.Owner.subnets.Add(1)
		}
	}
	unused := false
	for _, e := range gone {
		if before.Has(e.Subnet, e.OwnerName) {
			unused = e.Owner.subnets.Add(-1) == 0 || unused
		}
	}
	p.routes.Store(&r)
	if unused {
		p.sweep()
	}
}

// ChangeGrants changes which source addresses nodes may send from by the roster.
func (p *Plane) ChangeGrants(c mesh.ChangeGrants) {
	r := *p.routes.Load()
	switch {
	case c.Open:
		r.grants = nil
	case r.grants == nil:
		r.grants = subnet.Build(granted(c.Set))
	default:
		r.grants = r.grants.Change(granted(c.Set), granted(c.Gone))
	}
	p.routes.Store(&r)
}

// granted converts list to entries of the table of grants.
func granted(list []mesh.Owned) []subnet.Entry[struct{}] {
	entries := make([]subnet.Entry[struct{}], len(list))
	for i, s := range list {
		entries[i] = subnet.Entry[struct{}]{Subnet: s.Subnet, OwnerName: s.Owner, Reachable: true}
	}
	return entries
}

// entries converts list to entries of the table.
func (p *Plane) entries(list []mesh.Owned) []subnet.Entry[*peer] {
	entries := make([]subnet.Entry[*peer], len(list))
	for i, s := range list {
		entries[i] = subnet.Entry[*peer]{
			Subnet: s.Subnet, Owner: p.broadcast, OwnerName: s.Owner, Reachable: s.Reachable, Rank: s.Rank, Claimed: s.Claimed,
		}
		if s.Owner != "" {
			entries[i].Owner = p.peerNamed(s.Owner)
		}
	}
	return entries
}

// Owner is the node that a packet for an address goes to; "" if nobody has it, or it is for everybody.
func (p *Plane) Owner(addr netip.Addr) (owner node.Name, reachable bool) {
	pr, reachable := p.routes.Load().lookup(addr)
	if pr == nil {
		return "", false
	}
	return pr.name, reachable
}

// Contested lists claims to subnets that are outranked, each with the claim that outranks it, up to most.
func (p *Plane) Contested(most int) (list [][2]mesh.Owned) {
	for e, by := range p.routes.Load().table.Outranked() {
		if len(list) >= most {
			break
		}
		list = append(list, [2]mesh.Owned{{Subnet: e.Subnet, Owner: e.OwnerName}, {Subnet: by.Subnet, Owner: by.OwnerName, Rank: by.Rank}})
	}
	return list
}

// Claims lists the claims to exactly this prefix, the effective one first.
func (p *Plane) Claims(prefix netip.Prefix) (claims []mesh.Owned) {
	for _, e := range p.routes.Load().table.At(prefix) {
		claims = append(claims, mesh.Owned{Subnet: e.Subnet, Owner: e.OwnerName, Reachable: e.Reachable, Rank: e.Rank, Claimed: e.Claimed})
	}
	return claims
}

// udpPath is the UDP path of a record: the next hop and its address.
type udpPath struct {
	relay  *peer
	addr   netip.AddrPort
	sock   int
	direct bool // from us to the destination: ids of the destination are zero
	tos    uint8
	mask   *mask.Mask // that of the hop, nil: nothing is hidden
}

// pathTo chooses the next hop of a record to to. size is the length of the record less its
// overhead. ok is false if it has to go over TCP; path.relay is then the next hop.
func (p *Plane) pathTo(to *peer, s *state, ours bool, size int, tcpOnly bool) (udpPath, bool) {
	hop := s.next
	switch forward.Record(size, ours, tcpOnly, s.relay.forward(), s.via.forward(), s.next.forward()) {
	case forward.HopMeta:
		return udpPath{relay: s.next}, false
	case forward.HopRelay:
		hop = s.relay
	case forward.HopVia:
		hop = s.via
	}
	hs := s
	if hop != to {
		if hs = hop.state.Load(); hs == nil { // it has just been removed
			return udpPath{relay: s.next}, false
		}
	}
	path := udpPath{relay: hop, direct: ours && hop == to, addr: hs.Addr, sock: p.socketFor(hs.Addr, hs.Sock), mask: hs.Mask}
	if path.sock < 0 {
		return udpPath{relay: s.next}, false
	}
	return path, true
}

// release sends the pending packets whose session is ready.
func (c *slowPath) release() {
	c.p.opened.Store(false)
	packets, expired := c.p.pending.take(c.now, func(_ *pendingPacket, s *state) bool { return s.open() })
	c.p.dropN(SessionTimeout, expired)
	c.src = c.p.self
	for _, k := range packets {
		c.sendTo(k.peer, k.data)
	}
}
