package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/proxy"

	"tincan/internal/config"
)

// askSOCKS4 asks a proxy of version 4 to connect:
//
//	4 | 1 | port 2 | address 4 | user ... 0 [| name ... 0]    →
//	0 | status | port 2 | address 4                           ←
//
// With 4a, whose address is then 0.0.0.1, a name may follow the user.
func askSOCKS4(conn io.ReadWriter, p config.Proxy, to Target) error {
	b := []byte{4, 1}
	b = binary.BigEndian.AppendUint16(b, to.Port)
	addr, numeric := to.numeric()
	switch {
	case numeric && addr.Is4():
		b = append(b, addr.AsSlice()...)
		b = append(append(b, p.User...), 0)
	case numeric:
		return errors.New("SOCKS 4 cannot connect to IPv6 addresses; SOCKS 5 can")
	case p.Kind == config.SOCKS4AProxy:
		b = append(b, 0, 0, 0, 1)
		b = append(append(b, p.User...), 0)
		b = append(append(b, to.Host...), 0)
	default:
		return errors.New("SOCKS 4 cannot connect to names; SOCKS 4a can")
	}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	var answer [8]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it closed the connection without an answer")
		}
		return err
	}
	return checkSOCKS4(answer)
}

// checkSOCKS4 judges the answer of a proxy of version 4.
func checkSOCKS4(answer [8]byte) error {
	switch {
	case answer[0] != 0:
		return errors.New("its answer is not of SOCKS 4")
	case answer[1] == 90:
		return nil
	case answer[1] == 92, answer[1] == 93:
		return errors.New("it refused the user")
	}
	return fmt.Errorf("it refused to connect, with status %d", answer[1])
}

// connectSOCKS5 leaves the conversation to the library.
func connectSOCKS5(ctx context.Context, p config.Proxy, to Target, dial Dialer) (net.Conn, error) {
	first := &firstHop{p: p, dial: dial}
	var auth *proxy.Auth
	if p.User != "" && p.Password != "" { // as tinc does, and the standard allows no empty ones
		auth = &proxy.Auth{User: p.User, Password: p.Password}
	}
	d, err := proxy.SOCKS5("tcp", net.JoinHostPort(p.Host, p.Port), auth, first)
	if err != nil {
		return nil, err
	}
	if _, err := d.(proxy.ContextDialer).DialContext(ctx, "tcp", to.String()); err != nil {
		if first.err != nil {
			return nil, fmt.Errorf("the proxy: %w", first.err)
		}
		if first.conn != nil {
			first.conn.Close()
		}
		return nil, fmt.Errorf("the proxy: %w", inWords(ctx, err))
	}
	// The library's own connection hides what the socket can do.
	return first.conn, nil
}

// firstHop keeps the connection with the proxy.
type firstHop struct {
	p    config.Proxy
	dial Dialer
	conn net.Conn
	err  error
}

func (f *firstHop) Dial(network, address string) (net.Conn, error) {
	return f.DialContext(context.Background(), network, address)
}

func (f *firstHop) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	f.conn, f.err = f.dial(ctx, f.p.Host, f.p.Port)
	return f.conn, f.err
}
