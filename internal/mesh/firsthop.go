package mesh

import (
	"tincan/internal/forward"
	"tincan/internal/node"
)

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
