package netstack

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// DialContext connects to an address; network is "tcp" or "udp", or one of these with 4 or 6. Connections of TCP have CloseRead and
// CloseWrite.
func (s *Stack) DialContext(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	ep, wq, err := s.endpoint(network, to.Addr(), false)
	if err == nil {
		if strings.HasPrefix(network, "udp") {
			var c *packetConn
			if c, err = s.connectUDP(network, ep, wq, to); err == nil {
				return c, nil
			}
		} else {
			var c *conn
			if c, err = s.connectTCP(ctx, ep, wq, to); err == nil {
				return c, nil
			}
		}
		ep.Close()
		s.give()
	}
	return nil, &net.OpError{Op: "dial", Net: network, Addr: addrOf(network, to), Err: err}
}

// endpoint makes one for addresses of the family of a; both if a is unspecified and of IPv6, or the zero address. It counts as a socket.
func (s *Stack) endpoint(network string, a netip.Addr, listens bool) (tcpip.Endpoint, *waiter.Queue, error) {
	protocol := tcp.ProtocolNumber
	switch network {
	case "tcp", "tcp4", "tcp6":
	case "udp", "udp4", "udp6":
		protocol = udp.ProtocolNumber
	default:
		return nil, nil, net.UnknownNetworkError(network)
	}
	six, four := strings.HasSuffix(network, "6"), strings.HasSuffix(network, "4")
	if a.IsValid() && (six && a.Is4() || four && a.Is6()) || !a.IsValid() && !listens {
		return nil, nil, &net.AddrError{Err: "the address is not of the network " + network, Addr: a.String()}
	}
	if isClosed(s.done) {
		return nil, nil, net.ErrClosed
	}
	if !s.take() {
		return nil, nil, ErrTooManySockets
	}
	number := ipv6.ProtocolNumber
	if a.IsValid() || four {
		number = family(a)
		if four {
			number = family(netip.IPv4Unspecified())
		}
	}
	wq := new(waiter.Queue)
	ep, err := s.stack.NewEndpoint(protocol, number, wq)
	if err != nil {
		s.give()
		return nil, nil, called("socket", err)
	}
	ep.SocketOptions().SetV6Only(six || a.Is6() && !a.IsUnspecified())
	return ep, wq, nil
}

func (s *Stack) connectTCP(ctx context.Context, ep tcpip.Endpoint, wq *waiter.Queue, to netip.AddrPort) (*conn, error) {
	likeOthers(ep)
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	err := ep.Connect(full(to))
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ctx.Done():
			return nil, contextError(ctx)
		case <-s.done:
			return nil, net.ErrClosed
		case <-ready:
			err = ep.LastError()
		}
	}
	if err != nil {
		return nil, called("connect", err)
	}
	return newConn(s, ep, wq), nil
}

// contextError is the error of a context as package net has it: a deadline is a timeout.
func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return timeout{ctx.Err()}
	}
	return ctx.Err()
}

type timeout struct{ error }

func (t timeout) Timeout() bool   { return true }
func (t timeout) Temporary() bool { return true }
func (t timeout) Unwrap() error   { return t.error }

func (s *Stack) connectUDP(network string, ep tcpip.Endpoint, wq *waiter.Queue, to netip.AddrPort) (*packetConn, error) {
	if err := ep.Connect(full(to)); err != nil {
		return nil, called("connect", err)
	}
	c := newPacketConn(s, network, ep, wq)
	c.remote = net.UDPAddrFromAddrPort(to)
	return c, nil
}

// Listen listens for TCP at an address of the stack; network is "tcp", "tcp4" or "tcp6". The zero address, with a port, is all of the stack.
func (s *Stack) Listen(network string, at netip.AddrPort) (net.Listener, error) {
	ep, wq, err := s.bound(network, "tcp", at)
	if err == nil {
		if e := ep.Listen(backlog); e != nil {
			ep.Close()
			s.give()
			err = called("listen", e)
		}
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: addrOf(network, at), Err: err}
	}
	l := &listener{socket: open(s, network, ep, wq), addr: &net.TCPAddr{}}
	if a, err := ep.GetLocalAddress(); err == nil {
		l.addr = net.TCPAddrFromAddrPort(addrPort(a))
	}
	return l, nil
}

// ListenPacket opens a socket for UDP at an address of the stack; network is "udp", "udp4" or "udp6". The zero address is all of the stack.
func (s *Stack) ListenPacket(network string, at netip.AddrPort) (net.PacketConn, error) {
	ep, wq, err := s.bound(network, "udp", at)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: addrOf(network, at), Err: err}
	}
	return newPacketConn(s, network, ep, wq), nil
}

// bound makes an endpoint at an address.
func (s *Stack) bound(network, kind string, at netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error) {
	if !strings.HasPrefix(network, kind) {
		return nil, nil, net.UnknownNetworkError(network)
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	ep, wq, err := s.endpoint(network, at.Addr(), true)
	if err != nil {
		return nil, nil, err
	}
	if err := ep.Bind(full(at)); err != nil {
		ep.Close()
		s.give()
		return nil, nil, called("bind", err)
	}
	return ep, wq, nil
}

func addrOf(network string, a netip.AddrPort) net.Addr {
	if strings.HasPrefix(network, "udp") {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}

// listener accepts connections.
type listener struct {
	*socket
	addr *net.TCPAddr
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Accept() (net.Conn, error) {
	for {
		var ep tcpip.Endpoint
		var wq *waiter.Queue
		failed, err := l.do(&l.in, &l.readable, func() (err tcpip.Error) {
			ep, wq, err = l.ep.Accept(nil)
			return err
		})
		if err == nil {
			err = called("accept", failed)
		}
		if err != nil {
			return nil, &net.OpError{Op: "accept", Net: l.network, Addr: l.addr, Err: err}
		}
		if !l.s.take() {
			ep.Abort() // the other end is told: reset
			continue
		}
		likeOthers(ep)
		return newConn(l.s, ep, wq), nil
	}
}

// packetConn is a socket for datagrams, which may be connected.
type packetConn struct {
	*socket
	local, remote *net.UDPAddr // remote is nil if it is not connected
}

func newPacketConn(s *Stack, network string, ep tcpip.Endpoint, wq *waiter.Queue) *packetConn {
	c := &packetConn{socket: open(s, network, ep, wq), local: &net.UDPAddr{}}
	if a, err := ep.GetLocalAddress(); err == nil {
		c.local = net.UDPAddrFromAddrPort(addrPort(a))
	}
	return c
}

func (c *packetConn) LocalAddr() net.Addr { return c.local }

func (c *packetConn) RemoteAddr() net.Addr {
	if c.remote == nil {
		return nil
	}
	return c.remote
}

func (c *packetConn) opError(op string, addr net.Addr, err error) error {
	return &net.OpError{Op: op, Net: c.network, Source: c.local, Addr: addr, Err: err}
}

func (c *packetConn) Read(b []byte) (int, error) {
	n, _, err := c.receive(b)
	return n, err
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.receive(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *packetConn) receive(b []byte) (n int, from netip.AddrPort, err error) {
	w := tcpip.SliceWriter(b)
	var r tcpip.ReadResult
	failed, err := c.do(&c.in, &c.readable, func() (err tcpip.Error) {
		r, err = c.ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: true})
		return err
	})
	if _, full := failed.(*tcpip.ErrBadBuffer); full && len(b) == 0 {
		failed = nil // the datagram is longer than the buffer: the rest is lost
	}
	if err == nil {
		err = called("read", failed)
	}
	if err != nil {
		return 0, from, c.opError("read", c.RemoteAddr(), err)
	}
	return r.Count, addrPort(r.RemoteAddr), nil
}

func (c *packetConn) Write(b []byte) (int, error) {
	if c.remote == nil {
		return 0, c.opError("write", nil, errNoDestination)
	}
	return c.send(b, nil, c.remote)
}

var errNoDestination = errors.New("the socket is not connected: a destination is missing")

func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.remote != nil {
		return 0, c.opError("write", to, net.ErrWriteToConnected)
	}
	u, ok := to.(*net.UDPAddr)
	if !ok || u == nil {
		return 0, c.opError("write", to, &net.AddrError{Err: "no address of UDP", Addr: "?"})
	}
	at := u.AddrPort()
	f := full(netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
	return c.send(b, &f, to)
}

func (c *packetConn) send(b []byte, to *tcpip.FullAddress, addr net.Addr) (int, error) {
	var r bytes.Reader
	failed, err := c.do(&c.out, &c.writable, func() tcpip.Error {
		r.Reset(b)
		_, err := c.ep.Write(&r, tcpip.WriteOptions{To: to})
		return err
	})
	if _, lost := failed.(*tcpip.ErrNoBufferSpace); lost {
		failed = nil // as on any network
	}
	if err == nil {
		err = called("write", failed)
	}
	if err != nil {
		return 0, c.opError("write", addr, err)
	}
	return len(b), nil
}
