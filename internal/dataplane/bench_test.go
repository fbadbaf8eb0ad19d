package dataplane

import (
	"fmt"
	"net/netip"
	"testing"

	"tincan/internal/device"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// loopback is a socket whose datagrams arrive at a receiver immediately, in runs.
type loopback struct {
	recordingSocket
	to    *receiver
	batch []udp.Arrival
}

func (s *loopback) Send(runs []udp.Run) error {
	s.batch = s.batch[:0]
	for _, r := range runs {
		s.batch = append(s.batch, udp.Arrival{From: s.local, Buf: r.Buf, Size: r.Size})
	}
	s.to.batch(s.batch)
	return nil
}

// discardDevice is a device that discards what is written.
type discardDevice struct{ recorder }

func (*discardDevice) Write([]byte, int, device.Offload) error { return nil }

// bench is a plane whose datagrams arrive at another at once.
func bench(t testing.TB) (*transmitter, *Plane) {
	ta, tb := tunnels(t, "a", "b")
	return benchOf(directPeer("b", addrB, ta), directPeer("a", addrA, tb))
}

// aesBench is bench with AES-256-GCM.
func aesBench(t testing.TB) (*transmitter, *Plane) {
	ta, tb := aesTunnels(t, "a", "b")
	return benchOf(directPeer("b", addrB, ta), directPeer("a", addrA, tb))
}

// legacyBench is bench between legacy nodes.
func legacyBench(t testing.TB, suite legacy.Suite) (*transmitter, *Plane) {
	la, lb := linksOf(t, suite)
	return benchOf(old("b", addrB, la), old("a", addrA, lb))
}

func benchOf(b, a mesh.PeerState) (*transmitter, *Plane) {
	toB := &loopback{recordingSocket: recordingSocket{local: addrA}}
	event := func(mesh.Event) bool { return true }
	from := New(Config{Self: "a", Device: &discardDevice{}, Sockets: []udp.Socket{toB}, Event: event})
	to := New(Config{Self: "b", Device: &discardDevice{}, Sockets: []udp.Socket{&recordingSocket{local: addrB}}, Event: event})
	from.PublishPeers([]mesh.PeerState{b})
	to.PublishPeers([]mesh.PeerState{a})
	from.PublishRoutes(plan())
	to.PublishRoutes(plan())
	toB.to = newReceiver(to, 0)
	return newTransmitter(from), to
}

// BenchmarkDeviceToDevice sends packets from one device through segmenting,
// sealing, opening and coalescing to another, without system calls.
func BenchmarkDeviceToDevice(b *testing.B) {
	deviceToDevice(b, bench)
}

// BenchmarkAESDeviceToDevice is the same with AES-256-GCM.
func BenchmarkAESDeviceToDevice(b *testing.B) { deviceToDevice(b, aesBench) }

// BenchmarkLegacyDeviceToDevice is the same between legacy nodes.
func BenchmarkLegacyDeviceToDevice(b *testing.B) {
	deviceToDevice(b, func(t testing.TB) (*transmitter, *Plane) { return legacyBench(t, legacy.DefaultSuite) })
}

func deviceToDevice(b *testing.B, bench func(testing.TB) (*transmitter, *Plane)) {
	for _, c := range []struct {
		name string
		ip
		size int // 0: single packets
	}{
		{"TCP super-packet of 60 KiB", ip{payload: 60 * 1024, frag: 0x4000, opts: timestamps}, 1373},
		{"TCP super-packet of 60 KiB over IPv6", ip{payload: 60 * 1024, v6: true, opts: timestamps}, 1353},
		{"UDP of 1300 bytes", ip{payload: 1300, udp: true}, 0},
		{"TCP acknowledgement", ip{opts: timestamps}, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			t, to := bench(b)
			p, off := c.build(), device.Offload{}
			if c.size > 0 {
				p, off = super(p, c.size)
			}
			t.now = t.p.now()
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				// The segmenter changes the headers, so they are restored, as by a read.
				copy(t.in[inHead:], p)
				t.packet(len(p), off)
				t.out.flush()
				n++
			}
			if got := to.SelfCounters(); got.OutPackets < uint64(n) || len(to.Drops()) > 0 {
				b.Fatalf("%d packets delivered of %d; drops %v", got.OutPackets, n, to.Drops())
			}
		})
	}
}

// BenchmarkMixedRelay opens what comes from a legacy node and seals it for one
// that uses SPTPS.
func BenchmarkMixedRelay(b *testing.B) {
	a, hub, _ := mixedRow(b, true, false)
	hub.cfg.Sockets[0], hub.cfg.Event = &discard{}, func(mesh.Event) bool { return true }
	p, off := super(ip{dst: "10.2.0.1", payload: 40 * 1300, frag: 0x4000}.build(), 1300)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer() // no datagram is accepted twice
		runs := a.out(p, off)
		b.StartTimer()
		hub.receive(addrA, runs...)
	}
	if len(hub.Drops()) > 0 {
		b.Fatal(hub.Drops())
	}
}

// BenchmarkRelay relays runs between two other nodes.
func BenchmarkRelay(b *testing.B) {
	p := newStation("b", addrB).Plane
	p.cfg.Sockets[0] = &discard{}
	p.cfg.Event = func(mesh.Event) bool { return true }
	p.PublishPeers([]mesh.PeerState{directPeer("a", addrA, nil), directPeer("c", addrC, nil)})
	r := newReceiver(p, 0)
	const size, count = 1453, 44
	buf := make([]byte, size*count)
	dir := p.dir.Load()
	for i := 0; i < len(buf); i += size {
		copy(buf[i:], dir.byName["c"].id[:])
		copy(buf[i+6:], dir.byName["a"].id[:])
	}
	batch := []udp.Arrival{{From: addrA, Buf: buf, Size: size}}
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		r.batch(batch)
	}
	if len(p.Drops()) > 0 {
		b.Fatal(p.Drops())
	}
}

type discard struct{ recordingSocket }

func (*discard) Send([]udp.Run) error { return nil }

func TestFastPathDoesNotAllocate(t *testing.T) {
	t.Run("ChaCha20", func(t *testing.T) { fastPathDoesNotAllocate(t, bench) })
	t.Run("AES", func(t *testing.T) { fastPathDoesNotAllocate(t, aesBench) })
	t.Run("masked", func(t *testing.T) { fastPathDoesNotAllocate(t, maskedBench) })
}

func fastPathDoesNotAllocate(t *testing.T, bench func(testing.TB) (*transmitter, *Plane)) {
	tx, to := bench(t)
	tx.now = tx.p.now()
	p, off := super(ip{payload: 60000, frag: 0x4000}.build(), 1385)
	single := ip{payload: 100, udp: true}.build()
	n := testing.AllocsPerRun(50, func() {
		copy(tx.in[inHead:], p)
		tx.packet(len(p), off)
		copy(tx.in[inHead:], single)
		tx.packet(len(single), device.Offload{})
		tx.out.flush()
	})
	if n != 0 || len(to.Drops()) > 0 {
		t.Errorf("%v allocations, drops %v", n, to.Drops())
	}
}

// BenchmarkPublish replaces the state of one of a thousand peers, once with the same and once
// with another address.
func BenchmarkPublish(b *testing.B) {
	p := newStation("a", addrA).Plane
	var all []mesh.PeerState
	for i := range 1000 {
		all = append(all, directPeer(node.Name(fmt.Sprint("n", i)), netip.AddrPortFrom(addrB.Addr(), uint16(i+1)), nil))
	}
	p.PublishPeers(all)
	b.Run("same address", func(b *testing.B) {
		for b.Loop() {
			p.PublishPeers(all[500:501])
		}
	})
	b.Run("other address", func(b *testing.B) {
		s := all[500:501]
		for b.Loop() {
			s[0].Confirmed = !s[0].Confirmed
			p.PublishPeers(s)
		}
	})
}

// BenchmarkSlowPath carries packets to a neighbour without UDP and from its
// connection to the device.
func BenchmarkSlowPath(b *testing.B) {
	a, to := pair(b)
	a.republish("b", func(s *mesh.PeerState) { s.Options |= uint32(wire.TCPOnly) })
	a.cfg.Meta = func(mesh.ConnID) Meta { return metaTo{to} }
	to.cfg.Device, to.cfg.Event = &discardDevice{}, func(mesh.Event) bool { return true }
	p := ip{payload: 1300}.build()
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	a.tx.now = a.now()
	for b.Loop() {
		copy(a.tx.in[inHead:], p)
		a.tx.packet(len(p), device.Offload{})
	}
	if len(to.Drops()) > 0 {
		b.Fatal(to.Drops())
	}
}

// metaTo is a meta connection that delivers immediately.
type metaTo struct{ s *station }

func (m metaTo) TrySPTPS(b []byte) bool { m.s.FromMeta("a", b); return true }
func (m metaTo) TryPacket([]byte) bool  { return false }
func (m metaTo) TryRequest(string) bool { return false }
