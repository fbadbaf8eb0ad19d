package forward

// LegacyPeer is what the rule must know of a node on the path of a frame for a node of tinc 1.0.
type LegacyPeer struct {
	Legacy  bool // it speaks the protocol of tinc 1.0
	TCPOnly bool // it wants no UDP
	CanSend bool // it has given us its key and has an address, or is not to be sent to by UDP because its RSA key is missing (MinMTU is 0)
	Direct  bool // it is the next hop itself: there is nobody else on the way
	MinMTU  int  // bytes of the largest frame that may be sent to it by UDP
}

// LegacyStep is what becomes of a frame at a node on its path.
type LegacyStep uint8

// The steps of a frame for a node of tinc 1.0.
const (
	LegacyPacket   LegacyStep = iota // over the meta connection towards it (tinc PACKET)
	LegacyDatagram                   // sealed for it, by UDP
	LegacySession                    // it speaks SPTPS: the frame is sent to it as one of our own
	LegacyNext                       // the same question again for the next hop towards it
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
