package forward

// LegacyPeer is the input of the rule for one node on the path of a frame for a node of tinc 1.0.
type LegacyPeer struct {
	Legacy  bool // it uses the protocol of tinc 1.0
	TCPOnly bool // it has announced TCPOnly
	CanSend bool // it has given us its key and has an address, or is not to be sent to by UDP because its RSA key is missing (MinMTU is 0)
	Direct  bool // it is the next hop itself
	MinMTU  int  // bytes of the largest frame that may be sent to it by UDP
}

// LegacyStep is what becomes of a frame at a node on its path.
type LegacyStep uint8

// The steps of a frame for a node of tinc 1.0.
const (
	LegacyPacket   LegacyStep = iota // over the meta connection towards it (tinc PACKET)
	LegacyDatagram                   // sealed for it, by UDP
	LegacySession                    // it uses SPTPS: the frame is sent to it as one of this node
	LegacyNext                       // the rule is applied again to the next hop towards it
)

// Legacy chooses the step of a frame of size bytes at one node of its path (tinc 1.0, send_udppacket). With
// noUDP it leaves by TCP, because this node sends nothing by UDP or because it came that way.
func Legacy(size int, noUDP bool, p LegacyPeer) LegacyStep {
	switch {
	case noUDP:
		return LegacyPacket
	case !p.Legacy:
		return LegacySession
	case p.TCPOnly || !p.CanSend:
		return LegacyPacket
	case size <= p.MinMTU:
		return LegacyDatagram
	case !p.Direct:
		return LegacyNext
	}
	return LegacyPacket
}
