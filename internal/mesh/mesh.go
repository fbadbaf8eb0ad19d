package mesh

import (
	"errors"
	"fmt"
	"net/netip"
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
	m.beginReach()
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

// Deadline is when Tick has to be called, if nothing happens before.
func (m *Mesh) Deadline() time.Time {
	at := m.timers.next()
	if at.IsZero() {
		return at
	}
	return at.Add(-m.ahead)
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
	m.publishPeers()
	m.publishRoutes()
	out := m.effects
	m.effects = nil
	return out
}

func (m *Mesh) forgetNode(p *peer) {
	m.chargeTo(p.by, share{nodes: -1})
	m.remove(p)
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
