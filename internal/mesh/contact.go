package mesh

import (
	"net/netip"
	"time"

	"tincan/internal/mesh/pmtu"
)

// restartUDP forgets how p was reached. at is where others see it, zero if that is not known.
func (p *peer) restartUDP(at netip.AddrPort) {
	p.paths.seenAt = at
	if p.contacted != nil {
		p.contacted.udp = newUDPPath(at)
	}
}

// addr is where p is reached by UDP, or may be; zero if that is not known.
func (p *peer) addr() netip.AddrPort {
	if p.contacted == nil {
		return p.paths.seenAt
	}
	return p.contacted.udp.addr
}

// confirmed tells whether p answers by UDP.
func (p *peer) confirmed() bool { return p.contacted != nil && p.contacted.udp.confirmed }

// unhidden tells whether datagrams to p are not hidden although they could be, if there is a choice.
func (p *peer) unhidden() bool { return p.contacted != nil && p.contacted.udp.plain }

// usable tells whether packets for p may go by UDP without a relay.
func (p *peer) usable() bool { return p.contacted != nil && p.contacted.udp.usable() }

// probeCounts is what has become of probes to p.
func (p *peer) probeCounts() (c ProbeCounts) {
	if p.contacted != nil {
		c = p.contacted.udp.counts
	}
	return c
}

// dead tells whether p has stopped to answer by UDP.
func (p *peer) dead() bool { return p.contacted != nil && p.contacted.udp.dead }

// idle tells whether p has answered by UDP, and was not asked since there was something to say.
func (p *peer) idle() bool { return p.contacted != nil && p.contacted.udp.idle }

// rtt is the round trip time by UDP, 0 if it is not known.
func (p *peer) rtt() time.Duration {
	if p.contacted == nil {
		return 0
	}
	return p.contacted.udp.rtt.Mean()
}

// mtus are the largest frame that routing may use, the largest one known to pass by UDP, and the largest one that may.
func (p *peer) mtus() (usable, least, most int) {
	if p.contacted == nil {
		return pmtu.MaxFrame, 0, pmtu.MaxFrame
	}
	u := &p.contacted.udp.pmtu
	return u.MTU(), u.Passes(), u.Most()
}

// fixedMTU is the largest frame that passes by UDP, 0 as long as that is being searched.
func (p *peer) fixedMTU() int {
	if p.contacted == nil || !p.contacted.udp.pmtu.Fixed() {
		return 0
	}
	return p.contacted.udp.pmtu.Passes()
}

// passes tells whether something is known to pass to p by UDP.
func (p *peer) passes() bool { return p.contacted != nil && p.contacted.udp.pmtu.Passes() > 0 }

// seemsToBeAt sets the address at which others see p.
func (p *peer) seemsToBeAt(at netip.AddrPort) {
	p.paths.seenAt = at
	if p.contacted != nil {
		p.contacted.udp.setAddr(at, -1)
	}
}

// lastActive is when there was traffic for p, or it was to be reached for other reasons.
func (p *peer) lastActive() time.Time { return p.paths.active }

// keepOpen has p looked after, as if there were traffic for it.
func (ps *paths) keepOpen(p *peer) {
	p.paths.active = ps.now
	ps.reschedule(p)
}

// sock is the index of the socket at which p is heard, -1 if that is not known.
func (p *peer) sock() int {
	if p.contacted == nil {
		return -1
	}
	return p.contacted.udp.sock
}

// udpState is what is told of the UDP path to p.
func (p *peer) udpState() udpState {
	if p.contacted == nil {
		return udpState{addr: p.paths.seenAt}
	}
	u := &p.contacted.udp
	return udpState{
		addr: u.addr, heard: u.heard, asked: !u.asked.IsZero(), alive: u.alive, rtt: u.rtt.Mean(), loss: u.loss,
		fixed: u.pmtu.Fixed(), narrow: u.pmtu.Narrow(), passes: u.pmtu.Passes(),
	}
}

// contact returns what there is, and begins it if there is nothing. Who only wants to know asks
// one of the methods below it.
func (p *peer) contact() *contact {
	if p.contacted == nil {
		p.contacted = &contact{udp: newUDPPath(p.paths.seenAt), relaying: newRelaying()}
	}
	return p.contacted
}

// pathState is what is kept of where a node is, also of one that we have nothing to do with.
type pathState struct {
	seenAt netip.AddrPort // where others see it by UDP
	active time.Time      // last traffic
}

// udp is how p is reached by UDP.
func (p *peer) udp() *udpPath { return &p.contact().udp }
