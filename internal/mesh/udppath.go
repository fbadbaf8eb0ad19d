package mesh

import (
	"net/netip"
	"slices"
	"time"

	"tincan/internal/wire"
)

// udpPath is how a node is reached by UDP: its address, whether it works, and how
// large packets may be on it.
type udpPath struct {
	addr      netip.AddrPort
	sock      int // socket that addr was heard on, -1 unknown
	confirmed bool
	pmtu      pmtu
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
	rtt         estimate
	loss        float64 // share of small probes that are lost, while the path lives
	suspicion   suspicion
	lastProbed  time.Time // last small probe of the peer
	largeAt     time.Time // when large frames were sent last
	largeSends  int       // how often, in the quarter of a second before
	largest     int       // the largest of them, in bytes of frame, at largestAt
	largestAt   time.Time
	proving     time.Time // last question whether they pass
	passed      time.Time // when one of that size passed last
	lacking     time.Time // first question about it since then, zero: none
	base        base
	smallSizes  int       // of small probes: the next one has so much more than the least
	dead        bool      // given up, and not confirmed since
	idle        bool      // and not asked since
	gaveUp      time.Time // when that was, or backoff was lowered
	backoff     int       // how much more patience than the loss suggests, as a power of two
	resume      resume
	search      *timer // next step of the MTU search
	opening     opening
}

// told is when we told a node what it should know, last.
type told struct {
	udpInfo time.Time // an UDP_INFO that we originated towards it
	mtuInfo time.Time
}

const (
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
	r := udpPath{sock: -1, pmtu: newPMTU(), burst: quickBursts}
	if at.IsValid() {
		r.setAddr(at, -1)
	}
	return r
}

// setAddr sets the address, which is then unconfirmed.
func (r *udpPath) setAddr(a netip.AddrPort, sock int) {
	r.addr, r.sock, r.confirmed = a, sock, false
	r.pmtu.reset()
	r.suspicion = suspicion{}
	r.probeNow()
}

// confirm takes a as the address that works. The search for the MTU begins again
// if it is another one.
func (r *udpPath) confirm(now time.Time, a netip.AddrPort, sock int) {
	if r.addr != a {
		r.pmtu.reset()
		r.rtt, r.loss, r.base = estimate{}, 0, base{}
	}
	r.opening.end()
	r.resumed(now, a)
	r.addr = a
	r.sock = sock
	r.confirmed = true
	r.idle = false
	r.bursts = 0
	r.alive = now
	r.suspicion, r.burst = suspicion{}, quickBursts
}

// usable tells whether packets take it. Small ones that pass are not enough.
func (r *udpPath) usable() bool { return r.confirmed && r.pmtu.min > 0 && !r.pmtu.narrow }

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
// MTU. It is called with traffic for p and, for neighbours, once a second (tinc 1.1 9.2).
func (m *Mesh) try(p *peer, mtu bool) { m.tryThrough(p, mtu, maxRelays) }

// maxRelays is how many relays on the way are looked after. The graph, which anybody can
// draw, could have us go in circles.
const maxRelays = 4

func (m *Mesh) tryThrough(p *peer, mtu bool, relays int) {
	if p == m.self || !p.reachable || relays < 0 {
		return
	}
	via := m.effectiveVia(p)
	if p.session.hopByHop() && via != nil && via != p { // it gets the packets as if they were its own
		m.tryThrough(via, mtu, relays-1)
		return
	}
	p.session.begin()
	if via == nil || m.cfg.TCPOnly || p.path.Options&wire.TCPOnly != 0 {
		// tinc makes no session in this case, but as a relay it passes packets on
		// only to nodes that it has a session with.
		return
	}
	if via != p {
		if via.minor() >= 4 {
			m.tryThrough(via, mtu, relays-1)
		}
		return
	}
	m.discover(p)
	if mtu {
		m.searchMTU(p)
	}
	if !p.confirmed() && p.conn == nil {
		if next := m.nodes[p.path.NextHop]; next != nil && next != p && (p.session.hopByHop() || next.minor() >= 4) {
			m.tryThrough(next, mtu, relays-1)
		}
	}
}

// discover sends probe requests to p when they are due.
func (m *Mesh) discover(p *peer) {
	r := p.udp()
	if !p.session.ready() || m.cfg.NoUDPDiscovery {
		return
	}
	interval := m.cfg.UDPDiscoveryInterval
	switch {
	case r.confirmed:
		interval = m.cfg.UDPDiscoveryKeepalive
	case r.bursts < r.burst:
		interval = min(interval, quickInterval)
	case r.bursts >= hopefulBursts && m.now.Sub(p.active) >= keepTrying: // nobody waits for it
		interval = max(interval, m.cfg.UDPDiscoveryKeepalive)
	}
	if !r.asked.IsZero() && m.now.Sub(r.asked) < interval {
		return
	}
	r.asked, r.waiting, r.idle = m.now, true, false
	if r.confirmed {
		m.probe(p, r.addr, minProbe)
	} else {
		r.bursts++
		m.askEverywhere(p)
	}
	if !r.confirmed && r.bursts < r.burst {
		m.after(quickInterval, func() {
			if p.reachable && !p.confirmed() {
				m.discover(p)
			}
		})
	}
}

// seek looks for p at all places where it may be, now.
func (m *Mesh) seek(p *peer) {
	if p.conn != nil || p.confirmed() || m.now.Sub(p.active) < keepTrying {
		p.udp().probeNow()
		m.discover(p)
	}
}

// probe sends a request of the given size.
func (m *Mesh) probe(p *peer, to netip.AddrPort, size int) {
	if !m.mayProbe(p, to) {
		return
	}
	sock := -1
	if to == p.udp().addr {
		sock = p.udp().sock
	}
	size = max(size, p.session.minProbe())
	p.udp().probeSent(m.now, to, size)
	m.emit(SendProbe{Node: p.name, Addr: to, Sock: sock, Data: m.probeRequest(size)})
}

// probeRequest is a request of the given size.
func (m *Mesh) probeRequest(size int) []byte {
	random := make([]byte, size-14)
	for i := range random {
		random[i] = byte(m.deps.Rand.Uint32())
	}
	return wire.AppendProbeRequest(nil, size, random)
}

// candidates are the addresses at which p may be found: the current one, those
// reported by others, those in the edges of its neighbours, and its local ones.
func (m *Mesh) candidates(p *peer) []netip.AddrPort {
	var out []netip.AddrPort
	add := func(a netip.AddrPort) {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if m.mayProbe(p, a) && !slices.Contains(out, a) && len(out) < maxListed {
			out = append(out, a)
		}
	}
	add(p.udp().addr)
	for _, a := range p.udp().heard {
		add(a)
	}
	sure := len(out)
	for e := range m.graph.From(p.name) {
		if back, ok := m.graph.Get(e.To, p.name); ok {
			if a, ok := back.Addr.Addr(); ok {
				add(a)
			}
		}
		if !m.cfg.NoLocalDiscovery {
			if a, ok := e.Local.Addr(); ok {
				add(a)
			}
		}
	}
	if len(out) > maxCandidates { // some of what the edges say, others the next time
		rest := out[sure:]
		m.deps.Rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		out = out[:maxCandidates]
	}
	// The first answer counts. Between paths that are as quick as each other, that is the
	// one that was asked first: no NAT forgets about IPv6.
	slices.SortStableFunc(out[sure:], func(a, b netip.AddrPort) int { return b.Addr().BitLen() - a.Addr().BitLen() })
	return out
}

// searchMTU takes a step of the path MTU search.
func (m *Mesh) searchMTU(p *peer) {
	r := p.udp()
	if p.path.Options&wire.PMTUDiscovery == 0 || !p.session.ready() {
		return
	}
	if !r.confirmed {
		if !m.cfg.NoUDPDiscovery && r.pmtu.min != 0 {
			r.pmtu.reset()
			m.touch(p)
		}
		return
	}
	wait := r.rtt.answer(searchWait)
	tries := max(2, r.tries()/2)
	for _, size := range r.pmtu.step(m.now, wait, tries, m.cfg.PingInterval, m.routeMTU(p), m.overhead(p)) {
		if size == r.pmtu.min && r.pmtu.fixed() {
			m.proveSize(p)
			continue
		}
		m.probe(p, r.addr, size)
	}
	m.touch(p)
	m.timers.cancel(r.search)
	if r.pmtu.state == searching {
		r.search = m.after(wait, func() {
			if p.reachable && p.confirmed() {
				m.searchMTU(p)
			}
		})
	}
}

// overhead is what a datagram with a frame for p has more than the frame, headers
// of IP and UDP included. It is only exact for SPTPS, and only a hint.
func (m *Mesh) overhead(p *peer) int {
	const big = 2000
	return big - m.frameIn(p, big)
}

// routeMTU is the largest frame for p that the kernel's route promises, 0 if unknown.
func (m *Mesh) routeMTU(p *peer) int {
	if m.deps.RouteMTU == nil {
		return 0
	}
	addr := p.udp().addr.Addr()
	mtu := m.deps.RouteMTU(addr)
	if mtu < minFrame {
		return 0
	}
	return m.frameIn(p, mtu)
}

// frameIn is the largest frame for p in an IP packet of so many bytes.
func (m *Mesh) frameIn(p *peer, mtu int) int {
	const ip4, ip6, udp = 20, 40, 8
	ip := ip4
	if p.udp().addr.Addr().Is6() {
		ip = ip6
	}
	return p.session.largestFrame(mtu - ip - udp)
}

func (m *Mesh) probeIn(e ProbeIn) {
	p := m.nodes[e.Node]
	if p == nil || !p.reachable || p == m.self {
		return
	}
	pr, err := wire.ParseProbe(e.Data)
	if err != nil {
		m.logf(5, Debug, "bad probe from %s: %v", p.name, err)
		return
	}
	if !e.Direct || !usable(e.Addr) { // probes are not relayed
		return
	}
	r := p.udp()
	if pr.Kind == wire.ProbeRequest {
		// The answer goes to where the request came from, which is news about
		// the peer's address if ours does not work.
		m.emit(SendProbe{Node: p.name, Addr: e.Addr, Sock: e.Sock, Data: wire.AppendProbeReply(nil, p.minor(), e.Data)})
		if !r.confirmed {
			m.newAddress(p, e.Addr)
		} else if len(e.Data) < largeSize {
			m.probedBySuspect(p)
		}
		return
	}
	r.waiting = false
	r.probeAnswered(m.now, e.Addr, pr.Size)
	m.confirmAlive(p, e.Addr, e.Sock, pr.Size)
	switch {
	case !r.confirmed || r.addr != e.Addr && m.now.Sub(r.alive) > m.cfg.UDPDiscoveryKeepalive+m.cfg.UDPDiscoveryInterval:
		m.confirm(p, e.Addr, e.Sock)
	case r.addr == e.Addr:
		r.alive = m.now
	default:
		return // another of the probed addresses works too
	}
	if pr.Size >= largeSize && pr.Size >= r.inUse(m.now) {
		r.passed, r.lacking = m.now, time.Time{}
	}
	r.pmtu.answered(m.now, min(pr.Size, maxFrame))
	m.touch(p)
	if m.now.Sub(p.active) < keepTrying || p.conn != nil {
		m.searchMTU(p)
	}
}

// confirm takes note that p answers at a.
func (m *Mesh) confirm(p *peer, a netip.AddrPort, sock int) {
	p.udp().confirm(m.now, a, sock)
	m.touch(p)
	m.logf(2, Info, "%s is reached directly by UDP at %s", p.name, a)
	if p.conn == nil {
		return
	}
	if e, ok := m.graph.Get(m.cfg.Name, p.name); ok { // where it can be dialled again
		if dial, ok := e.Addr.Addr(); ok {
			m.remember(p, dial)
		}
	}
}

// newAddress takes note of an address at which p may be reached, and tries it.
func (m *Mesh) newAddress(p *peer, a netip.AddrPort) {
	if !m.mayProbe(p, a) || p.udp().addr == a && p.confirmed() {
		return
	}
	known := slices.Contains(p.udp().heard, a)
	p.udp().note(a)
	if !known && p.session.ready() && m.now.Sub(p.udp().extra) >= extraInterval {
		p.udp().extra = m.now
		m.probe(p, a, minProbe)
		if p.udp().asked.IsZero() || !p.udp().waiting {
			p.udp().asked, p.udp().waiting = m.now, true
		}
	}
}

// heardFrom: authentic packets of p come from an address that we do not use. It is
// asked before it is believed.
func (m *Mesh) heardFrom(e HeardFrom) {
	p := m.nodes[e.Node]
	if p == nil || !p.reachable || p == m.self {
		return
	}
	m.moved(p, e.Addr, e.Sock)
}

// moved asks p, which seems to be found at addr now, both there and at its old address.
func (m *Mesh) moved(p *peer, addr netip.AddrPort, sock int) {
	if !m.mayProbe(p, addr) {
		return
	}
	r := p.udp()
	r.note(addr)
	if !p.session.ready() || m.now.Sub(r.extra) < extraInterval {
		return
	}
	r.extra = m.now
	m.probe(p, addr, minProbe)
	if r.confirmed && r.addr != addr {
		m.suspect(p, false, false)
	}
}

func (m *Mesh) tooLong(e TooLong) {
	if p := m.nodes[e.Node]; p != nil && p != m.self {
		p.udp().pmtu.tooLong(m.now, e.Size)
		m.touch(p)
		if p.confirmed() {
			m.searchMTU(p)
		}
	}
}

func (m *Mesh) traffic(e Traffic) {
	p := m.nodes[e.Node]
	if p == nil || p == m.self || !p.reachable {
		return
	}
	p.active = m.now
	m.try(p, true)
	if hop := m.nodes[p.path.NextHop]; hop != nil && !p.usable() {
		hop.active = m.now
		if !hop.usable() {
			m.carries(hop.conn)
		}
	}
	m.talkingTo(p)
	m.used(p)
}

// checkPeers looks after the neighbours and the paths in use, once a second.
func (m *Mesh) checkPeers() {
	m.expireKeys()
	for _, p := range m.order {
		if p == m.self || !p.reachable {
			continue
		}
		inUse := p.conn != nil || m.now.Sub(p.active) < keepTrying
		if p.contacted == nil && !inUse {
			p.session.check()
			continue
		}
		switch r := p.udp(); {
		case !r.confirmed || m.now.Sub(r.alive) <= m.cfg.UDPDiscoveryTimeout:
		case inUse:
			m.giveUpUDP(p)
		default:
			m.goIdle(p)
		}
		m.forgetToldMTU(p)
		p.session.check()
		if inUse {
			m.try(p, true)
		}
	}
}

// ---------------------------------------------------------------- UDP_INFO, MTU_INFO

func (m *Mesh) cameIndirectly(e CameIndirectly) {
	p, hop := m.nodes[e.Node], m.nodes[e.Hop]
	if p == nil || !p.reachable {
		return
	}
	if p.confirmed() && (e.TCP || e.Hop != e.Node) && m.now.Sub(p.udp().alive) > doubtInterval {
		m.suspect(p, false, false) // it does not reach us directly: do we reach it?
	}
	if e.TCP || p.path.Via != e.Hop {
		m.udpInfoTo(p)
	}
	if e.TCP {
		if hop != nil {
			m.cameOver(hop.conn)
		}
		m.mtuInfoTo(p)
	} else if hop != nil {
		m.mtuInfoTo(hop)
	}
}

// relayed: as a static relay tell the sender where we see it, and keep the
// path to the destination open.
func (m *Mesh) relayed(e Relayed) {
	from, to := m.nodes[e.From], m.nodes[e.To]
	if from == nil || to == nil || to == m.self || !to.reachable {
		return
	}
	if to.path.Via == m.cfg.Name && from.reachable {
		m.udpInfoTo(from)
	}
	to.active = m.now
	m.used(from)
	m.used(to)
	if c := m.nextHopConn(from); c != nil && !m.answersEchoes(from) {
		m.cameOver(c) // as from chooses no relay it may have come over it, though we reach from by UDP
	}
	m.try(to, true)
	if m.cfg.Echoes && from.reachable && from.conn == nil { // we take packets only from addresses that answer us
		m.try(from, false)
	}
}

// udpInfoTo originates UDP_INFO about ourselves towards p (tinc 1.1 5.11).
func (m *Mesh) udpInfoTo(p *peer) {
	if p == m.self || !p.reachable || p.session.hopByHop() {
		return
	}
	dest := m.effectiveVia(p)
	if dest == nil || dest.conn != nil || !dest.contact().told.udpInfo.IsZero() && m.now.Sub(dest.contact().told.udpInfo) < m.cfg.UDPInfoInterval {
		return
	}
	dest.contact().told.udpInfo = m.now
	m.sendUDPInfo(nil, m.self, p)
}

// sendUDPInfo sends UDP_INFO about from on its way to to. c is where it came from, nil if it is ours.
func (m *Mesh) sendUDPInfo(c *conn, from, to *peer) {
	dest := m.effectiveVia(to)
	if dest == nil || dest == m.self || !dest.reachable {
		return
	}
	next := m.nodes[dest.path.NextHop]
	if m.cfg.TCPOnly || (from.path.Options|dest.path.Options)&wire.TCPOnly != 0 || next == nil || next.conn == nil || next.minor() < 5 {
		return
	}
	addr := from.addr()
	if from == m.self { // the first hop puts in what it sees
		addr = netip.AddrPortFrom(next.conn.local.Addr(), m.cfg.Port)
	}
	m.pass(c, dest, wire.UDPInfo{From: from.name, To: dest.name, Addr: wire.AddressOf(addr)}.Append(nil))
}

func (m *Mesh) gotUDPInfo(c *conn, text string) error {
	r, err := wire.ParseUDPInfo(text)
	if err != nil {
		return err
	}
	from, to := m.nodes[r.From], m.nodes[r.To]
	if from == nil || to == nil || from == m.self || from.path.Via != from.name {
		return nil
	}
	// A node of tinc 1.0 sends no such thing, and may be sent packets at an address that nobody has tried.
	if a, ok := r.Addr.Addr(); ok && !from.session.hopByHop() && from.conn == nil && !from.confirmed() && m.believable(a) {
		if from.udp().told(a) { // also for those that we pass the news on to
			m.touch(from)
		}
		m.toldAddress(from, a)
	}
	if to != m.self {
		m.sendUDPInfo(c, from, to)
	}
	return nil
}

// mtuInfoTo originates MTU_INFO towards p (tinc 1.1 5.12).
func (m *Mesh) mtuInfoTo(p *peer) {
	if p == m.self || !p.reachable || p.session.hopByHop() || p.conn != nil || !p.contact().told.mtuInfo.IsZero() && m.now.Sub(p.contact().told.mtuInfo) < m.cfg.MTUInfoInterval {
		return
	}
	p.contact().told.mtuInfo = m.now
	m.sendMTUInfo(nil, m.self, p, maxFrame)
}

// sendMTUInfo sends MTU_INFO about from on its way to to. c is where it came from, nil if it is ours.
func (m *Mesh) sendMTUInfo(c *conn, from, to *peer, mtu int) {
	if to == m.self || !to.reachable {
		return
	}
	next := m.nodes[to.path.NextHop]
	if next == nil || next.conn == nil || next.minor() < 6 {
		return
	}
	if from != m.self {
		via := m.effectiveVia(from)
		switch {
		case via == nil:
			return
		case from.path.Via == m.cfg.Name && from.fixedMTU() > 0:
			mtu = from.fixedMTU()
		case via.fixedMTU() > 0:
			mtu = min(mtu, via.fixedMTU())
		default:
			if h := m.nodes[via.path.NextHop]; h != nil && h.fixedMTU() > 0 {
				mtu = min(mtu, h.fixedMTU())
			}
		}
	}
	m.pass(c, to, wire.MTUInfo{From: from.name, To: to.name, MTU: max(mtu, minFrame)}.Append(nil))
}

func (m *Mesh) gotMTUInfo(c *conn, text string) error {
	told, err := wire.ParseMTUInfo(text)
	if err != nil {
		return err
	}
	from, to := m.nodes[told.From], m.nodes[told.To]
	if from == nil || to == nil || from == m.self {
		return nil
	}
	if r := from.udp(); !r.pmtu.fixed() {
		mtu := told.MTU
		if !m.leadsTo(c, from) { // two nodes need not choose the same path, but anybody can say it
			mtu = max(mtu, minToldMTU)
		}
		r.pmtu.mtu, r.toldMTU, r.toldAt = mtu, mtu, m.now
		m.touch(from)
	}
	if to != m.self {
		m.sendMTUInfo(c, from, to, told.MTU)
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
func (m *Mesh) forgetToldMTU(p *peer) {
	r := p.udp()
	if r.toldAt.IsZero() || m.now.Sub(r.toldAt) < toldMTUFor {
		return
	}
	if !r.pmtu.fixed() && r.pmtu.mtu == r.toldMTU {
		r.pmtu.mtu = maxFrame
		m.touch(p)
	}
	r.toldAt, r.toldMTU = time.Time{}, 0
}

// seekAll looks for all nodes with which there is something to talk about, now.
func (m *Mesh) seekAll() {
	for _, p := range m.order {
		if p != m.self && p.reachable && p.session.ready() {
			m.seek(p)
		}
	}
}
