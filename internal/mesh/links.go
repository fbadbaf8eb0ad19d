package mesh

import (
	"net/netip"
	"time"

	"tincan/internal/graph"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
)

// links are the meta connections with neighbours, from dial or accept to their end.
type links struct {
	*env
	*directory

	conns      map[ConnID]*conn
	lines      []*conn // all connections by number
	actives    []*conn // the activated ones by number; nil: to be worked out
	nextID     ConnID
	mappedPort uint16    // of the router, 0: none
	readUntil  time.Time // after we were held up: when answers that have come meanwhile are read

	topology interface { // what is announced
		announceEdge(c *conn, e graph.Edge)
		connectionLost(c *conn)
		connectionReplaced(old *conn)
		edgeMade(c *conn, e graph.Edge) graph.Edge
		ping(c *conn)
		sendEverything(c *conn)
	}
	reach interface { // who is reached
		answered(p *peer)
		doubt(p *peer)
		linksChanged()
	}
	roll interface { // who belongs to the network
		isMember(name node.Name) bool
		linked(c *conn)
		unlinked()
		whyNot(name node.Name) string
	}
	keyring interface { // host files and keys
		admitLearned(name node.Name) bool
		admitMember(name node.Name) bool
		justLearned(p *peer) bool
		learn(p *peer, k keys.PublicKey)
		loggedIn(p *peer, byLearned bool)
		loginKey(p *peer) *keys.PublicKey
		mayBeLetIn(p *peer) bool
		minor() int
		policy(p *peer) legacy.Policy
		rsaLogin(p *peer) bool
	}
	dialer interface { // whom we dial
		attemptEnded(c *conn, wasActive bool)
		connected(c *conn)
		dialAnswered(c *conn, to Endpoint)
		notFound(c *conn)
		ownIsUnderWay(c *conn) bool
		punchEnded(c *conn, success bool)
		punchForgotten(c *conn)
		transferTarget(from *conn, to *conn)
		yield(c *conn)
	}
	carriers interface { // TCP or a carrier
		cutOff(c *conn)
		loginTime(c *conn) time.Duration
	}
	addresses interface { // which addresses are believed
		arrived(c *conn)
		ledBack(e Endpoint, at netip.AddrPort)
	}
	paths interface { // UDP paths
		moved(p *peer, addr netip.AddrPort, sock int)
	}
}
