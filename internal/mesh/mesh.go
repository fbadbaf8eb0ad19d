package mesh

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/graph"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// Protocol version that we speak (tinc 1.1).
const (
	ProtocolMajor = 17
	ProtocolMinor = 7
)

// Deps is what a pure machine cannot make itself.
type Deps struct {
	Rand    *rand.Rand // choices and jitter
	Secrets io.Reader  // keys and nonces of handshakes
	// RouteMTU is the kernel's MTU of the route to an address in bytes of IP
	// packet, 0 if unknown. It may be nil.
	RouteMTU func(netip.Addr) int
	// Heard is when the last byte came in on a meta connection, zero if unknown. It
	// may be nil: then only whole requests count.
	Heard func(ConnID) time.Time
	// Locate tells where an address leads. It may be nil: then everywhere is Elsewhere.
	Locate func(netip.Addr) Location
}

// Mesh is the protocol core. Its methods must be called from one goroutine.
//
// Use: Handle any number of events, call Tick when Deadline has come, then carry
// out what Flush returns.
type Mesh struct {
	cfg        Config
	deps       Deps
	now        time.Time     // of the event being handled
	ahead      time.Duration // of the caller's clock, which has been set back
	seen       seen
	tombstones seen // ADD_EDGEs of edges that are no more as they say
	answered   seen // old words about edges that were answered, by connection

	repeats  repeats
	refusals map[string]*Refusal // by cause
	subnets  int                 // of all nodes
	sums     sums                // of what reachable nodes have announced

	nodes   map[node.Name]*peer
	brought map[node.Name]share // what came by way of a neighbour
	full    time.Time           // when nothing could give way any more, for a second
	order   []*peer             // all nodes by name, so that equal runs give equal transcripts
	byID    map[node.ID]*peer
	self    *peer
	graph   *graph.Graph
	conns   map[ConnID]*conn
	lines   []*conn // all connections by number
	actives []*conn // the activated ones by number; nil: to be worked out
	dials   map[node.Name]*outgoing
	timers  timers
	nextID  ConnID

	effects []Effect

	searching  turn // for paths
	searches   uint64
	changed    []*peer // scratch space of recompute
	mappedPort uint16  // of the router, 0: none
	reevaluate bool    // a connection that paths lead over, or a host file, has changed

	graphDirty bool               // edges or connections changed since the last path search
	routes     routesToPublish    // what has changed of subnets and the tree
	dirty      map[*peer]struct{} // peers whose state may have to be published
	orphans    []node.Name        // lost neighbours whose edge to us is to be withdrawn if they are now unreachable

	shared   bool                       // another node lives on this machine
	mirrors  map[Endpoint]time.Time     // addresses that have led to ourselves, until when that counts
	failedAt map[netip.AddrPort]failure // addresses at which nodes were not found

	learned learned // MAC addresses on our side

	keysExpire time.Time // when the keys that we gave to nodes of tinc 1.0 do, zero: there are none

	tree    []node.Name // neighbours in the broadcast tree
	checked time.Time   // last run of checkConns

	rediscoveredAt time.Time        // last NetworkChanged that was acted on
	rediscoverSoon bool             // another one waits for its turn
	echoes         map[uint64]*echo // unanswered, by number
	lastEcho       uint64
	talking        []*peer // to whom we have sent packets lately

	contradictions struct{ adds, dels int }
	quiet          time.Duration // for how long not to contradict the next time that it is in vain
	quietUntil     time.Time
	early          int  // searches out of turn since the last one in turn
	down           bool // Shutdown was handled
	autoSoon       bool // AutoConnect has an extra turn soon
}

// New returns the protocol core of a node. Its first Flush announces the node itself.
func New(cfg Config, in Deps, now time.Time) *Mesh {
	m := &Mesh{
		deps: in, now: now,
		nodes: map[node.Name]*peer{}, brought: map[node.Name]share{}, byID: map[node.ID]*peer{},
		conns: map[ConnID]*conn{}, dials: map[node.Name]*outgoing{},
		dirty: map[*peer]struct{}{}, echoes: map[uint64]*echo{},
		graph: graph.New(cfg.Name), nextID: 1,
		quiet:  minQuiet,
		routes: routesToPublish{whole: true, dirty: true, changed: map[claim]struct{}{}},
	}
	m.cfg = withDefaults(cfg)
	m.self = m.peer(cfg.Name)
	m.begin()
	for name, h := range cfg.Hosts {
		m.setHost(name, true, h)
	}
	for name, l := range m.cfg.Learned {
		if len(l.Cached) > 0 {
			m.admitLearned(name) // AutoConnect may find it there again
		}
	}
	m.beginSubnets()
	for _, name := range m.cfg.ConnectTo {
		m.addDialTarget(name, false)
	}
	m.every(time.Second, m.checkConns)
	m.every(time.Second, m.checkPeers)
	m.autoConnectSoon() // a node that starts need not wait for the first turn
	m.every(5*time.Second, m.autoConnect)
	m.every(5*time.Second, m.checkContradictions)
	m.every(cleanInterval, m.clean)
	if m.cfg.Echoes {
		m.every(relayTick, m.checkRelays)
	}
	return m
}

func withDefaults(c Config) Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if c.Suite == (legacy.Suite{}) {
		c.Suite = legacy.DefaultSuite
	}
	def(&c.PingInterval, time.Minute)
	def(&c.PingTimeout, 5*time.Second)
	c.PingTimeout = min(c.PingTimeout, c.PingInterval)
	def(&c.MaxTimeout, 15*time.Minute)
	def(&c.KeyExpire, time.Hour)
	def(&c.UDPDiscoveryInterval, 2*time.Second)
	def(&c.UDPDiscoveryKeepalive, 10*time.Second)
	def(&c.UDPDiscoveryTimeout, 30*time.Second)
	def(&c.UDPInfoInterval, 5*time.Second)
	def(&c.MTUInfoInterval, 5*time.Second)
	def(&c.MACExpire, 10*time.Minute)
	def(&c.StaleAfter, 24*time.Hour)
	if c.TunnelServer {
		c.StrictSubnets = true
	}
	return c
}

// every calls fn each period. All nodes would otherwise act at the same moment
// after a common restart, so each turn gets a little jitter, as in tinc.
func (m *Mesh) every(period time.Duration, fn func()) {
	m.timers.set(m.now.Add(period+m.jitter(131*time.Millisecond)), func() {
		fn()
		m.every(period, fn)
	})
}

// after calls fn once.
func (m *Mesh) after(d time.Duration, fn func()) *timer { return m.timers.set(m.now.Add(d), fn) }

// jitter is a random duration below d.
func (m *Mesh) jitter(d time.Duration) time.Duration {
	return time.Duration(m.deps.Rand.Int64N(int64(d)))
}

// Deadline is when Tick has to be called, if nothing happens before.
func (m *Mesh) Deadline() time.Time {
	at := m.timers.next()
	if at.IsZero() {
		return at
	}
	return at.Add(-m.ahead)
}

// clock takes note of the time, which never goes back. Times should carry the reading of a
// monotonic clock, as those of time.Now do, so that they do not jump when somebody sets the
// clock on the wall. Should one be set back nevertheless, time goes on from where it was:
// nothing may wait until that clock has caught up.
func (m *Mesh) clock(now time.Time) {
	now = now.Add(m.ahead)
	if now.Before(m.now) {
		m.ahead += m.now.Sub(now)
		now = m.now
	}
	m.now = now
}

// Tick runs what is due.
func (m *Mesh) Tick(now time.Time) {
	m.clock(now)
	for t := m.timers.due(m.now); t != nil; t = m.timers.due(m.now) {
		t.run()
	}
}

// Handle takes in one event.
func (m *Mesh) Handle(now time.Time, ev Event) {
	m.clock(now)
	switch e := ev.(type) {
	case Accepted:
		m.accepted(e)
	case Dialed:
		m.dialed(e)
	case Line:
		m.line(e)
	case Secured:
		m.secured(e)
	case Request:
		m.request(e)
	case Closed:
		m.closed(e)
	case HostLoaded:
		m.setHost(e.Node, e.Known, e.Host)
	case Vouched:
		m.vouched(e)
	case Reconfigured:
		m.reconfigure(e.Config)
	case Traffic:
		m.traffic(e)
	case Silent:
		m.silent(e)
	case Heard:
		m.heard(e)
	case Large:
		m.large(e)
	case ProbeIn:
		m.probeIn(e)
	case HeardFrom:
		m.heardFrom(e)
	case CameIndirectly:
		m.cameIndirectly(e)
	case Relayed:
		m.relayed(e)
	case Undecodable:
		m.undecodable(e)
	case TooLong:
		m.tooLong(e)
	case LearnMAC:
		m.learnMAC(e.MAC)
	case PortMapped:
		m.setMappedPort(e.Port)
	case NetworkChanged:
		m.networkChanged(e)
	case EchoIn:
		m.echoIn(e)
	case Echo:
		m.echo(e)
	case Retry:
		m.retry()
	case Purge:
		m.purge()
	case Disconnect:
		m.disconnect(e.Node)
	case ConnectNow:
		m.connectNow(e.Node)
	case Shutdown:
		m.shutdown()
	default:
		panic(fmt.Sprintf("mesh: event %T is not handled", ev))
	}
}

// Flush recomputes what the events have changed, once for all of them, and
// returns the effects in the order in which they are to be carried out. The
// slice belongs to the caller.
func (m *Mesh) Flush(now time.Time) []Effect {
	m.clock(now)
	m.update()
	m.decideRelays()
	m.publish()
	out := m.effects
	m.effects = nil
	return out
}

func (m *Mesh) emit(e Effect) { m.effects = append(m.effects, e) }

func (m *Mesh) logf(level int, p Priority, format string, args ...any) {
	m.emit(Log{Level: level, Priority: p, Text: fmt.Sprintf(format, args...), Cause: format, About: about(args)})
}

// about is whom a message is about: the first node, connection or address in it.
func about(args []any) string {
	for _, a := range args {
		switch a := a.(type) {
		case node.Name:
			return string(a)
		case *conn:
			if a.peer == nil {
				return a.remote.Addr().String()
			}
			return string(a.peer.name)
		case netip.AddrPort:
			return a.Addr().String()
		}
	}
	return ""
}

// ---------------------------------------------------------------- peers

// peer is what we know of one node, ourselves included.
type peer struct {
	name    node.Name
	id      node.ID
	known   bool      // has a host file here
	learned time.Time // when its key came by an RSA login, zero: it did not
	host    Host

	subnets    map[subnet.Subnet]node.Name // and by which neighbour we know, "": by our own files
	sorted     []subnet.Subnet             // the same in order; nil: to be worked out
	sums       sums                        // of what it has announced
	written    map[subnet.Subnet]struct{}  // those of its host file, all with the default weight
	path       graph.Path
	found      uint64 // the last search that found an edge of it
	reachable  bool
	born       time.Time      // when it was first heard of
	by         node.Name      // the neighbour by way of which that was, "" if it was not
	since      time.Time      // of the last change of reachability, zero: never
	hidden     bool           // not listed: somebody wanted it forgotten
	announced  netip.AddrPort // its address when it became reachable, for scripts
	conn       *conn          // activated meta connection
	problem    string         // why the last attempt at a connection failed, "" if it did not
	refusal    refusal        // whether that was the login
	startTimer *timer         // of onNeighbourUp
	failed     int            // attempts of AutoConnect to connect to it, in a row
	shunned    time.Time      // when AutoConnect may try it again

	session  session
	trust    trust     // what is known of its key beside its host file
	askedKey time.Time // last request for its public key, zero: it was answered

	seenAt    netip.AddrPort // where others see it by UDP
	contacted *contact       // nil: we have had nothing to do with it, see contact()

	active    time.Time // last traffic
	published PeerState
}

// peer returns the node called name, creating it (unreachable) if it is new.
func (m *Mesh) peer(name node.Name) *peer {
	p := m.nodes[name]
	if p == nil {
		p = &peer{name: name, id: name.ID(), born: m.now}
		m.beginTrust(p)
		m.beginSession(p)
		m.nodes[name] = p
		m.byID[p.id] = p
		i, _ := slices.BinarySearchFunc(m.order, p, byName)
		m.order = slices.Insert(m.order, i, p)
	}
	return p
}

func (m *Mesh) forgetNode(p *peer) {
	m.chargeTo(p.by, share{nodes: -1})
	m.remove(p)
}

// remove takes p out of the tables.
func (m *Mesh) remove(p *peer) {
	delete(m.nodes, p.name)
	delete(m.byID, p.id)
	if i, ok := slices.BinarySearchFunc(m.order, p, byName); ok {
		m.order = slices.Delete(m.order, i, i+1)
	}
	m.touch(p)
}

// announcedAt is its address in the edge over which it is reached, zero if there is none.
func (p *peer) announcedAt() netip.AddrPort {
	if p.path.Prev == nil {
		return netip.AddrPort{}
	}
	addr, _ := p.path.Prev.Addr.Addr()
	return addr
}

func (p *peer) minor() int { return p.path.Options.Minor() }

// hasAddress tells whether it could be dialled without the mesh's help.
func (p *peer) hasAddress() bool { return len(p.host.Addresses) > 0 }

// touch has the state of p published, if it has changed.
func (m *Mesh) touch(p *peer) {
	if p != m.self {
		m.dirty[p] = struct{}{}
	}
}

func (m *Mesh) setHost(name node.Name, known bool, h Host) {
	if !known {
		if p := m.nodes[name]; p != nil && p.known && p != m.self && !m.justLearned(p) {
			m.hostGone(p)
		}
		return
	}
	p := m.peer(name)
	if h.Key == nil && m.justLearned(p) {
		h.Key = p.host.Key
	}
	if len(h.Cached) == 0 {
		h.Cached = p.host.Cached
	}
	was := p.key()
	p.known, p.host = true, h
	p.trust.removed = false
	if p.session.hopByHop() {
		m.touch(p) // with an RSA key packets of our own may go there
	}
	changed := was != nil && !sameKey(p.key(), was)
	if h.Key != nil {
		m.settleLearned(p, was)
	}
	if changed {
		m.endLogins(p, "its key in the host file has changed")
	}
	if changed || !m.sessionFits(p) {
		m.endSession(p)
	}
	m.setWritten(p, h.Subnets)
	if m.cfg.StrictSubnets && p != m.self {
		m.replaceSubnets(p, h.Subnets)
	}
}

func sameKey(a, b *keys.PublicKey) bool { return a == b || a != nil && b != nil && *a == *b }

// hostGone: p has no host file any more. A login that is under way ends; what stands,
// stands until a reload.
func (m *Mesh) hostGone(p *peer) {
	p.known, p.host = false, Host{}
	m.setWritten(p, nil)
	p.trust = trust{removed: true} // it comes back only if its owner wants it
	m.endSession(p)
	m.linksChanged()
	if m.cfg.StrictSubnets {
		m.replaceSubnets(p, nil)
	}
	m.endLogins(p, "its host file is gone")
}

// justLearned tells whether p's key is so new that it may not be in the host file yet.
func (m *Mesh) justLearned(p *peer) bool {
	return !p.learned.IsZero() && m.now.Sub(p.learned) < writeGrace
}

func byName(a, b *peer) int { return cmp.Compare(a.name, b.name) }

// ---------------------------------------------------------------- paths

// search brings the paths up to date.
func (m *Mesh) search() {
	if m.graphDirty {
		m.graphDirty = false
		m.recompute()
	}
}

// searchEarly brings the paths up to date out of turn, a few times between two turns.
func (m *Mesh) searchEarly() {
	if m.graphDirty && m.early < maxEarly {
		m.early++
		m.search()
	}
}

// update brings the paths up to date, unless that has to wait, and withdraws the edges of orphans.
func (m *Mesh) update() {
	if (m.graphDirty || len(m.orphans) > 0) && !m.mayWait(&m.searching, m.searchWait()) {
		for m.graphDirty || len(m.orphans) > 0 {
			m.search()
			m.withdrawOrphans()
		}
		m.early = 0
	}
}

// lastSearch acts on what has changed, for the last time.
func (m *Mesh) lastSearch() {
	m.recompute()
	m.graphDirty = false
	m.orphans = nil
}

// graphChanged has the paths computed anew.
func (m *Mesh) graphChanged() { m.graphDirty = true }

// broadcastTree lists the neighbours in the broadcast tree.
func (m *Mesh) broadcastTree() []node.Name { return m.tree }

// A single change is acted upon at once. While changes pour in, as when a large mesh
// comes up, a search for each batch of them would be most of what a node does.
const (
	// searchEvery is the least time between two searches for each node of the mesh beyond
	// smallMesh: they take about a hundredth of the time then.
	searchEvery = 100 * time.Microsecond
	smallMesh   = 50
	// maxSearchWait bounds it.
	maxSearchWait = 200 * time.Millisecond
)

// searchWait is the least time between two searches now.
func (m *Mesh) searchWait() time.Duration {
	return min(time.Duration(max(0, len(m.nodes)-smallMesh))*searchEvery+time.Duration(max(0, m.subnetCount()-smallTable))*publishEvery, maxSearchWait)
}

// recompute recomputes the paths and acts on what has changed.
func (m *Mesh) recompute() {
	m.searching.done(m.now)
	m.searches++
	changed := m.changed[:0]
	all := m.graph.Changes(func(name node.Name, path graph.Path) {
		if p := m.nodes[name]; p != nil {
			p.found = m.searches
			if p.path != path {
				p.path = path
				changed = append(changed, p)
			}
		}
	})
	if all {
		for _, p := range m.order {
			if p.found != m.searches && p.path != (graph.Path{}) { // it has no edge any more
				p.path = graph.Path{}
				changed = append(changed, p)
			}
		}
	}
	slices.SortFunc(changed, byName)
	for _, p := range changed {
		if p != m.self {
			m.pathChanged(p)
			m.touch(p)
		}
	}
	clear(changed)
	m.changed = changed[:0]
	if m.reevaluate { // what paths lead over has changed
		m.reevaluate = false
		for _, p := range m.order {
			if p == m.self {
				continue
			}
			m.pathChanged(p)
			if m.hopConn(p) != p.publishedConn() {
				m.touch(p)
			}
		}
	}
	var tree []node.Name
	if m.cfg.Broadcast && !m.cfg.TunnelServer {
		tree = m.graph.Adjacent()
	}
	if !slices.Equal(tree, m.tree) {
		m.tree = tree
		m.treeChanged()
	}
}

// pathChanged does what follows from another path to p.
func (m *Mesh) pathChanged(p *peer) {
	switch {
	case p.path.Reachable != p.reachable:
		m.reachabilityChanged(p)
	case !m.sessionFits(p):
		m.logf(1, Info, "node %s speaks another protocol now", p.name)
		m.endSession(p)
	}
	if addr := p.announcedAt(); p.reachable && addr.IsValid() && !p.addr().IsValid() {
		p.seemsToBeAt(addr)
	}
}

func (m *Mesh) reachabilityChanged(p *peer) {
	p.restartUDP(netip.AddrPort{})
	if p.reachable != p.path.Reachable {
		m.countNode(p, p.path.Reachable)
	}
	p.reachable = p.path.Reachable
	p.since = m.now
	m.endSession(p)
	subnets := sortedSubnets(p)
	for _, s := range subnets {
		m.touchRoute(p, s)
	}
	if p.reachable {
		p.restartUDP(p.announcedAt())
		m.logf(1, Info, "node %s became reachable", p.name)
		p.announced, p.hidden = p.addr(), false
		m.emit(NodeUp{Node: p.name, Addr: p.addr()})
		for _, s := range subnets {
			m.emit(SubnetUp{Owner: p.name, Subnet: s, Addr: p.addr()})
		}
		if p.conn != nil {
			p.session.onNeighbourUp(p.conn)
		}
		m.onReachable(p)
		m.autoConnectSoon()
		return
	}
	m.logf(1, Info, "node %s became unreachable", p.name)
	m.autoConnectSoon()
	// What a script did for an address is undone for the same address.
	m.emit(NodeDown{Node: p.name, Addr: p.announced})
	for _, s := range subnets {
		m.emit(SubnetDown{Owner: p.name, Subnet: s, Addr: p.announced})
	}
}

// withdrawOrphans floods DEL_EDGE for edges towards us from neighbours that
// were lost and cannot say so themselves (tinc 1.1 DEL_EDGE).
func (m *Mesh) withdrawOrphans() {
	orphans := m.orphans
	m.orphans = nil
	for _, name := range orphans {
		if p := m.nodes[name]; p != nil && p.reachable {
			continue
		}
		if e, ok := m.graph.Get(name, m.cfg.Name); ok {
			m.outdated(*e)
			m.announce(m.withdrawal(name, m.cfg.Name))
			m.deleteEdge(name, m.cfg.Name)
			m.graphDirty = true
		}
	}
}

// effectiveVia is the node that packets for p are sent to by UDP: p itself, or a relay.
func (m *Mesh) effectiveVia(p *peer) *peer {
	v := p.path.Via
	if v == m.cfg.Name || v == "" {
		v = p.path.NextHop
	}
	return m.nodes[v]
}

// nextHopConn is the meta connection that leads to p, nil if there is none.
func (m *Mesh) nextHopConn(p *peer) *conn {
	if !p.reachable || p == m.self {
		return nil
	}
	if h := m.nodes[p.path.NextHop]; h != nil {
		return h.conn
	}
	return nil
}

// hopConn is the number of the meta connection that leads to p, 0 if there is none.
func (m *Mesh) hopConn(p *peer) ConnID {
	if c := m.nextHopConn(p); c != nil {
		return c.id
	}
	return 0
}

// ---------------------------------------------------------------- publishing

func (m *Mesh) publish() {
	m.publishPeers()
	m.publishRoutes()
}

// publishPeers tells the data plane which peers have changed.
func (m *Mesh) publishPeers() {
	if len(m.dirty) > 0 {
		var changed []PeerState
		for p := range m.dirty {
			if now := m.nodes[p.name]; now != nil && now != p { // it was forgotten, and has come back
				continue
			}
			if st := m.state(p); st != p.published {
				p.published = st
				changed = append(changed, st)
			}
		}
		clear(m.dirty)
		if len(changed) > 0 {
			slices.SortFunc(changed, func(a, b PeerState) int {
				if a.Node < b.Node {
					return -1
				}
				return 1
			})
			m.emit(PublishPeers{Peers: changed})
		}
	}
}

func (m *Mesh) state(p *peer) PeerState {
	st := PeerState{Node: p.name, Known: m.nodes[p.name] == p, Reachable: p.reachable, Sock: -1}
	if p == m.self || !p.reachable {
		return st
	}
	via := m.effectiveVia(p)
	if via == nil {
		return st
	}
	st.Adjacent = p.conn != nil
	st.Conn = m.hopConn(p)
	st.NextHop, st.Via, st.ViaSelf = p.path.NextHop, via.name, p.path.Via == m.cfg.Name
	st.Options = uint32(p.path.Options)
	if p.confirmed() || m.mayProbe(p, p.addr()) {
		st.Addr, st.Confirmed = p.addr(), p.confirmed()
		st.Sock = p.sock()
	}
	st.MTU = m.usableMTU(p)
	if p.confirmed() && !m.cfg.TCPOnly {
		_, st.MinMTU, _ = p.mtus()
	}
	if r := p.relay(); r != nil {
		st.Relay = r.name
	}
	p.session.publish(&st)
	return st
}

// usableMTU is the path MTU of p, capped by the PMTU settings.
func (m *Mesh) usableMTU(p *peer) int {
	mtu, _, _ := p.mtus()
	for _, limit := range []int{m.cfg.PMTU, p.host.PMTU} {
		if limit > 0 {
			mtu = min(mtu, limit)
		}
	}
	return mtu
}

func (m *Mesh) shutdown() {
	if m.down {
		return
	}
	m.down = true
	m.forgetDials()
	m.closeAll()
	m.lastSearch()
	m.ownSubnetsDown()
}

// request handles a request that came over SPTPS. What breaks the protocol ends
// the connection, as tinc does it.
func (m *Mesh) request(e Request) {
	c := m.heardOn(e.Conn)
	if c == nil {
		return
	}
	if len(e.Text) > maxLine {
		// Others may pass on what we would not; that is no reason to part from them.
		m.limitExceeded(c, "a request of %d bytes from %s", len(e.Text), c)
		return
	}
	switch err := m.handleRequest(c, e.Text); {
	case errors.Is(err, node.ErrTooLong) && c.isActive():
		m.limitExceeded(c, "a request from %s: %v", c, err)
	case err != nil:
		m.drop(c, err.Error())
	}
}

func (m *Mesh) handleRequest(c *conn, text string) error {
	kind, err := wire.RequestKind(text)
	if err != nil {
		return err
	}
	if !c.mayCarry(kind) {
		return fmt.Errorf("request %d is not allowed now", kind)
	}
	switch kind {
	case wire.KindAck:
		return m.ack(c, text)
	case wire.KindTermReq:
		return errors.New("the peer ended the connection")
	case wire.KindPing:
		m.send(c, wire.Pong{}.Append(nil))
		m.compareDigests(c, text)
		return nil
	case wire.KindPong:
		m.pong(c)
		return nil
	case wire.KindAddSubnet:
		return m.addSubnet(c, text)
	case wire.KindDelSubnet:
		return m.delSubnet(c, text)
	case wire.KindAddEdge:
		return m.addEdge(c, text)
	case wire.KindDelEdge:
		return m.delEdge(c, text)
	case wire.KindKeyChanged:
		return m.keyChanged(c, text)
	case wire.KindReqKey:
		return m.reqKey(c, text)
	case wire.KindAnsKey:
		return m.ansKey(c, text)
	case wire.KindUDPInfo:
		return m.gotUDPInfo(c, text)
	case wire.KindMTUInfo:
		return m.gotMTUInfo(c, text)
	}
	return fmt.Errorf("request %d is not allowed on a meta connection", kind)
}

// reconfigure takes over what may change while running.
func (m *Mesh) reconfigure(c Config) {
	if m.down {
		return
	}
	c = withDefaults(c)
	c.Name, c.Port, c.Sockets = m.cfg.Name, m.cfg.Port, m.cfg.Sockets
	c.Key, c.RSAKey = m.cfg.Key, m.cfg.RSAKey
	c.Compression, c.Learned = m.cfg.Compression, m.cfg.Learned
	c.StrictSubnets, c.TunnelServer = m.cfg.StrictSubnets, m.cfg.TunnelServer
	m.cfg = c
	m.recheck(c.Hosts)
	m.reloadHosts(c.Hosts)
	m.setRemoved(c.Removed)
	m.checkVouchers()
	m.reconfigureSessions()
	m.replaceOwnSubnets(c.Subnets)
	m.warnOfOwnSubnets()
	m.reconfigureDials()
	m.graphChanged()
	m.publishAllRoutes()
}

// changeInterval is the least time between two searches for everything again.
const changeInterval = 300 * time.Millisecond

// networkChanged: whatever was known of paths to others may be wrong now.
func (m *Mesh) networkChanged(e NetworkChanged) {
	if m.down {
		return
	}
	if wait := m.rediscoveredAt.Add(changeInterval).Sub(m.now); !m.rediscoveredAt.IsZero() && wait > 0 {
		if !m.rediscoverSoon { // changes come in flocks
			m.rediscoverSoon = true
			m.after(wait, func() { m.rediscoverSoon = false; m.networkChanged(e) })
		}
		return
	}
	m.rediscoveredAt = m.now
	m.logf(1, Info, "rediscovering all nodes: %s", e.Reason)
	m.dialAnew(e.Reason)
	m.askAll()
	m.seekAll()
}
