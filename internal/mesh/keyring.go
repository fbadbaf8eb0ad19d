package mesh

import "tincan/internal/subnet"

// keyring is what this machine holds of other nodes: their host files, keys that were learned, and whose word counts.
type keyring struct {
	*env
	*directory

	roll  *roll       // who belongs to the network
	reach interface { // who is reached
		linksChanged()
		nextHopConn(p *peer) *conn
	}
	subnets interface { // who owns what
		replaceSubnets(p *peer, list []subnet.Subnet)
		setWritten(p *peer, list []subnet.Subnet)
	}
	links interface { // connections
		dropLearnedLogins(p *peer, reason string)
		endLogins(p *peer, reason string)
	}
	dialer interface { // whom we dial
		autoConnectSoon()
	}
	sessions interface { // sessions
		askForKey(p *peer)
		endSession(p *peer)
		sessionFits(p *peer) bool
		tryKey(p *peer)
	}
}
