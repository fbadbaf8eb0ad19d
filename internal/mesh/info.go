package mesh

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/legacy"
	"tincan/internal/mesh/quality"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// reports tells people and programs what the other parts know. It changes nothing.
type reports struct {
	*env
	*directory

	roll interface { // who belongs to the network
		enforced() bool
	}
	topology interface { // what is announced
		seenTexts() int
	}
	reach interface { // who is reached
		broadcastTree() []node.Name
		effectiveVia(p *peer) *peer
		onlyClaimed(p *peer) bool
		reachSize() (repeats int, orphans int)
		silent(p *peer) bool
	}
	subnets interface { // who owns what
		subnetCount() int
	}
	keyring interface { // host files and keys
		passOnly(p *peer) bool
		whyNotLegacy(p *peer) string
	}
	links interface { // connections
		activeConns() []*conn
		allConns() []*conn
		ownOptions(p *peer) wire.Options
	}
	dialer interface { // whom we dial
		addressesOf(p *peer) []Endpoint
		dialTargets() []node.Name
		hasAnyAddress(p *peer) bool
		isDialTarget(name node.Name) bool
	}
	carriers interface { // TCP or a carrier
		ladder(p *peer, direct bool) []CarrierState
		of(p *peer) []Endpoint
	}
	paths interface { // UDP paths
		candidates(p *peer) []netip.AddrPort
	}
	relays interface { // relays and echoes
		isDirect(p *peer) bool
		openEchoes() int
	}
	forwarding interface { // the data plane
		firstHop(p *peer) FirstHop
		leavesByUDP(p *peer, size int) bool
		usableMTU(p *peer) int
	}
}

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
	// Carrier is what carries packets to the first hop, Link what our meta connection with it is made by; [NoCarrier] if there is none.
	Carrier, Link Carrier
	// Protection is what protects the packets, zero without a session, and with Legacy.
	Protection Protection
	// Connection is what protects our meta connection with it, zero if there is none, and with Legacy.
	Connection Protection
	// Weakness is what is wrong with the keys for its packets, one of the codes of [Reason]; "" if nothing is.
	Weakness string
	// WrongKey: the last attempt at a connection with it failed because it has another key than its host file here says.
	WrongKey bool
	Removed  bool // its host file was deleted here by hand
	// Silent: in a signed network, others say that it is reachable, but it has not answered several beginnings of a session.
	Silent bool
	// Claimed: others say that it is reachable, and it has not proven it; so Reachable is false.
	Claimed bool
	// Probes is what has become of the probes of its direct path.
	Probes ProbeCounts
	// Suite is what it wants packets to be protected and packed with. Of a node
	// with an SPTPS session there is only the compression.
	Suite legacy.Suite
}

// ProbeCounts is what has become of the small probes by UDP of a direct path, since the start.
type ProbeCounts struct {
	RTT  quality.Histogram // of those that were answered
	Lost uint64            // of others, while the path worked
}

// Totals count since the start.
type Totals struct {
	HandshakesBegun uint64            // by this node
	HandshakesMade  uint64            // by either node: there are new keys
	Failovers       quality.Histogram // paths by UDP that were given up: from the last sign of life until packets took another path
}

// nodesAfter describes up to most known nodes whose names come after one, in the order of their names.
func (rp *reports) nodesAfter(name node.Name, most int) []NodeInfo {
	i, found := slices.BinarySearchFunc(rp.order, name, func(p *peer, n node.Name) int { return cmp.Compare(p.name, n) })
	if found {
		i++
	}
	out := make([]NodeInfo, 0, min(most, len(rp.order)-i))
	for _, p := range rp.order[i:] {
		if len(out) == most {
			break
		}
		if p.isHidden() {
			continue
		}
		n := NodeInfo{
			Name: p.name, ID: p.id, Subnets: sortedSubnets(p), Self: p == rp.self, Known: p.known(), HasAddr: p.hasAddress(),
			Reachable: p.reachable() && !rp.reach.onlyClaimed(p), Claimed: rp.reach.onlyClaimed(p), Distance: -1, Since: p.since(), Problem: p.lastProblem(), WrongKey: p.howRefused() == refusedKey, Removed: rp.isOut(p), FirstHop: rp.forwarding.firstHop(p),
			MTU: rp.forwarding.usableMTU(p), Probes: p.probeCounts(),
		}
		_, n.MinMTU, n.MaxMTU = p.mtus()
		if c := p.conn(); c != nil {
			n.Link = linkOf(c)
		}
		if p == rp.self {
			n.Options = rp.selfOptions()
			n.NextHop, n.Via, n.Distance = p.name, p.name, 0
		} else if p.reachable() {
			n.Indirect = p.path().Indirect
			n.ValidKey = p.session().ready()
			n.Waiting = p.session().pending()
			n.Silent = rp.reach.silent(p)
			n.Protection, n.Weakness = p.session().protection(), rp.weakness(p)
			if c := p.conn(); c != nil {
				n.Connection = c.protection()
			}
			n.Confirmed, n.Idle, n.Addr = p.confirmed(), p.idle(), p.addr()
			if n.Confirmed {
				u := p.udpState()
				n.RTT, n.Loss = u.rtt, u.loss
			}
			n.Options = p.path().Options
			n.NextHop = p.path().NextHop
			n.Via = p.path().Via
			n.Distance = p.path().Distance
			n.Suite = p.session().suite()
			if r := p.relay(); r != nil {
				q := p.chosenQuality()
				n.Via, n.RTT, n.Loss = r.name, q.Mean(), q.Loss()
			}
			n.Carrier = rp.carrierTo(n.FirstHop)
			n.Adjacent, n.Legacy = p.conn() != nil, p.session().hopByHop()
		}
		out = append(out, n)
	}
	return out
}

// CarrierSum is what has become of one carrier, to all nodes.
type CarrierSum struct {
	Carrier  Carrier
	Off      bool             // the configuration does not allow it
	InUse    int              // nodes with which packets or requests are exchanged by it
	Failures int              // nodes with which it was tried and did not work
	Failed   []CarrierFailure // the first of them
}

// CarrierFailure is why a carrier does not work with a node.
type CarrierFailure struct {
	Node node.Name
	Text string
}

// ladder says what has become of each carrier to p.
func (rp *reports) ladder(p *peer) []CarrierState {
	hop := rp.forwarding.firstHop(p)
	return append(ladderOfForms(rp.env, p, rp.reach.effectiveVia(p) == p, hop.Node == p.name && hop.UDP), rp.carriers.ladder(p, hop.Node == p.name && !hop.UDP)...)
}

// carrierSums says what has become of each carrier to all nodes that we have to do with, and names up to so many with which it does
// not work.
func (rp *reports) carrierSums(most int) []CarrierSum {
	var sums []CarrierSum
	for _, s := range rp.ladder(rp.self) { // the order
		sums = append(sums, CarrierSum{Carrier: s.Carrier, Off: s.State == CarrierOff})
	}
	for _, p := range rp.order {
		if p == rp.self || p.isHidden() || p.conn() == nil && !rp.dialer.isDialTarget(p.name) && (!p.reachable() || !p.udpState().asked) {
			continue
		}
		for i, s := range rp.ladder(p) {
			switch s.State {
			case CarrierInUse:
				sums[i].InUse++
			case CarrierFailed:
				if sums[i].Failures++; sums[i].Failures <= most {
					sums[i].Failed = append(sums[i].Failed, CarrierFailure{p.name, s.Text})
				}
			}
		}
	}
	return sums
}

// carrierTo is what carries packets to a first hop.
func (rp *reports) carrierTo(hop FirstHop) Carrier {
	p := rp.nodes[hop.Node]
	switch {
	case p == nil:
		return NoCarrier
	case hop.UDP && masked(rp.env, p):
		return ByMasked
	case hop.UDP:
		return ByUDP
	case p.conn() != nil:
		return linkOf(p.conn())
	}
	return NoCarrier
}

// isOut tells whether p stays away since its host file was deleted here. In a signed network the roster decides instead.
func (rp *reports) isOut(p *peer) bool { return p.isRemoved() && !rp.roll.enforced() }

// proved tells whether p is more than what others say of it, see [Mesh.Proved].
func (rp *reports) proved(p *peer) bool {
	return p != nil && p != rp.self && p.reachable() &&
		(p.known() && (p.host().Key != nil || p.host().RSAKey != nil) || p.conn() != nil || p.session().ready())
}

func (rp *reports) selfOptions() wire.Options { return rp.links.ownOptions(&peer{}) }

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
	Carrier  bool // inside of HTTPS
	Tree     bool // part of the broadcast tree
	Legacy   bool // it speaks the protocol of tinc 1.0
}

// conns returns the meta connections in the order in which they were made.
func (rp *reports) conns() []ConnInfo {
	var out []ConnInfo
	tree := rp.reach.broadcastTree()
	for _, c := range rp.links.allConns() {
		out = append(out, c.info(c.peer != nil && slices.Contains(tree, c.peer.name)))
	}
	return out
}

// Size says how much the protocol core holds.
type Size struct {
	Nodes, Edges, Subnets   int
	Unknown                 int // nodes without a host file
	Conns                   int // at any stage
	DialTargets             int // nodes to be dialled or kept connected
	Timers                  int
	Texts                   int // of flooded requests, remembered
	Repeats, Dirty, Orphans int
	Echoes                  int // unanswered
}

// Bounds are the limits of what members can make us remember.
type Bounds struct{ Unknown, Edges, Subnets int }

// size returns how much the protocol core holds.
func (rp *reports) size() Size {
	unknown := 0
	for _, p := range rp.order {
		if !p.known() && p != rp.self {
			unknown++
		}
	}
	s := Size{
		Unknown: unknown,
		Nodes:   len(rp.nodes), Edges: rp.graph.Len(), Subnets: rp.subnets.subnetCount(),
		Conns: len(rp.links.allConns()), DialTargets: len(rp.dialer.dialTargets()), Timers: rp.timers.Size(),
		Echoes: rp.relays.openEchoes(), Dirty: len(rp.dirty),
	}
	s.Texts = rp.topology.seenTexts()
	s.Repeats, s.Orphans = rp.reach.reachSize()
	return s
}

// underlay returns the real addresses at which nodes are reached, or are being
// dialled. A route to one of them through the VPN would lead the VPN's own
// packets into it.
func (rp *reports) underlay() map[netip.Addr]node.Name {
	out := map[netip.Addr]node.Name{}
	for _, p := range rp.order {
		if a := p.addr(); a.IsValid() {
			out[a.Addr().Unmap()] = p.name
		}
		for _, e := range append(rp.dialer.addressesOf(p), rp.carriers.of(p)...) {
			if ip, err := netip.ParseAddr(e.Host); err == nil {
				out[ip.Unmap()] = p.name
			}
		}
	}
	return out
}
