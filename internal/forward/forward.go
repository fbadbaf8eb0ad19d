// Package forward holds the rule by which a node chooses the next step of a packet: which node
// gets it, over which transport, and which sizes fit.
//
// The data plane forwards by this rule; the protocol core explains and measures by it, and
// the simulator moves its packets by it, so that none of them describes another router than
// the one that runs. The package is pure: its input are [Peer] values.
//
// Sizes of records are bytes of the data in a record, sizes of frames are bytes of Ethernet
// frame (IP packet + 14), as in [mesh.PeerState]. The rule of tinc 1.1 compares either with the
// largest frame that is known to pass.
package forward

// MinorIDs is the protocol minor from which a node reads the two node ids before a record
// (tinc 1.1, 17.4). Older ones cannot be given our datagrams.
const MinorIDs = 4

// Peer is the input of the rule for one node. The zero value is a node that cannot be reached.
type Peer struct {
	Reachable bool
	Adjacent  bool // an activated meta connection with it exists
	Session   bool // an SPTPS session with it exists
	Confirmed bool // its UDP address has answered a probe
	TCPOnly   bool // it has announced TCPOnly
	Minor     int  // of its protocol
	MinMTU    int  // bytes of the largest frame known to pass to it directly by UDP
}

// TakesUDP reports whether p, nil for no node, can be given records of size bytes directly by UDP.
func (p *Peer) TakesUDP(size int) bool {
	return p != nil && p.Reachable && p.Confirmed && !p.TCPOnly && p.Minor >= MinorIDs && size <= p.MinMTU
}

// Hop is who gets a record next.
type Hop uint8

// The hops of a record.
const (
	HopMeta  Hop = iota // the next hop, over its meta connection
	HopRelay            // the relay that was chosen by measurement, by UDP
	HopVia              // the last node on the path that is reached directly by UDP, which may be the destination
	HopNext             // the next hop, by UDP
)

// Record chooses the next step of a record with size bytes of data (tinc 1.1, send_sptps_data). via
// and next are where the path of the destination leads, see [HopVia] and [HopNext]; relay is nil if
// none was chosen. With noUDP this node itself sends no packets by UDP.
//
// Only records of our own (ours) take the chosen relay: two nodes that chose each other would
// pass a record back and forth. The destination's own announcement about UDP does not matter where
// another node is the next hop; that node makes its own decision.
func Record(size int, ours, noUDP bool, relay, via, next *Peer) Hop {
	switch {
	case noUDP:
		return HopMeta
	case ours && relay.TakesUDP(size):
		return HopRelay
	case via.TakesUDP(size):
		return HopVia
	case next.TakesUDP(size):
		return HopNext
	}
	return HopMeta
}

// Step is how a frame of this node is sent to a node that uses SPTPS.
type Step uint8

// The steps of a frame.
const (
	StepDrop   Step = iota // the node is not reachable
	StepWait               // for a session
	StepPacket             // unsealed over the meta connection with the node, which is encrypted (tinc PACKET)
	StepRecord             // sealed in a record, for which [Record] chooses the hop
)

// Frame chooses how a frame of size bytes leaves for a node (tinc 1.1, send_packet). relay and noUDP
// are as in [Record].
func Frame(size int, noUDP bool, to, relay *Peer) Step {
	switch {
	case to == nil || !to.Reachable:
		return StepDrop
	case to.Adjacent && (!to.Session || size > to.MinMTU && (noUDP || !relay.TakesUDP(size))):
		return StepPacket
	case !to.Session:
		return StepWait
	}
	return StepRecord
}
