package metaconn

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"tincan/internal/carrier"
	"tincan/internal/config"
)

// carried is a meta connection inside of a WebSocket.
type carried struct {
	*carrier.Stream
	below *noticed
	// from is the other end as a reverse proxy has told it, if proxied; invalid if it has not.
	from    netip.AddrPort
	proxied bool
}

// noticed is the connection below a carrier. It tells when the kernel does not take what is written.
type noticed struct {
	stream
	refused atomic.Pointer[func()]
}

func (n *noticed) notice() {
	if f := n.refused.Load(); f != nil {
		(*f)()
	}
}

// Write implements [net.Conn].
func (n *noticed) Write(b []byte) (int, error) {
	if err := writeRaw(n.stream, b, n.notice, func(int) {}); err != nil {
		return 0, err
	}
	return len(b), nil
}

// SyscallConn is that of the socket.
func (c *carried) SyscallConn() (syscall.RawConn, error) { return c.below.SyscallConn() }

// RemoteAddr is the address of the other end, zero if that is not known.
func (c *carried) RemoteAddr() net.Addr {
	if c.proxied {
		return net.TCPAddrFromAddrPort(c.from)
	}
	return c.below.RemoteAddr()
}

// LocalAddr is our address towards the other end, zero if that is a reverse proxy's.
func (c *carried) LocalAddr() net.Addr {
	if c.proxied {
		return &net.TCPAddr{}
	}
	return c.below.LocalAddr()
}

// tcpOf is the TCP connection below s; nil if there is none.
func tcpOf(s stream) *net.TCPConn {
	if c, ok := s.(*carried); ok {
		s = c.below.stream
	}
	tcp, _ := s.(*net.TCPConn)
	return tcp
}

// WrapCarrier prepares an accepted TCP connection for a carrier that [Table.Carry] is to get.
func WrapCarrier(c net.Conn) net.Conn {
	if s, ok := c.(stream); ok {
		return &noticed{stream: s}
	}
	return c
}

// Carry takes a stream that a node has opened by a carrier, as [Table.Serve] takes one of TCP. What is below it has
// to come from [WrapCarrier]. proxied: it has come by way of a reverse proxy, which has told from.
func (t *Table) Carry(s *carrier.Stream, from netip.AddrPort, proxied bool) {
	below, ok := s.Below().(*noticed)
	t.mu.Lock()
	closed := t.closed
	if ok && !closed {
		t.wg.Add(1)
		defer t.wg.Done()
	}
	t.mu.Unlock()
	if !ok || closed || !t.admit(t.ctx, &carried{Stream: s, below: below, from: from, proxied: proxied}) {
		s.Close()
	}
}

// carry opens a carrier on a connection with its host. That is closed after an error.
func (t *Table) carry(ctx context.Context, conn stream, at place, timeout time.Duration) (stream, error) {
	c, err := config.ParseCarrier(at.Carrier)
	if err != nil {
		conn.Close()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	below := &noticed{stream: conn}
	s, err := carrier.Client(ctx, below, c, t.cfg.CarrierRoots)
	if err != nil {
		return nil, err
	}
	return &carried{Stream: s, below: below}, nil
}

// writeCarried sends b by a carrier, and notes what the kernel has taken piece by piece.
func (c *conn) writeCarried(s *carried, b []byte) error {
	for len(b) > 0 {
		n, err := s.Write(b[:min(len(b), carrier.MaxPayload)])
		if err != nil {
			return err
		}
		b = b[n:]
		c.took(n)
	}
	return nil
}
