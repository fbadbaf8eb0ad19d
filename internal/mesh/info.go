package mesh

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/graph"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// NodeInfo is what an operator may know of a node.
type NodeInfo struct {
	Name      node.Name
	ID        node.ID
	Subnets   []subnet.Subnet // in tinc's order, not to be changed
	Self      bool
	Known     bool // has a host file here
	HasAddr   bool // an address is configured
	Reachable bool
	Indirect  bool
	ValidKey  bool // a session is established
	Waiting   bool // a handshake is under way
	Confirmed bool // UDP works
	Idle      bool // UDP has worked, and nobody has asked since there was something to say
	Addr      netip.AddrPort
	Options   wire.Options
	NextHop   node.Name // "" if unreachable
	Via       node.Name // the relay, if one was chosen
	Loss      float64   // share of probes, or of echoes through Via, that get lost on the way by UDP, 0 to 1
	Distance  int       // hops, -1 if unreachable
	MTU       int       // bytes of Ethernet frame, as in PeerState
	MinMTU    int
	MaxMTU    int
	Since     time.Time     // of the last change of reachability, zero: never
	RTT       time.Duration // by UDP, directly or through the relay that was chosen; 0 unknown
	Adjacent  bool
	Problem   string // why the last attempt at a connection with it failed, "" if it did not
	Legacy    bool   // it speaks the protocol of tinc 1.0
	FirstHop  FirstHop
	// WrongKey: the last attempt at a connection with it failed because it has another key than its host file here says.
	WrongKey bool
	Removed  bool // its host file was deleted here by hand
	// Suite is what it wants packets to be protected and packed with. Of a node
	// with an SPTPS session there is only the compression.
	Suite legacy.Suite
}

// Nodes describes all known nodes in the order of their names.
func (m *Mesh) Nodes() []NodeInfo { return m.NodesAfter("", len(m.order)) }

// NodesAfter describes up to most known nodes whose names come after one, in the order of their names.
func (m *Mesh) NodesAfter(name node.Name, most int) []NodeInfo {
	i, found := slices.BinarySearchFunc(m.order, name, func(p *peer, n node.Name) int { return cmp.Compare(p.name, n) })
	if found {
		i++
	}
	out := make([]NodeInfo, 0, min(most, len(m.order)-i))
	for _, p := range m.order[i:] {
		if len(out) == most {
			break
		}
		if p.isHidden() {
			continue
		}
		n := NodeInfo{
			Name: p.name, ID: p.id, Subnets: sortedSubnets(p), Self: p == m.self, Known: p.known, HasAddr: p.hasAddress(),
			Reachable: p.reachable, Distance: -1, Since: p.since, Problem: p.lastProblem(), WrongKey: p.howRefused() == refusedKey, Removed: p.isRemoved(), FirstHop: m.firstHop(p),
			MTU: m.usableMTU(p),
		}
		_, n.MinMTU, n.MaxMTU = p.mtus()
		if p == m.self {
			n.Options = m.selfOptions()
			n.NextHop, n.Via, n.Distance = p.name, p.name, 0
		} else if p.reachable {
			n.Indirect = p.path.Indirect
			n.ValidKey = p.session.ready()
			n.Waiting = p.session.pending()
			n.Confirmed, n.Idle, n.Addr = p.confirmed(), p.idle(), p.addr()
			if n.Confirmed {
				u := p.udpState()
				n.RTT, n.Loss = u.rtt, u.loss
			}
			n.Options = p.path.Options
			n.NextHop = p.path.NextHop
			n.Via = p.path.Via
			n.Distance = p.path.Distance
			n.Suite = p.session.suite()
			if r := p.relay(); r != nil {
				q := p.chosenQuality()
				n.Via, n.RTT, n.Loss = r.name, q.mean(), q.loss()
			}
			n.Adjacent, n.Legacy = p.conn != nil, p.session.hopByHop()
		}
		out = append(out, n)
	}
	return out
}

// Proved tells whether a node is more than what others say of it: it is reachable, and has a host file with a key here, a
// connection with us or a session.
func (m *Mesh) Proved(name node.Name) bool {
	p := m.nodes[name]
	return p != nil && p != m.self && p.reachable &&
		(p.known && (p.host.Key != nil || p.host.RSAKey != nil) || p.conn != nil || p.session.ready())
}

// Prove begins a session with a node that can be reached and is not [Mesh.Proved], so that it may soon be.
func (m *Mesh) Prove(name node.Name) {
	if p := m.nodes[name]; p != nil && p != m.self && p.reachable && !m.Proved(name) {
		p.session.begin()
	}
}

func (m *Mesh) selfOptions() wire.Options { return m.ownOptions(&peer{}) }

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
func (m *Mesh) Subnets() []Owned { return m.allRoutes().Subnets }

// ConnInfo describes a meta connection.
type ConnInfo struct {
	Conn     ConnID
	Node     node.Name // "" before the peer has said who it is
	Remote   netip.AddrPort
	Options  wire.Options
	Active   bool
	Outgoing bool
	Pinged   bool
	Dialling bool
	Tree     bool // part of the broadcast tree
	Legacy   bool // it speaks the protocol of tinc 1.0
}

// Conns returns the meta connections in the order in which they were made.
func (m *Mesh) Conns() []ConnInfo {
	var out []ConnInfo
	tree := m.broadcastTree()
	for _, c := range m.allConns() {
		out = append(out, c.info(c.peer != nil && slices.Contains(tree, c.peer.name)))
	}
	return out
}

// Size says how much the protocol core holds.
type Size struct {
	Nodes, Edges, Subnets   int
	Unknown                 int // nodes without a host file
	Conns                   int // at any stage
	Wishes                  int // nodes to be dialled or kept connected
	Timers                  int
	Texts                   int // of flooded requests, remembered
	Repeats, Dirty, Orphans int
	Echoes                  int // unanswered
}

// Bounds are the limits of what members can make us remember.
type Bounds struct{ Unknown, Edges, Subnets int }

// Bounds returns the limits of what members can make us remember.
func (m *Mesh) Bounds() Bounds {
	return Bounds{Unknown: maxUnknown, Edges: maxEdges, Subnets: maxSubnets}
}

// Size returns how much the protocol core holds.
func (m *Mesh) Size() Size {
	unknown := 0
	for _, p := range m.order {
		if !p.known && p != m.self {
			unknown++
		}
	}
	s := Size{
		Unknown: unknown,
		Nodes:   len(m.nodes), Edges: m.graph.Len(), Subnets: m.subnetCount(),
		Conns: len(m.allConns()), Wishes: len(m.dialTargets()), Timers: m.timers.size(),
		Echoes: m.openEchoes(), Dirty: len(m.dirty),
	}
	s.Texts = m.seenTexts()
	s.Repeats, s.Orphans = m.reachSize()
	return s
}

// Underlay returns the real addresses at which nodes are reached, or are being
// dialled. A route to one of them through the VPN would lead the VPN's own
// packets into it.
func (m *Mesh) Underlay() map[netip.Addr]node.Name {
	out := map[netip.Addr]node.Name{}
	for _, p := range m.order {
		if a := p.addr(); a.IsValid() {
			out[a.Addr().Unmap()] = p.name
		}
		for _, e := range m.addressesOf(p) {
			if ip, err := netip.ParseAddr(e.Host); err == nil {
				out[ip.Unmap()] = p.name
			}
		}
	}
	return out
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
	return p.key(), m.loginKey(p) != nil
}
