package mesh

import (
	"net/netip"
	"time"

	"tincan/internal/keys"
	"tincan/internal/node"
)

// dialer decides with whom we want a connection, and when to try.
type dialer struct {
	*env
	*directory

	dials    map[node.Name]*outgoing
	autoSoon bool      // AutoConnect has an extra turn soon
	turn     alarm     // of AutoConnect, in the regular way
	turned   time.Time // last turn

	reach interface { // who is reached
		nextHopConn(p *peer) *conn
	}
	keyring interface { // host files and keys
		loginKey(p *peer) *keys.PublicKey
		mayLogIn(p *peer) bool
		mightVouch(p *peer) bool
		remember(p *peer, a netip.AddrPort)
	}
	links interface { // connections
		activeConns() []*conn
		drop(c *conn, reason string)
		endUnanswered(c *conn, reason string) bool
		forget(c *conn)
		newDial(p *peer, to netip.AddrPort) *conn
		release(c *conn, reason string)
	}
	addresses interface { // which addresses are believed
		believable(a netip.AddrPort) bool
		forgetFailures()
		isMirror(e Endpoint) bool
		locate(a netip.Addr) Location
		mayDial(p *peer, e Endpoint) bool
		notAt(p *peer, a netip.AddrPort)
		triedFor(p *peer, a netip.AddrPort) bool
	}
	carriers interface { // TCP or a carrier
		answered(c *conn, to Endpoint, tries []Endpoint)
		ended(c *conn)
		stands(c *conn)
		takesTurn(p *peer) bool
		targets(p *peer) []Endpoint
		together(p *peer, queue []Endpoint) (now, later []Endpoint, timeout time.Duration)
	}
	relays interface { // relays and echoes
		answersEchoes(p *peer) bool
		askEcho(p *peer, e SendEcho, size int, timeout time.Duration, done func(echoed))
		inTalk() []*peer
		isDirect(p *peer) bool
		sweepTalking()
	}
}
