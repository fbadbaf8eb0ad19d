package mesh

import (
	"errors"
	"fmt"
	"time"

	"tincan/internal/graph"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// Protocol version that we speak (tinc 1.1).
const (
	ProtocolMajor = 17
	ProtocolMinor = 7
)

// Mesh is the protocol core. Its methods must be called from one goroutine.
//
// Use: Handle any number of events, call Tick when Deadline has come, then carry
// out what Flush returns.
//
// Mesh only conducts: it hands each event to the part that it concerns. Each part has its own state, also of
// each node and of each connection, and says itself what it calls in the others.
type Mesh struct {
	*env
	*directory

	roll       *roll
	topology   *topology
	reach      *reach
	subnets    *subnets
	keyring    *keyring
	links      *links
	dialer     *dialer
	carriers   *carriers
	addresses  *addresses
	paths      *paths
	relays     *relays
	forwarding *forwarding
	sessions   *sessions
	reports    *reports

	rediscoveredAt time.Time // last NetworkChanged that was acted on
	rediscoverSoon bool      // another one waits for its turn
}

// New returns the protocol core of a node. Its first Flush announces the node itself.
func New(cfg Config, in Deps, now time.Time) *Mesh {
	e := &env{deps: in, now: now, cfg: withDefaults(cfg)}
	d := &directory{
		nodes: map[node.Name]*peer{}, byID: map[node.ID]*peer{}, dirty: map[*peer]struct{}{}, unplanned: map[*peer]struct{}{}, graph: graph.New(cfg.Name),
	}
	m := &Mesh{
		env: e, directory: d,
		roll: &roll{}, topology: &topology{}, reach: &reach{}, subnets: &subnets{}, keyring: &keyring{}, links: &links{}, dialer: &dialer{}, carriers: &carriers{},
		addresses: &addresses{}, paths: &paths{}, relays: &relays{}, forwarding: &forwarding{}, sessions: &sessions{}, reports: &reports{},
	}
	*m.roll = roll{env: e, directory: d, keyring: m.keyring, links: m.links, topology: m.topology, reach: m.reach, subnets: m.subnets}
	*m.topology = topology{
		env: e, directory: d, roll: m.roll, reach: m.reach, subnets: m.subnets, keyring: m.keyring, links: m.links, dialer: m.dialer,
		brought: map[node.Name]share{}, quiet: minQuiet,
	}
	*m.reach = reach{
		env: e, directory: d, roll: m.roll, topology: m.topology, subnets: m.subnets, links: m.links, dialer: m.dialer, sessions: m.sessions,
	}
	*m.subnets = subnets{
		env: e, directory: d, roll: m.roll, topology: m.topology, reach: m.reach, links: m.links,
		routes: routesToPublish{whole: true, dirty: true, changed: map[claim]struct{}{}},
	}
	*m.keyring = keyring{
		env: e, directory: d, roll: m.roll, reach: m.reach, subnets: m.subnets, links: m.links, dialer: m.dialer, sessions: m.sessions,
	}
	*m.links = links{
		env: e, directory: d, roll: m.roll, topology: m.topology, reach: m.reach, keyring: m.keyring, dialer: m.dialer, carriers: m.carriers, addresses: m.addresses, paths: m.paths,
		conns: map[ConnID]*conn{}, nextID: 1,
	}
	*m.dialer = dialer{
		env: e, directory: d, reach: m.reach, keyring: m.keyring, links: m.links, carriers: m.carriers, addresses: m.addresses, relays: m.relays,
		dials: map[node.Name]*outgoing{},
	}
	*m.carriers = carriers{env: e, directory: d, links: m.links, addresses: m.addresses, dialer: m.dialer}
	*m.addresses = addresses{env: e, directory: d}
	*m.paths = paths{
		env: e, directory: d, reach: m.reach, keyring: m.keyring, links: m.links, dialer: m.dialer, carriers: m.carriers, addresses: m.addresses, relays: m.relays,
	}
	*m.relays = relays{
		env: e, directory: d, reach: m.reach, keyring: m.keyring, dialer: m.dialer, paths: m.paths, forwarding: m.forwarding,
		echoes: map[uint64]*echo{},
	}
	*m.forwarding = forwarding{env: e, directory: d, reach: m.reach, addresses: m.addresses, roll: m.roll}
	*m.sessions = sessions{
		env: e, directory: d, reach: m.reach, keyring: m.keyring, links: m.links, addresses: m.addresses, paths: m.paths, forwarding: m.forwarding,
	}
	*m.reports = reports{
		env: e, directory: d, roll: m.roll, topology: m.topology, reach: m.reach, subnets: m.subnets, keyring: m.keyring, links: m.links, dialer: m.dialer, carriers: m.carriers, paths: m.paths, relays: m.relays, forwarding: m.forwarding,
	}
	d.begin = func(p *peer) {
		p.born = e.now
		m.keyring.beginTrust(p)
		m.sessions.beginSession(p)
	}
	m.self = m.peer(cfg.Name)
	m.reach.beginReach()
	for name, h := range cfg.Hosts {
		m.keyring.setHost(name, true, h)
	}
	for name, l := range m.cfg.Learned {
		if len(l.Cached) > 0 {
			m.keyring.admitLearned(name) // AutoConnect may find it there again
		}
	}
	m.carriers.remember(m.cfg.Worked)
	m.subnets.beginSubnets()
	m.roll.change(m.cfg.Roster)
	for _, name := range m.cfg.ConnectTo {
		m.dialer.addDialTarget(name, false)
	}
	m.dialer.autoConnectSoon() // a node that starts need not wait for the first turn
	m.every(cleanInterval, m.topology.clean)
	return m
}

// Deadline is when Tick has to be called, if nothing happens before.
func (m *Mesh) Deadline() time.Time {
	at := m.timers.Next()
	if at.IsZero() {
		return at
	}
	return at.Add(-m.ahead)
}

// Tick runs what is due.
func (m *Mesh) Tick(now time.Time) {
	m.clock(now)
	if next := m.timers.Next(); !next.IsZero() && m.now.Sub(next) > heldUp {
		m.links.heldUp(m.idle)
	}
	m.idle = 0
	for t := m.timers.Due(m.now); t != nil; t = m.timers.Due(m.now) {
		t.Run()
	}
}

// Handle takes in one event.
func (m *Mesh) Handle(now time.Time, ev Event) {
	m.clock(now)
	switch e := ev.(type) {
	case Accepted:
		m.links.accepted(e)
	case Dialed:
		m.links.dialed(e)
	case Line:
		m.links.line(e)
	case Secured:
		m.links.secured(e)
	case Request:
		m.request(e)
	case Closed:
		m.links.closed(e)
	case HostLoaded:
		m.keyring.setHost(e.Node, e.Known, e.Host)
		m.dialer.reconsider()
	case SendRoster:
		m.roll.send(e)
	case RosterIn:
		m.roll.receivedFar(e)
	case RosterChanged:
		m.roll.change(e)
		m.dialer.reconsider()
	case Vouched:
		m.keyring.vouched(e)
		m.dialer.reconsider()
	case Reconfigured:
		m.reconfigure(e.Config)
	case Traffic:
		m.paths.traffic(e)
	case Silent:
		m.paths.silent(e)
	case Heard:
		m.paths.heard(e)
	case Large:
		m.paths.large(e)
	case ProbeIn:
		m.paths.probeIn(e)
	case HeardFrom:
		m.paths.heardFrom(e)
	case CameIndirectly:
		m.paths.cameIndirectly(e)
	case Relayed:
		m.paths.relayed(e)
	case Undecodable:
		m.sessions.undecodable(e)
	case TooLong:
		m.paths.tooLong(e)
	case LearnMAC:
		m.subnets.learnMAC(e.MAC)
	case DeviceHere:
		m.subnets.attach(e.Addrs)
	case DeviceGone:
		m.subnets.detach(e.Addrs)
	case PortMapped:
		m.links.setMappedPort(e.Port)
	case NetworkChanged:
		m.networkChanged(e)
	case EchoIn:
		m.relays.echoIn(e)
	case Echo:
		m.relays.echo(e)
	case ExitWorks:
		m.relays.exitWorks(e)
	case AskPaths:
		m.relays.askPaths(e)
	case TellPaths:
		m.relays.tellPaths(e)
	case Retry:
		m.dialer.retry()
	case Purge:
		m.topology.purge()
	case Disconnect:
		m.links.disconnect(e.Node)
	case ConnectNow:
		m.dialer.connectNow(e.Node)
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
	m.reach.update()
	m.relays.decideRelays()
	m.roll.publishNeighbours()
	m.forwarding.publishPeers()
	m.paths.plan()
	m.subnets.publishRoutes()
	out := m.effects
	m.effects = nil
	return out
}

func (m *Mesh) shutdown() {
	if m.down {
		return
	}
	m.down = true
	m.dialer.forgetDials()
	m.links.closeAll()
	m.reach.lastSearch()
	m.subnets.ownSubnetsDown()
}

// request handles a request that came over SPTPS. What breaks the protocol ends
// the connection, as tinc does it.
func (m *Mesh) request(e Request) {
	c := m.links.heardOn(e.Conn)
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
		m.links.drop(c, err.Error())
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
		return m.links.ack(c, text)
	case wire.KindTermReq:
		return errors.New("the peer ended the connection")
	case wire.KindPing:
		m.links.send(c, wire.Pong{}.Append(nil))
		m.topology.compareDigests(c, text)
		return nil
	case wire.KindPong:
		m.links.pong(c)
		return nil
	case wire.KindAddSubnet:
		return m.subnets.addSubnet(c, text)
	case wire.KindDelSubnet:
		return m.subnets.delSubnet(c, text)
	case wire.KindAddEdge:
		return m.topology.addEdge(c, text)
	case wire.KindDelEdge:
		return m.topology.delEdge(c, text)
	case wire.KindKeyChanged:
		return m.topology.keyChanged(c, text)
	case wire.KindReqKey:
		return m.sessions.reqKey(c, text)
	case wire.KindAnsKey:
		return m.sessions.ansKey(c, text)
	case wire.KindUDPInfo:
		return m.paths.gotUDPInfo(c, text)
	case wire.KindMTUInfo:
		return m.paths.gotMTUInfo(c, text)
	case wire.KindRoster:
		return m.roll.received(c, text)
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
	c.Compression, c.Learned, c.Roster = m.cfg.Compression, m.cfg.Learned, RosterChanged{}
	c.StrictSubnets, c.TunnelServer = m.cfg.StrictSubnets, m.cfg.TunnelServer
	m.cfg = c
	hosts := m.roll.hostFiles(c.Hosts)
	m.links.recheck(hosts)
	m.keyring.reloadHosts(hosts)
	m.keyring.setRemoved(c.Removed)
	m.links.checkVouchers()
	m.sessions.reconfigureSessions()
	m.subnets.replaceOwnSubnets(c.Subnets)
	m.subnets.warnOfOwnSubnets()
	m.dialer.reconfigureDials()
	m.reach.graphChanged()
	m.subnets.publishAllRoutes()
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
	m.carriers.forget(e.Worked)
	m.dialer.dialAnew(e.Reason)
	m.links.askAll()
	m.paths.seekAll()
}
