package dataplane

import (
	"net/netip"
	"sync/atomic"
	"time"

	"tincan/internal/forward"
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
	leastMTU4      = 590  // frames up to these sizes are sent whatever the path MTU
	leastMTU6      = 1294
)

// Protocol minors from which a node can do something.
const (
	minorSPTPSP = 7 // SPTPS_PACKET
)

// peer is another node. It lives as long as anything refers to it; what is
// known of it comes and goes with state.
type peer struct {
	name     node.Name
	id       node.ID
	state    atomic.Pointer[state] // nil: not known (any more)
	counters counters
	bad      atomic.Uint32 // records that could not be opened since the last good one

	silence silence
	refused struct{ first, last time.Duration } // for want of a direct path, of late; guarded by Plane.routing

	subnets atomic.Int32 // that it announces
	falsely dropped      // packets with a source address that is not one of it

	traffic, heard, indirect, undecodable, tooLong pacer
}

func newPeer(name node.Name) *peer { return &peer{name: name, id: name.ID()} }

// state is what the protocol core published about a peer. It is immutable.
type state struct {
	mesh.PeerState
	via, next *peer // PeerState.Via and NextHop; nil if "" or ourselves
	relay     *peer // PeerState.Relay, nil if none
	fwd       forward.Peer
	since     time.Duration // when it became reachable
}

// forward is what the forwarding rule must know of pr, nil for no node or one that is not known.
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

// open tells whether packets for the peer need not wait for a session.
func (s *state) open() bool { return s != nil && (s.Tunnel != nil || s.Legacy != nil) }

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

// routes is what the protocol core published with PublishRoutes and ChangeRoutes. It is immutable.
type routes struct {
	table *subnet.Table[*peer]
	tree  []node.Name
}

// lookup finds the owner of addr: a peer, Plane.self, Plane.everyone, or nil.
func (r *routes) lookup(addr netip.Addr) (owner *peer, reachable bool) {
	e, ok := r.table.Lookup(addr)
	if !ok {
		return nil, false
	}
	return e.Owner, e.Reachable
}

// called returns the peer of that name, making one without state if there is
// none.
func (p *Plane) called(name node.Name) *peer {
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
		pr := p.called(s.Node)
		old := pr.state.Load()
		if !s.Known {
			pr.state.Store(nil)
			members, gone = true, true
			continue
		}
		now := &state{PeerState: s, via: p.called(s.Via), next: p.called(s.NextHop), relay: p.called(s.Relay), fwd: s.Forward()}
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
		if old.place() != now.place() {
			addresses = true
			pr.silence.forgive()
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
		p.announce()
	}
}

// address is the address that datagrams of the peer are recognised by, zero if there is none.
func (s *state) address() netip.AddrPort {
	if s == nil || !s.Confirmed {
		return netip.AddrPort{}
	}
	return s.Addr
}

// place is how a datagram of the peer is recognised; a directory holds as long as
// all places stay the same.
func (s *state) place() place {
	if s.speaksLegacy() {
		return place{addr: s.Addr, confirmed: s.Confirmed, legacy: true}
	}
	return place{addr: s.address()}
}

type place struct {
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
	for _, pr := range p.names { // never 0 for a moment: from such a node more is believed
		pr.subnets.Store(count[pr])
	}
	p.routes.Store(&routes{subnet.Build(entries), r.Tree})
	p.sweep()
}

// ChangeRoutes changes some entries of the table of subnets, and replaces the broadcast tree.
func (p *Plane) ChangeRoutes(c mesh.ChangeRoutes) {
	r := routes{p.routes.Load().table, c.Tree}
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

// entries is list as the table has it.
func (p *Plane) entries(list []mesh.Owned) []subnet.Entry[*peer] {
	entries := make([]subnet.Entry[*peer], len(list))
	for i, s := range list {
		entries[i] = subnet.Entry[*peer]{
			Subnet: s.Subnet, Owner: p.everyone, OwnerName: s.Owner, Reachable: s.Reachable, Rank: s.Rank,
		}
		if s.Owner != "" {
			entries[i].Owner = p.called(s.Owner)
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

// Contested lists claims to subnets that do not count, each with what outranks it, up to most.
func (p *Plane) Contested(most int) (list [][2]mesh.Owned) {
	for e, by := range p.routes.Load().table.Outranked() {
		if len(list) >= most {
			break
		}
		list = append(list, [2]mesh.Owned{{Subnet: e.Subnet, Owner: e.OwnerName}, {Subnet: by.Subnet, Owner: by.OwnerName, Rank: by.Rank}})
	}
	return list
}

// Claims lists the claims to exactly this prefix, the one that counts first.
func (p *Plane) Claims(prefix netip.Prefix) (claims []mesh.Owned) {
	for _, e := range p.routes.Load().table.At(prefix) {
		claims = append(claims, mesh.Owned{Subnet: e.Subnet, Owner: e.OwnerName, Reachable: e.Reachable, Rank: e.Rank})
	}
	return claims
}

// path is the way a record takes by UDP.
type path struct {
	relay  *peer
	addr   netip.AddrPort
	sock   int
	direct bool // from us to the destination: ids of the destination are zero
	tos    uint8
}

// udpPath chooses the next step of a record to to. size is the length of the record less its
// overhead. ok is false if it has to go over TCP; path.relay is then the next hop.
func (p *Plane) udpPath(to *peer, s *state, ours bool, size int, tcpOnly bool) (path, bool) {
	hop := s.next
	switch forward.Record(size, ours, tcpOnly, s.relay.forward(), s.via.forward(), s.next.forward()) {
	case forward.HopMeta:
		return path{relay: s.next}, false
	case forward.HopRelay:
		hop = s.relay
	case forward.HopVia:
		hop = s.via
	}
	hs := s
	if hop != to {
		if hs = hop.state.Load(); hs == nil { // it has just been forgotten
			return path{relay: s.next}, false
		}
	}
	way := path{relay: hop, direct: ours && hop == to, addr: hs.Addr, sock: p.socketFor(hs.Addr, hs.Sock)}
	if way.sock < 0 {
		return path{relay: s.next}, false
	}
	return way, true
}

// release sends the packets whose session has come.
func (c *slowPath) release() {
	c.p.opened.Store(false)
	packets, givenUp := c.p.held.take(c.now, func(_ *pendingPacket, s *state) bool { return s.open() })
	c.p.dropN(Overheld, givenUp)
	c.src = c.p.self
	for _, g := range packets {
		c.sendTo(g.peer, g.data)
	}
}
