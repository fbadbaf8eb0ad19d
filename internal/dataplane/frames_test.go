package dataplane

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

var (
	macA   = [6]byte{2, 0, 0, 0, 0, 0xa}
	macB   = [6]byte{2, 0, 0, 0, 0, 0xb}
	macC   = [6]byte{2, 0, 0, 0, 0, 0xc}
	macNew = [6]byte{2, 0, 0, 0, 0, 0xe}
	macAll = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// etherFrame puts an Ethernet header before a payload.
func etherFrame(dst, src [6]byte, typ uint16, payload []byte) []byte {
	f := append(append(dst[:], src[:]...), 0, 0)
	binary.BigEndian.PutUint16(f[12:], typ)
	return append(f, payload...)
}

// withEthernet turns a station into one with an Ethernet device.
func (s *station) withEthernet(mode route.Mode, mac [6]byte) *station {
	cfg := s.cfg
	cfg.Mode, cfg.Ethernet, cfg.MAC = mode, true, mac
	s.Plane = New(cfg)
	s.tx, s.rx, s.work = newTransmitter(s.Plane), newReceiver(s.Plane, 0), newWorker(s.Plane)
	return s
}

// bridgedPlan are routes with one MAC address each, and the neighbours in the tree.
func bridgedPlan(tree ...node.Name) mesh.Routes {
	return mesh.Routes{
		Subnets: slices.Concat(owned("a", "02:00:00:00:00:0a"), owned("b", "02:00:00:00:00:0b"), owned("c", "02:00:00:00:00:0c")),
		Tree:    tree,
	}
}

// bridgedPair is pair for nodes in a mode that routes frames.
func bridgedPair(t testing.TB, mode route.Mode) (a, b *station) {
	a, b = newStation("a", addrA).withEthernet(mode, macA), newStation("b", addrB).withEthernet(mode, macB)
	ta, tb := tunnels(t, "a", "b")
	a.metas[1], b.metas[1] = &recordingMeta{}, &recordingMeta{}
	a.PublishPeers([]mesh.PeerState{directPeer("b", addrB, ta)})
	b.PublishPeers([]mesh.PeerState{directPeer("a", addrA, tb)})
	a.PublishRoutes(bridgedPlan("b"))
	b.PublishRoutes(bridgedPlan("a"))
	return a, b
}

func TestWhereAFrameOfTheDeviceGoes(t *testing.T) {
	p := ip{udp: true, payload: 1372}.build()
	for _, c := range []struct {
		name  string
		mode  route.Mode
		frame []byte
		opts  Options
		want  string // what b's device gets, or else where the frame went
	}{
		{name: "to a known address", frame: etherFrame(macB, macA, packet.TypeIPv4, p), want: "udp 192.0.2.2 direct"},
		{name: "to an unknown address", frame: etherFrame(macNew, macA, packet.TypeIPv4, p), want: "udp 192.0.2.2 direct"},
		{name: "to everybody", frame: etherFrame(macAll, macA, 0x88b5, p), want: "udp 192.0.2.2 direct"},
		{name: "to our own side", frame: etherFrame(macA, macB, 0x88b5, p), want: "drop routing: back to its source 1"},
		{name: "to our own side in hub mode", mode: route.ToAll, frame: etherFrame(macA, macB, 0x88b5, p), want: "udp 192.0.2.2 direct"},
		{name: "to everybody, who is to stay out of it", frame: etherFrame(macAll, macA, 0x88b5, p), opts: Options{Broadcast: route.None}, want: ""},
		{name: "to an owner that cannot be reached", frame: etherFrame(macC, macA, 0x88b5, p), want: "drop routing: unknown node 1"},
		{name: "larger than the way by UDP, not IP", frame: etherFrame(macB, macA, 0x88b5, make([]byte, 1500)), want: "packet 1"},
		{name: "with a VLAN tag, of full size", frame: etherFrame(macB, macA, packet.TypeVLAN, make([]byte, 1504)), want: "packet 1"},
		{name: "larger than any node takes", frame: etherFrame(macB, macA, 0x88b5, make([]byte, 1505)), want: "drop too long 1"},
		{name: "nothing but a header", frame: etherFrame(macB, macA, 0x88b5, nil), want: "drop malformed 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mode := c.mode
			if mode == route.ByAddress {
				mode = route.ByMAC
			}
			a, b := bridgedPair(t, mode)
			a.SetOptions(c.opts)
			runs := a.out(c.frame, device.Offload{})
			if got := a.paths(runs); got != c.want {
				t.Fatalf("went %q, want %q", got, c.want)
			}
			if len(runs) > 0 {
				b.receive(addrA, runs...)
				if w := b.dev.take(); len(w) != 1 || !bytes.Equal(w[0].pkt, c.frame) {
					t.Errorf("arrived: %v", w)
				}
			}
		})
	}
}

func TestFramesArriveByEveryPath(t *testing.T) {
	frame := etherFrame(macB, macA, 0x88b5, []byte("hello"))
	a, b := bridgedPair(t, route.ByMAC)
	got := func(what string, want int) {
		t.Helper()
		w := b.dev.take()
		if len(w) != want || want > 0 && !bytes.Equal(w[0].pkt, frame) {
			t.Errorf("%s: arrived %v", what, w)
		}
	}
	b.FrameFromMeta("a", frame)
	got("PACKET", 1)
	b.FrameFromMeta("a", etherFrame(macB, macA, 0, []byte("lost probe")))
	got("a probe as PACKET", 0)

	a.republish("b", func(s *mesh.PeerState) { s.Confirmed = false })
	a.out(frame, device.Offload{})
	b.FromMeta("a", a.metas[1].blobs[0])
	got("SPTPS_PACKET", 1)

	_, s := a.known("b")
	bare := s.Tunnel.Seal(wire.AppendIDs(nil, node.ID{}, a.selfID), append([]byte{wire.TypeIP}, ip{udp: true, payload: 72}.build()...))
	b.receive(addrA, udp.Run{Buf: bare, Size: len(bare)})
	got("a bare IP packet", 0)
	if b.dropped(UnexpectedType) != 2 {
		t.Errorf("%d of 2 were counted as unexpected", b.dropped(UnexpectedType))
	}
}

// inFrame makes a packet, or super-packet, one in a frame.
func inFrame(header, p []byte, off device.Offload) ([]byte, device.Offload) {
	if off.NeedsCsum {
		off.CsumStart += uint16(len(header))
	}
	if off.GSO != device.GSONone {
		off.HdrLen += uint16(len(header))
	}
	return slices.Concat(header, p), off
}

// packetsIn are the packets in what was written to an Ethernet device, with the frame's header.
func packetsIn(t *testing.T, w []written, header []byte) (list [][]byte) {
	t.Helper()
	n := len(header)
	for _, x := range w {
		if !bytes.HasPrefix(x.pkt, header) {
			t.Fatalf("a frame begins with %x, want %x", x.pkt[:n], header)
		}
		x.pkt = x.pkt[n:]
		if x.off.NeedsCsum {
			x.off.CsumStart -= uint16(n)
		}
		if x.off.GSO != device.GSONone {
			x.off.HdrLen -= uint16(n)
		}
		list = append(list, segments(t, x)...)
	}
	return list
}

func TestSuperFrameIsSegmented(t *testing.T) {
	tags := []byte{0x88, 0xa8, 0, 7, 0x81, 0, 0, 9}
	for _, c := range []struct {
		name string
		tags []byte
		pkt  ip
	}{
		{"TCP", nil, ip{payload: 40_000, opts: make([]byte, 12)}},
		{"TCP over IPv6", nil, ip{v6: true, payload: 40_000}},
		{"UDP", nil, ip{udp: true, payload: 40_000}},
		{"one VLAN tag", tags[4:], ip{payload: 40_000}},
		{"two VLAN tags", tags, ip{v6: true, payload: 40_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := bridgedPair(t, route.ByMAC)
			whole := c.pkt.build()
			typ, _ := packet.EtherTypeOf(whole)
			header := binary.BigEndian.AppendUint16(slices.Concat(macB[:], macA[:], c.tags), typ)
			p, off := super(whole, 1300)
			want := segmentReference(p, int(off.HdrLen), int(off.CsumStart), int(off.GSOSize))
			f, off := inFrame(header, p, off)
			b.receive(addrA, a.out(f, off)...)
			got := packetsIn(t, b.dev.take(), header)
			if len(got) != len(want) {
				t.Fatalf("%d segments, want %d", len(got), len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("segment %d:\n%x\nwant\n%x", i, got[i], want[i])
				}
			}
		})
	}
}

func TestLearning(t *testing.T) {
	frame := func(src [6]byte) []byte { return etherFrame(macAll, src, 0x88b5, []byte("x")) }
	learned := func(s *station) (n int) {
		for _, e := range s.takeEvents() {
			if _, ok := e.(mesh.LearnMAC); ok {
				n++
			}
		}
		return n
	}
	send := func(s *station, src [6]byte, times int, every time.Duration) int {
		for range times {
			s.out(frame(src), device.Offload{})
			s.time = s.time.Add(every)
		}
		return learned(s)
	}
	for _, c := range []struct {
		name   string
		src    [6]byte
		expire time.Duration
		want   int // reports of 60 frames in as many seconds
	}{
		{name: "unknown", src: macNew, want: 60},
		{name: "ours", src: macA, want: 6},
		{name: "ours, to expire soon", src: macA, expire: 8 * time.Second, want: 30},
		{name: "of another node", src: macB, want: 60},
		{name: "of nobody", src: [6]byte{}, want: 0},
		{name: "of a group", src: [6]byte{1, 0, 0x5e, 0, 0, 1}, want: 0},
	} {
		a, _ := bridgedPair(t, route.ByMAC)
		a.SetOptions(Options{MACExpire: c.expire})
		if got := send(a, c.src, 60, time.Second); got != c.want {
			t.Errorf("%s: %d reports, want %d", c.name, got, c.want)
		}
		if got := send(a, c.src, 1000, 0); got > 1 {
			t.Errorf("%s: %d reports in a moment", c.name, got)
		}
	}
	hub, _ := bridgedPair(t, route.ToAll)
	if got := send(hub, macNew, 10, time.Second); got != 0 {
		t.Errorf("a hub made %d reports", got)
	}

	a, _ := bridgedPair(t, route.ByMAC)
	invented := func(i int) [6]byte { return [6]byte{2, 1, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)} }
	total := 0
	for i := range 100_000 { // in ten seconds
		total += send(a, invented(i), 1, 100*time.Microsecond)
	}
	if limit := learnLimit.Burst + int(10*time.Second/learnLimit.Every) + 1; total > limit || total < limit-10 {
		t.Errorf("%d reports of invented addresses, want %d", total, limit)
	}
	if len(a.tx.learner.at) > maxRefreshed {
		t.Errorf("%d addresses remembered", len(a.tx.learner.at))
	}
	a.rejectEvents = true
	send(a, macNew, 1, time.Second)
	a.rejectEvents = false
	if send(a, macNew, 1, time.Second) != 1 {
		t.Error("a report that was dropped is not said again")
	}
}

func TestEthernetDeviceInRouterMode(t *testing.T) {
	a, b := pair(t)
	states := func(s *station, name node.Name) mesh.PeerState { _, st := s.known(name); return st.PeerState }
	ofA, ofB := states(a, "b"), states(b, "a")
	a.withEthernet(route.ByAddress, macA)
	b.withEthernet(route.ByAddress, macB)
	a.PublishPeers([]mesh.PeerState{ofA})
	b.PublishPeers([]mesh.PeerState{ofB})
	a.PublishRoutes(plan())
	b.PublishRoutes(plan())

	request := make([]byte, 28) // who has 10.1.0.1?
	copy(request, []byte{0, 1, 8, 0, 6, 4, 0, 1})
	copy(request[8:], macA[:])
	copy(request[14:], []byte{10, 0, 0, 1})
	copy(request[24:], []byte{10, 1, 0, 1})
	a.out(etherFrame(macAll, macA, packet.TypeARP, request), device.Offload{})
	w := a.dev.take()
	if len(w) != 1 {
		t.Fatalf("the answer to ARP: %v", w)
	}
	neighbour := [6]byte(w[0].pkt[6:])
	if answer := w[0].pkt[ethernetLen:]; !bytes.Equal(w[0].pkt[:6], macA[:]) || [6]byte(answer[8:]) != neighbour || answer[7] != 2 {
		t.Errorf("the answer to ARP: %x", w[0].pkt)
	}

	p := ip{udp: true, payload: 72}.build()
	b.receive(addrA, a.out(etherFrame(neighbour, macA, packet.TypeIPv4, p), device.Offload{})...)
	w = b.dev.take()
	if len(w) != 1 || !bytes.Equal(w[0].pkt[:6], macB[:]) || !bytes.Equal(w[0].pkt[ethernetLen:], p) {
		t.Errorf("arrived: %v", w)
	}

	p, off := super(ip{v6: true, payload: 20_000}.build(), 1300)
	want := segmentReference(p, int(off.HdrLen), int(off.CsumStart), int(off.GSOSize))
	f, off := inFrame(etherFrame(neighbour, macA, packet.TypeIPv6, nil), p, off)
	b.receive(addrA, a.out(f, off)...)
	header := etherFrame(macB, [6]byte(slices.Concat(macB[:5], []byte{macB[5] ^ 0xff})), packet.TypeIPv6, nil)
	if got := packetsIn(t, b.dev.take(), header); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d of %d segments arrived, or they have changed", len(got), len(want))
	}
}

func TestPriorityIsInherited(t *testing.T) {
	packetOf := func(tos byte, v6 bool) []byte {
		p := ip{v6: v6, udp: true, payload: 100}.build()
		if v6 {
			p[0], p[1] = 0x60|tos>>4, tos<<4
		} else {
			p[1] = tos
			finish(p)
		}
		return p
	}
	routed, _ := pair(t)
	switched, _ := bridgedPair(t, route.ByMAC)
	slow, _ := bridgedPair(t, route.ToAll)
	for _, c := range []struct {
		name string
		s    *station
		wrap func(p []byte) []byte
	}{
		{"fast path", routed, func(p []byte) []byte { return p }},
		{"frames", switched, func(p []byte) []byte {
			typ, _ := packet.EtherTypeOf(p)
			return etherFrame(macB, macA, typ, p)
		}},
		{"frames with a VLAN tag", slow, func(p []byte) []byte {
			typ, _ := packet.EtherTypeOf(p)
			return etherFrame(macB, macA, packet.TypeVLAN, append([]byte{0, 5, byte(typ >> 8), byte(typ)}, p...))
		}},
	} {
		for _, v6 := range []bool{false, true} {
			for _, on := range []bool{false, true} {
				c.s.SetOptions(Options{Priority: on})
				want := uint8(0)
				if on {
					want = 0xb8
				}
				const ect = 2 // of ECN, which is not copied
				for _, r := range c.s.out(c.wrap(packetOf(0xb8|ect, v6)), device.Offload{}) {
					if r.TOS != want {
						t.Errorf("%s, v6 %v, on %v: TOS %#x, want %#x", c.name, v6, on, r.TOS, want)
					}
				}
			}
		}
	}
}

// Frames of several hosts, connections and sizes, which arrive in one receive: those that
// continue each other are coalesced, and all are delivered unchanged.
func TestFramesAreCoalesced(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload []int
		hosts   int
		flows   uint16
		v6      bool
		most    int // writes to the device
	}{
		{"one connection", []int{1300}, 1, 1, false, 1},
		{"one connection over IPv6", []int{1300}, 1, 1, true, 1},
		{"tiny payloads", []int{1}, 1, 1, false, 1},
		{"less than a header", []int{13}, 1, 1, false, 1},
		{"sizes that change", []int{5, 1300, 14, 700}, 1, 1, false, 40},
		{"two connections", []int{100}, 1, 2, false, 40},
		{"two hosts with one connection", []int{9}, 2, 1, false, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := bridgedPair(t, route.ByMAC)
			var runs []udp.Run
			var want [][]byte
			seq := make(map[uint16]uint32)
			for i := range 40 {
				port := uint16(i) % c.flows
				n := c.payload[i%len(c.payload)]
				p := ip{v6: c.v6, payload: n, port: port, seq: 1000 + seq[port], id: uint16(i), frag: 0x4000}.build()
				seq[port] += uint32(n)
				typ, _ := packet.EtherTypeOf(p)
				src := macA
				src[4] = byte(i % c.hosts)
				f := etherFrame(macB, src, typ, p)
				want = append(want, f)
				runs = append(runs, a.out(f, device.Offload{})...)
			}
			b.receive(addrA, runs...)
			w := b.dev.take()
			if len(w) > c.most {
				t.Errorf("%d writes, want at most %d", len(w), c.most)
			}
			var got [][]byte
			for _, x := range w {
				header := bytes.Clone(x.pkt[:ethernetLen])
				for _, p := range packetsIn(t, []written{x}, header) {
					got = append(got, slices.Concat(header, p))
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%d frames came out of %d", len(got), len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("frame %d:\n%x\nwant\n%x", i, got[i], want[i])
				}
			}
		})
	}
	a, b := bridgedPair(t, route.ByMAC)
	b.receive(addrA, a.out(etherFrame([6]byte{}, macA, 0x88b5, []byte("nobody's")), device.Offload{})...)
	if n := b.unrouted[route.Delivered].count.Load(); n != 0 || len(b.dev.take()) != 1 { // unknown: flooded
		t.Error("a frame for 00:00:00:00:00:00 was taken for ours")
	}
}

// BenchmarkFrames is BenchmarkDeviceToDevice for frames.
func BenchmarkFrames(bench *testing.B) {
	for _, c := range []struct {
		name string
		ip
		size int
	}{
		{"TCP super-packet of 60 KiB", ip{payload: 60 * 1024, frag: 0x4000, opts: timestamps}, 1373},
		{"UDP of 1300 bytes", ip{payload: 1300, udp: true}, 0},
	} {
		bench.Run(c.name, func(bench *testing.B) {
			t, to := framesBench(bench)
			p, off := c.build(), device.Offload{}
			if c.size > 0 {
				p, off = super(p, c.size)
			}
			f, off := inFrame(etherFrame(macB, macA, packet.TypeIPv4, nil), p, off)
			t.now = t.p.now()
			bench.SetBytes(int64(len(f)))
			bench.ReportAllocs()
			n := 0
			for bench.Loop() {
				copy(t.in[inHead:], f)
				t.packet(len(f), off)
				t.out.flush()
				n++
			}
			if got := to.SelfCounters(); got.OutPackets < uint64(n) || len(to.Drops()) > 0 {
				bench.Fatalf("%d frames delivered of %d; drops %v", got.OutPackets, n, to.Drops())
			}
		})
	}
}

func framesBench(t testing.TB) (*transmitter, *Plane) {
	ta, tb := tunnels(t, "a", "b")
	toB := &loopback{recordingSocket: recordingSocket{local: addrA}}
	event := func(mesh.Event) bool { return true }
	from := New(Config{Self: "a", Mode: route.ByMAC, Ethernet: true, Device: &discardDevice{}, Sockets: []udp.Socket{toB}, Event: event})
	to := New(Config{Self: "b", Mode: route.ByMAC, Ethernet: true, Device: &discardDevice{}, Sockets: []udp.Socket{&recordingSocket{local: addrB}}, Event: event})
	from.PublishPeers([]mesh.PeerState{directPeer("b", addrB, ta)})
	to.PublishPeers([]mesh.PeerState{directPeer("a", addrA, tb)})
	from.PublishRoutes(bridgedPlan("b"))
	to.PublishRoutes(bridgedPlan("a"))
	toB.to = newReceiver(to, 0)
	return newTransmitter(from), to
}

// Whatever frames the device and members of the network send, nothing panics, and what a
// member seals is delivered unchanged or not at all.
func FuzzFrames(f *testing.F) {
	p := ip{payload: 30}.build()
	seed := etherFrame(macB, macA, packet.TypeIPv4, p)
	f.Add(byte(0), uint16(len(seed)), uint16(34), uint16(54), slices.Concat(seed, seed))
	f.Add(byte(33), uint16(100), uint16(34), uint16(54), etherFrame(macB, macA, packet.TypeIPv4, ip{payload: 3000}.build()))
	f.Add(byte(34), uint16(100), uint16(58), uint16(78), etherFrame(macB, macA, packet.TypeVLAN, append([]byte{0, 5, 0x86, 0xdd}, ip{v6: true, payload: 3000}.build()...)))
	f.Add(byte(35), uint16(60), uint16(34), uint16(42), etherFrame(macAll, macA, packet.TypeARP, make([]byte, 46)))
	f.Add(byte(4), uint16(14), uint16(0), uint16(0), seed)
	f.Add(byte(48), uint16(0), uint16(0), uint16(0), seed)
	a, b := bridgedPair(f, route.ByMAC)
	tun, _ := pair(f)
	tun.withEthernet(route.ByAddress, macA)
	tun.PublishRoutes(plan())
	f.Fuzz(func(t *testing.T, op byte, size, csumStart, hdrLen uint16, data []byte) {
		if len(data) > device.MaxPacket || len(data) == 0 {
			return
		}
		off := device.Offload{GSO: device.GSOType(op % 4), HdrLen: hdrLen, GSOSize: size}
		off.NeedsCsum, off.CsumStart, off.CsumOffset = op&16 == 0 || off.GSO != 0, csumStart, map[bool]uint16{true: 6, false: 16}[off.GSO == device.GSOUDP]
		switch {
		case op&32 != 0: // from our own device
			if off.GSO == device.GSONone || int(size) > 0 && int(hdrLen) <= len(data) && int(csumStart)+18 <= len(data) {
				b.receive(addrA, a.out(data, off)...)
				tun.out(data, off)
			}
		default: // sealed by a member
			_, toB := a.known("b")
			var runs []udp.Run
			var sent [][]byte
			for rest := data; len(rest) > 0; {
				n := min(max(1, int(size)), len(rest), 1500)
				runs = append(runs, a.record(toB, wire.TypeFrame, rest[:n]))
				sent = append(sent, rest[:n])
				rest = rest[n:]
			}
			b.receive(addrA, runs...)
			for _, w := range b.dev.take() {
				if w.off.GSO == device.GSONone && !slices.ContainsFunc(sent, func(f []byte) bool { return bytes.Equal(f, w.pkt) }) && w.pkt[12] != 8 && w.pkt[12] != 0x86 && w.pkt[12] != 0x81 {
					t.Fatalf("nobody sent %x", w.pkt)
				}
			}
		}
		for _, s := range []*station{a, b, tun} {
			s.dev.take()
			s.sock.take()
			s.takeEvents()
			for _, m := range s.metas {
				*m = recordingMeta{}
			}
		}
	})
}
