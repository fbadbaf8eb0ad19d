package mesh

import (
	"net/netip"
	"slices"
	"time"

	"tincan/internal/node"
)

// addresses judges the addresses at which nodes are said to be.
type addresses struct {
	*env
	*directory

	shared   bool                       // another node lives on this machine
	mirrors  map[Endpoint]time.Time     // addresses that have led to ourselves, until when that counts
	failedAt map[netip.AddrPort]failure // addresses at which nodes were not found

}

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
func (ad *addresses) leadsOut(a netip.AddrPort) bool {
	return usable(a) && ad.locate(a.Addr()) != Inside
}

// believable tells the same of an address that somebody else has told us.
func (ad *addresses) believable(a netip.AddrPort) bool {
	ip := a.Addr().Unmap()
	if ip.IsLoopback() && ad.isLocalOnly() {
		return usable(a)
	}
	if !usable(a) || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	switch ad.locate(ip) {
	case Inside:
		return false
	case Here:
		return ad.shared
	}
	return true
}

// isLocalOnly tells whether we listen at loopback addresses only.
func (ad *addresses) isLocalOnly() bool {
	return len(ad.cfg.Sockets) > 0 && !slices.ContainsFunc(ad.cfg.Sockets, func(a netip.AddrPort) bool { return !a.Addr().Unmap().IsLoopback() })
}

// mayProbe tells whether p may be looked for at a, which is believable or the place from which p is
// connected to us.
func (ad *addresses) mayProbe(p *peer, a netip.AddrPort) bool {
	if c := p.conn(); c != nil && c.where().IsValid() && c.where().Unmap() == a.Addr().Unmap() {
		return ad.leadsOut(a)
	}
	return ad.believable(a)
}

func (ad *addresses) locate(a netip.Addr) Location {
	if ad.deps.Locate == nil {
		return Elsewhere
	}
	return ad.deps.Locate(a.Unmap())
}

// arrived notes that a node has logged in from c's address.
func (ad *addresses) arrived(c *conn) {
	if ip := c.where().Unmap(); ip.IsValid() && !ip.IsLoopback() && ad.locate(ip) == Here {
		ad.shared = true
	}
	delete(ad.failedAt, c.remote)
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

// mayDial tells whether p may be dialled at e, which its host file names. What a name stands for is judged when that is known.
func (ad *addresses) mayDial(p *peer, e Endpoint) bool {
	a, ok := e.addrPort()
	switch {
	case !ok:
		return true
	case p.host().Told:
		return ad.believable(a)
	}
	return ad.locate(a.Addr()) != Inside
}

// isMirror tells whether an address has led to ourselves not long ago.
func (ad *addresses) isMirror(e Endpoint) bool { return ad.now.Before(ad.mirrors[e]) }

// failure is what became of attempts at an address.
type failure struct {
	node  node.Name // that was looked for last
	count int
	until time.Time
}

// notAt notes that p was not found at a.
func (ad *addresses) notAt(p *peer, a netip.AddrPort) {
	f, ok := ad.failedAt[a]
	if !ok && len(ad.failedAt) >= maxFailedAt {
		clear(ad.failedAt)
	}
	if f.node != p.name {
		f.count++
	}
	f.node = p.name
	f.until = ad.now.Add(min(longestElsewhere, firstElsewhere<<min(f.count-1, 10)))
	if ad.failedAt == nil {
		ad.failedAt = map[netip.AddrPort]failure{}
	}
	ad.failedAt[a] = f
}

// triedFor tells whether another node than p was looked for at a lately, in vain.
func (ad *addresses) triedFor(p *peer, a netip.AddrPort) bool {
	f, ok := ad.failedAt[a]
	return ok && f.node != p.name && ad.now.Before(f.until)
}

// ledBack notes that an endpoint, and the address that it stood for, have led back to ourselves.
func (ad *addresses) ledBack(e Endpoint, at netip.AddrPort) {
	if ad.mirrors == nil || len(ad.mirrors) >= maxMirrors {
		ad.mirrors = map[Endpoint]time.Time{}
	}
	ad.mirrors[e] = ad.now.Add(mirrorTime)
	ad.mirrors[endpointOf(at)] = ad.now.Add(mirrorTime)
}

// forgetFailures has all addresses tried again.
func (ad *addresses) forgetFailures() {
	clear(ad.mirrors)
	clear(ad.failedAt)
}
