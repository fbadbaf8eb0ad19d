// Package names has the names of the VPN's nodes found: it answers queries of DNS at the addresses of this node in the VPN, and gets
// programs of this machine to ask there, by systemd-resolved or by a block in /etc/hosts.
//
// Which names there are is known to package zone. Nothing here changes /etc/resolv.conf, and all that is changed is undone.
package names

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tincan/internal/inside"
	"tincan/internal/limit"
	"tincan/internal/rate"
	"tincan/internal/zone"
)

const (
	maxConns       = 64 // over TCP, at one address
	maxConnsOfPeer = 8
	maxOnConn      = 100              // queries over one connection
	connTime       = 10 * time.Second // for one of them
	maxSources     = 1024             // whose rate is remembered
	// What could not be opened is tried again after retryFirst, and then after twice the time, up to retryLast. Otherwise nothing
	// is done unless something has happened.
	retryFirst = time.Second
	retryLast  = time.Minute
)

// queryLimit is for each address that asks.
var queryLimit = rate.Limit{Burst: 200, Every: 5 * time.Millisecond}

// Config is what a server needs.
type Config struct {
	Zone   *zone.Zone
	Device string // the interface of the VPN; "" to take queries from everywhere that may ask
	Port   uint16
	// Addresses are those of the interface.
	Addresses func() ([]netip.Addr, error)
	// Touched tells that they may have changed.
	Touched <-chan struct{}
	// May tells whether an address may ask.
	May func(netip.Addr) bool
	// Listening is told where queries are answered, whenever that or the problem changes. problem says why they are not answered
	// everywhere where they should be, nil if they are. It may not wait for long.
	Listening func(at []netip.AddrPort, problem error)
}

// Server answers queries.
type Server struct {
	cfg   Config
	rates limit.Buckets
}

// NewServer makes a server.
func NewServer(cfg Config) *Server {
	return &Server{cfg: cfg, rates: limit.Buckets{Limit: queryLimit, Most: maxSources, Peer: single}}
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// place is an address where queries are answered. An interface that was made anew has another index.
type place struct {
	at    netip.AddrPort
	index int
}

// Run answers queries until ctx ends.
func (s *Server) Run(ctx context.Context) {
	open := map[place]*sockets{}
	defer func() {
		for _, o := range open {
			o.close()
		}
	}()
	wait := retryFirst
	failing := false
	for {
		changed, problem := s.relisten(ctx, open)
		if changed || problem != nil || failing {
			s.cfg.Listening(answering(open), problem)
		}
		failing = problem != nil
		var again <-chan time.Time
		if problem != nil {
			again = time.After(wait)
			wait = min(2*wait, retryLast)
		} else {
			wait = retryFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-s.cfg.Touched:
			wait = retryFirst
		case <-again:
		}
	}
}

func answering(open map[place]*sockets) (list []netip.AddrPort) {
	for p := range open {
		list = append(list, p.at)
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return list
}

// relisten opens and closes sockets until they are those of the addresses.
func (s *Server) relisten(ctx context.Context, open map[place]*sockets) (changed bool, problem error) {
	addrs, problem := s.cfg.Addresses()
	if problem == nil && len(addrs) == 0 {
		problem = errors.New("the VPN interface has no address")
	}
	index := 0
	if i, err := net.InterfaceByName(s.cfg.Device); err == nil {
		index = i.Index
	}
	wanted := map[place]bool{}
	for _, a := range addrs {
		wanted[place{netip.AddrPortFrom(a, s.cfg.Port), index}] = true
	}
	for p, o := range open {
		if !wanted[p] {
			o.close()
			delete(open, p)
			changed = true
		}
	}
	for p := range wanted {
		if open[p] != nil {
			continue
		}
		o, err := s.open(ctx, p.at)
		if err != nil {
			problem = errors.Join(problem, fmt.Errorf("queries for names are not answered: %w", err))
			continue
		}
		open[p] = o
		changed = true
	}
	return changed, problem
}

// sockets are those of one address.
type sockets struct {
	all   []io.Closer
	ended sync.WaitGroup
	stop  context.CancelFunc
}

func (o *sockets) close() {
	o.stop()
	for _, c := range o.all {
		c.Close()
	}
	o.ended.Wait()
}

func (s *Server) open(ctx context.Context, at netip.AddrPort) (*sockets, error) {
	packets, err := inside.ListenPacket(ctx, at, s.cfg.Device)
	if err != nil {
		return nil, err
	}
	streams, err := inside.Listen(ctx, at, s.cfg.Device)
	if err != nil {
		for _, c := range packets {
			c.Close()
		}
		return nil, err
	}
	return s.serve(ctx, packets, streams), nil
}

// Serve answers queries at sockets that somebody else has opened, until ctx ends, and closes them.
func (s *Server) Serve(ctx context.Context, packets net.PacketConn, streams net.Listener) {
	o := s.serve(ctx, []net.PacketConn{packets}, []net.Listener{streams})
	<-ctx.Done()
	o.close()
}

func (s *Server) serve(ctx context.Context, packets []net.PacketConn, streams []net.Listener) *sockets {
	ctx, stop := context.WithCancel(ctx)
	o := &sockets{stop: stop}
	for _, c := range packets {
		o.all = append(o.all, c)
		o.ended.Go(func() { s.datagrams(ctx, c.(*net.UDPConn)) })
	}
	for _, l := range streams {
		o.all = append(o.all, l)
		o.ended.Go(func() { s.connections(ctx, l) })
	}
	return o
}

// allowed tells whether a query of an address is answered now.
func (s *Server) allowed(from netip.Addr) bool {
	return s.cfg.May(from) && s.rates.Take(from, time.Now())
}

// datagrams answers queries over UDP.
func (s *Server) datagrams(ctx context.Context, c *net.UDPConn) {
	in, out := make([]byte, zone.MaxQuery+1), []byte(nil)
	for {
		n, from, err := c.ReadFromUDPAddrPort(in)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select { // whatever it is, it must not keep a processor busy
			case <-ctx.Done():
			case <-time.After(retryFirst):
			}
			continue
		}
		if !s.allowed(from.Addr().Unmap().WithZone("")) {
			continue
		}
		if out = s.cfg.Zone.Answer(out[:0], in[:n], false); out != nil {
			_, _ = c.WriteToUDPAddrPort(out, from)
		}
	}
}

// connections answers queries over TCP.
func (s *Server) connections(ctx context.Context, l net.Listener) {
	l = &limit.Listener{Listener: l, Total: maxConns, Each: maxConnsOfPeer}
	var ended sync.WaitGroup
	defer ended.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(retryFirst):
			}
			continue
		}
		ended.Go(func() {
			defer context.AfterFunc(ctx, func() { c.Close() })()
			defer c.Close()
			s.connection(c)
		})
	}
}

// connection answers the queries of one connection (RFC 7766).
func (s *Server) connection(c net.Conn) {
	from := limit.Addr(c.RemoteAddr())
	var in, out []byte
	for range maxOnConn {
		if c.SetDeadline(time.Now().Add(connTime)) != nil {
			return
		}
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(head[:]))
		if n > zone.MaxQuery || !s.allowed(from) {
			return
		}
		in = slices.Grow(in[:0], n)[:n]
		if _, err := io.ReadFull(c, in); err != nil {
			return
		}
		answer := s.cfg.Zone.Answer(append(out[:0], 0, 0), in, true)
		if answer == nil {
			return
		}
		out = append(binary.BigEndian.AppendUint16(out[:0], uint16(len(answer))), answer...)
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}
