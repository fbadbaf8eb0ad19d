package dataplane

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/udp"
)

// keepingSocket is a recordingSocket whose arrivals last for ever.
type keepingSocket struct{ *recordingSocket }

func (keepingSocket) Keep() udp.Kept { return keptForEver{} }

type keptForEver struct{}

func (keptForEver) Release() {}

// sendOnSeveral makes s seal with workers from now on.
func (s *station) sendOnSeveral(workers int) {
	if s.workers == nil {
		s.workers = newWorkers(workers)
	}
	s.tx.out.flush()
	s.tx.line = newLine(s.workers, 2*workers+2, func() *burst { return newBurst(s.Plane) })
}

// seededPair is pair with the same keys for the same seed, masked for odd ones; c is a node of tinc 1.0.
func seededPair(t testing.TB, seed uint64) (a, b *station) {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	random := rand.NewChaCha8(s)
	ta, tb := tunnelsOf(t, "a", "b", random)
	link := legacy.NewLink(0)
	key, err := legacy.NewLink(0).NewReceiveKey(random, legacy.DefaultSuite)
	if err != nil {
		t.Fatal(err)
	}
	if err := link.SetSendKey(key, legacy.DefaultSuite, legacy.Policy{}); err != nil {
		t.Fatal(err)
	}
	a, b = newStation("a", addrA), newStation("b", addrB)
	a.metas[1], b.metas[1] = &recordingMeta{}, &recordingMeta{}
	a.PublishPeers([]mesh.PeerState{directPeer("b", addrB, ta), old("c", addrC, link)})
	b.PublishPeers([]mesh.PeerState{directPeer("a", addrA, tb), directPeer("c", addrC, nil)})
	a.PublishRoutes(plan())
	b.PublishRoutes(plan())
	if seed%2 == 1 {
		maskAll(a, b)
	}
	return a, b
}

// traffic is a mixture of what a device delivers.
func traffic(r *rand.Rand, seq *uint32) (p []byte, off device.Offload) {
	packet := ip{frag: 0x4000, seq: *seq, port: uint16(r.IntN(3))}
	switch r.IntN(8) {
	case 0, 1, 2: // large
		packet.payload = 20000 + r.IntN(40000)
		*seq += uint32(packet.payload)
		return super(packet.build(), 1300)
	case 3: // of few segments
		packet.payload = 1300*2 + r.IntN(1300)
		return super(packet.build(), 1300)
	case 4: // whose datagrams need more room than there is
		packet.payload = 50000
		return super(packet.build(), map[bool]int{true: 40, false: 400}[r.IntN(8) == 0])
	case 5: // to a node of tinc 1.0
		packet.dst, packet.payload = "10.2.0.1", 1000
	case 6: // the slow path: a SYN, or nobody's address
		if packet.flags = 2; r.IntN(2) == 0 {
			packet.dst = "10.77.0.1"
		}
	default:
		packet.payload, packet.udp = r.IntN(1300), true
	}
	return packet.build(), device.Offload{}
}

// TestSeveralCoresSendTheSameDatagrams compares what several goroutines send to each destination, byte for byte and in order, with
// what one sends. Those for several destinations are in turn only as far as they leave at once, see gatherer.
func TestSeveralCoresSendTheSameDatagrams(t *testing.T) {
	for seed := range uint64(4) {
		one, _ := seededPair(t, seed)
		several, _ := seededPair(t, seed)
		for _, s := range []*station{one, several} { // padding is by chance
			s.republish("b", func(p *mesh.PeerState) { p.Pad = false })
		}
		r := rand.New(rand.NewPCG(seed, 1))
		var seq uint32
		for range 80 {
			switch {
			case several.tx.line == nil && r.IntN(4) > 0:
				several.sendOnSeveral(3)
			case several.tx.line != nil && r.IntN(10) == 0:
				several.tx.alone()
			}
			for range 1 + r.IntN(20) {
				p, off := traffic(r, &seq)
				for _, s := range []*station{one, several} {
					s.tx.now = s.now()
					copy(s.tx.in[inHead:], p)
					s.tx.packet(len(p), off)
				}
			}
			one.tx.flush()
			several.tx.flush()
		}
		several.tx.alone()
		sent, got := whatArrives(one.sock.take()), whatArrives(several.sock.take())
		if len(sent) != 2 || len(sent) != len(got) {
			t.Fatalf("seed %d: %d and %d destinations", seed, len(sent), len(got))
		}
		for to, a := range sent {
			b := got[to]
			if to == addrB && len(a) < 5000 || len(a) != len(b) {
				t.Fatalf("seed %d: %d datagrams to %v instead of %d", seed, len(b), to, len(a))
			}
			for i := range a {
				if a[i] != b[i] {
					t.Fatalf("seed %d: datagram %d of %d to %v is another one", seed, i, len(a), to)
				}
			}
		}
		if x, y := fmt.Sprint(one.Drops(), one.Counters("b"), one.dev.take()), fmt.Sprint(several.Drops(), several.Counters("b"), several.dev.take()); x != y {
			t.Errorf("seed %d: %s instead of %s", seed, y, x)
		}
		several.workers.end()
	}
}

// TestSeveralCoresReceiveTheSame compares what several goroutines make of datagrams with what one makes of them.
func TestSeveralCoresReceiveTheSame(t *testing.T) {
	for seed := range uint64(4) {
		from, one := seededPair(t, seed)
		_, several := seededPair(t, seed)
		several.workers = newWorkers(3)
		several.rx.keeper = keepingSocket{several.sock}
		r := rand.New(rand.NewPCG(seed, 2))
		var seq uint32
		var runs []udp.Run
		for range 300 {
			switch p, off := traffic(r, &seq); r.IntN(12) {
			case 0: // probes of the protocol core
				from.SendProbe(mesh.SendProbe{Node: "b", Addr: addrB, Sock: 0, Data: make([]byte, 40)})
				runs = append(runs, from.sock.take()...)
			case 1: // garbage
				runs = append(runs, udp.Run{Buf: bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(200)+1), Size: 100})
			default:
				if p[19] != 1 || off.GSO == device.GSONone { // what goes to b only
					continue
				}
				runs = append(runs, from.out(p, off)...)
			}
			if last := len(runs) - 1; last >= 0 {
				switch r.IntN(10) {
				case 0: // twice
					runs = append(runs, udp.Run{Buf: bytes.Clone(runs[last].Buf), Size: runs[last].Size})
				case 1: // damaged
					runs[last].Buf[r.IntN(len(runs[last].Buf))] ^= 1
				case 2: // out of order
					other := r.IntN(len(runs))
					runs[last], runs[other] = runs[other], runs[last]
				}
			}
		}
		for len(runs) > 0 {
			n := min(1+r.IntN(10), len(runs))
			var a, b []udp.Arrival
			for _, run := range runs[:n] {
				a = append(a, udp.Arrival{From: addrA, Buf: bytes.Clone(run.Buf), Size: run.Size})
				b = append(b, udp.Arrival{From: addrA, Buf: bytes.Clone(run.Buf), Size: run.Size})
			}
			runs = runs[n:]
			one.rx.batch(a)
			switch { // the clock of the stations stands still, so the load is as it was set
			case several.rx.line == nil && r.IntN(3) > 0:
				several.rx.load.high = true
			case several.rx.line != nil && r.IntN(10) == 0:
				several.rx.load.high = false
			}
			several.rx.load.since = several.now()
			several.rx.take(b)
		}
		several.rx.alone()
		several.workers.end()
		a, b := one.dev.take(), several.dev.take()
		if len(a) < 20 || len(a) != len(b) {
			t.Fatalf("seed %d: %d packets were written instead of %d", seed, len(b), len(a))
		}
		for i := range a {
			if !bytes.Equal(a[i].pkt, b[i].pkt) || a[i].off != b[i].off {
				t.Fatalf("seed %d: packet %d of %d is another one", seed, i, len(a))
			}
		}
		if x, y := fmt.Sprint(one.Drops(), one.Counters("a"), len(one.events)), fmt.Sprint(several.Drops(), several.Counters("a"), len(several.events)); x != y || len(one.Drops()) < 2 {
			t.Errorf("seed %d: %s instead of %s", seed, y, x)
		}
	}
}

// Keep makes a lanSocket a udp.Keeper: its arrivals last for ever.
func (s *lanSocket) Keep() udp.Kept { return keptForEver{} }

// TestSeveralCoresBetweenRunningNodes has two running nodes work on several cores while keys and state change. Each
// flow arrives complete and in order.
func TestSeveralCoresBetweenRunningNodes(t *testing.T) {
	l := &lan{make(map[netip.AddrPort]*lanSocket)}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ta, tb := tunnels(t, "a", "b")
	var running sync.WaitGroup
	host := map[node.Name]device.Device{}
	planes := map[node.Name]*Plane{}
	for name, c := range map[node.Name]struct {
		addr netip.AddrPort
		peer mesh.PeerState
	}{"a": {addrA, directPeer("b", addrB, ta)}, "b": {addrB, directPeer("a", addrA, tb)}} {
		dev, other := device.Pipe()
		host[name] = other
		p := New(Config{
			Self: name, Device: dev, Sockets: []udp.Socket{l.socket(c.addr)}, Workers: 3,
			Event: func(mesh.Event) bool { return true }, Meta: func(mesh.ConnID) Meta { return nil },
		})
		p.highLoad = 0 // always
		p.PublishPeers([]mesh.PeerState{c.peer})
		p.PublishRoutes(plan())
		planes[name] = p
		running.Go(func() {
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		running.Go(func() {
			for ctx.Err() == nil {
				p.PublishPeers([]mesh.PeerState{c.peer})
				p.PublishRoutes(plan())
				time.Sleep(time.Millisecond)
			}
		})
	}
	const flows, rounds, size = 3, 60, 1300
	running.Go(func() {
		r := rand.New(rand.NewPCG(1, 1))
		room := make([]byte, device.Headroom)
		var seq [flows]uint32
		for range rounds * flows {
			f := r.IntN(flows)
			packet := ip{payload: size * (1 + r.IntN(40)), frag: 0x4000, seq: seq[f], port: uint16(f)}
			seq[f] += uint32(packet.payload)
			p, off := packet.build(), device.Offload{}
			if packet.payload > size {
				p, off = super(p, size)
			}
			if host["a"].Write(append(room, p...), len(room), off) != nil {
				return
			}
		}
		for f := range flows { // the end of each
			p := ip{payload: 1, frag: 0x4000, seq: seq[f], port: uint16(f)}.build()
			if host["a"].Write(append(room, p...), len(room), device.Offload{}) != nil {
				return
			}
		}
	})
	ended := make(chan error, 1)
	running.Go(func() {
		buf := make([]byte, device.MaxPacket)
		var seq [flows]uint32
		for left := flows; left > 0; {
			n, off, err := host["b"].Read(buf)
			if err != nil {
				ended <- err
				return
			}
			for _, p := range segments(t, written{bytes.Clone(buf[:n]), off}) {
				f := int(binary.BigEndian.Uint16(p[20:])) - 4000
				if got := binary.BigEndian.Uint32(p[24:]); got != seq[f] {
					ended <- fmt.Errorf("flow %d: byte %d instead of %d", f, got, seq[f])
					return
				}
				if seq[f] += uint32(len(p) - 40); len(p) == 41 {
					left--
				}
			}
		}
		ended <- nil
	})
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("packets are missing", planes["a"].Drops(), planes["b"].Drops())
	}
	for name, p := range planes {
		if _, sealed, opened := p.Parallel(); name == "a" && sealed == 0 || name == "b" && opened == 0 {
			t.Errorf("the workers of %s have sealed %d and opened %d", name, sealed, opened)
		}
	}
	stop()
	for _, d := range host {
		d.Close()
	}
	running.Wait()
}

// TestSeveralCoresDoNotAllocate has a worker's part of the fast path done by the test.
func TestSeveralCoresDoNotAllocate(t *testing.T) {
	s := newStages(t)
	n := testing.AllocsPerRun(50, func() {
		for stage := range stageCount {
			s.do(t, stage)
		}
	})
	if n != 0 || len(s.to.Drops()) > 0 {
		t.Errorf("%v allocations; drops %v", n, s.to.Drops())
	}
}

// The stages of a super-packet.
const (
	stageRoute  = iota // the transmitter routes it and reserves numbers
	stageSeal          // a worker segments and seals
	stageSend          // the sender passes it to its socket, here to nobody
	stageOpen          // workers open
	stageCommit        // the committer: replay window, coalescing, device
	stageCount
)

// stages is two planes that the test takes a super-packet through.
type stages struct {
	from, to *station
	out      *lastSocket
	in       *intake
	packet   []byte
	off      device.Offload
}

func newStages(t testing.TB) *stages {
	ta, tb := tunnels(t, "a", "b")
	s := &stages{from: newStation("a", addrA), to: newStation("b", addrB), out: &lastSocket{}}
	s.from.PublishPeers([]mesh.PeerState{directPeer("b", addrB, ta)})
	s.to.PublishPeers([]mesh.PeerState{directPeer("a", addrA, tb)})
	for _, st := range []*station{s.from, s.to} {
		st.PublishRoutes(plan())
		st.cfg.Device, st.cfg.Event = &discardDevice{}, func(mesh.Event) bool { return true }
		st.workers = newWorkers(1) // whose part the test does
	}
	s.from.cfg.Sockets[0] = s.out
	s.in = newIntake(s.to.rx)
	s.in.kept = keptForEver{}
	s.packet, s.off = super(ip{payload: 60 * 1024, frag: 0x4000, opts: timestamps}.build(), 1373)
	s.from.tx.now = s.from.now()
	return s
}

func (s *stages) do(t testing.TB, stage int) {
	tx := s.from.tx
	switch stage {
	case stageRoute:
		p := tx.in[inHead : inHead+copy(tx.in[inHead:], s.packet)]
		transport, proto, hdrLen := s.off.Headers(p)
		if !tx.segmenter.Start(p, hdrLen, transport, int(s.off.GSOSize), proto) || !tx.fast(p, hdrLen+int(s.off.GSOSize)) {
			t.Fatal("not on the fast path")
		}
		tx.segmenting = true
		records, _ := tx.size()
		tx.reserved = tx.tunnel.Reserve(records)
	case stageSeal:
		tx.burst.do()
		<-tx.ready
	case stageSend:
		tx.burst.finish()
	case stageOpen:
		s.in.batch = s.out.batch
		s.in.left.Store(int32(len(s.in.batch)))
		for i, a := range s.in.batch {
			s.in.runs[i].arrival = a
			s.in.runs[i].do()
		}
		<-s.in.ready
	case stageCommit:
		s.in.finish()
	}
}

// BenchmarkParallel measures what each stage of a super-packet of 60 KiB costs, in ns. On n cores the slowest counts, of
// seal and open their part. ns/op is all of them together.
func BenchmarkParallel(b *testing.B) {
	s := newStages(b)
	var spent [stageCount]time.Duration
	b.SetBytes(int64(len(s.packet)))
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		for stage := range stageCount {
			s.do(b, stage)
			now := time.Now()
			spent[stage] += now.Sub(start)
			start = now
		}
	}
	for stage, name := range []string{"route", "seal", "send", "open", "commit"} {
		b.ReportMetric(float64(spent[stage].Nanoseconds())/float64(b.N), name+"-ns")
	}
	if len(s.to.Drops()) > 0 {
		b.Fatal(s.to.Drops())
	}
}

// lastSocket keeps what was sent last, without copying it.
type lastSocket struct {
	recordingSocket
	batch []udp.Arrival
}

func (s *lastSocket) Send(runs []udp.Run) error {
	s.batch = s.batch[:0]
	for _, r := range runs {
		s.batch = append(s.batch, udp.Arrival{From: addrA, Buf: r.Buf, Size: r.Size})
	}
	return nil
}
