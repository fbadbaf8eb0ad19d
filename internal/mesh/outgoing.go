package mesh

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"tincan/internal/node"
)

// outgoing is the wish to have a connection with a node.
type outgoing struct {
	name  node.Name
	auto  bool // made by AutoConnect, not by ConnectTo
	hot   bool // made by AutoConnect for a pair that talks a lot
	once  bool // on request; not repeated when it fails
	conn  *conn
	timer *timer
	queue []Endpoint // addresses not tried yet in this round
	tries []Endpoint // those that conn is being made with
	round int        // rounds that have failed since the last success
	up    time.Time  // when the connection was activated
	eased time.Time  // when the wait was cut short last, see comesBack
}

const (
	// AutoConnect keeps this many connections, and has at most so many attempts
	// under way or waiting.
	autoTarget     = 3
	autoSafe       = 2 // with fewer the next one is urgent
	maxPendingAuto = 6
	// firstRetry is the wait after all addresses have failed once. It doubles
	// with each round up to MaxTimeout, and half of it is random, so that nodes
	// that lost the same neighbour do not come back all at once.
	firstRetry = time.Second
	// aloneRetry bounds the wait of a node that has no connection at all.
	aloneRetry = time.Minute
	// settled is how long a connection must live before its loss counts as news
	// and not as another failure.
	settled = 10 * time.Second
	// easeEvery is the least time between two waits for a node that are cut short because it has
	// become reachable: one that comes and goes must not make all dial it all the time.
	easeEvery = time.Minute
	// maxAddresses of one node are tried in a round, of which so many may come from what
	// others say: anybody may say anything, and the configured ones are to have their turn.
	maxAddresses, maxTold = 32, 16
)

// addDialTarget makes sure that name will be dialled until a connection stands.
func (m *Mesh) addDialTarget(name node.Name, auto bool) *outgoing {
	if o := m.dials[name]; o != nil {
		o.auto = o.auto && auto
		o.hot = o.hot && auto
		o.once = false
		return o
	}
	if name == m.cfg.Name || m.down {
		return nil
	}
	o := &outgoing{name: name, auto: auto}
	m.dials[name] = o
	p := m.peer(name)
	if p.conn != nil && p.conn.out == nil { // connected already, from the other side
		o.conn, p.conn.out = p.conn, o
		o.up = m.now
		return o
	}
	m.dialAfter(o, 0)
	return o
}

// dial tries the next address of o, or waits when all have been tried.
func (m *Mesh) dial(o *outgoing) {
	if m.dials[o.name] != o || o.conn != nil || m.down {
		return
	}
	p := m.peer(o.name)
	if p.conn != nil { // connected meanwhile
		o.conn, p.conn.out = p.conn, o
		o.up = m.now
		return
	}
	if o.queue == nil {
		o.queue = m.addressesOf(p)
	}
	if len(o.queue) == 0 {
		if o.round == 0 {
			m.logf(0, Warning, "no address is known for %s: add a line Address = HOST to its host file", o.name)
		}
		m.roundFailed(o)
		return
	}
	// All of them at once: the I/O layer tries one after the other without waiting for long.
	to := o.queue[0]
	o.tries, o.queue = o.queue, []Endpoint{}
	c := m.newDial(p, netip.AddrPort{})
	c.out, o.conn = o, c
	m.logf(1, Info, "connecting to %s at %s", o.name, net.JoinHostPort(to.Host, to.Port))
	m.emit(Dial{Conn: c.id, Node: o.name, To: to, Others: o.tries[1:], Timeout: m.cfg.PingTimeout})
}

// dialAnswered: of the addresses that c was tried at, to has answered. The others come next,
// should the login fail there: it may be somebody else.
func (m *Mesh) dialAnswered(c *conn, to Endpoint) {
	o := c.out
	if o == nil || len(o.tries) == 0 {
		return
	}
	i := max(0, slices.Index(o.tries, to))
	o.queue = slices.Delete(slices.Clone(o.tries), i, i+1)
	o.tries = nil
}

// startDelay is a random wait for what all nodes of the mesh may want to do at the same moment.
func (m *Mesh) startDelay() time.Duration {
	return 50*time.Millisecond + m.jitter(500*time.Millisecond+time.Duration(len(m.nodes))*20*time.Millisecond)
}

// addressesOf lists where p may be dialled: its cached addresses, what its neighbours
// say, its Address lines.
func (m *Mesh) addressesOf(p *peer) []Endpoint {
	out := []Endpoint{}
	add := func(e Endpoint) {
		if !m.isMirror(e) && !slices.Contains(out, e) && len(out) < maxAddresses {
			out = append(out, e)
		}
	}
	addIP := func(a netip.AddrPort) {
		if m.believable(a) && !m.triedFor(p, a) {
			add(endpointOf(a))
		}
	}
	for _, a := range p.host.Cached {
		addIP(a)
	}
	cached := len(out)
	for _, ipv6 := range []bool{true, false} { // IPv6 has no NAT in its way
		for e := range m.graph.To(p.name) {
			if a, ok := e.Addr.Addr(); ok && a.Addr().Unmap().Is6() == ipv6 && len(out) < cached+maxTold {
				addIP(a)
			}
		}
	}
	for _, e := range p.host.Addresses {
		if a, ok := e.addrPort(); !ok || p.host.Told && m.believable(a) || !p.host.Told && m.locate(a.Addr()) != Inside {
			add(e)
		}
	}
	return out
}

func endpointOf(a netip.AddrPort) Endpoint {
	return Endpoint{Host: a.Addr().Unmap().String(), Port: strconv.Itoa(int(a.Port()))}
}

// addrPort is the address of an endpoint that is none by name.
func (e Endpoint) addrPort() (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(e.Host)
	port, bad := strconv.ParseUint(e.Port, 10, 16)
	return netip.AddrPortFrom(ip, uint16(port)), err == nil && bad == nil
}

// notFound notes where the node that c was made for was not found: where nobody answers, or somebody else.
func (m *Mesh) notFound(c *conn) {
	if !c.isDialling() {
		m.notAt(c.peer, c.remote)
		return
	}
	if c.out != nil {
		for _, e := range c.out.tries {
			if a, ok := e.addrPort(); ok {
				m.notAt(c.peer, a)
			}
		}
	}
}

// hasAnyAddress tells whether addressesOf(p) has any.
func (m *Mesh) hasAnyAddress(p *peer) bool {
	if len(p.host.Cached)+len(p.host.Addresses) > 0 {
		return true
	}
	for e := range m.graph.To(p.name) {
		if a, ok := e.Addr.Addr(); ok && m.believable(a) {
			return true
		}
	}
	return false
}

// neighbours is the number of connections of a node, ours included.
func (m *Mesh) neighbours(n node.Name) (count int) {
	for e := range m.graph.From(n) {
		if _, ok := m.graph.Get(e.To, n); ok {
			count++
		}
	}
	return count
}

// connected: c has been activated.
func (m *Mesh) connected(c *conn) {
	o := c.out
	if o == nil {
		return
	}
	o.up, o.queue = m.now, nil
	o.conn.peer.failed, o.conn.peer.onDemand().wait = 0, 0
	m.autoConnectSoon()
	if o.conn.remote.IsValid() && o.conn.dialled() && !o.conn.isPunched() {
		m.remember(o.conn.peer, o.conn.remote)
	}
}

// attemptEnded: c is gone, or could not be made.
func (m *Mesh) attemptEnded(c *conn, wasActive bool) {
	switch o := c.out; {
	case o == nil || o.conn != c:
	case c.isLeaving():
		m.redial(o)
	default:
		m.ended(o, wasActive)
	}
}

// ended: the connection of o is gone, or could not be made.
func (m *Mesh) ended(o *outgoing, wasActive bool) {
	o.conn = nil
	if m.dials[o.name] != o || m.down {
		return
	}
	if o.auto && wasActive { // AutoConnect chooses again
		m.giveUp(o)
		m.autoConnectSoon()
		return
	}
	switch {
	case wasActive && m.now.Sub(o.up) >= settled:
		o.round, o.queue = 0, nil
		m.dialAfter(o, m.jitter(250*time.Millisecond))
	case wasActive:
		m.roundFailed(o)
	case len(o.queue) > 0:
		m.dial(o)
	default:
		m.roundFailed(o)
	}
}

// abandon stops an attempt that is under way, but keeps the wish: the connection
// that comes in instead will fulfil it.
func (m *Mesh) abandon(o *outgoing) {
	c := o.conn
	o.conn, o.queue = nil, nil
	m.forget(c)
	m.emit(CloseConn{Conn: c.id, Reason: "the peer is connecting to us"})
	m.dialAfter(o, 2*m.cfg.PingTimeout)
}

// redial connects again at once, in the hope of a better login.
func (m *Mesh) redial(o *outgoing) {
	o.conn, o.queue = nil, nil
	if m.dials[o.name] == o && !m.down {
		m.dialAfter(o, m.jitter(250*time.Millisecond))
	}
}

// giveUp forgets the wish and what is under way for it.
func (m *Mesh) giveUp(o *outgoing) {
	m.timers.cancel(o.timer)
	if m.dials[o.name] == o {
		delete(m.dials, o.name)
	}
	if c := o.conn; c != nil {
		o.conn, c.out = nil, nil
		if !c.isActive() {
			m.drop(c, "not wanted any more")
		}
	}
}

// retry forgets all waiting times.
func (m *Mesh) retry() {
	m.forgetFailures()
	for _, p := range m.order {
		p.failed, p.shunned = 0, time.Time{}
		if u := p.punchIfAny(); u != nil {
			u.next, u.wait = time.Time{}, 0
			p.onDemand().next, p.onDemand().wait = time.Time{}, 0
		}
	}
	for _, o := range m.sortedDials() {
		o.round = 0
		if o.conn == nil {
			o.queue = nil
			m.dialAfter(o, 0)
		}
	}
}

func (m *Mesh) connectNow(name node.Name) {
	if m.dials[name] == nil {
		if o := m.addDialTarget(name, false); o != nil {
			o.once = true
		}
	}
}

func (m *Mesh) sortedDials() []*outgoing {
	out := make([]*outgoing, 0, len(m.dials))
	for _, o := range m.dials {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *outgoing) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return out
}

// autoConnect keeps about three connections, so that the mesh holds together
// without anybody having planned it (tinc 1.1 AutoConnect).
func (m *Mesh) autoConnect() {
	m.sweepTalking()
	if !m.cfg.AutoConnect || m.down {
		return
	}
	m.connectOnDemand()
	conns := m.activeConns()
	switch n := len(conns); {
	case n < autoTarget:
		// Attempts that may all succeed count as if they had: connections beyond the
		// target would be closed again, and everybody told of each of them four times.
		if all, underWay := m.pendingAuto(); all >= maxPendingAuto || n+underWay >= autoTarget {
			return
		}
		var free []*peer
		for _, p := range m.order {
			if p != m.self && p.conn == nil && !m.now.Before(p.shunned) && (m.mayLogIn(p) || p.reachable && p.minor() >= 2 && m.mightVouch(p)) && m.dials[p.name] == nil && m.hasAnyAddress(p) {
				free = append(free, p)
			}
		}
		if len(free) == 0 {
			return
		}
		if p := free[m.deps.Rand.IntN(len(free))]; !m.mayLogIn(p) {
			p.session.begin() // what becomes of it brings us back here
		} else {
			m.addDialTarget(p.name, true)
		}
	case n > autoTarget:
		// Let go of a connection that we made and that its other end can spare, too: tinc
		// wants it to have two, but with less than three it would look for another.
		var spare []*conn
		for _, c := range conns {
			if c.out != nil && c.out.auto && (c.dialled() || c.isPunched()) && m.spare(c) && m.neighbours(c.peer.name) > autoTarget && m.now.Sub(c.out.up) > settled {
				spare = append(spare, c)
			}
		}
		if len(spare) > 0 {
			c := spare[m.deps.Rand.IntN(len(spare))]
			m.giveUp(c.out)
			m.release(c, "not needed: there are enough connections")
		}
		fallthrough
	default:
		for _, o := range m.sortedDials() {
			if o.auto && o.conn == nil && !(o.hot && o.round == 0) {
				m.giveUp(o)
			}
		}
		// Look whether a part of the mesh has been lost.
		if p := m.order[m.deps.Rand.IntN(len(m.order))]; p != m.self && !p.reachable && p.hasAddress() && m.mayLogIn(p) && m.dials[p.name] == nil {
			m.addDialTarget(p.name, true)
		}
	}
}

// pendingAuto counts the attempts of AutoConnect that have no connection yet: all of
// them, and those that are not waiting for their next turn after a failure.
func (m *Mesh) pendingAuto() (all, underWay int) {
	for _, o := range m.dials {
		if o.auto && (o.conn == nil || !o.conn.isActive()) {
			all++
			if o.conn != nil || o.round == 0 {
				underWay++
			}
		}
	}
	return all, underWay
}

// autoConnectSoon looks for another neighbour before the next regular turn. A newcomer
// has one neighbour; should that one die before there is a second, it would be
// alone. The jitter spreads nodes that lost the same neighbour, or that start
// together: each new connection is told to all, so a large mesh takes its time.
func (m *Mesh) autoConnectSoon() {
	if !m.cfg.AutoConnect || m.autoSoon || len(m.activeConns()) >= autoSafe {
		return
	}
	m.autoSoon = true
	m.after(m.startDelay(), func() {
		m.autoSoon = false
		if len(m.activeConns()) < autoSafe {
			m.autoConnect()
		}
	})
}

// Two nodes may connect to each other at the same moment. tinc closes the older connection
// on each side, which may be both. Here the one that the smaller name has dialled stays:
// the smaller name refuses the other at the greeting, the larger gives up its
// own attempt once it knows for sure who is calling. If both get through to ACK, the
// same rule decides again.

// ownIsUnderWay tells whether c is not needed, since an attempt of ours that goes
// before is about to succeed.
func (m *Mesh) ownIsUnderWay(c *conn) bool {
	o := m.dials[c.peer.name]
	if c.dialled() || o == nil || o.conn == nil || o.conn == c || m.cfg.Name > c.peer.name {
		return false
	}
	return o.conn.aboutToSucceed(m.now)
}

// yield gives up our own attempt in favour of c, whose other end has proved who it is.
func (m *Mesh) yield(c *conn) {
	o := m.dials[c.peer.name]
	if c.dialled() || o == nil || o.conn == nil || o.conn == c {
		return
	}
	if o.conn.isDialling() && c.isActive() || !o.conn.isActive() && m.cfg.Name > c.peer.name {
		m.logf(2, Info, "giving up our own attempt: %s is connecting to us", c)
		m.abandon(o)
	}
}

// transferTarget makes to fulfil the wish for a connection that from has fulfilled.
func (m *Mesh) transferTarget(from, to *conn) {
	if from.out != nil && to.out == nil {
		to.out, from.out.conn, from.out = from.out, to, nil
		to.out.up = m.now
	}
}

// forgetDials forgets all dial targets, but not the connections.
func (m *Mesh) forgetDials() {
	for _, o := range m.dials {
		m.timers.cancel(o.timer)
		if o.conn != nil {
			o.conn.out = nil
		}
	}
	m.dials = map[node.Name]*outgoing{}
}

// isDialTarget tells whether a connection with the node is wanted.
func (m *Mesh) isDialTarget(name node.Name) bool { return m.dials[name] != nil }

// reconfigureDials: the configuration has changed.
func (m *Mesh) reconfigureDials() {
	for _, o := range m.sortedDials() {
		if o.auto && !m.cfg.AutoConnect && (o.conn == nil || !o.conn.isActive()) {
			m.giveUp(o)
		}
		if !o.auto && !slices.Contains(m.cfg.ConnectTo, o.name) {
			if m.cfg.AutoConnect && o.conn != nil && o.conn.isActive() { // let go of when it is not needed
				o.auto, o.once = true, false
				continue
			}
			conn := o.conn
			m.giveUp(o)
			if conn != nil && conn.isActive() && conn.dialled() {
				m.drop(conn, "no longer in ConnectTo")
			}
		}
	}
	for _, name := range m.cfg.ConnectTo {
		m.addDialTarget(name, false)
	}
	m.retry()
}

// dialAnew gives up the attempts that nobody has answered, as they were begun in another world, and forgets
// all waiting times.
func (m *Mesh) dialAnew(reason string) {
	for _, o := range m.sortedDials() {
		if c := o.conn; c != nil && m.endUnanswered(c, reason) {
			o.conn = nil
		}
	}
	m.retry()
}

// dialTargets are the names of the nodes with which a connection is wanted, in order.
func (m *Mesh) dialTargets() []node.Name { return slices.Sorted(maps.Keys(m.dials)) }

func (m *Mesh) dialAfter(o *outgoing, delay time.Duration) {
	m.timers.cancel(o.timer)
	o.timer = m.after(delay, func() { m.dial(o) })
}

func (m *Mesh) roundFailed(o *outgoing) {
	if p := m.nodes[o.name]; p != nil {
		defer m.punch(p)
	}
	o.queue = nil
	o.round++
	if o.once {
		m.giveUp(o)
		return
	}
	if o.auto { // AutoConnect tries others meanwhile: this one may be dead
		p := m.peer(o.name)
		p.failed++
		wait := m.backoff(p.failed)
		p.shunned = m.now.Add(wait)
		m.after(wait, m.autoConnectSoon)
		m.giveUp(o)
		m.autoConnectSoon()
		return
	}
	delay := m.backoff(o.round)
	m.logf(1, Info, "next attempt to connect to %s in %s", o.name, delay.Round(100*time.Millisecond))
	m.dialAfter(o, delay)
}

// onReachable: p, to which we want a connection, has become reachable over others. So it lives, and what
// has failed before says nothing any more. The jitter spreads those who all wait for it.
func (m *Mesh) onReachable(p *peer) {
	o := m.dials[p.name]
	if o == nil || o.round == 0 || p.conn != nil {
		return
	}
	delay := m.startDelay()
	if wait := o.eased.Add(easeEvery).Sub(m.now); !o.eased.IsZero() && wait > 0 {
		delay += wait
	}
	at := m.now.Add(delay)
	switch {
	case o.conn != nil: // being made; should it fail, the next attempt follows soon
		if !o.eased.After(m.now.Add(-easeEvery)) {
			o.round, o.eased = 0, m.now
		}
	case !o.timer.waiting() || o.timer.laterThan(at):
		o.round, o.queue, o.eased = 0, nil, at
		m.logf(1, Info, "%s has become reachable; next attempt to connect to it in %s", p.name, delay.Round(100*time.Millisecond))
		m.dialAfter(o, delay)
	}
}

func (m *Mesh) backoff(round int) time.Duration {
	delay := max(m.cfg.MaxTimeout, firstRetry)
	if len(m.activeConns()) == 0 {
		delay = min(delay, aloneRetry)
	}
	if round < 20 {
		delay = min(delay, firstRetry<<(round-1))
	}
	return max(delay/2+m.jitter(delay/2+1), m.cfg.MinTimeout)
}
