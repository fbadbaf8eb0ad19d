// Package metaconn is the TCP side of a node: it dials, accepts, encrypts and
// frames meta connections, and holds them back when they go too fast.
//
// It decides nothing. The protocol core's effects tell it what to do ([Table.Do]), and
// what happens on a connection becomes an event. Packets that travel over a meta
// connection pass by the protocol core: they go directly to and from the data plane.
//
// # A connection
//
// Two goroutines serve each connection. The reader delivers the first line, waits
// for the protocol core's answer to it, then opens record after record:
//
//	ID line ──► Line ──► (Secure) ──► handshake ──► Secured ──► Request, Request, ...
//	               ├───► (SecureLegacy) ──► login ─────┘
//	               └───► (HandOver) ──► the invitation server
//
//	record "17 LEN", record of LEN bytes        a frame, for Data.FrameFromMeta
//	record "21 LEN", LEN bytes outside SPTPS    a blob, for Data.FromMeta
//	any other record                            a Request
//
// With a neighbour that speaks the protocol of tinc 1.0, a record is a line of an
// encrypted stream, LEN bytes of that stream are a frame, and there are no blobs. That
// is all the difference, and it is in [codec].
//
// The reader may be blocked by Config.Event and by Data; nothing more is read
// then, and TCP holds the peer back. Everything that leaves is sealed at once and
// in order into one buffer, under the connection's lock; the writer takes all
// that has gathered and hands it to the kernel in one piece.
//
// # Bounds
//
// Before the peer is authenticated a connection costs one buffer of 4 KiB, and
// there are at most 256 such connections that we accepted. Each address may make up
// to MaxBurst connections at once and MaxBurst more each second; the rest wait for their
// turn, for 5 s at most, or are closed. No address waits because of another one: see [admission].
// (tinc lets one in per second and leaves all others hanging
// for ever, so that a mass restart starves itself.) Connections from this machine
// are not counted. Those of unauthenticated peers that were refused are held open for a while, at most
// 16 of them, which count nowhere: see [tarpit].
//
// Packets are dropped at random when more than half of MaxOutput waits that the
// kernel does not take, and always above it. Requests are never dropped, but one that
// waits after many others gives way to a later one about the same edge or subnet; when
// MaxQueue bytes wait, the peer does not read and the connection is closed.
package metaconn

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

// Family restricts the addresses that are dialled.
type Family uint8

// The families.
const (
	AnyFamily Family = iota
	IPv4
	IPv6
)

// Data is the data plane. It is called by the readers of several connections at
// once; the slices are valid during the call.
type Data interface {
	// FromMeta takes an SPTPS_PACKET: destination id 6 | source id 6 | record.
	// hop is the neighbour that it came from.
	FromMeta(hop node.Name, blob []byte)
	// FrameFromMeta takes a PACKET: a whole Ethernet frame.
	FrameFromMeta(hop node.Name, frame []byte)
}

// Meta is the data channel of one connection. Its methods never block and copy what
// they keep; false means that the packet was dropped.
type Meta interface {
	TrySPTPS(blob []byte) bool
	TryPacket(frame []byte) bool
	TryRequest(text string) bool
}

// Config is what a table works with. Self, Key, Event and Data must be set.
type Config struct {
	Self    node.Name
	NetName string // for the programs of Proxy = exec
	Key     *keys.PrivateKey
	RSAKey  *keys.RSAPrivateKey // for the protocol of tinc 1.0; nil: we do not speak it
	Suite   legacy.Suite        // what such nodes should use for packets towards us
	Rand    io.Reader           // nil: crypto/rand.Reader

	// Event takes an event for the protocol core. It may block, which holds the peer
	// back, but it must return soon once the daemon is closing the table.
	Event func(mesh.Event)
	Data  Data
	// Invitation takes over a connection that the protocol core handed over: its first
	// line without newline, and what was received after it. It runs in the
	// connection's goroutine; the connection is closed when it returns, and
	// closed under its hands when the table is closed. Its time is not limited
	// here, and it is not counted as pending any more.
	// Nil: such connections are closed.
	Invitation func(conn net.Conn, firstLine string, buffered []byte)
	// LoadHost, if set, is called with the name in a peer's first line before
	// that line is delivered. The name is not authenticated.
	LoadHost func(node.Name)

	// UserTimeout is how long sent bytes may stay unacknowledged before the kernel gives up
	// the connection, where the kernel can do that; 0: 5 s, which is also the least.
	UserTimeout time.Duration
	MaxOutput   int // bytes; 0: 15180
	MaxQueue    int // bytes; 0: 16 MiB
	MaxBurst    int // accepted connections of one address; 0: 10
	// Known are addresses from which nodes have logged in before: they are preferred.
	Known []netip.Addr
	// Refused, if set, is told about connections for which there was no room: the address of the last
	// one, and how many there were since the last call. It is called once a minute at most.
	Refused func(from netip.Addr, count int)

	// MayDialName, if set, tells why an address that a host name stands for must not be dialled; nil if it
	// may. It is not asked for addresses that stand in the configuration, nor for "localhost".
	MayDialName func(netip.Addr) error

	Family Family
	Bind   []netip.Addr // local addresses of outgoing connections; the first of the right family counts
	Mark   int          // SO_MARK of outgoing connections (Linux), 0: none
	// Resolver looks up the names of nodes' addresses; nil: the system's.
	Resolver     *net.Resolver
	BindToDevice string       // interface of outgoing connections (Linux), "": any
	Proxy        config.Proxy // of outgoing connections; see [Table.SetProxy]
	// CarrierRoots are the certificate authorities that are believed about carriers; nil: those of the system.
	CarrierRoots *x509.CertPool
	// ProxySays, if set, takes what the program of Proxy = exec says on the way to a node, line by line.
	ProxySays func(node, address, line string)
}

const (
	leastUserTimeout = 5 * time.Second
	defaultMaxOutput = 15180
	defaultMaxQueue  = 16 << 20
	defaultMaxBurst  = 10
)

// Table holds the meta connections of a node. It is safe for concurrent use.
type Table struct {
	cfg    Config
	start  time.Time
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	admission *admission
	refusals  refusals
	tarpit    tarpit
	proxy     atomic.Pointer[config.Proxy]
	lookup    func(ctx context.Context, network, host string) ([]netip.Addr, error)

	mu     sync.Mutex
	conns  map[mesh.ConnID]*conn
	lastID mesh.ConnID // of an accepted connection: even
	closed bool
}

// New returns an empty table.
func New(cfg Config) *Table {
	if cfg.Rand == nil {
		cfg.Rand = crand.Reader
	}
	cfg.UserTimeout = max(cfg.UserTimeout, leastUserTimeout)
	if cfg.MaxOutput <= 0 {
		cfg.MaxOutput = defaultMaxOutput
	}
	if cfg.MaxQueue <= 0 {
		cfg.MaxQueue = defaultMaxQueue
	}
	if cfg.MaxBurst <= 0 {
		cfg.MaxBurst = defaultMaxBurst
	}
	t := &Table{
		cfg:       cfg,
		start:     time.Now(),
		admission: newAdmission(cfg.MaxBurst, cfg.Known),
		refusals:  refusals{say: cfg.Refused},
		tarpit:    tarpit{keep: tarpitTime},
		lookup:    cmp.Or(cfg.Resolver, net.DefaultResolver).LookupNetIP,
		conns:     make(map[mesh.ConnID]*conn),
	}
	t.SetProxy(cfg.Proxy)
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Do carries out an effect of the protocol core, if it is one for a meta connection. It
// does not block. Effects for a connection that is gone are ignored: its Closed
// event is on the way.
func (t *Table) Do(e mesh.Effect) {
	switch e := e.(type) {
	case mesh.Dial:
		t.dial(e)
	case mesh.SendLine:
		if c := t.get(e.Conn); c != nil {
			c.sendLine(e.Text)
		}
	case mesh.Secure:
		if c := t.get(e.Conn); c != nil {
			c.secure(e)
		}
	case mesh.SecureLegacy:
		if c := t.get(e.Conn); c != nil {
			c.secureLegacy(e)
		}
	case mesh.Send:
		if c := t.get(e.Conn); c != nil {
			c.send(e.Text, e.Urgent)
		}
	case mesh.Attach:
		if c := t.get(e.Conn); c != nil {
			c.attach(e.Node)
		}
	case mesh.HandOver:
		if c := t.take(e.Conn); c != nil {
			c.handOver(e.Text)
		}
	case mesh.CloseConn:
		if c := t.take(e.Conn); c != nil {
			c.finish(e.Trap)
		}
	}
}

// Meta returns the data channel of a connection that has been activated, or nil.
func (t *Table) Meta(id mesh.ConnID) Meta {
	c := t.get(id)
	if c == nil || !c.isAttached() {
		return nil
	}
	return c
}

// Heard is when the last byte came in on a connection, zero if none has or it is gone.
func (t *Table) Heard(id mesh.ConnID) time.Time {
	if c := t.get(id); c != nil {
		if d := c.heard.Load(); d > 0 {
			return t.start.Add(time.Duration(d))
		}
	}
	return time.Time{}
}

// Socket returns the file descriptor of a connection, for display only; -1 if
// there is none.
func (t *Table) Socket(id mesh.ConnID) int {
	if c := t.get(id); c != nil {
		return c.descriptor()
	}
	return -1
}

// Close ends all connections, gives what waits a moment to leave, and waits for
// every goroutine of the table, those of Serve included. It must not be called
// from Event or Data.
func (t *Table) Close() {
	t.mu.Lock()
	t.closed = true
	conns := t.conns
	t.conns = make(map[mesh.ConnID]*conn)
	t.mu.Unlock()
	for _, c := range conns {
		c.finish(false)
	}
	t.cancel()
	t.tarpit.close()
	t.wg.Wait()
}

func (t *Table) get(id mesh.ConnID) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns[id]
}

// take returns the connection and forgets it.
func (t *Table) take(id mesh.ConnID) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conns[id]
	delete(t.conns, id)
	return c
}

// forget removes c, unless its place has gone to somebody else.
func (t *Table) forget(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns[c.id] == c {
		delete(t.conns, c.id)
	}
}

// add enters a new connection and starts its goroutine. An id of 0 asks for the
// next even one. It reports false if the table is closed or the id is taken.
func (t *Table) add(c *conn, run func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.id == 0 {
		t.lastID += 2
		c.id = t.lastID
	}
	if t.closed || t.conns[c.id] != nil {
		return false
	}
	t.conns[c.id] = c
	t.wg.Go(run)
	return true
}

// dice returns the source of randomness for dropping packets.
func (t *Table) dice() *rand.Rand {
	var seed [16]byte
	// Without randomness packets are dropped in a pattern, which harms nobody.
	io.ReadFull(t.cfg.Rand, seed[:])
	return rand.New(rand.NewPCG(binary.NativeEndian.Uint64(seed[:8]), binary.NativeEndian.Uint64(seed[8:])))
}
