package mesh

import (
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// keyring is what this machine holds of other nodes: their host files, keys that were learned, and whose word counts.
type keyring struct {
	*env
	*directory

	roll interface { // who belongs to the network
		enforced() bool
		hostFile(name node.Name, known bool, h Host) (bool, Host)
		hostOf(name node.Name) (bool, Host)
		isMember(name node.Name) bool
	}
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
