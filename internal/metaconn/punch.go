package metaconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"tincan/internal/config"
	"tincan/internal/mesh"
	"tincan/internal/oserr"
)

// CanPunch tells whether this system lets several sockets use the port of a listener
// as [Share] prepares it.
const CanPunch = canPunch

// Share lets connections be dialled from the port of l. To nobody else that makes a difference:
// another program that would listen there is refused as before.
func Share(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	return share(raw)
}

// refusedPause is how long to wait after a refusal, half of it at random. A NAT may answer
// for the other end as long as that has not dialled.
const refusedPause = 300 * time.Millisecond

// connectTogether dials e.To from the port e.From while the other end does the same.
func (t *Table) connectTogether(ctx context.Context, e mesh.Dial) (attempted, error) {
	if t.proxy.Load().Kind != config.NoProxy {
		return attempted{}, errors.New("connecting at the same moment is not possible through a proxy")
	}
	timeout := e.Timeout
	if timeout <= 0 {
		timeout = defaultDialTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	places, err := t.resolve(ctx, e.To, timeout)
	if err != nil {
		return attempted{}, err
	}
	at := places[0]
	d := net.Dialer{KeepAlive: -1, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.source(at.addr.Addr()), e.From))}
	d.ControlContext = func(ctx context.Context, network, address string, raw syscall.RawConn) error {
		if err := share(raw); err != nil {
			return err
		}
		return t.outgoing(ctx, network, address, raw)
	}
	d.SetMultipathTCP(false)
	for {
		conn, err := d.DialContext(ctx, "tcp", at.addr.String())
		if err == nil {
			return attempted{stream: conn.(*net.TCPConn), at: at}, nil
		}
		// That the address is taken means that the other end has come in at our open port already.
		if ctx.Err() != nil || !errors.Is(err, oserr.Refused) && !errors.Is(err, oserr.Reset) &&
			!errors.Is(err, oserr.HostUnreachable) && !errors.Is(err, oserr.NetUnreachable) {
			return attempted{}, fmt.Errorf("connect to %s from port %d, both at the same moment: %s", at, e.From, reason(err))
		}
		pause(ctx, refusedPause/2+rand.N(refusedPause/2))
	}
}

// source is the address that connections to one of the family of to come from: unspecified,
// unless the configuration names one.
func (t *Table) source(to netip.Addr) netip.Addr {
	for _, bind := range t.cfg.Bind {
		if bind = bind.Unmap(); bind.Is4() == to.Is4() {
			return bind
		}
	}
	if to.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
