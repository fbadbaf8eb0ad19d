package mesh

import (
	"slices"

	"tincan/internal/forward"
	"tincan/internal/node"
)

// publishPeers tells the data plane which peers have changed.
func (m *Mesh) publishPeers() {
	if len(m.dirty) > 0 {
		var changed []PeerState
		for p := range m.dirty {
			if now := m.nodes[p.name]; now != nil && now != p { // it was forgotten, and has come back
				continue
			}
			if st := m.state(p); st != p.published {
				p.published = st
				changed = append(changed, st)
			}
		}
		clear(m.dirty)
		if len(changed) > 0 {
			slices.SortFunc(changed, func(a, b PeerState) int {
				if a.Node < b.Node {
					return -1
				}
				return 1
			})
			m.emit(PublishPeers{Peers: changed})
		}
	}
}

func (m *Mesh) state(p *peer) PeerState {
	st := PeerState{Node: p.name, Known: m.nodes[p.name] == p, Reachable: p.reachable, Sock: -1}
	if p == m.self || !p.reachable {
		return st
	}
	via := m.effectiveVia(p)
	if via == nil {
		return st
	}
	st.Adjacent = p.conn != nil
	st.Conn = m.hopConn(p)
	st.NextHop, st.Via, st.ViaSelf = p.path.NextHop, via.name, p.path.Via == m.cfg.Name
	st.Options = uint32(p.path.Options)
	if p.confirmed() || m.mayProbe(p, p.addr()) {
		st.Addr, st.Confirmed = p.addr(), p.confirmed()
		st.Sock = p.sock()
	}
	st.MTU = m.usableMTU(p)
	if p.confirmed() && !m.cfg.TCPOnly {
		_, st.MinMTU, _ = p.mtus()
	}
	if r := p.relay(); r != nil {
		st.Relay = r.name
	}
	p.session.publish(&st)
	return st
}

// usableMTU is the path MTU of p, capped by the PMTU settings.
func (m *Mesh) usableMTU(p *peer) int {
	mtu, _, _ := p.mtus()
	for _, limit := range []int{m.cfg.PMTU, p.host.PMTU} {
		if limit > 0 {
			mtu = min(mtu, limit)
		}
	}
	return mtu
}

// leavesByUDP tells whether a record of ours for p, of size bytes of data, leaves by UDP.
func (m *Mesh) leavesByUDP(p *peer, size int) bool {
	return m.hopOf(p, size) != forward.HopMeta
}

// Hop is the next step of a record of size bytes of data for a node, as the data plane chooses
// it by what was published last. A node that is not known is given nothing by UDP.
func (m *Mesh) Hop(to node.Name, size int) forward.Hop {
	p := m.nodes[to]
	if p == nil || p == m.self {
		return forward.HopMeta
	}
	return m.hopOf(p, size)
}

// hopOf is the next step of a record of ours for p with size bytes of data, as the data plane
// chooses it.
func (m *Mesh) hopOf(p *peer, size int) forward.Hop {
	return forward.Record(size, true, m.cfg.TCPOnly, m.forwardPeer(p.relay()), m.forwardPeer(m.effectiveVia(p)), m.forwardPeer(m.nodes[p.path.NextHop]))
}

// forwardPeer is what the data plane knows of p, nil for no node.
func (m *Mesh) forwardPeer(p *peer) *forward.Peer {
	if p == nil || p == m.self {
		return nil
	}
	st := m.state(p)
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

// FirstHop is where a small packet of ours for a node goes first.
func (m *Mesh) FirstHop(to node.Name) FirstHop {
	if p := m.nodes[to]; p != nil {
		return m.firstHop(p)
	}
	return FirstHop{}
}

func (m *Mesh) firstHop(p *peer) FirstHop {
	if p == m.self || !p.reachable {
		return FirstHop{}
	}
	st := m.state(p)
	switch {
	case st.PassOnly:
		return FirstHop{NoKey: true}
	case st.Legacy != nil:
		return m.firstLegacyHop(p)
	case st.Tunnel == nil && p.conn == nil && p.key() == nil && p.keyAsked():
		return FirstHop{NoKey: true}
	}
	self := st.Forward()
	switch forward.Frame(sampleFrame, m.cfg.TCPOnly, &self, m.forwardPeer(p.relay())) {
	case forward.StepPacket:
		return FirstHop{Node: p.name}
	case forward.StepRecord:
		return m.firstRecordHop(p)
	}
	return FirstHop{}
}

// firstRecordHop is the first hop of a record for p.
func (m *Mesh) firstRecordHop(p *peer) FirstHop {
	hop := m.hopOf(p, sampleFrame-14)
	if hop == forward.HopMeta && p.idle() {
		return FirstHop{} // the first packet finds the UDP path again
	}
	switch hop {
	case forward.HopRelay:
		return FirstHop{Node: p.relay().name, UDP: true}
	case forward.HopVia:
		return FirstHop{Node: m.effectiveVia(p).name, UDP: true}
	}
	return FirstHop{Node: p.path.NextHop, UDP: hop == forward.HopNext}
}

// maxLegacyHops bounds the search along a path whose nodes change meanwhile.
const maxLegacyHops = 64

// firstLegacyHop is the first hop of a frame for a node of tinc 1.0.
func (m *Mesh) firstLegacyHop(p *peer) FirstHop {
	hop := m.effectiveVia(p)
	for range maxLegacyHops {
		if hop == nil || hop == m.self || !hop.reachable {
			return FirstHop{}
		}
		st := m.state(hop)
		switch forward.Legacy(sampleFrame, m.cfg.TCPOnly, st.LegacyForward()) {
		case forward.LegacySession:
			return m.firstHop(hop)
		case forward.LegacyDatagram:
			return FirstHop{Node: hop.name, UDP: true}
		case forward.LegacyNext:
			hop = m.nodes[st.NextHop]
			continue
		}
		return FirstHop{Node: st.NextHop}
	}
	return FirstHop{}
}

// publishedConn is the connection that the data plane was last told to use for p.
func (p *peer) publishedConn() ConnID { return p.published.Conn }
