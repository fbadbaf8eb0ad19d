package mesh

import (
	"net/netip"
	"slices"
	"time"

	"tincan/internal/node"
)

// Location is where an address leads on this machine.
type Location uint8

// The locations.
const (
	Elsewhere Location = iota // to another machine, or not known
	Here                      // to this machine itself
	Inside                    // into the VPN: the route to it leaves by our own interface
)

// Nobody may make us connect to services of our own machine, or of its link, by naming their address
// as that of a node: what runs there takes a local connection for a friend's. And a
// path to a node that leads through the VPN is none: it would carry itself.
//
// What the operator has written into a host file is dialled, loopback too: several nodes may
// live on one machine. Where one of those has logged in from an address of this machine, other nodes at such
// addresses (not loopback) are believed to be there as well. And a node that listens at loopback addresses
// only can have no neighbours elsewhere.

// usable tells whether a is an address at which a node may be at all.
func usable(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// leadsOut tells whether a, which the operator has written or which the node itself was seen at,
// leads to another node by the underlay.
func (m *Mesh) leadsOut(a netip.AddrPort) bool {
	return usable(a) && m.locate(a.Addr()) != Inside
}

// believable tells the same of an address that somebody else has told us.
func (m *Mesh) believable(a netip.AddrPort) bool {
	ip := a.Addr().Unmap()
	if ip.IsLoopback() && m.isLocalOnly() {
		return usable(a)
	}
	if !usable(a) || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	switch m.locate(ip) {
	case Inside:
		return false
	case Here:
		return m.shared
	}
	return true
}

// isLocalOnly tells whether we listen at loopback addresses only.
func (m *Mesh) isLocalOnly() bool {
	return len(m.cfg.Sockets) > 0 && !slices.ContainsFunc(m.cfg.Sockets, func(a netip.AddrPort) bool { return !a.Addr().Unmap().IsLoopback() })
}

// mayProbe tells whether p may be looked for at a, which is believable or the place from which p is
// connected to us.
func (m *Mesh) mayProbe(p *peer, a netip.AddrPort) bool {
	if c := p.conn; c != nil && c.remote.IsValid() && c.remote.Addr().Unmap() == a.Addr().Unmap() {
		return m.leadsOut(a)
	}
	return m.believable(a)
}

func (m *Mesh) locate(a netip.Addr) Location {
	if m.deps.Locate == nil {
		return Elsewhere
	}
	return m.deps.Locate(a.Unmap())
}

// arrived notes that a node has logged in from c's address.
func (m *Mesh) arrived(c *conn) {
	if ip := c.remote.Addr().Unmap(); ip.IsValid() && !ip.IsLoopback() && m.locate(ip) == Here {
		m.shared = true
	}
	delete(m.failedAt, c.remote)
}

const (
	maxMirrors = 64
	mirrorTime = time.Hour
	// An address that others have told us, and at which some node was not found, is not tried for
	// another node for a while: one made-up address may be given for very many names.
	firstElsewhere   = 2 * time.Second
	longestElsewhere = time.Minute
	maxFailedAt      = 1024
)

// isMirror tells whether an address has led to ourselves not long ago.
func (m *Mesh) isMirror(e Endpoint) bool { return m.now.Before(m.mirrors[e]) }

// failure is what became of attempts at an address.
type failure struct {
	node  node.Name // that was looked for last
	count int
	until time.Time
}

// notAt notes that p was not found at a.
func (m *Mesh) notAt(p *peer, a netip.AddrPort) {
	f, ok := m.failedAt[a]
	if !ok && len(m.failedAt) >= maxFailedAt {
		clear(m.failedAt)
	}
	if f.node != p.name {
		f.count++
	}
	f.node = p.name
	f.until = m.now.Add(min(longestElsewhere, firstElsewhere<<min(f.count-1, 10)))
	if m.failedAt == nil {
		m.failedAt = map[netip.AddrPort]failure{}
	}
	m.failedAt[a] = f
}

// triedFor tells whether another node than p was looked for at a lately, in vain.
func (m *Mesh) triedFor(p *peer, a netip.AddrPort) bool {
	f, ok := m.failedAt[a]
	return ok && f.node != p.name && m.now.Before(f.until)
}

// ledBack notes that an endpoint, and the address that it stood for, have led back to ourselves.
func (m *Mesh) ledBack(e Endpoint, at netip.AddrPort) {
	if m.mirrors == nil || len(m.mirrors) >= maxMirrors {
		m.mirrors = map[Endpoint]time.Time{}
	}
	m.mirrors[e] = m.now.Add(mirrorTime)
	m.mirrors[endpointOf(at)] = m.now.Add(mirrorTime)
}

// forgetFailures has all addresses tried again.
func (m *Mesh) forgetFailures() {
	clear(m.mirrors)
	clear(m.failedAt)
}
