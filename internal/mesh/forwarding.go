package mesh

import (
	"net/netip"
	"slices"

	"tincan/internal/forward"
	"tincan/internal/node"
)

// forwarding is what the data plane is told of nodes, and which path packets take by that.
type forwarding struct {
	*env
	*directory

	reach interface { // who is reached
		effectiveVia(p *peer) *peer
		hopConn(p *peer) ConnID
		treeHops(p *peer) [2]node.Name
	}
	addresses interface { // which addresses are believed
		mayProbe(p *peer, a netip.AddrPort) bool
	}
	roll interface { // who belongs to the network
		isMember(name node.Name) bool
	}
}

// publishPeers tells the data plane which peers have changed.
func (f *forwarding) publishPeers() {
	if len(f.dirty) > 0 {
		var changed []PeerState
		for p := range f.dirty {
			if now := f.nodes[p.name]; now != nil && now != p { // it was forgotten, and has come back
				continue
			}
			if st := f.state(p); st != p.published {
				p.published = st
				changed = append(changed, st)
			}
		}
		clear(f.dirty)
		if len(changed) > 0 {
			slices.SortFunc(changed, func(a, b PeerState) int {
				if a.Node < b.Node {
					return -1
				}
				return 1
			})
			f.emit(PublishPeers{Peers: changed})
		}
	}
}

func (f *forwarding) state(p *peer) PeerState {
	// Of who is no member nothing is passed on, though it may be remembered for a while.
	st := PeerState{Node: p.name, Known: f.nodes[p.name] == p && f.roll.isMember(p.name), Reachable: p.reachable(), Sock: -1}
	if p == f.self || !p.reachable() {
		return st
	}
	via := f.reach.effectiveVia(p)
	if via == nil {
		return st
	}
	st.Adjacent = p.conn() != nil
	st.Conn = f.reach.hopConn(p)
	st.NextHop, st.Via, st.ViaSelf = p.path().NextHop, via.name, p.path().Via == f.cfg.Name
	st.Options = uint32(p.path().Options)
	hidden := masked(f.env, p)
	if p.confirmed() && hidden {
		st.Mask = p.maskAs(maskedForm)
	}
	if (p.confirmed() || f.addresses.mayProbe(p, p.addr())) && (hidden || f.cfg.Unmasked != UnmaskedNever) {
		st.Addr, st.Confirmed = p.addr(), p.confirmed()
		st.Sock = p.sock()
	}
	st.TreeHops = f.reach.treeHops(p)
	st.MTU = f.usableMTU(p)
	if p.confirmed() && !f.cfg.TCPOnly {
		_, st.MinMTU, _ = p.mtus()
	}
	if r := p.relay(); r != nil {
		st.Relay = r.name
	}
	p.session().publish(&st)
	return st
}

// usableMTU is the path MTU of p, capped by the PMTU settings.
func (f *forwarding) usableMTU(p *peer) int {
	mtu, _, _ := p.mtus()
	for _, limit := range []int{f.cfg.PMTU, p.host().PMTU} {
		if limit > 0 {
			mtu = min(mtu, limit)
		}
	}
	return mtu
}

// leavesByUDP tells whether a record of ours for p, of size bytes of data, leaves by UDP.
func (f *forwarding) leavesByUDP(p *peer, size int) bool {
	return f.hopOf(p, size) != forward.HopMeta
}

// hopOf is the next step of a record of ours for p with size bytes of data, as the data plane
// chooses it.
func (f *forwarding) hopOf(p *peer, size int) forward.Hop {
	return forward.Record(size, true, f.cfg.TCPOnly, f.forwardPeer(p.relay()), f.forwardPeer(f.reach.effectiveVia(p)), f.forwardPeer(f.nodes[p.path().NextHop]))
}

// forwardPeer is what the data plane knows of p, nil for no node.
func (f *forwarding) forwardPeer(p *peer) *forward.Peer {
	if p == nil || p == f.self {
		return nil
	}
	st := f.state(p)
	fp := st.Forward()
	return &fp
}

// FirstHop is where the packets of this node for another one go first, as the data plane chooses it.
type FirstHop struct {
	Node node.Name // "" if they wait for a session, or are dropped
	UDP  bool      // by UDP; else over the meta connection
	// NoKey: they are dropped until a key of the node is known.
	NoKey bool
}

// sampleFrame is the size, in bytes, of the frame whose first hop is told. It fits every UDP path.
const sampleFrame = 100

func (f *forwarding) firstHop(p *peer) FirstHop {
	if p == f.self || !p.reachable() {
		return FirstHop{}
	}
	st := f.state(p)
	switch {
	case st.PassOnly:
		return FirstHop{NoKey: true}
	case st.Legacy != nil:
		return f.firstLegacyHop(p)
	case st.Tunnel == nil && p.conn() == nil && p.key() == nil && p.keyAsked():
		return FirstHop{NoKey: true}
	}
	self := st.Forward()
	switch forward.Frame(sampleFrame, f.cfg.TCPOnly, &self, f.forwardPeer(p.relay())) {
	case forward.StepPacket:
		return FirstHop{Node: p.name}
	case forward.StepRecord:
		return f.firstRecordHop(p)
	}
	return FirstHop{}
}

// firstRecordHop is the first hop of a record for p.
func (f *forwarding) firstRecordHop(p *peer) FirstHop {
	hop := f.hopOf(p, sampleFrame-14)
	if hop == forward.HopMeta && p.idle() {
		return FirstHop{} // the first packet finds the UDP path again
	}
	switch hop {
	case forward.HopRelay:
		return FirstHop{Node: p.relay().name, UDP: true}
	case forward.HopVia:
		return FirstHop{Node: f.reach.effectiveVia(p).name, UDP: true}
	}
	return FirstHop{Node: p.path().NextHop, UDP: hop == forward.HopNext}
}

// maxLegacyHops bounds the search along a path whose nodes change meanwhile.
const maxLegacyHops = 64

// firstLegacyHop is the first hop of a frame for a node of tinc 1.0.
func (f *forwarding) firstLegacyHop(p *peer) FirstHop {
	hop := f.reach.effectiveVia(p)
	for range maxLegacyHops {
		if hop == nil || hop == f.self || !hop.reachable() {
			return FirstHop{}
		}
		st := f.state(hop)
		switch forward.Legacy(sampleFrame, f.cfg.TCPOnly, st.LegacyForward()) {
		case forward.LegacySession:
			return f.firstHop(hop)
		case forward.LegacyDatagram:
			return FirstHop{Node: hop.name, UDP: true}
		case forward.LegacyNext:
			hop = f.nodes[st.NextHop]
			continue
		}
		return FirstHop{Node: st.NextHop}
	}
	return FirstHop{}
}

// publishedConn is the connection that the data plane was last told to use for p.
func (p *peer) publishedConn() ConnID { return p.published.Conn }
