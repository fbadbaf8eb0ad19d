package mesh

import "net/netip"

// portFor is the port that the peer of c is to announce for us, together with the address
// from which it sees us. Behind a router that has opened a port for us that is the
// router's port, unless the peer is on our side of it.
func (l *links) portFor(c *conn) uint16 {
	if l.mappedPort == 0 || sameSide(c.local.Addr(), c.remote.Addr()) {
		return l.cfg.Port
	}
	return l.mappedPort
}

// private are the blocks of which a site uses one, as a rule (RFC 1918).
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
}

// sameSide tells whether no router translates addresses between the two, as far as one
// can see by them.
func sameSide(local, remote netip.Addr) bool {
	local, remote = local.Unmap(), remote.Unmap()
	if !remote.Is4() || !remote.IsGlobalUnicast() {
		return true // IPv6 is not translated
	}
	for _, p := range private {
		if p.Contains(local) && p.Contains(remote) {
			return true
		}
	}
	return false
}
