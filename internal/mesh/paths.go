package mesh

import (
	"net/netip"
	"time"

	"tincan/internal/mesh/quality"
)

// paths is how nodes are reached directly by UDP: where, whether they answer, and how large packets may be.
type paths struct {
	*env
	*directory

	failovers quality.Histogram // how long it took until packets took another path
	look      alarm             // of checkPeers
	mayLook   time.Time         // not before

	reach interface { // who is reached
		effectiveVia(p *peer) *peer
		nextHopConn(p *peer) *conn
		pass(c *conn, to *peer, text string)
	}
	keyring interface { // host files and keys
		leadsTo(c *conn, p *peer) bool
		remember(p *peer, a netip.AddrPort)
	}
	links interface { // connections
		ask(c *conn)
		carries(c *conn)
	}
	dialer interface { // whom we dial
		cameOver(c *conn)
		used(p *peer)
	}
	carriers interface { // TCP or a carrier, and what has worked
		noteForm(p *peer, f form)
	}
	addresses interface { // which addresses are believed
		believable(a netip.AddrPort) bool
		mayProbe(p *peer, a netip.AddrPort) bool
	}
	relays interface { // relays and echoes
		answersEchoes(p *peer) bool
		talkingTo(p *peer)
	}
}
