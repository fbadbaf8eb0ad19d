package names

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"tincan/internal/fixture"
	"tincan/internal/node"
	"tincan/internal/zone"
)

var (
	here  = netip.MustParseAddr("127.0.0.1")
	there = netip.MustParseAddr("127.0.0.9")
)

// running is a server on loopback addresses, and what it has told of itself.
type running struct {
	*testing.T
	port    uint16
	addrs   atomic.Pointer[[]netip.Addr]
	touched chan struct{}
	told    chan told
	barred  atomic.Bool
	zone    *zone.Zone
}

type told struct {
	at      []netip.AddrPort
	problem error
}

func serve(t *testing.T, addrs ...netip.Addr) *running {
	t.Helper()
	r := &running{T: t, port: fixture.FreePort(), touched: make(chan struct{}, 1), told: make(chan told, 100)}
	r.addrs.Store(&addrs)
	r.zone = zone.New("home.internal", "alice", nil, func(netip.Addr) (node.Name, bool) { return "", false })
	r.zone.Set(zone.Announced, "bob", []netip.Addr{netip.MustParseAddr("10.0.0.2")})
	many := []netip.Addr{}
	for i := range 90 {
		many = append(many, netip.AddrFrom4([4]byte{10, 1, 1, byte(i)}))
	}
	r.zone.Set(zone.Announced, "many", many)
	s := NewServer(Config{
		Zone: r.zone, Port: r.port, Touched: r.touched,
		Addresses: func() ([]netip.Addr, error) { return *r.addrs.Load(), nil },
		May:       func(a netip.Addr) bool { return a.IsLoopback() && !r.barred.Load() },
		Listening: func(at []netip.AddrPort, problem error) { r.told <- told{at, problem} },
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return r
}

func (r *running) dial(network string, at netip.Addr) net.Conn {
	r.Helper()
	c, err := net.Dial(network, netip.AddrPortFrom(at, r.port).String())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func query(name string) []byte {
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	q, _ := m.Pack()
	return q
}

func (r *running) read(raw []byte) *dnsmessage.Message {
	r.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil {
		r.Fatal(err)
	}
	return &m
}

func (r *running) udp(at netip.Addr, name string) *dnsmessage.Message {
	r.Helper()
	c := r.dial("udp", at)
	buf := make([]byte, 2000)
	if _, err := c.Write(query(name)); err != nil {
		r.Fatal(err)
	}
	n, err := c.Read(buf)
	if err != nil {
		r.Fatal(err)
	}
	return r.read(buf[:n])
}

func send(c net.Conn, q []byte) error {
	_, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...))
	return err
}

func receive(c net.Conn) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

func TestQueriesOverUDPAndTCP(t *testing.T) {
	r := serve(t, here)
	if first := <-r.told; first.problem != nil || len(first.at) != 1 {
		t.Fatal(first)
	}
	if m := r.udp(here, "bob.home.internal."); len(m.Answers) != 1 || !m.Authoritative {
		t.Errorf("%+v", m)
	}
	if m := r.udp(here, "many.home.internal."); !m.Truncated || len(m.Answers) != 0 {
		t.Errorf("%+v", m)
	}
	c := r.dial("tcp", here)
	for i := range 3 { // over one connection
		if err := send(c, query("many.home.internal.")); err != nil {
			t.Fatal(err)
		}
		raw, err := receive(c)
		if err != nil {
			t.Fatal(err)
		}
		if m := r.read(raw); m.Truncated || len(m.Answers) != 90 {
			t.Errorf("%d: %+v", i, m.Header)
		}
	}
}

func TestWhoMayNotAskHearsNothing(t *testing.T) {
	r := serve(t, here)
	<-r.told
	r.barred.Store(true)
	c := r.dial("udp", here)
	_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := c.Write(query("bob.home.internal.")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("an answer of %d bytes", n)
	}
	s := r.dial("tcp", here)
	_ = send(s, query("bob.home.internal."))
	if raw, err := receive(s); err == nil {
		t.Errorf("an answer: %x", raw)
	}
}

func TestBadConnections(t *testing.T) {
	r := serve(t, here)
	<-r.told
	for what, b := range map[string][]byte{
		"a query that is too long":  {0xff, 0xff, 0, 0},
		"no query":                  {0, 3, 1, 2, 3},
		"one that is itself answer": append([]byte{0, 12}, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	} {
		c := r.dial("tcp", here)
		_, _ = c.Write(b)
		if raw, err := receive(c); err == nil {
			t.Errorf("%s: %x", what, raw)
		}
	}
	c := r.dial("tcp", here)
	answered := 0
	for range maxOnConn + 10 {
		if send(c, query("bob.home.internal.")) != nil {
			break
		}
		if _, err := receive(c); err != nil {
			break
		}
		answered++
	}
	if answered > maxOnConn || answered < 10 {
		t.Errorf("%d queries over one connection", answered)
	}
}

func TestAFloodOfQueries(t *testing.T) {
	r := serve(t, here)
	<-r.told
	c := r.dial("udp", here)
	began := time.Now()
	for range 2000 {
		_, _ = c.Write(query("bob.home.internal."))
	}
	answers := 0
	for buf := make([]byte, 512); ; answers++ {
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := c.Read(buf); err != nil {
			break
		}
	}
	if most := queryLimit.Burst + int(time.Since(began)/queryLimit.Every) + 1; answers > most || answers == 0 {
		t.Errorf("%d answers, at most %d are allowed", answers, most)
	}
}

func TestAddressesComeAndGo(t *testing.T) {
	r := serve(t)
	if first := <-r.told; first.problem == nil || first.at != nil {
		t.Errorf("without an address: %v", first)
	}
	change := func(addrs ...netip.Addr) told {
		r.addrs.Store(&addrs)
		r.touched <- struct{}{}
		for {
			if now := <-r.told; len(now.at) == len(addrs) && now.problem == nil {
				return now
			}
		}
	}
	change(here)
	r.udp(here, "bob.home.internal.")
	now := change(there, here)
	if want := []netip.AddrPort{netip.AddrPortFrom(here, r.port), netip.AddrPortFrom(there, r.port)}; !slices.Equal(now.at, want) {
		t.Errorf("%v", now.at)
	}
	r.udp(there, "bob.home.internal.")
	change(there)
	if _, err := net.Dial("tcp", netip.AddrPortFrom(here, r.port).String()); err == nil {
		t.Error("queries are answered at an address that has gone")
	}
}

func TestAProblemThatGoesWithItsAddress(t *testing.T) {
	r := serve(t, here, netip.MustParseAddr("192.0.2.1"))
	if first := <-r.told; first.problem == nil || len(first.at) != 1 {
		t.Fatal(first)
	}
	r.addrs.Store(&[]netip.Addr{here})
	r.touched <- struct{}{}
	for end := time.After(20 * time.Second); ; {
		select {
		case now := <-r.told:
			if now.problem == nil && len(now.at) == 1 {
				return
			}
		case <-end:
			t.Fatal("nobody is told that all is well")
		}
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	r := serve(t)
	<-r.told
	taken, err := net.Listen("tcp", netip.AddrPortFrom(here, r.port).String())
	if err != nil {
		t.Fatal(err)
	}
	r.addrs.Store(&[]netip.Addr{here})
	r.touched <- struct{}{}
	if now := <-r.told; now.problem == nil || len(now.at) != 0 {
		t.Errorf("%v", now)
	}
	taken.Close()
	for end := time.Now().Add(20 * time.Second); ; {
		now := <-r.told
		if now.problem == nil && len(now.at) == 1 {
			break
		}
		if errors.Is(now.problem, net.ErrClosed) || time.Now().After(end) {
			t.Fatal(now)
		}
	}
	r.udp(here, "bob.home.internal.")
}
