// Package sim runs the protocol cores of many nodes in one process under virtual time.
//
// Only the protocol cores and the sessions between nodes are real. Meta connections are
// pipes with a delay, UDP is a table of who reaches whom, and a packet is
// carried as the data plane would carry it. A run is repeatable from its seed.
package sim

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/hybrid"
	"tincan/internal/keys"
	"tincan/internal/mask"
	"tincan/internal/membership"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// World is a network of nodes.
type World struct {
	Now  time.Time
	Rand *rand.Rand
	// Delay of anything from one host to another. Messages on one
	// connection keep their order whatever it returns.
	Delay func(from, to *Host) time.Duration
	// TCP and UDP tell whether a host reaches another at all. While TCP says no,
	// what is sent on connections waits.
	TCP, UDP func(from, to *Host) bool
	// Form tells whether datagrams pass that are hidden by masks, or that are not; all do if nil.
	Form func(from, to *Host, masked bool) bool
	// Loss is the part of datagrams that get lost, none if nil.
	Loss func(from, to *Host) float64
	// Duplicate is the part of datagrams that arrive twice, Reorder of those that arrive
	// up to 200 ms late; none if nil.
	Duplicate, Reorder func(from, to *Host) float64
	// Rate of a meta connection in bytes a second, without limit if 0 or nil.
	Rate func(from, to *Host) int
	// PathMTU is the largest UDP payload on a path plus 28, 1500 if nil.
	PathMTU func(from, to *Host) int

	// Batch is how long a node takes in events before it carries out what follows
	// from them, as one that is busy does. If zero it does so after each event.
	Batch time.Duration

	// Accept is how many connections a node takes in at once and then each second, from all
	// addresses together; the others wait. Without limit if 0. (A real node is more generous: its
	// limit is one for each address.)
	Accept int
	// Dials counts attempts to connect.
	Dials int

	// Sent counts requests on meta connections by their number, Datagrams all datagrams, Unhidden those without a mask.
	Sent                map[int]int
	Datagrams, Unhidden int
	Stuck               int // most messages that waited on a connection that did not carry them
	// Misunderstood are requests that a node of tinc 1.0 got and does not know.
	Misunderstood []string
	// DroppedInUse counts connections that a node found unnecessary although packets
	// of the VPN had just travelled over them.
	DroppedInUse int
	// OnSend is called for each request that goes into a meta connection, if it is not nil.
	OnSend func(from, to *Host, text string)
	// Change may change each request that goes into a meta connection, or suppress it by "", if it is not nil.
	Change func(from, to *Host, text string) string
	// OnEffect is called for each effect of a protocol core, if it is not nil.
	OnEffect func(h *Host, e mesh.Effect)
	// Log is called for each message of a protocol core, if it is not nil.
	Log func(h *Host, l mesh.Log)

	hosts  map[node.Name]*Host
	byAddr map[netip.Addr]*Host
	byNAT  map[netip.AddrPort]*Host
	queue  queue
	seq    uint64
}

// Host is a machine with a node on it.
type Host struct {
	Name  node.Name
	Addr  netip.AddrPort
	Key   *keys.PrivateKey
	RSA   *keys.RSAPublicKey // nil: it does not speak the protocol of tinc 1.0
	Old   bool               // it speaks nothing else
	Core  *mesh.Mesh
	Up    bool // the node is running
	Plain bool // it knows nothing of what tincan has added to tinc 1.1
	Masks bool // it hides datagrams between it and others that do
	// NAT, if valid, is the address from which the datagrams of the host come. Only
	// whom it has sent one from inside may answer, and nobody can connect to it.
	NAT netip.AddrPort
	// NoFirewall: its NAT takes what comes unasked for a connection of its own, and cannot give the
	// port to the host any more towards where that came from. Needs NAT.
	NoFirewall bool
	// Uplink is what its datagrams leave by.
	Uplink Uplink
	// Opens: a connection from another's own port is let in nevertheless.
	Opens bool
	// Punched is how often it has dialled together with another.
	Punched int
	// Wakes is how often its node has been woken by a timer since the host was made.
	Wakes    int
	together []*together
	// Configure changes the configuration before each start.
	Configure func(*mesh.Config)
	// Effects seen since the host started, if Record is set.
	Record  bool
	Effects []mesh.Effect
	Echoed  []mesh.EchoResult // answers to [mesh.Echo]
	// Expelled is what it was told when it was removed from the network, nil before.
	Expelled *mesh.Expelled
	// Exchange, if not nil, keeps a roster that the node exchanges with others.
	Exchange Exchange
	// Keeper is the Exchange of a node of a signed network, see Keep; nil: the network is open. Heard is what
	// it has told the protocol core that the roster says, nil: nothing.
	Keeper *membership.Keeper
	Heard  *roster.State

	exchangeTick int // generation of its pending tick
	w            *World
	known        map[node.Name]mesh.Host // its host files
	learned      map[node.Name]mesh.Learned
	peers        map[node.Name]mesh.PeerState
	links        map[mesh.ConnID]*link
	accepted     mesh.ConnID
	hungUp       map[mesh.ConnID]bool // closed before they were connected
	tick         uint64               // generation of the pending tick
	wake         time.Time
	run          int                        // starts so far
	opened       map[netip.AddrPort]bool    // by NAT
	tracked      map[netip.AddrPort]tracked // by NoFirewall
	flushing     bool                       // a flush is under way
	bad          map[node.Name]int          // records in a row that could not be opened
	heard        map[node.Name]time.Time    // last HeardFrom
	silent       map[node.Name]*silence
	cfg          mesh.Config
	skew         time.Duration // of its clock
	turn         time.Time     // when the next connection may be taken in, if they have come one by one
}

// link is one end of a meta connection.
type link struct {
	host    *Host
	id      mesh.ConnID
	run     int // of the host when the link was made
	other   *link
	secure  *mesh.Secure
	rsa     *mesh.SecureLegacy
	last    time.Time // arrival of the latest message, so that order is kept
	closed  bool
	carried time.Time // last packet of the VPN
	stalled bool
	open    *batch     // what was sent last
	stuck   []delivery // what could not be delivered, oldest first
}

// epoch is when a world begins.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// New returns an empty world in which everybody reaches everybody in 10 ms.
func New(seed uint64) *World {
	w := &World{
		Now:    epoch,
		Rand:   rand.New(rand.NewPCG(seed, 0x7469_6e63_616e)),
		Delay:  func(_, _ *Host) time.Duration { return 10 * time.Millisecond },
		TCP:    func(_, _ *Host) bool { return true },
		UDP:    func(_, _ *Host) bool { return true },
		Sent:   map[int]int{},
		hosts:  map[node.Name]*Host{},
		byAddr: map[netip.Addr]*Host{},
		byNAT:  map[netip.AddrPort]*Host{},
	}
	return w
}

// Add makes a host. Its node has the subnet 10.0.x.y/32 and no neighbours.
func (w *World) Add(name node.Name) *Host {
	n := len(w.hosts) + 1
	h := &Host{
		Name: name, w: w,
		Addr:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, byte(n >> 8), byte(n)}), 655),
		known: map[node.Name]mesh.Host{}, learned: map[node.Name]mesh.Learned{},
	}
	key, err := keys.Generate(w.secrets())
	if err != nil {
		panic(err)
	}
	h.Key = key
	w.hosts[name], w.byAddr[h.Addr.Addr()] = h, h
	return h
}

// BehindNAT puts h behind a NAT of its own.
func (h *Host) BehindNAT() {
	b := h.Addr.Addr().As4()
	h.NAT = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, b[2], b[3]}), 31000+uint16(b[3]))
	h.w.byNAT[h.NAT] = h
}

// outside is where the world sees h.
func (h *Host) outside() netip.AddrPort {
	if h.NAT.IsValid() {
		return h.NAT
	}
	return h.Addr
}

// secrets is a source of repeatable keys.
func (w *World) secrets() io.Reader {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(w.Rand.Uint32())
	}
	return rand.NewChaCha8(seed)
}

// Knows gives h the host file of other, with or without its address.
func (h *Host) Knows(other *Host, address bool) {
	f := mesh.Host{RSAKey: other.RSA}
	if !h.Old && !other.Old {
		k := other.Key.Public()
		f.Key = &k
	}
	if address {
		f.Addresses = []mesh.Endpoint{{Host: other.Addr.Addr().String(), Port: fmt.Sprint(other.Addr.Port())}}
	}
	h.known[other.Name] = f
}

// Subnet is the address of h inside the VPN.
func (h *Host) Subnet() netip.Prefix {
	b := h.Addr.Addr().As4()
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, b[2], b[3]}), 32)
}

// Start starts the node of h, which keeps the host files that it has learned.
func (h *Host) Start(connectTo ...node.Name) {
	h.run++
	h.Up = true
	h.reread()
	h.peers, h.links = map[node.Name]mesh.PeerState{}, map[mesh.ConnID]*link{}
	h.Effects, h.flushing = nil, false
	h.hungUp = map[mesh.ConnID]bool{}
	h.together = nil
	h.silent = map[node.Name]*silence{}
	h.tracked = map[netip.AddrPort]tracked{}
	h.opened, h.bad, h.heard = map[netip.AddrPort]bool{}, map[node.Name]int{}, map[node.Name]time.Time{}
	cfg := mesh.Config{
		Name: h.Name, Key: h.Key, Port: h.Addr.Port(), Sockets: []netip.AddrPort{h.Addr},
		Hosts: map[node.Name]mesh.Host{}, ConnectTo: connectTo, Broadcast: true,
		Echoes: !h.Plain && !h.Old, RosterExchange: h.Exchange != nil,
		Hybrid: !h.Plain && !h.Old, PostQuantum: hybrid.Yes,
	}
	if h.Masks {
		secret := h.Key.Secret("mask")
		key := mask.Key(secret[:])
		cfg.Mask = &key
	}
	if h.Exchange != nil {
		h.Exchange.SetNeighbours(h.now(), nil)
		cfg.Roster = h.rosterNow()
	}
	cfg.Subnets = append(cfg.Subnets, subnet.FromPrefix(h.Subnet()))
	for n, f := range h.known {
		cfg.Hosts[n] = f
	}
	cfg.Learned = maps.Clone(h.learned)
	if h.RSA != nil {
		cfg.RSAKey = new(keys.RSAPrivateKey) // nobody uses it here
	}
	if h.Old {
		cfg.Key = nil
	}
	if h.Configure != nil {
		h.Configure(&cfg)
	}
	h.cfg = cfg
	h.Core = mesh.New(cfg, mesh.Deps{
		Rand:    rand.New(rand.NewPCG(h.w.Rand.Uint64(), h.w.Rand.Uint64())),
		Secrets: h.w.secrets(),
	}, h.now())
	h.flush()
}

// Kill ends the node without a word: its connections break after a delay, as when
// the process is killed.
func (h *Host) Kill() {
	h.Up = false
	for _, id := range slices.Sorted(maps.Keys(h.links)) {
		h.links[id].shut(errors.New("connection reset by peer"))
	}
	h.links = nil
	h.run++
}

// shut closes both ends; the far one learns of it after the delay.
func (l *link) shut(err error) {
	if l.closed {
		return
	}
	l.closed = true
	if o := l.other; o != nil && !o.closed {
		o.closed = true
		l.deliver(func() {
			delete(o.host.links, o.id)
			o.host.event(mesh.Closed{Conn: o.id, Err: err})
		})
	}
}

// delivery is what comes out of a connection: a request, or anything else that happens then.
type delivery struct {
	text string
	fn   func()
}

// batch is what was sent in one go, and so arrives in one.
type batch struct {
	sent time.Time
	all  []delivery
}

// deliver runs fn at the far end, in order, if the far node still runs then.
func (l *link) deliver(fn func()) { l.put(delivery{fn: fn}) }

// packet is deliver for a packet, which is lost if the far end has closed the connection by then.
func (l *link) packet(fn func()) {
	o := l.other
	l.deliver(func() {
		if o.host.links[o.id] == o {
			fn()
		}
	})
}

func (l *link) put(d delivery) {
	w, o := l.host.w, l.other
	if len(l.stuck) > 0 || !w.passes(l) {
		l.stuck = append(l.stuck, d)
		l.host.w.Stuck = max(l.host.w.Stuck, len(l.stuck))
		if len(l.stuck) == 1 {
			w.After(time.Second, l.retransmit)
		}
		return
	}
	if b := l.open; b != nil && b.sent.Equal(w.Now) && (w.Rate == nil || w.Rate(l.host, o.host) == 0) {
		b.all = append(b.all, d)
		return
	}
	at := w.Now.Add(w.Delay(l.host, o.host))
	if at.Before(o.last) {
		at = o.last
	}
	if w.Rate != nil {
		if rate := w.Rate(l.host, o.host); rate > 0 {
			at = at.Add(time.Duration(len(d.text)+overhead) * time.Second / time.Duration(rate))
		}
	}
	o.last = at
	b := &batch{sent: w.Now, all: []delivery{d}}
	l.open = b
	w.at(at, func() {
		if l.open == b {
			l.open = nil
		}
		for _, d := range b.all {
			switch {
			case o.host.run != o.run:
				return
			case d.fn != nil:
				d.fn()
			default:
				o.host.take(mesh.Request{Conn: o.id, Text: d.text})
			}
		}
		if o.host.run == o.run {
			o.host.soon()
		}
	})
}

// passes tells whether the connection l carries anything at all.
func (w *World) passes(l *link) bool {
	a, b := l.host, l.other.host
	return w.TCP(a, b) && w.TCP(b, a) && !l.stalled && !l.other.stalled
}

// overhead of a request on a slow connection, in bytes.
const overhead = 24

// Stall lets the connections of h with other stand while they carry nothing any more, as when
// a router on the way has forgotten them.
func (h *Host) Stall(other *Host) {
	for _, l := range h.links {
		if l.other.host == other {
			l.stalled = true
		}
	}
}

// Cut ends the connections of h with other, as a reset by the network does.
func (h *Host) Cut(other *Host) {
	err := errors.New("connection reset by peer")
	for _, id := range slices.Sorted(maps.Keys(h.links)) {
		l := h.links[id]
		if l.other.host != other || l.closed {
			continue
		}
		for _, x := range []*link{l, l.other} {
			x.closed = true
			delete(x.host.links, x.id)
		}
		for _, x := range []*link{l, l.other} {
			x.host.event(mesh.Closed{Conn: x.id, Err: err})
		}
	}
}

// Jump sets the clock of h forward, or back. That is also what a node sees that was
// suspended.
func (h *Host) Jump(d time.Duration) {
	h.skew += d
	if h.Up {
		h.wake = time.Time{}
		h.flush()
	}
}

// now is the time on the clock of h.
func (h *Host) now() time.Time { return h.w.Now.Add(h.skew) }

// retransmit delivers what is stuck once the hosts reach each other.
func (l *link) retransmit() {
	w := l.host.w
	if !w.passes(l) {
		w.After(time.Second, l.retransmit)
		return
	}
	all := l.stuck
	l.stuck = nil
	for _, d := range all {
		l.put(d)
	}
}

// event feeds one event to the protocol core and carries out what follows.
func (h *Host) event(e mesh.Event) {
	if h.take(e) {
		h.soon()
	}
}

// take feeds one event to the protocol core.
func (h *Host) take(e mesh.Event) bool {
	if h.Up {
		h.Core.Handle(h.now(), e)
	}
	return h.Up
}

// soon carries out what follows from events.
func (h *Host) soon() {
	switch {
	case !h.Up:
	case h.w.Batch == 0:
		h.flush()
	case !h.flushing:
		h.flushing = true
		run := h.run
		h.w.After(h.w.Batch, func() {
			if h.run == run {
				h.flushing = false
				h.flush()
			}
		})
	}
}

func (h *Host) flush() {
	for _, e := range h.Core.Flush(h.now()) {
		if h.Record {
			h.Effects = append(h.Effects, e)
		}
		h.do(e)
	}
	at := h.Core.Deadline()
	if !at.IsZero() {
		at = at.Add(-h.skew)
	}
	if at.IsZero() || at.Equal(h.wake) && h.wake.After(h.w.Now) {
		return
	}
	h.wake = at
	h.tick++
	gen, run := h.tick, h.run
	h.w.at(at, func() {
		if h.run == run && h.tick == gen && h.Up {
			h.Wakes++
			h.Core.Tick(h.now())
			h.flush()
		}
	})
}

// do applies one effect.
func (h *Host) do(e mesh.Effect) {
	w := h.w
	if w.OnEffect != nil {
		w.OnEffect(h, e)
	}
	switch e := e.(type) {
	case mesh.Dial:
		h.dial(e)
	case mesh.SendLine:
		if l := h.links[e.Conn]; l != nil && !l.closed {
			l.deliver(func() { l.other.host.event(mesh.Line{Conn: l.other.id, Text: e.Text}) })
		}
	case mesh.Secure:
		if l := h.links[e.Conn]; l != nil {
			l.secure = &e
			l.trySecure()
		}
	case mesh.SecureLegacy:
		if l := h.links[e.Conn]; l != nil {
			l.rsa = &e
			l.trySecure()
		}
	case mesh.Send:
		if l := h.links[e.Conn]; l != nil && !l.closed {
			if k, err := wire.RequestKind(e.Text); err == nil {
				w.Sent[int(k)]++
			}
			if l.other.host.Old && !understood(l.other.host, e.Text) {
				w.Misunderstood = append(w.Misunderstood, fmt.Sprintf("%s to %s: %s", h.Name, l.other.host.Name, e.Text))
			}
			if w.OnSend != nil {
				w.OnSend(h, l.other.host, e.Text)
			}
			text := e.Text
			if w.Change != nil {
				text = w.Change(h, l.other.host, text)
			}
			if text != "" {
				l.put(delivery{text: text})
			}
		}
	case mesh.CloseConn:
		if l := h.links[e.Conn]; l != nil {
			delete(h.links, e.Conn)
			if e.Spare && !l.carried.IsZero() && w.Now.Sub(l.carried) < 25*time.Second {
				w.DroppedInUse++
			}
			if e.Trap {
				w.After(trapTime, func() { l.shut(errors.New("closed by the peer: " + e.Reason)) })
				return
			}
			l.shut(errors.New("closed by the peer: " + e.Reason))
		} else {
			h.hungUp[e.Conn] = true
		}
	case mesh.SendProbe:
		h.sendProbe(e)
	case mesh.SendEcho:
		h.sendEcho(e)
	case mesh.SendRecord:
		h.sendRecord(e)
	case mesh.RosterNeighbours:
		h.rosterNeighbours(e)
	case mesh.RosterReceived:
		h.rosterReceived(e)
	case mesh.EchoResult:
		h.Echoed = append(h.Echoed, e)
	case mesh.PathsAsked, mesh.PathsTold: // nobody looks at the whole mesh here
	case mesh.PublishPeers:
		for _, p := range e.Peers {
			if old := h.peers[p.Node]; old.Confirmed != p.Confirmed || old.Addr != p.Addr || (old.Mask == nil) != (p.Mask == nil) {
				delete(h.silent, p.Node)
			}
			h.peers[p.Node] = p
			if !p.Known {
				delete(h.peers, p.Node)
			}
		}
	case mesh.PublishRoutes, mesh.ChangeRoutes, mesh.ChangeGrants: // packets are sent to nodes here, not to addresses
	case mesh.SaveKey:
		f := h.known[e.Node]
		f.Key = &e.Key
		h.known[e.Node] = f
	case mesh.Expelled:
		h.Expelled = &e
	case mesh.SaveLearned:
		l := h.learned[e.Node]
		l.Key, l.By = e.Key, e.By
		h.learned[e.Node] = l
		if e.Gone {
			delete(h.learned, e.Node)
		}
	case mesh.SaveAddresses:
		if l, ok := h.learned[e.Node]; ok {
			l.Cached = e.Addrs
			h.learned[e.Node] = l
			return
		}
		f := h.known[e.Node]
		f.Cached = e.Addrs
		h.known[e.Node] = f
	case mesh.Log:
		if w.Log != nil {
			w.Log(h, e)
		}
	}
}

// trapTime is how long somebody who is refused before he has proved who he is does not notice.
const trapTime = 10 * time.Second

// headStart is how long the I/O layer tries one address before the next.
const headStart = 250 * time.Millisecond

func (h *Host) dial(e mesh.Dial) {
	if e.From != 0 {
		h.dialTogether(e)
		return
	}
	w := h.w
	w.Dials++
	ip, _ := netip.ParseAddr(e.To.Host)
	to := w.byAddr[ip]
	run := h.run
	answers := to != nil && !to.NAT.IsValid() && to.Up && w.TCP(h, to) && w.TCP(to, h)
	if len(e.Others) > 0 && !answers { // the next one is tried when the head start is over
		next := e
		next.To, next.Others = e.Others[0], e.Others[1:]
		w.at(w.Now.Add(headStart), func() {
			if h.run == run && !h.hungUp[e.Conn] {
				h.dial(next)
			}
		})
		return
	}
	fail := func(after time.Duration, why string) {
		w.at(w.Now.Add(after), func() {
			if h.run == run {
				h.event(mesh.Closed{Conn: e.Conn, Err: errors.New(why)})
			}
		})
	}
	switch {
	case to == nil || to.NAT.IsValid() || !w.TCP(h, to) || !w.TCP(to, h):
		fail(e.Timeout, "timed out")
		return
	case !to.Up:
		fail(2*w.Delay(h, to), "connection refused")
		return
	}
	d := w.Delay(h, to)
	toRun := to.run
	w.at(w.Now.Add(d), func() {
		if !to.Up {
			fail(d, "connection refused")
			return
		}
		// The kernel has accepted; the node does so when its turn comes.
		turn := to.turnOf(w.Now)
		w.at(turn, func() {
			switch {
			case h.run != run || h.hungUp[e.Conn]:
				to.turn = to.turn.Add(-to.pace()) // its turn goes to the next
			case !to.Up || to.run != toRun:
				fail(0, "connection reset by peer")
			default:
				h.meet(to, e)
			}
		})
	})
}

// pace is the time between two connections that are taken in, when many come.
func (h *Host) pace() time.Duration {
	if h.w.Accept == 0 {
		return 0
	}
	return time.Second / time.Duration(h.w.Accept)
}

// turnOf returns when a connection that has come now is taken in.
func (h *Host) turnOf(now time.Time) time.Time {
	if h.w.Accept == 0 {
		return now
	}
	if full := now.Add(-time.Second); h.turn.Before(full) {
		h.turn = full // so many are taken in at once
	}
	h.turn = h.turn.Add(h.pace())
	if h.turn.Before(now) {
		return now
	}
	return h.turn
}

// meet makes the connection that h has asked for and to has taken in.
func (h *Host) meet(to *Host, e mesh.Dial) {
	to.accepted += 2
	a := &link{host: h, id: e.Conn, run: h.run}
	b := &link{host: to, id: to.accepted, run: to.run}
	a.other, b.other = b, a
	local := netip.AddrPortFrom(h.Addr.Addr(), uint16(20000+to.accepted%40000))
	remote := netip.AddrPortFrom(h.outside().Addr(), local.Port())
	h.links[a.id], to.links[b.id] = a, b
	to.event(mesh.Accepted{Conn: b.id, Remote: remote, Local: to.Addr})
	if !b.closed {
		stands := false
		b.deliver(func() {
			stands = true
			h.event(mesh.Dialed{Conn: a.id, Remote: to.Addr, Local: local})
		})
		h.w.After(e.Timeout, func() {
			if !stands && h.run == a.run && h.links[a.id] == a {
				known := b.closed
				a.closed, b.closed = true, true
				delete(h.links, a.id)
				h.event(mesh.Closed{Conn: a.id, Err: errors.New("timed out")})
				if to.run == b.run && !known {
					delete(to.links, b.id)
					to.event(mesh.Closed{Conn: b.id, Err: errors.New("connection reset by peer")})
				}
			}
		})
	}
}

// trySecure completes the handshake once both ends want it, and checks what a
// real one would check.
func (l *link) trySecure() {
	if l.rsa != nil && l.other.rsa != nil {
		l.tryRSA()
		return
	}
	a, b := l.secure, l.other.secure
	if a == nil || b == nil || l.closed {
		return
	}
	if a.Initiator == b.Initiator || string(a.Label) != string(b.Label) ||
		a.PeerKey != l.other.host.Key.Public() || b.PeerKey != l.host.Key.Public() {
		l.deliver(func() { l.other.host.event(mesh.Closed{Conn: l.other.id, Err: errors.New("bad signature")}) })
		l.shut(errors.New("bad signature"))
		return
	}
	l.secured()
}

func (l *link) secured() {
	for _, x := range []*link{l, l.other} {
		x.other.deliver(func() { x.host.event(mesh.Secured{Conn: x.id}) })
	}
}

// sendProbe carries a probe through the real session.
func (h *Host) sendProbe(e mesh.SendProbe) {
	st, ok := h.peers[e.Node]
	if ok && st.Legacy != nil {
		h.sendOldProbe(e, st.Legacy)
		return
	}
	if !ok || st.Tunnel == nil {
		return
	}
	record := st.Tunnel.Seal(nil, append([]byte{wire.TypeProbe}, e.Data...))
	if h.diesOnTheWay(e) {
		return
	}
	h.datagram(e.Addr, e.Mask != nil, len(record)+wire.IDsLen, func(to *Host) {
		if plain, ok := to.open(h, record); ok {
			to.heardFrom(h)
			if plain[1] != wire.ProbeRequest {
				to.heardAgain(h, e.Mask != nil)
			}
			to.event(mesh.ProbeIn{Node: h.Name, Addr: h.outside(), Direct: true, Masked: e.Mask != nil, Data: plain[1:]})
		}
	})
}

// open opens a record of from, or tells the protocol core that it could not.
func (h *Host) open(from *Host, record []byte) ([]byte, bool) {
	if st := h.peers[from.Name]; st.Tunnel != nil {
		if plain, err := st.Tunnel.Open(nil, record); err == nil {
			h.bad[from.Name] = 0
			return plain, true
		}
	}
	h.bad[from.Name]++
	h.event(mesh.Undecodable{Node: from.Name, Count: h.bad[from.Name]})
	return nil, false
}

// heardFrom tells the protocol core, once a second, that direct records of from come from another
// address than it thinks.
func (h *Host) heardFrom(from *Host) {
	if addr := from.outside(); h.peers[from.Name].Addr != addr && h.w.Now.Sub(h.heard[from.Name]) >= time.Second {
		h.heard[from.Name] = h.w.Now
		h.event(mesh.HeardFrom{Node: from.Name, Addr: addr})
	}
}

// datagram brings size bytes of UDP payload to an address, or loses them.
func (h *Host) datagram(addr netip.AddrPort, masked bool, size int, arrived func(*Host)) {
	w := h.w
	w.Datagrams++
	if !masked {
		w.Unhidden++
	}
	seen := h.leave(addr)
	to := w.byAddr[addr.Addr()]
	switch {
	case w.byNAT[addr] != nil:
		if to = w.byNAT[addr]; !to.NoFirewall && !to.letsIn(h.outside(), seen) {
			return
		}
	case to == nil, to.NAT.IsValid(), addr.Port() != to.Addr.Port():
		return
	}
	mtu := 1500
	if w.PathMTU != nil {
		mtu = w.PathMTU(h, to)
	}
	uplink, room := h.Uplink.enter(w.Now, size+28)
	if !room || !w.UDP(h, to) || w.Form != nil && !w.Form(h, to, masked) || size+28 > mtu || w.Loss != nil && w.Rand.Float64() < w.Loss(h, to) {
		return
	}
	copies := 1
	if w.Duplicate != nil && w.Rand.Float64() < w.Duplicate(h, to) {
		copies = 2
	}
	for range copies {
		delay := uplink + w.Delay(h, to)
		if w.Reorder != nil && w.Rand.Float64() < w.Reorder(h, to) {
			delay += time.Duration(w.Rand.IntN(200)) * time.Millisecond
		}
		run := to.run
		w.at(w.Now.Add(delay), func() {
			if to.NoFirewall && !to.letsIn(h.outside(), seen) {
				return
			}
			if to.Up && to.run == run {
				arrived(to)
			}
		})
	}
}

// ---------------------------------------------------------------- time

// at runs fn at a time of the virtual clock.
func (w *World) at(t time.Time, fn func()) {
	w.seq++
	if t.Before(w.Now) {
		t = w.Now
	}
	w.queue.push(item{t.UnixNano(), w.seq, fn})
}

// After runs fn when d has passed.
func (w *World) After(d time.Duration, fn func()) { w.at(w.Now.Add(d), fn) }

// Run lets d of virtual time pass.
func (w *World) Run(d time.Duration) { w.Until(d, func() bool { return false }) }

// Until lets time pass until ok, at most d. It returns how long it took and
// whether ok was reached.
func (w *World) Until(d time.Duration, ok func() bool) (time.Duration, bool) {
	begin := w.Now
	end := begin.Add(d)
	for {
		if ok() {
			return w.Now.Sub(begin), true
		}
		if len(w.queue) == 0 || w.queue[0].at > end.UnixNano() {
			w.Now = end
			return d, false
		}
		it := w.queue.pop()
		w.Now = time.Unix(0, it.at).UTC()
		it.fn()
	}
}
