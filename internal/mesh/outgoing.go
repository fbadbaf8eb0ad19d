package mesh

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"tincan/internal/mesh/timer"
	"tincan/internal/node"
)

// outgoing is a dial target: a node with which a connection is wanted.
type outgoing struct {
	name     node.Name
	auto     bool // made by AutoConnect, not by ConnectTo
	onDemand bool // made by AutoConnect for a pair that talks a lot
	once     bool // on request; not repeated when it fails
	conn     *conn
	timer    *timer.Timer
	queue    []Endpoint // addresses not tried yet in this round
	tries    []Endpoint // those that conn is being made with
	round    int        // rounds that have failed since the last success
	up       time.Time  // when the connection was activated
	eased    time.Time  // when the wait was cut short last, see onReachable
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
func (d *dialer) addDialTarget(name node.Name, auto bool) *outgoing {
	if o := d.dials[name]; o != nil {
		o.auto = o.auto && auto
		o.onDemand = o.onDemand && auto
		o.once = false
		return o
	}
	if name == d.cfg.Name || d.down {
		return nil
	}
	o := &outgoing{name: name, auto: auto}
	d.dials[name] = o
	p := d.peer(name)
	if p.conn() != nil && p.conn().dial.out == nil { // connected already, from the other side
		o.conn, p.conn().dial.out = p.conn(), o
		o.up = d.now
		return o
	}
	d.dialAfter(o, 0)
	return o
}

// dial tries the next address of o, or waits when all have been tried.
func (d *dialer) dial(o *outgoing) {
	if d.dials[o.name] != o || o.conn != nil || d.down {
		return
	}
	p := d.peer(o.name)
	if p.conn() != nil { // connected meanwhile
		o.conn, p.conn().dial.out = p.conn(), o
		o.up = d.now
		return
	}
	if o.queue == nil {
		o.queue = d.carriers.targets(p)
	}
	if len(o.queue) == 0 {
		if o.round == 0 {
			line := "Address = HOST"
			if d.cfg.Connecting == OnlyTLS {
				line = "Carrier = wss://HOST/PATH (Carriers does not name tcp)"
			}
			d.logf(0, Warning, "no address is known for %s: add a line %s to its host file", o.name, line)
		}
		d.roundFailed(o)
		return
	}
	// All of them at once: the I/O layer tries one after the other without waiting for long.
	to := o.queue[0]
	var timeout time.Duration
	o.tries, o.queue, timeout = d.carriers.together(p, o.queue)
	c := d.links.newDial(p, netip.AddrPort{})
	c.dial.out, o.conn = o, c
	d.logf(1, Info, "connecting to %s at %s", o.name, to)
	d.emit(Dial{Conn: c.id, Node: o.name, To: to, Others: o.tries[1:], Timeout: timeout})
}

// dialAnswered: of the addresses that c was tried at, to has answered. The others come next,
// should the login fail there: it may be somebody else.
func (d *dialer) dialAnswered(c *conn, to Endpoint) {
	o := c.dial.out
	if o == nil || len(o.tries) == 0 {
		return
	}
	d.carriers.answered(c, to, o.tries)
	i := max(0, slices.Index(o.tries, to))
	o.queue = append(slices.Delete(slices.Clone(o.tries), i, i+1), o.queue...)
	o.tries = nil
}

// startDelay is a random wait for what all nodes of the mesh may want to do at the same moment.
func (d *dialer) startDelay() time.Duration {
	return 50*time.Millisecond + d.jitter(500*time.Millisecond+time.Duration(len(d.nodes))*20*time.Millisecond)
}

// addressesOf lists where p may be dialled: its cached addresses, what its neighbours
// say, its Address lines.
func (d *dialer) addressesOf(p *peer) []Endpoint {
	out := []Endpoint{}
	add := func(e Endpoint) {
		if !d.addresses.isMirror(e) && !slices.Contains(out, e) && len(out) < maxAddresses {
			out = append(out, e)
		}
	}
	addIP := func(a netip.AddrPort) {
		if d.addresses.believable(a) && !d.addresses.triedFor(p, a) {
			add(endpointOf(a))
		}
	}
	for _, a := range p.host().Cached {
		addIP(a)
	}
	cached := len(out)
	for _, ipv6 := range []bool{true, false} { // IPv6 has no NAT in its way
		for e := range d.graph.To(p.name) {
			if a, ok := e.Addr.Addr(); ok && a.Addr().Unmap().Is6() == ipv6 && len(out) < cached+maxTold {
				addIP(a)
			}
		}
	}
	for _, e := range p.host().Addresses {
		if d.addresses.mayDial(p, e) {
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
func (d *dialer) notFound(c *conn) {
	if c.isCarried() {
		return
	}
	if !c.isDialling() {
		d.addresses.notAt(c.peer, c.remote)
		return
	}
	if c.dial.out != nil {
		for _, e := range c.dial.out.tries {
			if a, ok := e.addrPort(); ok && e.Carrier == "" {
				d.addresses.notAt(c.peer, a)
			}
		}
	}
}

// hasAnyAddress tells whether there is anything to dial p at.
func (d *dialer) hasAnyAddress(p *peer) bool {
	h := p.host()
	if d.cfg.Connecting != OnlyTCP && len(h.Carriers) > 0 {
		return true
	}
	if d.cfg.Connecting == OnlyTLS {
		return false
	}
	if len(h.Cached)+len(h.Addresses) > 0 {
		return true
	}
	for e := range d.graph.To(p.name) {
		if a, ok := e.Addr.Addr(); ok && d.addresses.believable(a) {
			return true
		}
	}
	return false
}

// neighbours is the number of connections of a node, ours included.
func (d *dialer) neighbours(n node.Name) (count int) {
	for e := range d.graph.From(n) {
		if _, ok := d.graph.Get(e.To, n); ok {
			count++
		}
	}
	return count
}

// connected: c has been activated.
func (d *dialer) connected(c *conn) {
	d.reconsider()
	o := c.dial.out
	if o == nil {
		return
	}
	o.up, o.queue = d.now, nil
	o.conn.peer.dial.failed, o.conn.peer.onDemand().wait = 0, 0
	d.autoConnectSoon()
	if o.conn.dialled() && !o.conn.isPunched() {
		d.carriers.stands(o.conn)
	}
	if o.conn.isCarried() {
		return
	}
	if o.conn.remote.IsValid() && o.conn.dialled() && !o.conn.isPunched() {
		d.keyring.remember(o.conn.peer, o.conn.remote)
	}
}

// attemptEnded: c is gone, or could not be made.
func (d *dialer) attemptEnded(c *conn, wasActive bool) {
	d.reconsider()
	if !wasActive {
		d.carriers.ended(c)
	}
	switch o := c.dial.out; {
	case o == nil || o.conn != c:
	case c.isLeaving():
		d.redial(o)
	default:
		d.ended(o, wasActive)
	}
}

// ended: the connection of o is gone, or could not be made.
func (d *dialer) ended(o *outgoing, wasActive bool) {
	o.conn = nil
	if d.dials[o.name] != o || d.down {
		return
	}
	if o.auto && wasActive { // AutoConnect chooses again
		d.giveUp(o)
		d.autoConnectSoon()
		return
	}
	turn := d.carriers.takesTurn(d.peer(o.name))
	switch {
	case wasActive && turn:
		o.queue = nil
		d.dialAfter(o, d.jitter(100*time.Millisecond))
	case wasActive && d.now.Sub(o.up) >= settled:
		o.round, o.queue = 0, nil
		d.dialAfter(o, d.jitter(250*time.Millisecond))
	case wasActive:
		d.roundFailed(o)
	case len(o.queue) > 0:
		d.dial(o)
	default:
		d.roundFailed(o)
	}
}

// abandon stops an attempt that is under way, but keeps the dial target: the connection
// that comes in instead will fulfil it.
func (d *dialer) abandon(o *outgoing) {
	c := o.conn
	o.conn, o.queue = nil, nil
	d.links.forget(c)
	d.emit(CloseConn{Conn: c.id, Reason: "the peer is connecting to us"})
	d.dialAfter(o, 2*d.cfg.PingTimeout)
}

// redial connects again at once, in the hope of a better login.
func (d *dialer) redial(o *outgoing) {
	o.conn, o.queue = nil, nil
	if d.dials[o.name] == o && !d.down {
		d.dialAfter(o, d.jitter(250*time.Millisecond))
	}
}

// giveUp forgets the dial target and what is under way for it.
func (d *dialer) giveUp(o *outgoing) {
	d.reconsider()
	d.timers.Cancel(o.timer)
	if d.dials[o.name] == o {
		delete(d.dials, o.name)
	}
	if c := o.conn; c != nil {
		o.conn, c.dial.out = nil, nil
		if !c.isActive() {
			d.links.drop(c, "not wanted any more")
		}
	}
}

// retry forgets all waiting times.
func (d *dialer) retry() {
	d.addresses.forgetFailures()
	for _, p := range d.order {
		p.dial.failed, p.dial.shunned = 0, time.Time{}
		if u := p.punchIfAny(); u != nil {
			u.next, u.wait = time.Time{}, 0
			p.onDemand().next, p.onDemand().wait = time.Time{}, 0
		}
	}
	for _, o := range d.sortedDials() {
		o.round = 0
		if o.conn == nil {
			o.queue = nil
			d.dialAfter(o, 0)
		}
	}
}

func (d *dialer) connectNow(name node.Name) {
	if d.dials[name] == nil {
		if o := d.addDialTarget(name, false); o != nil {
			o.once = true
		}
	}
}

func (d *dialer) sortedDials() []*outgoing {
	out := make([]*outgoing, 0, len(d.dials))
	for _, o := range d.dials {
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

// AutoConnect has a turn each autoEvery, as long as it may find something to do. At rest, when there are enough
// connections, it does nothing until something has changed, or what has failed may be tried again.
const (
	autoEvery = 5 * time.Second
	// strayEvery is how often it looks for nodes that got lost, if there are any.
	strayEvery = 2 * autoEvery
)

// reconsider gives AutoConnect a turn, as something has changed. Others may have heard of it at the same moment.
func (d *dialer) reconsider() {
	if !d.cfg.AutoConnect || d.down || d.turn.isSet(d.now.Add(autoEvery)) {
		return
	}
	at := d.turned.Add(autoEvery)
	if !d.now.Before(at) {
		at = d.now.Add(d.jitter(autoEvery))
	}
	d.by(&d.turn, at, d.autoConnect)
}

// autoConnect keeps about three connections, so that the mesh holds together
// without anybody having planned it (tinc 1.1 AutoConnect).
func (d *dialer) autoConnect() {
	if !d.cfg.AutoConnect || d.down {
		return
	}
	looks := d.looksForStrays()
	d.turned = d.now
	d.relays.sweepTalking()
	d.connectOnDemand()
	conns := d.links.activeConns()
	switch n := len(conns); {
	case n < autoTarget:
		d.lookForNeighbour(n)
	default:
		if n > autoTarget {
			d.letGo(conns)
		}
		for _, o := range d.sortedDials() {
			if o.auto && o.conn == nil && !(o.onDemand && o.round == 0) {
				d.giveUp(o)
			}
		}
		for range looks {
			if p := d.order[d.deps.Rand.IntN(len(d.order))]; d.isStray(p) {
				d.addDialTarget(p.name, true)
			}
		}
	}
	if next := d.autoDue(); !next.IsZero() {
		d.by(&d.turn, next.Add(d.jitter(turnJitter)), d.autoConnect)
	}
}

// autoDue is when AutoConnect may have something to do, zero if that depends on what happens.
func (d *dialer) autoDue() (due time.Time) {
	soon := d.now.Add(autoEvery)
	if len(d.relays.inTalk()) > 0 {
		return soon
	}
	conns := d.links.activeConns()
	switch n := len(conns); {
	case n < autoTarget:
		if all, _ := d.pendingAuto(); all > 0 {
			return soon
		}
		for _, p := range d.order {
			switch {
			case !d.isCandidate(p):
			case d.keyring.mayLogIn(p):
				due = earlier(due, later(soon, p.dial.shunned))
			default: // it may not know that we wait for its key
				due = earlier(due, later(d.now.Add(strayEvery), p.dial.shunned))
			}
		}
		return due
	case n > autoTarget:
		for _, c := range conns {
			if d.isSurplus(c) {
				due = earlier(due, later(soon, later(c.dial.out.up.Add(settled), c.dial.used.Add(d.keepFor(c)))))
			}
		}
	}
	if slices.ContainsFunc(d.order, d.isStray) {
		due = earlier(due, d.now.Add(strayEvery))
	}
	return due
}

// isCandidate tells whether AutoConnect may choose p as a neighbour.
func (d *dialer) isCandidate(p *peer) bool {
	return p != d.self && p.conn() == nil && d.dials[p.name] == nil && d.hasAnyAddress(p) &&
		(d.keyring.mayLogIn(p) || p.reachable() && p.minor() >= 2 && d.keyring.mightVouch(p))
}

// isStray tells whether p is one through which a part of the mesh may be found that has been lost.
func (d *dialer) isStray(p *peer) bool {
	return p != d.self && !p.reachable() && p.hasAddress() && d.hasAnyAddress(p) && d.keyring.mayLogIn(p) && d.dials[p.name] == nil
}

// looksForStrays is how many nodes are looked at in this turn: one for each autoEvery.
func (d *dialer) looksForStrays() int {
	return min(max(1, int(d.now.Sub(d.turned)/autoEvery)), int(strayEvery/autoEvery))
}

// isSurplus tells whether c, one of more connections than are needed, is one that we made and that its other end can
// spare, too: tinc wants it to have two, but with less than three it would look for another.
func (d *dialer) isSurplus(c *conn) bool {
	return c.dial.out != nil && c.dial.out.auto && (c.dialled() || c.isPunched()) && d.neighbours(c.peer.name) > autoTarget
}

// lookForNeighbour makes another connection.
func (d *dialer) lookForNeighbour(n int) {
	// Attempts that may all succeed count as if they had: connections beyond the
	// target would be closed again, and everybody told of each of them four times.
	if all, underWay := d.pendingAuto(); all >= maxPendingAuto || n+underWay >= autoTarget {
		return
	}
	var free []*peer
	for _, p := range d.order {
		if d.isCandidate(p) && !d.now.Before(p.dial.shunned) {
			free = append(free, p)
		}
	}
	if len(free) == 0 {
		return
	}
	if p := free[d.deps.Rand.IntN(len(free))]; !d.keyring.mayLogIn(p) {
		p.session().begin() // what becomes of it brings us back here
	} else {
		d.addDialTarget(p.name, true)
	}
}

// letGo closes a connection that nobody needs.
func (d *dialer) letGo(conns []*conn) {
	var spare []*conn
	for _, c := range conns {
		if d.isSurplus(c) && d.spare(c) && d.now.Sub(c.dial.out.up) > settled {
			spare = append(spare, c)
		}
	}
	if len(spare) > 0 {
		c := spare[d.deps.Rand.IntN(len(spare))]
		d.giveUp(c.dial.out)
		d.links.release(c, "not needed: there are enough connections")
	}
}

// pendingAuto counts the attempts of AutoConnect that have no connection yet: all of
// them, and those that are not waiting for their next turn after a failure.
func (d *dialer) pendingAuto() (all, underWay int) {
	for _, o := range d.dials {
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
func (d *dialer) autoConnectSoon() {
	d.reconsider()
	if !d.cfg.AutoConnect || d.autoSoon || len(d.links.activeConns()) >= autoSafe {
		return
	}
	d.autoSoon = true
	d.after(d.startDelay(), func() {
		d.autoSoon = false
		if len(d.links.activeConns()) < autoSafe {
			d.autoConnect()
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
func (d *dialer) ownIsUnderWay(c *conn) bool {
	o := d.dials[c.peer.name]
	if c.dialled() || o == nil || o.conn == nil || o.conn == c || d.cfg.Name > c.peer.name {
		return false
	}
	return o.conn.aboutToSucceed(d.now)
}

// yield gives up our own attempt in favour of c, whose other end has proved who it is.
func (d *dialer) yield(c *conn) {
	o := d.dials[c.peer.name]
	if c.dialled() || o == nil || o.conn == nil || o.conn == c {
		return
	}
	if o.conn.isDialling() && c.isActive() || !o.conn.isActive() && d.cfg.Name > c.peer.name {
		d.logf(2, Info, "giving up our own attempt: %s is connecting to us", c)
		d.abandon(o)
	}
}

// transferTarget makes to the connection of the dial target that from was made for.
func (d *dialer) transferTarget(from, to *conn) {
	if from.dial.out != nil && to.dial.out == nil {
		to.dial.out, from.dial.out.conn, from.dial.out = from.dial.out, to, nil
		to.dial.out.up = d.now
	}
}

// forgetDials forgets all dial targets, but not the connections.
func (d *dialer) forgetDials() {
	for _, o := range d.dials {
		d.timers.Cancel(o.timer)
		if o.conn != nil {
			o.conn.dial.out = nil
		}
	}
	d.dials = map[node.Name]*outgoing{}
}

// isDialTarget tells whether a connection with the node is wanted.
func (d *dialer) isDialTarget(name node.Name) bool { return d.dials[name] != nil }

// reconfigureDials: the configuration has changed.
func (d *dialer) reconfigureDials() {
	for _, o := range d.sortedDials() {
		if o.auto && !d.cfg.AutoConnect && (o.conn == nil || !o.conn.isActive()) {
			d.giveUp(o)
		}
		if !o.auto && !slices.Contains(d.cfg.ConnectTo, o.name) {
			if d.cfg.AutoConnect && o.conn != nil && o.conn.isActive() { // let go of when it is not needed
				o.auto, o.once = true, false
				continue
			}
			conn := o.conn
			d.giveUp(o)
			if conn != nil && conn.isActive() && conn.dialled() {
				d.links.drop(conn, "no longer in ConnectTo")
			}
		}
	}
	for _, name := range d.cfg.ConnectTo {
		d.addDialTarget(name, false)
	}
	d.reconsider()
	d.retry()
}

// dialAnew gives up the attempts that nobody has answered, as they were begun in another world, and forgets
// all waiting times.
func (d *dialer) dialAnew(reason string) {
	for _, o := range d.sortedDials() {
		if c := o.conn; c != nil && d.links.endUnanswered(c, reason) {
			o.conn = nil
		}
	}
	d.retry()
}

// dialTargets are the names of the nodes with which a connection is wanted, in order.
func (d *dialer) dialTargets() []node.Name { return slices.Sorted(maps.Keys(d.dials)) }

func (d *dialer) dialAfter(o *outgoing, delay time.Duration) {
	d.timers.Cancel(o.timer)
	o.timer = d.after(delay, func() { d.dial(o) })
}

func (d *dialer) roundFailed(o *outgoing) {
	if p := d.nodes[o.name]; p != nil {
		defer d.punch(p)
	}
	o.queue = nil
	o.round++
	if o.once {
		d.giveUp(o)
		return
	}
	if o.auto { // AutoConnect tries others meanwhile: this one may be dead
		p := d.peer(o.name)
		p.dial.failed++
		wait := d.backoff(p.dial.failed)
		p.dial.shunned = d.now.Add(wait)
		d.after(wait, d.autoConnectSoon)
		d.giveUp(o)
		d.autoConnectSoon()
		return
	}
	delay := d.backoff(o.round)
	d.logf(1, Info, "next attempt to connect to %s in %s", o.name, delay.Round(100*time.Millisecond))
	d.dialAfter(o, delay)
}

// onReachable: p, to which we want a connection, has become reachable over others. So it lives, and what
// has failed before says nothing any more. The jitter spreads those who all wait for it.
func (d *dialer) onReachable(p *peer) {
	o := d.dials[p.name]
	if o == nil || o.round == 0 || p.conn() != nil {
		return
	}
	delay := d.startDelay()
	if wait := o.eased.Add(easeEvery).Sub(d.now); !o.eased.IsZero() && wait > 0 {
		delay += wait
	}
	at := d.now.Add(delay)
	switch {
	case o.conn != nil: // being made; should it fail, the next attempt follows soon
		if !o.eased.After(d.now.Add(-easeEvery)) {
			o.round, o.eased = 0, d.now
		}
	case !o.timer.Waiting() || o.timer.LaterThan(at):
		o.round, o.queue, o.eased = 0, nil, at
		d.logf(1, Info, "%s has become reachable; next attempt to connect to it in %s", p.name, delay.Round(100*time.Millisecond))
		d.dialAfter(o, delay)
	}
}

func (d *dialer) backoff(round int) time.Duration {
	delay := max(d.cfg.MaxTimeout, firstRetry)
	if len(d.links.activeConns()) == 0 {
		delay = min(delay, aloneRetry)
	}
	if round < 20 {
		delay = min(delay, firstRetry<<(round-1))
	}
	return max(delay/2+d.jitter(delay/2+1), d.cfg.MinTimeout)
}

// dialState is what the dialer keeps of a node.
type dialState struct {
	failed  int       // attempts of AutoConnect to connect to it, in a row
	shunned time.Time // when AutoConnect may try it again
}

// connDial is what the dialer keeps of a connection.
type connDial struct {
	out  *outgoing // the dial target that it was made for, nil if there was none
	used time.Time // last packet that travelled over it or thanks to it, see used
}
