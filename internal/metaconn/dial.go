package metaconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"tincan/internal/mesh"
)

const (
	defaultDialTimeout = 5 * time.Second
	maxAddresses       = 16 // of one name
)

func (t *Table) dial(e mesh.Dial) {
	c := newConn(t, e.Conn)
	ctx, cancel := context.WithCancel(t.ctx)
	c.cancelDial = cancel
	if !t.add(c, func() { defer cancel(); c.runDialled(ctx, e) }) {
		cancel()
	}
}

// connect tries every address of e.To, one after the other.
func (t *Table) connect(ctx context.Context, e mesh.Dial) (*net.TCPConn, error) {
	timeout := e.Timeout
	if timeout <= 0 {
		timeout = defaultDialTimeout
	}
	addrs, err := t.resolve(ctx, e.To, timeout)
	if err != nil {
		return nil, err
	}
	var failed []string
	for _, a := range addrs {
		conn, err := t.connectTo(ctx, a, timeout)
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed = append(failed, fmt.Sprintf("%s: %s", a, reason(err)))
	}
	return nil, fmt.Errorf("connect to %s", strings.Join(failed, "; to "))
}

// reason is err without the parts that say again what was dialled.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Timeout() {
			return "no answer"
		}
		return op.Err.Error()
	}
	return err.Error()
}

func (t *Table) connectTo(ctx context.Context, a netip.AddrPort, timeout time.Duration) (*net.TCPConn, error) {
	d := net.Dialer{
		Timeout:        timeout,
		KeepAlive:      -1,
		ControlContext: t.outgoing,
	}
	for _, bind := range t.cfg.Bind {
		if bind = bind.Unmap(); bind.Is4() == a.Addr().Is4() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(bind, 0))
			break
		}
	}
	conn, err := d.DialContext(ctx, "tcp", a.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// resolve returns the addresses of to that may be dialled, at least one.
func (t *Table) resolve(ctx context.Context, to mesh.Endpoint, timeout time.Duration) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", to.Port)
	if err != nil {
		return nil, fmt.Errorf("port %.32q of %.64s: %w", to.Port, to.Host, err)
	}
	network := map[Family]string{AnyFamily: "ip", IPv4: "ip4", IPv6: "ip6"}[t.cfg.Family]
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(to.Host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = t.lookup(ctx, network, to.Host); err != nil {
		return nil, fmt.Errorf("look up %.64q: %w", to.Host, err)
	}
	var all []netip.AddrPort
	for _, a := range addrs {
		a = a.Unmap()
		if t.cfg.Family == IPv4 && !a.Is4() || t.cfg.Family == IPv6 && !a.Is6() || len(all) == maxAddresses {
			continue
		}
		all = append(all, netip.AddrPortFrom(a, uint16(port)))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%.64s has no address of the family that AddressFamily asks for", to.Host)
	}
	return all, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
