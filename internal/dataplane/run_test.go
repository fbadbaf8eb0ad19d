package dataplane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// lan connects sockets in memory. Nothing is lost.
type lan struct{ sockets map[netip.AddrPort]*lanSocket }

type lanSocket struct {
	lan    *lan
	local  netip.AddrPort
	queue  chan udp.Arrival
	closed chan struct{}
	once   sync.Once
}

func (l *lan) socket(local netip.AddrPort) *lanSocket {
	s := &lanSocket{lan: l, local: local, queue: make(chan udp.Arrival, 64), closed: make(chan struct{})}
	l.sockets[local] = s
	return s
}

func (s *lanSocket) Local() netip.AddrPort  { return s.local }
func (s *lanSocket) CanGSO() bool           { return true }
func (s *lanSocket) Dropped() uint64        { return 0 }
func (s *lanSocket) PathMTU(netip.Addr) int { return 1500 }
func (s *lanSocket) Close() error           { s.once.Do(func() { close(s.closed) }); return nil }

func (s *lanSocket) Recv() ([]udp.Arrival, error) {
	select {
	case a := <-s.queue:
		batch := []udp.Arrival{a}
		for len(batch) < 4 && len(s.queue) > 0 {
			batch = append(batch, <-s.queue)
		}
		return batch, nil
	case <-s.closed:
		return nil, os.ErrClosed
	}
}

func (s *lanSocket) Send(runs []udp.Run) error {
	for _, r := range runs {
		to := s.lan.sockets[r.To]
		if to == nil {
			continue
		}
		select {
		case to.queue <- udp.Arrival{From: s.local, Buf: bytes.Clone(r.Buf), Size: r.Size}:
		case <-to.closed:
		case <-s.closed:
		}
	}
	return nil
}

// lanMeta delivers what is sent over a meta connection to the other end's plane, in another goroutine.
type lanMeta struct {
	self  node.Name
	queue chan func(*Plane)
}

func (m *lanMeta) put(f func(*Plane)) bool {
	select {
	case m.queue <- f:
		return true
	default:
		return false
	}
}

func (m *lanMeta) TrySPTPS(b []byte) bool {
	b = bytes.Clone(b)
	return m.put(func(p *Plane) { p.FromMeta(m.self, b) })
}

func (m *lanMeta) TryPacket(b []byte) bool {
	b = bytes.Clone(b)
	return m.put(func(p *Plane) { p.FrameFromMeta(m.self, b) })
}

func (m *lanMeta) TryRequest(string) bool { return false }

// Three running nodes in a row exchange packets from end to end while the protocol core
// keeps publishing and switches between UDP and TCP.
func TestThreeRunningNodes(t *testing.T) {
	t.Run("SPTPS", func(t *testing.T) { threeRunningNodes(t, "") })
	t.Run("legacy", func(t *testing.T) { threeRunningNodes(t, "abc") })
	t.Run("one legacy", func(t *testing.T) { threeRunningNodes(t, "c") })
}

// threeRunningNodes makes the nodes in old use the protocol of tinc 1.0.
func threeRunningNodes(t *testing.T, old string) {
	before := runtime.NumGoroutine()
	l := &lan{make(map[netip.AddrPort]*lanSocket)}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	planes := make(map[node.Name]*Plane)
	host := make(map[node.Name]device.Device)
	metas := make(map[string]*lanMeta)
	for name, addr := range map[node.Name]netip.AddrPort{"a": addrA, "b": addrB, "c": addrC} {
		dev, other := device.Pipe()
		host[name] = other
		planes[name] = New(Config{
			Self: name, Device: dev, Sockets: []udp.Socket{l.socket(addr)},
			Event: func(mesh.Event) bool { return true },
			Meta: func(id mesh.ConnID) Meta { // connection 1 leads to a, 2 to b, 3 to c
				if m := metas[fmt.Sprint(name, id)]; m != nil {
					return m
				}
				return nil
			},
		})
		planes[name].PublishRoutes(plan())
	}
	connect := func(from, to node.Name, id int) {
		m := &lanMeta{self: from, queue: make(chan func(*Plane), 4096)}
		metas[fmt.Sprint(from, id)] = m
		running.Go(func() {
			for {
				select {
				case f := <-m.queue:
					f(planes[to])
				case <-ctx.Done():
					return
				}
			}
		})
	}
	connect("a", "b", 2)
	connect("c", "b", 2)
	connect("b", "a", 1)
	connect("b", "c", 3)

	ab, ba := tunnels(t, "a", "b")
	bc, cb := tunnels(t, "b", "c")
	ac, ca := tunnels(t, "a", "c")
	keyed := make(map[string]*legacy.Link)
	keyed["ab"], keyed["ba"] = links(t)
	keyed["bc"], keyed["cb"] = links(t)
	publish := func(udp bool) {
		for name, states := range map[node.Name][]mesh.PeerState{
			"a": {directPeer("b", addrB, ab), directPeer("c", netip.AddrPort{}, ac)},
			"b": {directPeer("a", addrA, ba), directPeer("c", addrC, bc)},
			"c": {directPeer("b", addrB, cb), directPeer("a", netip.AddrPort{}, ca)},
		} {
			for i := range states {
				s := &states[i]
				s.Conn = map[node.Name]mesh.ConnID{"a": 1, "b": 2, "c": 3}[s.Node]
				s.Sock = -1
				if name != "b" && s.Node != "b" {
					s.NextHop, s.Adjacent, s.Conn = "b", false, 2
				}
				if strings.Contains(old, string(name)) || strings.Contains(old, string(s.Node)) {
					s.Tunnel, s.Options, s.Legacy = nil, oldOptions, keyed[string(name+s.Node)]
					if s.Via = s.NextHop; s.Legacy == nil {
						s.Legacy = legacy.NewLink(0)
					}
				}
				// The relay keeps the addresses: else it would rightly drop what is in flight.
				if !udp && name != "b" || !s.Addr.IsValid() {
					s.Confirmed, s.MinMTU, s.MTU = false, 0, 1518
				}
			}
			planes[name].PublishPeers(states)
		}
	}
	publish(true)
	for name, p := range planes {
		running.Go(func() {
			if err := p.Run(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}

	const rounds, size = 40, 1300
	// receive counts the payload bytes that come out at a node.
	receive := func(name node.Name, done chan<- int) {
		buf := make([]byte, device.MaxPacket)
		total := 0
		for total < rounds*size*10 {
			n, off, err := host[name].Read(buf)
			if err != nil {
				break
			}
			for _, p := range segments(t, written{bytes.Clone(buf[:n]), off}) {
				total += len(p) - 40
			}
		}
		done <- total
	}
	send := func(from node.Name, src, dst string) {
		room := make([]byte, device.Headroom)
		for i := range rounds {
			p, off := super(ip{src: src, dst: dst, payload: size * 10, frag: 0x4000, seq: uint32(i * size * 10)}.build(), size)
			if err := host[from].Write(append(room, p...), len(room), off); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	atA, atC := make(chan int, 1), make(chan int, 1)
	running.Go(func() { receive("a", atA) })
	running.Go(func() { receive("c", atC) })
	running.Go(func() { send("a", "10.0.0.1", "10.2.0.1") })
	running.Go(func() { send("c", "10.2.0.1", "10.0.0.1") })
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			publish(i%4 != 3)
			for _, p := range planes {
				p.PublishRoutes(plan())
				p.SetOptions(Options{NoClamp: i%2 == 0})
				p.Counters("b")
				p.SelfCounters()
				p.Drops()
			}
			time.Sleep(3 * time.Millisecond)
		}
	})
	for _, c := range []chan int{atA, atC} {
		select {
		case got := <-c:
			if got != rounds*size*10 {
				t.Errorf("%d bytes arrived", got)
			}
		case <-time.After(time.Minute):
			for n, p := range planes {
				t.Logf("%s drops %v", n, p.Drops())
			}
			t.Fatal("packets are missing")
		}
	}
	stop()
	running.Wait()
	for range 5000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestRunEndsWhenTheDeviceFails(t *testing.T) {
	dev, host := device.Pipe()
	l := &lan{make(map[netip.AddrPort]*lanSocket)}
	p := New(Config{Self: "a", Device: dev, Sockets: []udp.Socket{l.socket(addrA)}, Event: func(mesh.Event) bool { return true }})
	host.Close()
	if err := p.Run(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Run returned %v", err)
	}
}

// brokenSocket cannot receive.
type brokenSocket struct {
	*lanSocket
	err error
}

func (s *brokenSocket) Recv() ([]udp.Arrival, error) { return nil, s.err }

func TestASocketThatFailsDoesNotEndTheNode(t *testing.T) {
	dev, _ := device.Pipe()
	l := &lan{make(map[netip.AddrPort]*lanSocket)}
	broken := errors.New("function not implemented")
	failed := make(chan error, 100)
	p := New(Config{
		Self: "a", Device: dev, Sockets: []udp.Socket{&brokenSocket{l.socket(addrA), broken}}, Event: func(mesh.Event) bool { return true },
		SocketFailed: func(_ netip.AddrPort, err error) { failed <- err },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	select {
	case err := <-failed:
		if !errors.Is(err, broken) {
			t.Errorf("told %v", err)
		}
	case err := <-ended:
		t.Fatalf("Run returned %v", err)
	}
	select {
	case err := <-ended:
		t.Fatalf("Run returned %v", err)
	case <-failed:
		t.Error("told again")
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// Whatever is received from the network: no panic, and only whole packets reach the device.
func FuzzIn(f *testing.F) {
	p := ip{payload: 30}.build()
	f.Add(byte(0), uint16(70), slicesOf(p, p))
	f.Add(byte(1), uint16(40), p)
	f.Add(byte(1), uint16(200), slicesOf(ip{payload: 100, frag: 0x4000}.build(), ip{payload: 100, seq: 100, frag: 0x4000}.build()))
	f.Add(byte(2), uint16(0), append(make([]byte, 12), p...))
	f.Add(byte(3), uint16(0), frame(p))
	f.Add(byte(4), uint16(0), p)
	f.Add(byte(5), uint16(1000), ip{payload: 3000}.build())

	old, hub, _ := mixedRow(f, true, false)
	f.Add(byte(6), uint16(0), frame(p))
	f.Add(byte(6), uint16(0), make([]byte, 64))
	f.Add(byte(7), uint16(68), slicesOf(p, p))
	f.Add(byte(8), uint16(0), frame(ip{dst: "10.2.0.1", payload: 30}.build()))

	a, b, c := row(f, nil)
	idC := wire.AppendIDs(nil, c.selfID, a.selfID)
	idB := wire.AppendIDs(nil, b.selfID, a.selfID)
	f.Fuzz(func(t *testing.T, op byte, size uint16, data []byte) {
		if len(data) > 1<<17 {
			return
		}
		_, toB := a.known("b")
		switch op % 9 {
		case 0: // datagrams as they are
			b.receive(addrA, udp.Run{Buf: data, Size: int(size)})
		case 1: // data that is sealed by a known node
			var runs []udp.Run
			for rest := data; len(rest) > 0; {
				n := min(max(1, int(size)), len(rest), 1600)
				runs = append(runs, a.record(toB, rest[0]&7, rest[1:n]))
				rest = rest[n:]
			}
			b.receive(addrA, runs...)
		case 2: // with ids of known nodes
			b.receive(addrA, udp.Run{Buf: append(idC[:12:12], data...), Size: int(size)})
			b.FromMeta("a", append(idC[:12:12], data...))
			b.FromMeta("a", append(idB[:12:12], data...))
		case 3:
			b.FrameFromMeta("a", data)
			b.FromMeta("a", data)
		case 4:
			b.Tunnelled(mesh.TunnelledData{From: "a", To: "b", Hop: "a", Record: data})
			b.Tunnelled(mesh.TunnelledData{From: "a", To: "c", Hop: "a", Record: data})
		case 5: // from our own device
			if len(data) > device.MaxPacket {
				return
			}
			off := device.Offload{GSO: device.GSOType(size & 3), GSOSize: size, CsumStart: size >> 8, CsumOffset: size & 31, NeedsCsum: size&4 != 0}
			a.out(data, off)
			off.CsumStart, off.NeedsCsum = 20, true
			a.out(data, off)
		case 6: // from a legacy node, between two packets of a flow
			first, second := ip{payload: 20, frag: 0x4000}, ip{seq: 20, payload: 20, frag: 0x4000}
			hub.receive(addrA,
				old.legacyDatagramTo("b", frame(first.build())),
				old.legacyDatagramTo("b", data[:min(len(data), 1518)]),
				old.legacyDatagramTo("b", frame(second.build())))
		case 7: // datagrams as they are, from a legacy node's address
			hub.receive(addrA, udp.Run{Buf: data, Size: int(size)})
			hub.receive(addrC, udp.Run{Buf: data, Size: int(size)})
		case 8:
			hub.FrameFromMeta("a", data)
			hub.FrameFromMeta("c", data)
		}
		checkWritten(t, append(b.dev.take(), hub.dev.take()...))
		for _, s := range []*station{b, hub} {
			s.sock.take()
			s.takeEvents()
		}
		hub.paths(nil)
		a.takeEvents()
		a.dev.take()
		for _, m := range b.metas {
			*m = recordingMeta{}
		}
		for _, m := range a.metas {
			*m = recordingMeta{}
		}
	})
}

func slicesOf(b ...[]byte) []byte { return bytes.Join(b, nil) }

// checkWritten fails if anything but whole packets was written to a device.
func checkWritten(t *testing.T, list []written) {
	t.Helper()
	for _, w := range list {
		if len(w.pkt) == 0 || len(w.pkt) > device.MaxPacket {
			t.Fatalf("%d bytes written", len(w.pkt))
		}
		if w.off.GSO != device.GSONone {
			segments(t, w)
		} else if w.pkt[0]>>4 == 4 && int(binary.BigEndian.Uint16(w.pkt[2:])) > len(w.pkt) {
			t.Fatal("half a packet was written")
		}
	}
}
