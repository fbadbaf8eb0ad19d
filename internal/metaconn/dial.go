package metaconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tincan/internal/config"
	"tincan/internal/mesh"
	"tincan/internal/oserr"
	"tincan/internal/proxy"
)

const (
	defaultDialTimeout = 5 * time.Second
	maxAddresses       = 16 // of one name
	maxPlaces          = 32 // of one Dial
	// headStart is how long an attempt is alone before the next address is tried
	// beside it (RFC 8305, 8). proxyStart is the same by way of a proxy.
	headStart  = 250 * time.Millisecond
	proxyStart = 2 * time.Second
	// lookupTime is how long a name may take here before the proxy is given it.
	lookupTime = 2 * time.Second
)

// stream is what a meta connection travels over: a TCP connection, or a program.
type stream interface {
	net.Conn
	CloseWrite() error
	SyscallConn() (syscall.RawConn, error)
}

// place is one address to connect to.
type place struct {
	mesh.Endpoint                // as the protocol core knows it
	addr          netip.AddrPort // invalid if only the proxy can resolve the name
	port          uint16
}

func (p place) String() string {
	at := net.JoinHostPort(p.Host, p.Port)
	if p.addr.IsValid() {
		at = p.addr.String()
	}
	if p.Carrier != "" {
		return "the carrier at " + at
	}
	return at
}

// attempted is what an attempt has led to.
type attempted struct {
	stream
	at  place
	err error
}

// remote is the address of the other end: behind a proxy, if there is one.
func (e attempted) remote() netip.AddrPort { return e.at.addr }

func (t *Table) dial(e mesh.Dial) {
	c := newConn(t, e.Conn)
	ctx, cancel := context.WithCancel(t.ctx)
	c.cancelDial = cancel
	if !t.add(c, func() { defer cancel(); c.runDialled(ctx, e) }) {
		cancel()
	}
}

// SetProxy makes the connections that are dialled from now on go by way of p.
func (t *Table) SetProxy(p config.Proxy) { t.proxy.Store(&p) }

// connect tries all addresses of e: each a little later than the one before, or as
// soon as that one has failed. The first that answers wins, and the others are given up.
func (t *Table) connect(ctx context.Context, e mesh.Dial) (attempted, error) {
	if e.From != 0 {
		return t.connectTogether(ctx, e)
	}
	timeout := e.Timeout
	if timeout <= 0 {
		timeout = defaultDialTimeout
	}
	via := *t.proxy.Load()
	start := headStart
	if via.Kind != config.NoProxy {
		start = proxyStart
	}
	attempt := func(ctx context.Context, at place) attempted {
		conn, err := t.connectTo(ctx, via, string(e.Node), at, timeout)
		if err == nil && at.Carrier != "" {
			conn, err = t.carry(ctx, conn, at, timeout)
		}
		return attempted{conn, at, err}
	}
	return t.race(ctx, append([]mesh.Endpoint{e.To}, e.Others...), timeout, start, proxy.ResolvesNames(via), attempt)
}

// found is what a name stands for.
type found struct {
	places []place
	err    error
}

// race resolves the names among the endpoints and runs attempt for every address.
func (t *Table) race(ctx context.Context, to []mesh.Endpoint, timeout, start time.Duration, named bool, attempt func(context.Context, place) attempted) (attempted, error) {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the attempts that are not needed any more
	lookups := make(chan found)
	results := make(chan attempted)
	var waiting []place
	var failed []string
	looking, running := 0, 0
	for _, ep := range to[:min(len(to), maxPlaces)] {
		if _, err := netip.ParseAddr(ep.Host); err == nil {
			places, err := t.resolve(ctx, ep, timeout)
			if waiting = append(waiting, places...); err != nil {
				failed = append(failed, err.Error())
			}
			continue
		}
		port, bad := strconv.ParseUint(ep.Port, 10, 16)
		byProxy := place{Endpoint: ep, port: uint16(port)}
		if named && bad == nil && ep.Carrier != "" { // such a proxy may have a list of names that it lets pass
			waiting = append(waiting, byProxy)
			continue
		}
		looking++
		t.wg.Go(func() {
			limit := timeout
			if named {
				limit = min(limit, lookupTime)
			}
			places, err := t.resolve(ctx, ep, limit)
			if err != nil && named && bad == nil {
				places, err = []place{byProxy}, nil
			}
			select {
			case lookups <- found{places, err}:
			case <-ctx.Done():
			}
		})
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		var due <-chan time.Time
		if len(waiting) > 0 {
			due = next.C
		} else if looking+running == 0 {
			break
		}
		select {
		case f := <-lookups:
			looking--
			if waiting = append(waiting, f.places...); f.err != nil {
				failed = append(failed, f.err.Error())
			}
			waiting = waiting[:min(len(waiting), maxPlaces)]
		case <-due:
			at := waiting[0]
			waiting = waiting[1:]
			running++
			t.wg.Go(func() {
				r := attempt(ctx, at)
				select {
				case results <- r:
				case <-ctx.Done():
					if r.err == nil {
						r.Close()
					}
				}
			})
			next.Reset(start)
		case r := <-results:
			running--
			if r.err == nil {
				return r, nil
			}
			failed = append(failed, fmt.Sprintf("connect to %s: %s", r.at, reason(r.err)))
			next.Reset(0)
		case <-outer.Done():
			return attempted{}, outer.Err()
		}
	}
	return attempted{}, errors.New(strings.Join(failed, "; "))
}

// reason is err without the parts that say again what was dialled.
func reason(err error) string {
	if text, ok := oserr.DialReason(err); ok {
		return text
	}
	return err.Error()
}

// connectTo connects to one address, by way of the proxy if there is one.
func (t *Table) connectTo(ctx context.Context, via config.Proxy, node string, at place, timeout time.Duration) (stream, error) {
	if via.Kind == config.NoProxy {
		return t.connectDirectly(ctx, at, timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	host := at.Host
	if at.addr.IsValid() && via.Kind != config.SOCKS4AProxy {
		host = at.addr.Addr().String()
	}
	own := proxy.Own{NetName: t.cfg.NetName, Name: string(t.cfg.Self)}
	if say := t.cfg.ProxySays; say != nil {
		own.Said = func(line string) { say(node, at.String(), line) }
	}
	conn, err := proxy.Connect(ctx, via, own, proxy.Target{Host: host, Port: at.port, Node: node},
		func(ctx context.Context, host, port string) (net.Conn, error) {
			r, err := t.race(ctx, []mesh.Endpoint{{Host: host, Port: port}}, timeout, headStart, false,
				func(ctx context.Context, at place) attempted {
					conn, err := t.connectDirectly(ctx, at, timeout)
					return attempted{conn, at, err}
				})
			return r.stream, err
		})
	if err != nil {
		return nil, err
	}
	s, ok := conn.(stream)
	if !ok {
		conn.Close()
		return nil, errors.New("the proxy: its connection is of no known kind")
	}
	return s, nil
}

func (t *Table) connectDirectly(ctx context.Context, at place, timeout time.Duration) (stream, error) {
	d := net.Dialer{
		Timeout:        timeout,
		KeepAlive:      -1,
		ControlContext: t.outgoing,
	}
	if at.Carrier != "" {
		d.ControlContext = t.outgoingHidden
	}
	if from := t.source(at.addr.Addr()); !from.IsUnspecified() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", at.addr.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// resolve returns the addresses of to that may be dialled, at least one. Those of a
// name are of both families by turns, beginning with the one that the system prefers.
func (t *Table) resolve(ctx context.Context, to mesh.Endpoint, timeout time.Duration) ([]place, error) {
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
	var all []place
	judge := t.cfg.MayDialName
	if _, err := netip.ParseAddr(to.Host); err == nil || strings.EqualFold(to.Host, "localhost") {
		judge = nil
	}
	var refused error
	for _, a := range byTurns(addrs) {
		if judge != nil {
			if err := judge(a); err != nil {
				refused = fmt.Errorf("%.64s stands for %s: %w", to.Host, a, err)
				continue
			}
		}
		if t.cfg.Family == IPv4 && !a.Is4() || t.cfg.Family == IPv6 && !a.Is6() || len(all) == maxAddresses {
			continue
		}
		all = append(all, place{to, netip.AddrPortFrom(a, uint16(port)), uint16(port)})
	}
	if len(all) == 0 && refused != nil {
		return nil, refused
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%.64s has no address of the family that AddressFamily asks for", to.Host)
	}
	return all, nil
}

// byTurns sorts addresses of both families like 6, 4, 6, 4, or 4, 6, 4, 6 if the first
// one is of IPv4 (RFC 8305, 4).
func byTurns(addrs []netip.Addr) []netip.Addr {
	var first, second, out []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() == addrs[0].Unmap().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	for len(first)+len(second) > 0 {
		if len(first) > 0 {
			out, first = append(out, first[0]), first[1:]
		}
		if len(second) > 0 {
			out, second = append(out, second[0]), second[1:]
		}
	}
	return out
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
