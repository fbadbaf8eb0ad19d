// Package proxyserver is the side of a proxy that programs connect to: SOCKS5, HTTP, and forwarded ports. It takes a connection, learns where
// that is to go, and carries bytes both ways until either side ends.
//
// Where connections may go, and how, is decided by a [Network]. Connections of this program through proxies of others are the
// business of package proxy.
package proxyserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/limit"
)

// Network is where connections go to.
type Network interface {
	// Resolve finds the addresses of a host, which is a name or an address, to which connections may go. The error is a [*Refusal], or [ErrNoHost].
	Resolve(host string) ([]netip.Addr, error)
	// DialContext connects; network is "tcp".
	DialContext(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
	// ListenPacket opens a socket for datagrams; network is "udp".
	ListenPacket(network string, at netip.AddrPort) (net.PacketConn, error)
}

// Refusal says that connections to a host are not made, since they must not be.
type Refusal struct{ Host, Why string }

func (r *Refusal) Error() string { return fmt.Sprintf("%.255q: %s", r.Host, r.Why) }

// ErrNoHost says that there is no host of that name.
var ErrNoHost = errors.New("no such host")

// Server serves proxies for one network. Its fields are not changed after it was used first.
type Server struct {
	Network Network
	// Login is USER:PASSWORD, which clients have to give; "": everybody may use it who can connect.
	Login string
	// Log gets one line for each connection that was refused or has failed. It may be nil.
	Log func(text string)
	// Idle is after what time a connection is closed over which nothing goes; 0: an hour.
	Idle time.Duration
	// MaxConns is how many connections each listener has at once; 0: 1024.
	MaxConns int
}

const (
	usualIdle     = time.Hour
	usualMaxConns = 1024
	headTime      = 15 * time.Second // to say where a connection is to go
	dialTime      = 30 * time.Second
	wrongLogin    = time.Second // until somebody is told that user or password is wrong
	acceptPause   = 100 * time.Millisecond
)

func (s *Server) log(format string, args ...any) {
	if s.Log != nil {
		s.Log(fmt.Sprintf(format, args...))
	}
}

func (s *Server) idle() time.Duration {
	if s.Idle > 0 {
		return s.Idle
	}
	return usualIdle
}

func (s *Server) limited(l net.Listener) net.Listener {
	most := s.MaxConns
	if most == 0 {
		most = usualMaxConns
	}
	return &limit.Listener{Listener: l, Total: most, Each: most}
}

// may tells whether a login is right, in a time that does not depend on how wrong it is.
func (s *Server) may(user, password string) bool {
	want, got := sha256.Sum256([]byte(s.Login)), sha256.Sum256([]byte(user+":"+password))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// dial connects to a host: to the first of its addresses that answers.
func (s *Server) dial(ctx context.Context, host string, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	addrs, err := s.Network.Resolve(host)
	if err != nil {
		return nil, err
	}
	err = ErrNoHost
	for _, a := range addrs {
		var c net.Conn
		if c, err = s.Network.DialContext(ctx, "tcp", netip.AddrPortFrom(a, port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// serve hands each connection of a listener to handle, on a goroutine of its own, until ctx ends; then it closes all and waits for them.
func (s *Server) serve(ctx context.Context, l net.Listener, handle func(context.Context, net.Conn)) error {
	l = s.limited(l)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var ended sync.WaitGroup
	defer ended.Wait()
	defer l.Close()
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // too many open files, say
			s.log("taking a connection at %s: %v", l.Addr(), err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		ended.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			handle(ctx, c)
		})
	}
}

// Forward carries each connection that a listener takes to where dial connects it, until ctx ends.
func (s *Server) Forward(ctx context.Context, l net.Listener, what string, dial func(context.Context) (net.Conn, error)) error {
	return s.serve(ctx, l, func(ctx context.Context, c net.Conn) {
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		to, err := dial(ctx)
		if err != nil {
			s.log("%s: %v", what, err)
			return
		}
		s.carry(c, to)
	})
}

// Dial connects to a host of the network, for Forward.
func (s *Server) Dial(host string, port uint16) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, host, port) }
}

// carry carries bytes between two connections until both directions have ended, nothing has gone for the idle time, or one of them is
// closed. It closes to.
func (s *Server) carry(from, to net.Conn) {
	defer to.Close()
	from = limit.Inner(from)
	var last atomic.Int64 // when something has gone, in Unix nanoseconds
	last.Store(time.Now().UnixNano())
	var both sync.WaitGroup
	for _, d := range [][2]net.Conn{{to, from}, {from, to}} {
		both.Go(func() {
			if s.oneWay(d[0], d[1], &last) != nil {
				from.Close()
				to.Close()
			}
		})
	}
	both.Wait()
}

// oneWay carries what src says to dst, and that it has ended. On Linux the bytes of TCP connections do not leave the kernel.
func (s *Server) oneWay(dst, src net.Conn, last *atomic.Int64) error {
	const chunk = 1 << 20
	for {
		if err := src.SetReadDeadline(time.Now().Add(s.idle())); err != nil {
			return err
		}
		n, err := io.CopyN(dst, src, chunk)
		if n > 0 {
			last.Store(time.Now().UnixNano())
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if half, ok := dst.(interface{ CloseWrite() error }); ok {
				return half.CloseWrite()
			}
			return io.EOF
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, last.Load())) < s.idle():
			// The other direction is in use. What was read has been written: only reading has a deadline.
		default:
			return err
		}
	}
}

// ParseLogin checks a line USER:PASSWORD.
func ParseLogin(text string) (string, error) {
	text = strings.TrimSpace(text)
	user, password, ok := strings.Cut(text, ":")
	switch {
	case !ok || user == "" || password == "":
		return "", errors.New("one line USER:PASSWORD is expected")
	case len(user) > 255 || len(password) > 255 || strings.ContainsAny(text, "\r\n"):
		return "", errors.New("user and password have at most 255 characters each, on one line")
	}
	return text, nil
}
