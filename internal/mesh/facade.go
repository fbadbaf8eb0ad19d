package mesh

import (
	"net/netip"

	"tincan/internal/forward"
	"tincan/internal/graph"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// ---------------------------------------------------------------- what may be known

// Nodes describes all known nodes in the order of their names.
func (m *Mesh) Nodes() []NodeInfo { return m.reports.nodesAfter("", len(m.order)) }

// NodesAfter describes up to most known nodes whose names come after one, in the order of their names.
func (m *Mesh) NodesAfter(name node.Name, most int) []NodeInfo {
	return m.reports.nodesAfter(name, most)
}

// Proved tells whether a node is more than what others say of it: it is reachable, and has a host file with a key here, a
// connection with us or a session.
func (m *Mesh) Proved(name node.Name) bool { return m.reports.proved(m.nodes[name]) }

// Prove begins a session with a node that can be reached and is not [Mesh.Proved], so that it may soon be.
func (m *Mesh) Prove(name node.Name) {
	if p := m.nodes[name]; p != nil && p != m.self && p.reachable() && !m.reports.proved(p) {
		p.session().begin()
	}
}

// Silent lists the nodes of a signed network that others say are reachable, and that do not answer.
func (m *Mesh) Silent() (names []node.Name) {
	for _, p := range m.order {
		if p != m.self && p.reachable() && m.reach.silent(p) {
			names = append(names, p.name)
		}
	}
	return names
}

// Knows tells whether anybody has ever spoken of a node, or there is something of it here.
func (m *Mesh) Knows(name node.Name) bool { return m.nodes[name] != nil }

// KeyOf is the key by which a node is known, nil if there is none. good tells whether the owner of this
// machine, or somebody who may let others in, vouches for it.
func (m *Mesh) KeyOf(name node.Name) (key *keys.PublicKey, good bool) {
	p := m.nodes[name]
	if p == nil {
		return nil, false
	}
	return p.key(), m.keyring.loginKey(p) != nil
}

// FirstHop is where a small packet of ours for a node goes first.
func (m *Mesh) FirstHop(to node.Name) FirstHop {
	if p := m.nodes[to]; p != nil {
		return m.forwarding.firstHop(p)
	}
	return FirstHop{}
}

// Hop is the next step of a record of size bytes of data for a node, as the data plane chooses
// it by what was published last. A node that is not known is given nothing by UDP.
func (m *Mesh) Hop(to node.Name, size int) forward.Hop {
	p := m.nodes[to]
	if p == nil || p == m.self {
		return forward.HopMeta
	}
	return m.forwarding.hopOf(p, size)
}

// Why explains the path to a node.
func (m *Mesh) Why(name node.Name, f Found) Why { return m.reports.why(name, f) }

// Totals counts what has happened since the start.
func (m *Mesh) Totals() Totals {
	begun, made := m.sessions.handshakes()
	return Totals{HandshakesBegun: begun, HandshakesMade: made, Failovers: m.paths.failoverTimes()}
}

// Links is the number of connections in the whole mesh.
func (m *Mesh) Links() int { return m.graph.Links() }

// Edges returns all known edges, ordered by From, then To.
func (m *Mesh) Edges() []graph.Edge {
	out := make([]graph.Edge, 0, m.graph.Len())
	for e := range m.graph.All() {
		out = append(out, *e)
	}
	return out
}

// Subnets returns all known subnets in tinc's order.
func (m *Mesh) Subnets() []Owned { return m.subnets.allRoutes().Subnets }

// Conns returns the meta connections in the order in which they were made.
func (m *Mesh) Conns() []ConnInfo { return m.reports.conns() }

// Carriers says what has become of each carrier to all nodes, those that are liked better first, and names up to most nodes with which
// it does not work.
func (m *Mesh) Carriers(most int) []CarrierSum { return m.reports.carrierSums(most) }

// Underlay returns the real addresses at which nodes are reached, or are being
// dialled. A route to one of them through the VPN would lead the VPN's own
// packets into it.
func (m *Mesh) Underlay() map[netip.Addr]node.Name { return m.reports.underlay() }

// Refusals lists what was ignored since there was too much of it.
func (m *Mesh) Refusals() []Refusal { return m.listRefusals() }

// Bounds returns the limits of what members can make us remember.
func (m *Mesh) Bounds() Bounds {
	return Bounds{Unknown: maxUnknown, Edges: maxEdges, Subnets: maxSubnets}
}

// Size returns how much the protocol core holds.
func (m *Mesh) Size() Size { return m.reports.size() }
