package mesh

import "net/netip"

// relays chooses by whom our packets for a node are relayed, and measures paths with echoes.
type relays struct {
	*env
	*directory

	echoes   map[uint64]*echo // unanswered, by number
	lastEcho uint64
	talking  []*peer // to whom we have sent packets lately
	tick     alarm   // of checkRelays, while there are any
	exit     ExitWorks

	reach interface { // who is reached
		effectiveVia(p *peer) *peer
	}
	keyring interface { // host files and keys
		keepLearned(p *peer)
	}
	dialer interface { // whom we dial
		punchAsked(p *peer, to netip.AddrPort)
	}
	paths interface { // UDP paths
		discover(p *peer)
		keepOpen(p *peer)
		opened(p *peer, ask bool)
		try(p *peer, mtu bool)
	}
	forwarding interface { // the data plane
		leavesByUDP(p *peer, size int) bool
		publishPeers()
	}
}
