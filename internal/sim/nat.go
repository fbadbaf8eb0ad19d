package sim

import (
	"net/netip"
	"time"

	"tincan/internal/mesh"
)

// tracked is what a NAT without a firewall knows about the datagrams between its host and a peer.
type tracked struct {
	last    time.Time // last datagram
	unasked bool      // the first one came from outside
	moved   bool      // the host has sent since then, and got another port
}

// trackedFor is how long Linux remembers a datagram that was not answered.
const trackedFor = 30 * time.Second

// track returns what h's NAT knows about addr, and nothing if it has forgotten it.
func (h *Host) track(addr netip.AddrPort) tracked {
	t := h.tracked[addr]
	if h.w.Now.Sub(t.last) > trackedFor {
		return tracked{}
	}
	return t
}

// leave takes a datagram for addr through h's NAT. same is false if it does not come from where the world
// sees h.
func (h *Host) leave(addr netip.AddrPort) (same bool) {
	if !h.NAT.IsValid() {
		return true
	}
	if !h.NoFirewall {
		h.opened[addr] = true
		return true
	}
	t := h.track(addr)
	t.moved, t.last = t.unasked, h.w.Now
	h.tracked[addr] = t
	return !t.moved
}

// letsIn tells whether h's NAT lets in a datagram of a host that is seen at from; same is false if
// it comes from elsewhere.
func (h *Host) letsIn(from netip.AddrPort, same bool) bool {
	switch {
	case !same:
		return false // whoever it is, nothing was sent there
	case !h.NoFirewall:
		return h.opened[from]
	}
	t := h.track(from)
	switch {
	case t.last.IsZero():
		t.unasked = true
	case !t.unasked:
		return true
	}
	t.last = h.w.Now
	h.tracked[from] = t
	return false
}

// diesOnTheWay tells whether a probe does not live long enough to arrive, and has passed only its own NAT.
func (h *Host) diesOnTheWay(e mesh.SendProbe) bool {
	if e.TTL == 0 {
		return false
	}
	h.leave(e.Addr)
	return true
}
