package metaconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/sptps"
)

const (
	flushTime = 2 * time.Second        // for what waits when the protocol core closes a connection
	hurryTime = 250 * time.Millisecond // the same when the table is closed
	drainTime = time.Second            // for the peer to see our end before we reset it
	drainSize = 1 << 20                // bytes that are thrown away meanwhile
)

// keepAlive finds a peer that has vanished from an idle connection: after 25 s, or
// less where unacknowledged bytes have a time of their own.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 3 * time.Second, Count: 3}

// conn is one meta connection, from Dial or accept on.
//
// It ends in one of three ways. The protocol core closes it (finish): what waits is sent,
// nothing more is reported. It fails or the peer ends it (fail, or the reader's
// error): everything stops and Closed is reported. Or it is handed over. In the first two
// an unauthenticated peer's socket goes to the tarpit instead of being closed.
type conn struct {
	t          *Table
	id         mesh.ConnID
	accepted   bool
	visitor    *visitor           // among those that are not activated yet; nil if dialled
	cancelDial context.CancelFunc // nil if accepted

	// stop is closed when the connection is to end, whoever wants it.
	stop     chan struct{}
	decided  chan struct{} // closed by secure and handOver
	attached chan struct{} // closed by attach
	wake     chan struct{} // one token: there is something to write
	written  chan struct{} // closed when the writer has ended

	heard atomic.Int64 // when the last byte came in, since the start of the table

	// Of the reader:
	proven bool // the peer has proved who it is
	broken bool // nothing more can be read

	mu      sync.Mutex
	tcp     stream    // nil while dialling
	codec   codec     // nil before secure
	hop     node.Name // set before attached is closed
	handed  bool      // handOver was called
	first   string    // the line that handOver gave
	err     error     // why it failed
	stopped bool      // stop is closed
	silent  bool      // the protocol core does not want to hear of it any more
	trap    bool      // the peer is not authenticated, and must not notice the end
	ending  bool      // the writer ends when all is written

	out      []byte // sealed, waits for the writer
	later    backlog
	inflight int    // bytes that the writer has taken and the kernel has not
	stalled  bool   // the kernel refused to take more
	scratch  []byte // one request
	dice     *rand.Rand
}

func newConn(t *Table, id mesh.ConnID) *conn {
	return &conn{
		t:        t,
		id:       id,
		stop:     make(chan struct{}),
		decided:  make(chan struct{}),
		attached: make(chan struct{}),
		wake:     make(chan struct{}, 1),
		written:  make(chan struct{}),
		dice:     t.dice(),
	}
}

// runAccepted is the life of a connection that somebody else began.
func (c *conn) runAccepted() {
	defer c.release()
	c.run(func() mesh.Event {
		return mesh.Accepted{Conn: c.id, Remote: addrPort(c.tcp.RemoteAddr()), Local: addrPort(c.tcp.LocalAddr())}
	})
}

// runDialled is the life of a connection that we begin.
func (c *conn) runDialled(ctx context.Context, e mesh.Dial) {
	made, err := c.t.connect(ctx, e)
	if err != nil {
		c.t.forget(c)
		c.event(mesh.Closed{Conn: c.id, Err: err})
		return
	}
	c.mu.Lock()
	c.tcp = made.stream
	late := c.stopped
	c.mu.Unlock()
	if late {
		made.Close()
		return
	}
	c.run(func() mesh.Event {
		return mesh.Dialed{Conn: c.id, To: made.at.Endpoint, Remote: made.remote(), Local: addrPort(made.LocalAddr())}
	})
}

// run serves the connection, whose TCP side stands, until it ends.
func (c *conn) run(begin func() mesh.Event) {
	c.t.tune(c.tcp)
	if s, ok := c.tcp.(*carried); ok {
		refused := c.refused
		s.below.refused.Store(&refused)
	}
	c.t.wg.Go(c.writer)
	defer context.AfterFunc(c.t.ctx, c.hurry)()

	c.event(begin())
	rest, err := c.read()

	c.mu.Lock()
	silent, handed, trap := c.silent, c.handed, c.trap
	switch {
	case c.err != nil:
		err = c.err // what the writer or the protocol core's orders ran into came first
	case c.accepted && !c.proven && !c.broken && !silent:
		trap = true // somebody who is not authenticated has sent something wrong
	}
	c.mu.Unlock()
	switch {
	case handed:
		c.release()
		<-c.written
		if serve := c.t.cfg.Invitation; serve != nil {
			serve(c.tcp, c.first, rest)
		}
		c.tcp.Close()
	case trap:
		c.giveUp(err)
		c.tcp.SetWriteDeadline(time.Now().Add(hurryTime))
		<-c.written
		c.t.tarpit.hold(tcpOf(c.tcp))
		c.t.forget(c)
		c.event(mesh.Closed{Conn: c.id, Err: err})
	case silent:
		<-c.written
		c.drain()
		c.tcp.Close()
	default:
		c.fail(err)
		<-c.written
		c.t.forget(c)
		c.event(mesh.Closed{Conn: c.id, Err: err})
	}
}

// event reports ev unless the protocol core has closed the connection.
func (c *conn) event(ev mesh.Event) {
	c.mu.Lock()
	silent := c.silent
	c.mu.Unlock()
	if !silent {
		c.t.cfg.Event(ev)
	}
}

// secure starts SPTPS.
func (c *conn) secure(e mesh.Secure) {
	s, kex, err := sptps.NewStream(sptps.Config{
		Initiator: e.Initiator,
		Key:       c.t.cfg.Key,
		Peer:      e.PeerKey,
		Label:     e.Label,
		Rand:      c.t.cfg.Rand,
		Hybrid:    e.Hybrid,
	})
	if err != nil {
		c.fail(fmt.Errorf("begin the key exchange: %w", err))
		return
	}
	c.begin(modern{s}, kex)
}

// secureLegacy starts the login of tinc 1.0.
func (c *conn) secureLegacy(e mesh.SecureLegacy) {
	m, metaKey, err := legacy.NewMeta(legacy.MetaConfig{
		Initiator: e.Initiator,
		Key:       c.t.cfg.RSAKey,
		Peer:      e.PeerKey,
		Suite:     c.t.cfg.Suite,
		Policy:    e.Policy,
		Rand:      c.t.cfg.Rand,
	})
	if err != nil {
		c.fail(fmt.Errorf("begin the login of tinc 1.0: %w", err))
		return
	}
	c.begin(old{m}, metaKey)
}

// begin lets codec take over, after the clear text so far. first is what it sends.
func (c *conn) begin(codec codec, first []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codec != nil || c.handed {
		return
	}
	c.codec = codec
	c.out = append(c.out, first...)
	close(c.decided)
	c.wakeWriter()
}

// attach opens the data channel.
func (c *conn) attach(hop node.Name) {
	c.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hop == "" {
		c.hop = hop
		close(c.attached)
	}
}

func (c *conn) isAttached() bool {
	select {
	case <-c.attached:
		return true
	default:
		return false
	}
}

// release gives back the place among the accepted connections that are not
// activated yet.
func (c *conn) release() {
	if c.accepted {
		c.t.admission.leave(c.visitor)
	}
}

// handOver makes the reader leave the connection to the invitation server.
func (c *conn) handOver(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codec != nil || c.handed {
		return
	}
	c.handed, c.first = true, line
	c.silent, c.ending = true, true
	close(c.decided)
	c.wakeWriter()
}

// finish ends the connection for the protocol core: what waits is still sent. With trap, a peer that is not authenticated
// does not notice.
func (c *conn) finish(trap bool) {
	c.mu.Lock()
	c.silent, c.ending, c.trap = true, true, trap && c.accepted
	c.closeStop()
	tcp := c.tcp
	c.wakeWriter()
	c.mu.Unlock()
	if c.cancelDial != nil {
		c.cancelDial()
	}
	if tcp != nil {
		tcp.SetWriteDeadline(time.Now().Add(flushTime))
		tcp.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
}

// fail ends the connection at once.
func (c *conn) fail(err error) {
	if tcp := c.giveUp(err); tcp != nil {
		tcp.Close()
	}
}

// giveUp stops everything and throws away what waits. It returns what is left to be closed.
func (c *conn) giveUp(err error) stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.ending, c.out, c.later = true, nil, backlog{}
	c.closeStop()
	c.wakeWriter()
	return c.tcp
}

// closeStop is called with the lock held.
func (c *conn) closeStop() {
	if !c.stopped {
		c.stopped = true
		close(c.stop)
	}
}

// hurry cuts short what finish allows. It is called when the table is closed.
func (c *conn) hurry() {
	c.mu.Lock()
	handed := c.handed
	c.mu.Unlock()
	if handed {
		c.tcp.Close()
		return
	}
	c.tcp.SetWriteDeadline(time.Now().Add(hurryTime))
	c.tcp.SetReadDeadline(time.Unix(1, 0))
}

// drain sends our end of the stream and throws away what the peer still sends:
// closing a socket with unread bytes would reset the connection, and the peer
// would lose what we have just sent.
func (c *conn) drain() {
	if c.tcp.CloseWrite() != nil {
		return
	}
	c.tcp.SetReadDeadline(time.Now().Add(drainTime))
	if c.t.ctx.Err() != nil {
		return
	}
	io.CopyN(io.Discard, c.tcp, drainSize)
}

func (c *conn) descriptor() int {
	c.mu.Lock()
	tcp := c.tcp
	c.mu.Unlock()
	fd := -1
	if tcp != nil {
		if raw, err := tcp.SyscallConn(); err == nil {
			raw.Control(func(f uintptr) { fd = int(f) })
		}
	}
	return fd
}

// errStopped ends the reader of a connection that somebody else has ended.
var errStopped = errors.New("the connection was closed")
