// Package proxy asks a proxy for a connection to somebody else: an HTTP proxy with
// CONNECT, a SOCKS proxy of version 4, 4a or 5, or a program.
//
// It does not open the connection with the proxy, and does not know what travels
// over the one that it gets.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"tincan/internal/config"
)

// Dialer opens the TCP connection with the proxy.
type Dialer func(ctx context.Context, host, port string) (net.Conn, error)

// Target is whom to connect to.
type Target struct {
	Host string // a name or an IP address without brackets
	Port uint16
	Node string // whose address that is; for programs
}

func (t Target) String() string { return net.JoinHostPort(t.Host, fmt.Sprint(t.Port)) }

// Own is what a program is told about this node, and who listens to what it says.
type Own struct {
	NetName, Name string
	// Said takes what the program writes to its standard error, line by line, short and not
	// often. It is called by another goroutine. Nil: nobody wants to know.
	Said func(line string)
}

// ResolvesNames tells whether p connects to a Target whose Host is a name that
// cannot be resolved here.
func ResolvesNames(p config.Proxy) bool {
	switch p.Kind {
	case config.HTTPProxy, config.SOCKS4AProxy, config.SOCKS5Proxy, config.ExecProxy:
		return true
	}
	return false
}

// Connect returns a connection with to by way of p, which must not be NoProxy: a
// *net.TCPConn, or what a program has (see exec). Nothing that the other end has sent
// after the proxy's answer is lost. ctx limits only the making of the connection.
// Errors hold neither user nor password.
func Connect(ctx context.Context, p config.Proxy, own Own, to Target, dial Dialer) (net.Conn, error) {
	if !to.plain() {
		return nil, fmt.Errorf("%.64q is neither an address nor the name of a host", to.Host)
	}
	if p.Kind == config.ExecProxy {
		return run(p.Command, own, to)
	}
	if p.Kind == config.SOCKS5Proxy {
		return connectSOCKS5(ctx, p, to, dial)
	}
	conn, err := dial(ctx, p.Host, p.Port)
	if err != nil {
		return nil, fmt.Errorf("the proxy: %w", err)
	}
	release := hold(ctx, conn)
	switch p.Kind {
	case config.HTTPProxy:
		err = askHTTP(conn, p, to)
	case config.SOCKS4Proxy, config.SOCKS4AProxy:
		err = askSOCKS4(conn, p, to)
	default:
		err = errors.New("there is none")
	}
	if released := release(); err == nil {
		err = released
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("the proxy: %w", inWords(ctx, err))
	}
	return conn, nil
}

// hold makes reads and writes of conn end with ctx, until release is called, which
// says whether it was too late.
func hold(ctx context.Context, conn net.Conn) (release func() error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return func() error {
		if !stop() {
			return context.Cause(ctx)
		}
		return nil
	}
}

// inWords is err without addresses, which the caller says.
func inWords(ctx context.Context, err error) error {
	var op *net.OpError
	if ctx.Err() != nil || errors.As(err, &op) && op.Timeout() {
		return errors.New("no answer in time")
	}
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// plain tells whether the host is an address or looks like a host's name. Names come from
// host files, which others may have written: a proxy must not take one for the end of
// a line, nor a program for an option.
func (t Target) plain() bool {
	if _, ok := t.numeric(); ok {
		return true
	}
	for _, c := range []byte(t.Host) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return t.Host != "" && t.Host[0] != '-' && len(t.Host) <= 253
}

// numeric returns the address of to, if it is one.
func (t Target) numeric() (netip.Addr, bool) {
	a, err := netip.ParseAddr(t.Host)
	return a.Unmap(), err == nil
}
