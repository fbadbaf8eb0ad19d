package netstack

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// socket is what connections, listeners and sockets for datagrams have in common. It counts from open on until Close.
type socket struct {
	s                  *Stack
	ep                 tcpip.Endpoint
	network            string
	in, out            event
	readable, writable deadline

	once sync.Once
	done chan struct{}
}

// event tells that something can be done. Only one goroutine waits for it: the others wait for that one.
type event struct {
	mu    sync.Mutex
	entry waiter.Entry
	c     chan struct{}
}

// open makes a socket of an endpoint. s.take was called for it.
func open(s *Stack, network string, ep tcpip.Endpoint, wq *waiter.Queue) *socket {
	x := &socket{s: s, ep: ep, network: network, done: make(chan struct{})}
	for e, kind := range map[*event]waiter.EventMask{&x.in: waiter.ReadableEvents, &x.out: waiter.WritableEvents} {
		e.entry, e.c = waiter.NewChannelEntry(kind | waiter.EventErr | waiter.EventHUp)
		wq.EventRegister(&e.entry)
	}
	return x
}

// do calls f until it does not have to wait any more.
func (x *socket) do(e *event, d *deadline, f func() tcpip.Error) (tcpip.Error, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	expired := d.wait()
	for {
		if isClosed(x.done) || isClosed(x.s.done) {
			return nil, net.ErrClosed
		}
		if isClosed(expired) {
			return nil, os.ErrDeadlineExceeded
		}
		err := f()
		if _, wait := err.(*tcpip.ErrWouldBlock); !wait {
			return err, nil
		}
		select {
		case <-e.c:
		case <-expired:
		case <-x.done:
		case <-x.s.done:
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (x *socket) Close() error {
	err := error(&net.OpError{Op: "close", Net: x.network, Err: net.ErrClosed})
	x.once.Do(func() {
		close(x.done)
		x.ep.Close()
		x.s.give()
		err = nil
	})
	return err
}

func (x *socket) SetDeadline(t time.Time) error {
	x.readable.set(t)
	x.writable.set(t)
	return nil
}

func (x *socket) SetReadDeadline(t time.Time) error {
	x.readable.set(t)
	return nil
}

func (x *socket) SetWriteDeadline(t time.Time) error {
	x.writable.set(t)
	return nil
}

// conn is a connection of TCP. Its addresses are kept: gVisor does not know them any more after the end.
type conn struct {
	*socket
	local, remote *net.TCPAddr

	failed tcpip.Error // of reading; gVisor says it only once. Belongs to who has in.mu
}

// newConn makes a connection of an endpoint that has one. s.take was called for it.
func newConn(s *Stack, ep tcpip.Endpoint, wq *waiter.Queue) *conn {
	c := &conn{socket: open(s, "tcp", ep, wq), local: &net.TCPAddr{}, remote: &net.TCPAddr{}}
	if a, err := ep.GetLocalAddress(); err == nil {
		c.local = net.TCPAddrFromAddrPort(addrPort(a))
	}
	if a, err := ep.GetRemoteAddress(); err == nil {
		c.remote = net.TCPAddrFromAddrPort(addrPort(a))
	}
	return c
}

// likeOthers sets what connections of Go programs have.
func likeOthers(ep tcpip.Endpoint) {
	o := ep.SocketOptions()
	o.SetDelayOption(false)
	o.SetKeepAlive(true)
	idle, interval := tcpip.KeepaliveIdleOption(keepAliveIdle), tcpip.KeepaliveIntervalOption(keepAliveInterval)
	_ = ep.SetSockOpt(&idle) // they cannot fail
	_ = ep.SetSockOpt(&interval)
	_ = ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepAliveCount)
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.network, Source: c.local, Addr: c.remote, Err: err}
}

func (c *conn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	w := tcpip.SliceWriter(b)
	failed, err := c.do(&c.in, &c.readable, func() tcpip.Error {
		if c.failed != nil {
			return c.failed
		}
		r, err := c.ep.Read(&w, tcpip.ReadOptions{})
		n = r.Count
		if _, wait := err.(*tcpip.ErrWouldBlock); err != nil && !wait {
			c.failed = err
		}
		return err
	})
	if _, end := failed.(*tcpip.ErrClosedForReceive); end {
		return 0, io.EOF
	}
	if err == nil {
		err = called("read", failed)
	}
	if err != nil {
		return 0, c.opError("read", err)
	}
	c.ep.ModerateRecvBuf(n)
	return n, nil
}

func (c *conn) Write(b []byte) (n int, err error) {
	var r bytes.Reader
	failed, err := c.do(&c.out, &c.writable, func() tcpip.Error {
		for n < len(b) {
			r.Reset(b[n:])
			more, err := c.ep.Write(&r, tcpip.WriteOptions{})
			n += int(more)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = called("write", failed)
	}
	if err != nil {
		return n, c.opError("write", err)
	}
	return n, nil
}

// CloseRead: what comes from now on is thrown away.
func (c *conn) CloseRead() error { return c.shut(tcpip.ShutdownRead) }

// CloseWrite tells the other end that nothing more comes; it can still be read from.
func (c *conn) CloseWrite() error { return c.shut(tcpip.ShutdownWrite) }

func (c *conn) shut(how tcpip.ShutdownFlags) error {
	if isClosed(c.done) || isClosed(c.s.done) {
		return c.opError("close", net.ErrClosed)
	}
	if err := called("shutdown", c.ep.Shutdown(how)); err != nil {
		return c.opError("close", err)
	}
	return nil
}

// deadline is a time after which those that wait for it do not wait any longer. The zero value is none.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	c     chan struct{} // closed when it is over; nil: nobody has waited for it, nor set it
}

// wait returns a channel that is closed when it is over, also if it is set meanwhile.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c == nil {
		d.c = make(chan struct{})
	}
	return d.c
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.c // the timer closes it just now
	}
	d.timer = nil
	if d.c == nil || isClosed(d.c) {
		d.c = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	c := d.c
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(c) })
	} else {
		close(c)
	}
}
