package mesh

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/mesh/pmtu"
	"tincan/internal/mesh/quality"
	"tincan/internal/mesh/timer"
	"tincan/internal/wire"
)

// udpPath is how a node is reached by UDP: its address, whether it works, and how
// large packets may be on it.
type udpPath struct {
	addr      netip.AddrPort
	sock      int // socket that addr was heard on, -1 unknown
	confirmed bool
	plain     bool // what is sent is not hidden, though it could be; until the path is confirmed, by turns
	pmtu      pmtu.Search
	toldMTU   int // what MTU_INFO said last
	toldAt    time.Time

	heard   []netip.AddrPort // other addresses that were reported, newest first
	extra   time.Time        // last probe to one of them out of turn
	asked   time.Time        // last probe request for discovery
	waiting bool             // a request is unanswered
	bursts  int              // discovery requests since the last confirmation
	burst   int              // how many of them are quick
	alive   time.Time        // last probe reply

	outstanding []outstanding // probes without an answer, oldest first
	rtt         quality.RTT
	loss        float64 // share of small probes that are lost, while the path lives
	counts      ProbeCounts
	suspicion   suspicion
	lastProbed  time.Time // last small probe of the peer
	largeAt     time.Time // when large frames were sent last
	largeSends  int       // how often, in the quarter of a second before
	largest     int       // the largest of them, in bytes of frame, at largestAt
	largestAt   time.Time
	proving     time.Time // last probe that asked whether they pass
	passed      time.Time // when one of that size passed last
	lacking     time.Time // first probe about it since then, zero: none
	base        quality.Floor
	smallSizes  int       // of small probes: the next one has so much more than the least
	dead        bool      // given up, and not confirmed since
	idle        bool      // and not asked since
	gaveUp      time.Time // when that was, or backoff was lowered
	backoff     int       // how many more probes than the loss suggests, as a power of two
	resume      resume
	jitter      time.Duration // by how much the next probe of discovery is late
	search      *timer.Timer  // next step of the MTU search
	opening     opening
}

// told is when we told a node what it should know, last.
type told struct {
	udpInfo time.Time // an UDP_INFO that we originated towards it
	mtuInfo time.Time
}

const (
	minProbe      = 18 // smallest probe, in bytes of frame
	maxHeard      = 4
	maxCandidates = 8
	maxListed     = 64
	// quickBursts discovery requests follow each other at quickInterval, before the
	// configured interval holds: both ends need a few tries to open a NAT.
	quickBursts   = 4
	quickInterval = 300 * time.Millisecond
	// hopefulBursts requests to a neighbour that has nothing to say follow each other at the
	// configured interval, the others as seldom as if it were known to answer.
	hopefulBursts = 50
	// extraInterval is the least time between probes to reported addresses: whoever
	// reports them must not make us send at will.
	extraInterval = 200 * time.Millisecond
	// searchWait is how long the probes of an MTU search have for their answers at least.
	searchWait = 60 * time.Millisecond
	// keepTrying is how long after the last packet a node counts as talked to.
	keepTrying = 10 * time.Second
)

// newUDPPath begins with the address at which others see the peer, zero if that is not known.
func newUDPPath(at netip.AddrPort) udpPath {
	r := udpPath{sock: -1, pmtu: pmtu.New(), burst: quickBursts}
	if at.IsValid() {
		r.setAddr(at, -1)
	}
	return r
}

// setAddr sets the address, which is then unconfirmed.
func (r *udpPath) setAddr(a netip.AddrPort, sock int) {
	r.addr, r.sock, r.confirmed = a, sock, false
	r.pmtu.Reset()
	r.suspicion = suspicion{}
	r.probeNow()
}

// confirm takes a as the address that works. The search for the MTU begins again
// if it is another one.
func (r *udpPath) confirm(now time.Time, a netip.AddrPort, sock int, plain bool) {
	if r.addr != a {
		r.pmtu.Reset()
		r.rtt, r.loss, r.base = quality.RTT{}, 0, quality.Floor{}
	}
	r.opening.end()
	r.resumed(now, a)
	r.addr = a
	r.sock = sock
	r.plain = plain
	r.confirmed = true
	r.idle = false
	r.bursts = 0
	r.alive = now
	r.suspicion, r.burst = suspicion{}, quickBursts
}

// usable tells whether packets take it. Small ones that pass are not enough.
func (r *udpPath) usable() bool { return r.confirmed && r.pmtu.Passes() > 0 && !r.pmtu.Narrow() }

// probeNow makes the next discovery request go out at once.
func (r *udpPath) probeNow() { r.asked, r.bursts = time.Time{}, 0 }

// note remembers an address that might work.
func (r *udpPath) note(a netip.AddrPort) {
	if !a.IsValid() {
		return
	}
	if i := slices.Index(r.heard, a); i >= 0 {
		r.heard = slices.Delete(r.heard, i, i+1)
	}
	r.heard = slices.Insert(r.heard, 0, a)
	if len(r.heard) > maxHeard {
		r.heard = r.heard[:maxHeard]
	}
}

// told takes a, at which others see the peer, as its address. It reports whether that is another one.
func (r *udpPath) told(a netip.AddrPort) bool {
	if r.addr == a {
		return false
	}
	r.note(r.addr)
	r.addr, r.sock = a, -1
	return true
}

// try does what is needed so that p can be reached: a session, a UDP path, its
// MTU. It is called with traffic for p and, for neighbours, when something is due (tinc 1.1 9.2: each second).
func (ps *paths) try(p *peer, mtu bool) { ps.tryThrough(p, mtu, maxRelays) }

// maxRelays is how many relays on the way are looked after. The graph, which anybody can
// draw, could have us go in circles.
const maxRelays = 4

func (ps *paths) tryThrough(p *peer, mtu bool, relays int) {
	if p == ps.self || !p.reachable() || relays < 0 {
		return
	}
	via := ps.reach.effectiveVia(p)
	if p.session().hopByHop() && via != nil && via != p { // it gets the packets as if they were its own
		ps.tryThrough(via, mtu, relays-1)
		return
	}
	ps.reschedule(p)
	p.session().begin()
	if via == nil || ps.cfg.TCPOnly || p.path().Options&wire.TCPOnly != 0 {
		// tinc makes no session in this case, but as a relay it passes packets on
		// only to nodes that it has a session with.
		return
	}
	if via != p {
		if via.minor() >= 4 {
			ps.tryThrough(via, mtu, relays-1)
		}
		return
	}
	ps.discover(p)
	if mtu {
		ps.searchMTU(p)
	}
	if !p.confirmed() && p.conn() == nil {
		if next := ps.nodes[p.path().NextHop]; next != nil && next != p && (p.session().hopByHop() || next.minor() >= 4) {
			ps.tryThrough(next, mtu, relays-1)
		}
	}
}

// discover sends probe requests to p when they are due.
func (ps *paths) discover(p *peer) {
	r := p.udp()
	if !p.session().ready() || ps.cfg.NoUDPDiscovery || formsOf(ps.env, p).now() == noForm {
		return
	}
	if !r.asked.IsZero() && ps.now.Sub(r.asked) < ps.discoverEvery(p) {
		return
	}
	r.asked, r.waiting, r.idle = ps.now, true, false
	r.jitter = probeJitter(ps.env, p)
	if r.confirmed {
		ps.probe(p, r.addr, minProbe)
		if f := formsOf(ps.env, p); f.choice() && f.best() != f.now() {
			ps.probeAs(f.best(), p, r.addr, minProbe)
		}
	} else {
		r.bursts++
		formsOf(ps.env, p).takeTurns()
		ps.askEverywhere(p)
	}
	if !r.confirmed && r.bursts < r.burst {
		ps.after(quickInterval, func() {
			if p.reachable() && !p.confirmed() {
				ps.discover(p)
			}
		})
	}
}

// discoverEvery is the time between two requests of discovery to p.
func (ps *paths) discoverEvery(p *peer) time.Duration {
	interval := ps.cfg.UDPDiscoveryInterval
	switch r := p.udp(); {
	case r.confirmed:
		return ps.cfg.UDPDiscoveryKeepalive + r.jitter
	case r.bursts < r.burst:
		return min(interval, quickInterval)
	case r.bursts >= hopefulBursts && ps.now.Sub(p.paths.active) >= keepTrying: // nobody waits for it
		return max(interval, ps.cfg.UDPDiscoveryKeepalive) + r.jitter
	}
	return interval + p.udp().jitter
}

// seek looks for p at all places where it may be, now.
func (ps *paths) seek(p *peer) {
	if p.conn() != nil || p.confirmed() || ps.now.Sub(p.paths.active) < keepTrying {
		p.udp().probeNow()
		ps.discover(p)
	}
}

// probe sends a request of the given size.
func (ps *paths) probe(p *peer, to netip.AddrPort, size int) {
	ps.probeAs(formsOf(ps.env, p).now(), p, to, size)
}

// probeAs is probe in another form.
func (ps *paths) probeAs(f form, p *peer, to netip.AddrPort, size int) {
	if f == noForm || !ps.addresses.mayProbe(p, to) {
		return
	}
	sock := -1
	if to == p.udp().addr {
		sock = p.udp().sock
	}
	size = max(size, p.session().minProbe())
	p.udp().probeSent(ps.now, to, size, f)
	ps.emit(SendProbe{Node: p.name, Addr: to, Sock: sock, Mask: p.maskAs(f), Data: probeRequest(ps.deps.Rand, size)})
}

// probeRequest is a request of the given size.
func probeRequest(r *rand.Rand, size int) []byte {
	random := make([]byte, size-14)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	return wire.AppendProbeRequest(nil, size, random)
}

// candidates are the addresses at which p may be found: the current one, those
// reported by others, those in the edges of its neighbours, and its local ones.
func (ps *paths) candidates(p *peer) []netip.AddrPort {
	var out []netip.AddrPort
	add := func(a netip.AddrPort) {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if ps.addresses.mayProbe(p, a) && !slices.Contains(out, a) && len(out) < maxListed {
			out = append(out, a)
		}
	}
	add(p.udp().addr)
	for _, a := range p.udp().heard {
		add(a)
	}
	sure := len(out)
	for e := range ps.graph.From(p.name) {
		if back, ok := ps.graph.Get(e.To, p.name); ok {
			if a, ok := back.Addr.Addr(); ok {
				add(a)
			}
		}
		if !ps.cfg.NoLocalDiscovery {
			if a, ok := e.Local.Addr(); ok {
				add(a)
			}
		}
	}
	if len(out) > maxCandidates { // some of what the edges say, others the next time
		rest := out[sure:]
		ps.deps.Rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		out = out[:maxCandidates]
	}
	// The first answer counts. Between paths that are as quick as each other, that is the
	// one that was asked first: no NAT forgets about IPv6.
	slices.SortStableFunc(out[sure:], func(a, b netip.AddrPort) int { return b.Addr().BitLen() - a.Addr().BitLen() })
	return out
}

// searchMTU takes a step of the path MTU search.
func (ps *paths) searchMTU(p *peer) {
	r := p.udp()
	if p.path().Options&wire.PMTUDiscovery == 0 || !p.session().ready() {
		return
	}
	if !r.confirmed {
		if !ps.cfg.NoUDPDiscovery && r.pmtu.Passes() != 0 {
			r.pmtu.Reset()
			ps.touch(p)
		}
		return
	}
	wait := r.rtt.Answer(searchWait)
	tries := max(2, r.tries()/2)
	for _, size := range r.pmtu.Step(ps.now, wait, tries, ps.cfg.PingInterval, func() int { return ps.routeMTU(p) }, ps.overhead(p)) {
		if size == r.pmtu.Passes() && r.pmtu.Fixed() {
			ps.proveSize(p)
			continue
		}
		ps.probe(p, r.addr, size)
	}
	ps.touch(p)
	ps.timers.Cancel(r.search)
	if r.pmtu.Searching() {
		r.search = ps.after(wait, func() {
			if p.reachable() && p.confirmed() {
				ps.searchMTU(p)
			}
		})
	}
}

// overhead is what a datagram with a frame for p has more than the frame, headers
// of IP and UDP included. It is only exact for SPTPS, and only a hint.
func (ps *paths) overhead(p *peer) int {
	const big = 2000
	return big - ps.frameIn(p, big)
}

// routeMTU is the largest frame for p that the kernel's route promises, 0 if unknown.
func (ps *paths) routeMTU(p *peer) int {
	if ps.deps.RouteMTU == nil {
		return 0
	}
	addr := p.udp().addr.Addr()
	mtu := ps.deps.RouteMTU(addr)
	if mtu < pmtu.MinFrame {
		return 0
	}
	return ps.frameIn(p, mtu)
}

// frameIn is the largest frame for p in an IP packet of so many bytes.
func (ps *paths) frameIn(p *peer, mtu int) int {
	const ip4, ip6, udp = 20, 40, 8
	ip := ip4
	if p.udp().addr.Addr().Is6() {
		ip = ip6
	}
	return p.session().largestFrame(mtu - ip - udp)
}

func (ps *paths) probeIn(e ProbeIn) {
	p := ps.nodes[e.Node]
	if p == nil || !p.reachable() || p == ps.self {
		return
	}
	pr, err := wire.ParseProbe(e.Data)
	if err != nil {
		ps.logf(5, Debug, "bad probe from %s: %v", p.name, err)
		return
	}
	if !e.Direct || !usable(e.Addr) { // probes are not relayed
		return
	}
	r := p.udp()
	if pr.Kind == wire.ProbeRequest {
		// The answer goes to where the request came from, which is news about
		// the peer's address if ours does not work.
		if f := formsOf(ps.env, p).reply(formOf(e.Masked)); f != noForm {
			ps.emit(SendProbe{Node: p.name, Addr: e.Addr, Sock: e.Sock, Mask: p.maskAs(f), Data: wire.AppendProbeReply(nil, p.minor(), e.Data)})
		}
		if !r.confirmed {
			ps.newAddress(p, e.Addr)
		} else if len(e.Data) < largeSize {
			ps.probedBySuspect(p, formOf(e.Masked))
		}
		return
	}
	r.waiting = false
	as := formOf(e.Masked)
	inUse := r.addr == e.Addr && (!r.confirmed || as == formsOf(ps.env, p).now())
	r.probeAnswered(ps.now, e.Addr, pr.Size, as)
	ps.confirmAlive(p, inUse, e.Addr, e.Sock, pr.Size, as)
	switch {
	case !r.confirmed || !inUse && ps.now.Sub(r.alive) > ps.cfg.UDPDiscoveryKeepalive+ps.cfg.UDPDiscoveryInterval,
		r.addr == e.Addr && !inUse && as == formsOf(ps.env, p).best():
		ps.confirm(p, e.Addr, e.Sock, as)
	case inUse:
		r.alive = ps.now
	default:
		return // another of the probed addresses works too
	}
	if pr.Size >= largeSize && pr.Size >= r.inUse(ps.now) {
		r.passed, r.lacking = ps.now, time.Time{}
	}
	r.pmtu.Answered(ps.now, min(pr.Size, pmtu.MaxFrame))
	ps.touch(p)
	if ps.now.Sub(p.paths.active) < keepTrying || p.conn() != nil {
		ps.searchMTU(p)
	}
}

// confirm takes note that p answers at a.
func (ps *paths) confirm(p *peer, a netip.AddrPort, sock int, as form) {
	p.udp().confirm(ps.now, a, sock, as == plainForm)
	if f := formsOf(ps.env, p); f.choice() && f.best() != as {
		ps.carriers.noteForm(p, as)
	} else {
		ps.carriers.noteForm(p, noForm)
	}
	ps.touch(p)
	ps.logf(2, Info, "%s is reached directly by %s at %s", p.name, formsOf(ps.env, p).now(), a)
	if p.conn() == nil {
		return
	}
	if e, ok := ps.graph.Get(ps.cfg.Name, p.name); ok { // where it can be dialled again
		if dial, ok := e.Addr.Addr(); ok {
			ps.keyring.remember(p, dial)
		}
	}
}

// newAddress takes note of an address at which p may be reached, and tries it.
func (ps *paths) newAddress(p *peer, a netip.AddrPort) {
	if !ps.addresses.mayProbe(p, a) || p.udp().addr == a && p.confirmed() {
		return
	}
	known := slices.Contains(p.udp().heard, a)
	p.udp().note(a)
	if !known && p.session().ready() && ps.now.Sub(p.udp().extra) >= extraInterval {
		p.udp().extra = ps.now
		ps.probe(p, a, minProbe)
		if p.udp().asked.IsZero() || !p.udp().waiting {
			p.udp().asked, p.udp().waiting = ps.now, true
		}
	}
}

// heardFrom: authentic packets of p come from an address that we do not use. It is
// asked before it is believed.
func (ps *paths) heardFrom(e HeardFrom) {
	p := ps.nodes[e.Node]
	if p == nil || !p.reachable() || p == ps.self {
		return
	}
	ps.moved(p, e.Addr, e.Sock)
}

// moved asks p, which seems to be found at addr now, both there and at its old address.
func (ps *paths) moved(p *peer, addr netip.AddrPort, sock int) {
	if !ps.addresses.mayProbe(p, addr) {
		return
	}
	r := p.udp()
	r.note(addr)
	if !p.session().ready() || ps.now.Sub(r.extra) < extraInterval {
		return
	}
	r.extra = ps.now
	ps.probe(p, addr, minProbe)
	if r.confirmed && r.addr != addr {
		ps.suspect(p, false, false)
	}
}

func (ps *paths) tooLong(e TooLong) {
	if p := ps.nodes[e.Node]; p != nil && p != ps.self {
		p.udp().pmtu.TooLong(ps.now, e.Size)
		ps.touch(p)
		if p.confirmed() {
			ps.searchMTU(p)
		}
	}
}

func (ps *paths) traffic(e Traffic) {
	p := ps.nodes[e.Node]
	if p == nil || p == ps.self || !p.reachable() {
		return
	}
	ps.keepOpen(p)
	ps.try(p, true)
	if hop := ps.nodes[p.path().NextHop]; hop != nil && !p.usable() {
		ps.keepOpen(hop)
		if !hop.usable() {
			ps.links.carries(hop.conn())
		}
	}
	ps.relays.talkingTo(p)
	ps.dialer.used(p)
}

// lookEvery is the least time between two turns of checkPeers, and what it is while there is traffic.
const lookEvery = time.Second

// checkPeers looks after the neighbours and the paths in use.
func (ps *paths) checkPeers() {
	ps.mayLook = ps.now.Add(lookEvery + ps.jitter(turnJitter))
	var next time.Time
	for _, p := range ps.order {
		if p != ps.self && p.reachable() {
			ps.checkPeer(p)
			next = earlier(next, ps.due(p))
		}
	}
	ps.lookBy(next)
}

func (ps *paths) checkPeer(p *peer) {
	inUse := p.conn() != nil || ps.now.Sub(p.paths.active) < keepTrying
	if p.contacted == nil && !inUse {
		p.session().check()
		return
	}
	switch r := p.udp(); {
	case !r.confirmed || ps.now.Sub(r.alive) < ps.cfg.UDPDiscoveryTimeout:
	case inUse:
		ps.giveUpUDP(p)
	default:
		ps.goIdle(p)
	}
	ps.forgetToldMTU(p)
	p.session().check()
	if inUse {
		ps.try(p, true)
	}
}

// plan has checkPeers run when something is due at one of those for which that may have changed.
func (ps *paths) plan() {
	var next time.Time
	for p := range ps.unplanned {
		next = earlier(next, ps.due(p))
	}
	clear(ps.unplanned)
	ps.lookBy(next)
}

// lookBy has checkPeers run when something is due; zero: nothing is.
func (ps *paths) lookBy(due time.Time) {
	if !due.IsZero() {
		ps.by(&ps.look, later(due, ps.mayLook), ps.checkPeers)
	}
}

// due is when checkPeer has something to do, zero if that depends on what happens. As long as there is traffic
// for p, and not yet a direct path by UDP, that is always.
func (ps *paths) due(p *peer) (at time.Time) {
	if ps.nodes[p.name] != p || p == ps.self || !p.reachable() {
		return at
	}
	active := ps.now.Sub(p.paths.active) < keepTrying
	if active && !(p.usable() && ps.reach.effectiveVia(p) == p) {
		return ps.now
	}
	at = p.session().checkDue()
	if p.contacted != nil {
		r := p.udp()
		if r.confirmed {
			at = earlier(at, r.alive.Add(ps.cfg.UDPDiscoveryTimeout))
		}
		if !r.toldAt.IsZero() {
			at = earlier(at, r.toldAt.Add(toldMTUFor))
		}
	}
	if active || p.conn() != nil {
		at = earlier(at, ps.tryDue(p))
	}
	return at
}

// tryDue is when try has something to do for p, with which we have a connection.
func (ps *paths) tryDue(p *peer) time.Time {
	at := p.session().beginDue()
	via := ps.reach.effectiveVia(p)
	if via == nil || ps.cfg.TCPOnly || p.path().Options&wire.TCPOnly != 0 {
		return at
	}
	if via != p { // what is to be done for that one is not known in advance
		return earlier(at, ps.now.Add(ps.cfg.UDPDiscoveryKeepalive))
	}
	if !p.session().ready() {
		return at
	}
	r := p.udp()
	if !ps.cfg.NoUDPDiscovery && formsOf(ps.env, p).now() != noForm {
		at = earlier(at, later(r.asked.Add(ps.discoverEvery(p)), ps.now))
	}
	if r.confirmed && p.path().Options&wire.PMTUDiscovery != 0 && !r.search.Waiting() {
		at = earlier(at, later(r.pmtu.Due(), ps.now))
	}
	return at
}

// ---------------------------------------------------------------- UDP_INFO, MTU_INFO

func (ps *paths) cameIndirectly(e CameIndirectly) {
	p, hop := ps.nodes[e.Node], ps.nodes[e.Hop]
	if p == nil || !p.reachable() {
		return
	}
	if p.confirmed() && (e.TCP || e.Hop != e.Node) && ps.now.Sub(p.udp().alive) > suspectInterval {
		ps.suspect(p, false, false) // it does not reach us directly: do we reach it?
	}
	if e.TCP || p.path().Via != e.Hop {
		ps.udpInfoTo(p)
	}
	if e.TCP {
		if hop != nil {
			ps.dialer.cameOver(hop.conn())
		}
		ps.mtuInfoTo(p)
	} else if hop != nil {
		ps.mtuInfoTo(hop)
	}
}

// relayed: as a static relay tell the sender where we see it, and keep the
// path to the destination open.
func (ps *paths) relayed(e Relayed) {
	from, to := ps.nodes[e.From], ps.nodes[e.To]
	if from == nil || to == nil || to == ps.self || !to.reachable() {
		return
	}
	if to.path().Via == ps.cfg.Name && from.reachable() {
		ps.udpInfoTo(from)
	}
	ps.keepOpen(to)
	ps.dialer.used(from)
	ps.dialer.used(to)
	if c := ps.reach.nextHopConn(from); c != nil && !ps.relays.answersEchoes(from) {
		ps.dialer.cameOver(c) // as from chooses no relay it may have come over it, though we reach from by UDP
	}
	ps.try(to, true)
	if ps.cfg.Echoes && from.reachable() && from.conn() == nil { // we take packets only from addresses that answer us
		ps.try(from, false)
	}
}

// udpInfoTo originates UDP_INFO about ourselves towards p (tinc 1.1 5.11).
func (ps *paths) udpInfoTo(p *peer) {
	if p == ps.self || !p.reachable() || p.session().hopByHop() {
		return
	}
	dest := ps.reach.effectiveVia(p)
	if dest == nil || dest.conn() != nil || !dest.contact().told.udpInfo.IsZero() && ps.now.Sub(dest.contact().told.udpInfo) < ps.cfg.UDPInfoInterval {
		return
	}
	dest.contact().told.udpInfo = ps.now
	ps.sendUDPInfo(nil, ps.self, p)
}

// sendUDPInfo sends UDP_INFO about from on its way to to. c is where it came from, nil if it is ours.
func (ps *paths) sendUDPInfo(c *conn, from, to *peer) {
	dest := ps.reach.effectiveVia(to)
	if dest == nil || dest == ps.self || !dest.reachable() {
		return
	}
	next := ps.nodes[dest.path().NextHop]
	if ps.cfg.TCPOnly || (from.path().Options|dest.path().Options)&wire.TCPOnly != 0 || next == nil || next.conn() == nil || next.minor() < 5 {
		return
	}
	addr := from.addr()
	if from == ps.self { // the first hop puts in what it sees
		addr = netip.AddrPortFrom(next.conn().local.Addr(), ps.cfg.Port)
	}
	ps.reach.pass(c, dest, string(wire.UDPInfo{From: from.name, To: dest.name, Addr: wire.AddressOf(addr)}.Append(nil)))
}

func (ps *paths) gotUDPInfo(c *conn, text string) error {
	r, err := wire.ParseUDPInfo(text)
	if err != nil {
		return err
	}
	from, to := ps.nodes[r.From], ps.nodes[r.To]
	if from == nil || to == nil || from == ps.self || from.path().Via != from.name {
		return nil
	}
	// A node of tinc 1.0 sends no such thing, and may be sent packets at an address that nobody has tried.
	if a, ok := r.Addr.Addr(); ok && !from.session().hopByHop() && from.conn() == nil && !from.confirmed() && ps.addresses.believable(a) {
		if from.udp().told(a) { // also for those that we pass the news on to
			ps.touch(from)
		}
		ps.toldAddress(from, a)
	}
	if to != ps.self {
		ps.sendUDPInfo(c, from, to)
	}
	return nil
}

// mtuInfoTo originates MTU_INFO towards p (tinc 1.1 5.12).
func (ps *paths) mtuInfoTo(p *peer) {
	if p == ps.self || !p.reachable() || p.session().hopByHop() || p.conn() != nil || !p.contact().told.mtuInfo.IsZero() && ps.now.Sub(p.contact().told.mtuInfo) < ps.cfg.MTUInfoInterval {
		return
	}
	p.contact().told.mtuInfo = ps.now
	ps.sendMTUInfo(nil, ps.self, p, pmtu.MaxFrame)
}

// sendMTUInfo sends MTU_INFO about from on its way to to. c is where it came from, nil if it is ours.
func (ps *paths) sendMTUInfo(c *conn, from, to *peer, mtu int) {
	if to == ps.self || !to.reachable() {
		return
	}
	next := ps.nodes[to.path().NextHop]
	if next == nil || next.conn() == nil || next.minor() < 6 {
		return
	}
	if from != ps.self {
		via := ps.reach.effectiveVia(from)
		switch {
		case via == nil:
			return
		case from.path().Via == ps.cfg.Name && from.fixedMTU() > 0:
			mtu = from.fixedMTU()
		case via.fixedMTU() > 0:
			mtu = min(mtu, via.fixedMTU())
		default:
			if h := ps.nodes[via.path().NextHop]; h != nil && h.fixedMTU() > 0 {
				mtu = min(mtu, h.fixedMTU())
			}
		}
	}
	ps.reach.pass(c, to, string(wire.MTUInfo{From: from.name, To: to.name, MTU: max(mtu, pmtu.MinFrame)}.Append(nil)))
}

func (ps *paths) gotMTUInfo(c *conn, text string) error {
	told, err := wire.ParseMTUInfo(text)
	if err != nil {
		return err
	}
	from, to := ps.nodes[told.From], ps.nodes[told.To]
	if from == nil || to == nil || from == ps.self {
		return nil
	}
	if r := from.udp(); !r.pmtu.Fixed() {
		mtu := told.MTU
		if !ps.keyring.leadsTo(c, from) { // two nodes need not choose the same path, but anybody can say it
			mtu = max(mtu, minToldMTU)
		}
		r.pmtu.Told(mtu)
		r.toldMTU, r.toldAt = mtu, ps.now
		ps.touch(from)
	}
	if to != ps.self {
		ps.sendMTUInfo(c, from, to, told.MTU)
	}
	return nil
}

const (
	// minToldMTU is the smallest MTU that is believed of a node when it does not come over the connection that leads
	// to it: a packet of IPv6 passes, which every link has to carry.
	minToldMTU = 1280 + 14
	// toldMTUFor is how long an MTU that was told counts. It is told again every few seconds while there is traffic.
	toldMTUFor = time.Minute
)

// forgetToldMTU goes back to the default when an MTU that was told has not been repeated.
func (ps *paths) forgetToldMTU(p *peer) {
	r := p.udp()
	if r.toldAt.IsZero() || ps.now.Sub(r.toldAt) < toldMTUFor {
		return
	}
	if !r.pmtu.Fixed() && r.pmtu.MTU() == r.toldMTU {
		r.pmtu.Told(pmtu.MaxFrame)
		ps.touch(p)
	}
	r.toldAt, r.toldMTU = time.Time{}, 0
}

// seekAll looks for all nodes with which there is something to talk about, now.
func (ps *paths) seekAll() {
	for _, p := range ps.order {
		if p != ps.self && p.reachable() && p.session().ready() {
			ps.seek(p)
		}
	}
}
