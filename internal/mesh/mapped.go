package mesh

import "net/netip"

// portFor is the port that the peer of c shall announce for us, together with the address
// from which it sees us. Behind a router that has opened a port for us that is the
// router's port, unless the peer is on our side of it.
func (m *Mesh) portFor(c *conn) uint16 {
	if m.mappedPort == 0 || inside(c.remote.Addr()) {
		return m.cfg.Port
	}
	return m.mappedPort
}

// inside tells whether a is in our own network rather than in the internet, or unknown.
func inside(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() // IPv6 is not translated
}
