package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/packet"
	"tincan/internal/udp"
)

var timestamps = []byte{1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8}

func TestSuperPacketIsSegmentedAndCoalesced(t *testing.T) {
	const psh, fin, ack, cwr = packet.FlagPSH, packet.FlagFIN, packet.FlagACK, packet.FlagCWR
	cases := []struct {
		name string
		ip
		size   int
		writes int // at the receiver, 0: not fixed
	}{
		{"TCP over IPv4", ip{payload: 14000, frag: 0x4000, seq: 0xfffffff0}, 1380, 1},
		{"TCP over IPv4 with PSH and timestamps", ip{payload: 60001, opts: timestamps, flags: ack | psh, frag: 0x4000}, 1368, 1},
		{"TCP over IPv4 without DF", ip{payload: 9000, id: 0xfffe}, 1380, 1},
		{"TCP over IPv4 with FIN", ip{payload: 5000, flags: ack | fin | psh, frag: 0x4000}, 1380, 2},
		{"TCP over IPv4 with CWR", ip{payload: 5000, flags: ack | cwr, frag: 0x4000}, 1380, 2},
		{"TCP over IPv6", ip{payload: 33333, v6: true, opts: timestamps, flags: ack | psh}, 1348, 1},
		{"TCP in small segments", ip{payload: 3000, frag: 0x4000}, 100, 1},
		{"TCP in segments smaller than their headers", ip{payload: 501, opts: timestamps, frag: 0x4000}, 7, 1},
		{"TCP of one byte segments that fill the out buffer", ip{payload: 3000, frag: 0x4000}, 1, 1},
		{"UDP over IPv4", ip{payload: 13000, udp: true}, 1300, 1},
		{"UDP over IPv6", ip{payload: 13001, udp: true, v6: true}, 1300, 1},
		{"a single segment", ip{payload: 100, frag: 0x4000}, 1380, 1},
		{"the largest super-packet", ip{payload: 65535 - 40, frag: 0x4000}, 1380, 0},
	}
	for _, c := range cases {
		bothKinds(t, c.name, func(t *testing.T, pair pairOf) {
			a, b := pair(t)
			whole := c.build()
			p, off := super(whole, c.size)
			want := segmentReference(whole, int(off.HdrLen), int(off.CsumStart), c.size)

			runs := a.out(p, off)
			total := 0
			for _, r := range runs {
				n := (len(r.Buf) + r.Size - 1) / r.Size
				if total += n; n > udp.MaxSegments || len(r.Buf) > udp.MaxRun || r.To != addrB {
					t.Fatalf("bad run of %d datagrams, %d bytes, to %v", n, len(r.Buf), r.To)
				}
			}
			if total != len(want) {
				t.Fatalf("%d datagrams instead of %d", total, len(want))
			}
			b.receive(addrA, runs...)
			got := b.dev.take()
			if c.writes > 0 && len(got) != c.writes {
				t.Errorf("%d writes to the device instead of %d", len(got), c.writes)
			}
			same(t, flat(t, got), want)
			if n := b.SelfCounters(); n.OutPackets != uint64(len(want)) {
				t.Errorf("counted %d packets for %d", n.OutPackets, len(want))
			}
			if n := b.Counters("a"); n.InPackets != uint64(len(want)) || n != (Counters{InPackets: n.InPackets, InBytes: a.Counters("b").OutBytes}) {
				t.Errorf("counted %+v at the receiver, %+v at the sender", n, a.Counters("b"))
			}
		})
	}
}

// pairOf makes two stations that reach each other directly.
type pairOf func(testing.TB) (a, b *station)

// bothKinds runs a test with nodes that use SPTPS, with either cipher, and with nodes that use the protocol of tinc 1.0.
func bothKinds(t *testing.T, name string, test func(*testing.T, pairOf)) {
	t.Run(name, func(t *testing.T) { test(t, pair) })
	t.Run(name+", AES", func(t *testing.T) { test(t, aesPair) })
	t.Run(name+", legacy", func(t *testing.T) { test(t, legacyPair) })
}

func TestDeviceWithoutOffloadsGetsSinglePackets(t *testing.T) {
	a, b := pair(t)
	b.dev.noGSO = true
	b.rx = newReceiver(b.Plane, 0)
	whole := ip{payload: 14000, frag: 0x4000}.build()
	p, off := super(whole, 1380)
	b.receive(addrA, a.out(p, off)...)
	got := b.dev.take()
	want := segmentReference(whole, 40, 20, 1380)
	if len(got) != len(want) {
		t.Fatalf("%d writes instead of %d", len(got), len(want))
	}
	same(t, flat(t, got), want)
}

func TestUnfinishedChecksumOfASinglePacketIsCompleted(t *testing.T) {
	for _, c := range []ip{{payload: 99}, {payload: 99, v6: true}, {payload: 98, udp: true}, {payload: 5, udp: true, v6: true}} {
		a, b := pair(t)
		want := c.build()
		p, off := super(want, 1000)
		off.GSO = device.GSONone
		b.receive(addrA, a.out(p, off)...)
		same(t, flat(t, b.dev.take()), [][]byte{want})
	}
	a, _ := pair(t)
	p := ip{payload: 10}.build()
	if a.out(p, device.Offload{NeedsCsum: true, CsumStart: 45, CsumOffset: 16}) != nil || a.dropped(Malformed) != 1 {
		t.Error("a checksum beyond the packet's end was not refused")
	}
}

// seal returns the runs in which a sends each packet, one datagram each, as one arrival would hold them.
func sealEach(a *station, packets ...[]byte) (runs []udp.Run) {
	for _, p := range packets {
		runs = append(runs, a.out(p, device.Offload{})...)
	}
	return runs
}

func TestOnlyPacketsThatContinueAFlowAreCoalesced(t *testing.T) {
	seg := func(seq uint32, change func(*ip)) []byte {
		f := ip{seq: seq, payload: 100, frag: 0x4000}
		if change != nil {
			change(&f)
		}
		return f.build()
	}
	broken := func(p []byte) []byte {
		p[len(p)-1] ^= 1
		return p
	}
	cases := []struct {
		name   string
		pkts   [][]byte
		writes int
	}{
		{"three in order", [][]byte{seg(0, nil), seg(100, nil), seg(200, nil)}, 1},
		{"a hole", [][]byte{seg(0, nil), seg(200, nil)}, 2},
		{"a segment twice", [][]byte{seg(0, nil), seg(0, nil), seg(100, nil)}, 2},
		{"the wrong way round", [][]byte{seg(100, nil), seg(0, nil)}, 2},
		{"PSH ends a super-packet", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.flags = 0x18 }), seg(200, nil)}, 2},
		{"RST is alone", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.flags = 0x14 }), seg(200, nil)}, 3},
		{"URG is alone", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.flags = 0x30 })}, 2},
		{"a shorter one ends a super-packet", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.payload = 50 }), seg(150, func(f *ip) { f.payload = 50 })}, 2},
		{"a longer one begins another", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.payload = 101 })}, 2},
		{"other acknowledgement", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.ack = 1 })}, 2},
		{"other port", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.port = 1 })}, 2},
		{"other address", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.dst = "10.1.0.2" })}, 2},
		{"other TTL", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.ttl = 63 })}, 2},
		{"other options", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.opts = timestamps })}, 2},
		{"id that does not count on, without DF", [][]byte{seg(0, func(f *ip) { f.frag = 0 }), seg(100, func(f *ip) { f.frag = 0 })}, 2},
		{"pure acknowledgements", [][]byte{seg(0, func(f *ip) { f.payload = 0 }), seg(0, func(f *ip) { f.payload = 0 })}, 2},
		{"a broken checksum first", [][]byte{broken(seg(0, nil)), seg(100, nil), seg(200, nil)}, 2},
		{"a broken checksum in between", [][]byte{seg(0, nil), broken(seg(100, nil)), seg(200, nil)}, 3},
		{"a fragment", [][]byte{seg(0, nil), seg(100, func(f *ip) { f.frag = 0x2000 })}, 2},
		{"a tiny packet after large headers", [][]byte{seg(0, func(f *ip) { f.opts = timestamps }), ip{udp: true}.build()}, 2},
	}
	for _, c := range cases {
		bothKinds(t, c.name, func(t *testing.T, pair pairOf) {
			a, b := pair(t)
			b.receive(addrA, sealEach(a, c.pkts...)...)
			got := b.dev.take()
			if len(got) != c.writes {
				t.Errorf("%d writes instead of %d", len(got), c.writes)
			}
			same(t, flat(t, got), c.pkts)
		})
	}
}

// Whatever the order and kind of packets, they are delivered unchanged and in order.
func TestCoalescedPacketsEqualThePacketsSent(t *testing.T) {
	bothKinds(t, "random flows", joinedPackets)
}

func joinedPackets(t *testing.T, pair pairOf) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		a, b := pair(t)
		var pkts [][]byte
		next := [4]uint32{}
		for range 1 + r.IntN(60) {
			flow := r.IntN(4)
			f := ip{v6: flow&1 == 1, udp: flow == 3, port: uint16(flow), seq: next[flow], frag: 0x4000, payload: 300}
			switch r.IntN(12) {
			case 0:
				f.payload = r.IntN(400)
			case 1:
				f.seq++
			case 2:
				f.flags = 0x18
			case 3:
				f.opts = timestamps
			case 4:
				f.flags = 0x11
			case 5:
				f.dst = map[bool]string{false: "10.1.3.4", true: "fd00:1::4"}[f.v6]
			}
			next[flow] = f.seq + uint32(f.payload)
			for range 1 + r.IntN(3) {
				p := f.build()
				if r.IntN(20) == 0 {
					p[len(p)-1] ^= 0x55
				}
				pkts = append(pkts, p)
				f.seq += uint32(f.payload)
				next[flow] = f.seq
			}
		}
		runs := sealEach(a, pkts...)
		// Some datagrams are damaged in transit, some are duplicated.
		var want [][]byte
		var arrived []udp.Run
		for i, run := range runs {
			arrived = append(arrived, run)
			switch r.IntN(15) {
			case 0:
				run.Buf[20] ^= 1
				continue
			case 1:
				arrived = append(arrived, run)
			}
			want = append(want, pkts[i])
		}
		runs = arrived
		for len(runs) > 0 {
			n := 1 + r.IntN(len(runs))
			b.receive(addrA, runs[:n]...)
			runs = runs[n:]
		}
		same(t, flat(t, b.dev.take()), want)
	}
}

func TestUDPChecksumOfZeroIsWrittenAsOnes(t *testing.T) {
	// Change two bytes of the payload so that the sum becomes zero.
	p := ip{udp: true, payload: 10}.build()
	binary.BigEndian.PutUint16(p[28:], packet.Add(binary.BigEndian.Uint16(p[28:]), binary.BigEndian.Uint16(p[26:])))
	finish(p)
	if p[26] != 0xff || p[27] != 0xff {
		t.Fatalf("checksum %x", p[26:28])
	}
	a, b := pair(t)
	q, off := super(p, 1000)
	off.GSO = device.GSONone
	b.receive(addrA, a.out(q, off)...)
	same(t, flat(t, b.dev.take()), [][]byte{p})
}

func TestFirstRecordNumbersAndIDsOnTheWire(t *testing.T) {
	a, _ := pair(t)
	p := ip{payload: 10}.build()
	runs := a.out(p, device.Offload{})
	if len(runs) != 1 || len(runs[0].Buf) != len(p)+33 {
		t.Fatalf("%+v", runs)
	}
	if got := runs[0].Buf[:16]; string(got[:6]) != "\x00\x00\x00\x00\x00\x00" || string(got[6:12]) != string(a.selfID[:]) || string(got[12:]) != "\x00\x00\x00\x02" {
		t.Errorf("datagram begins with %x", got)
	}
	if e := a.takeEvents(); !reflect.DeepEqual(e, []mesh.Event{mesh.Traffic{Node: "b"}}) {
		t.Errorf("events %v", e)
	}
}

func TestEqualDatagramsShareARunAndOthersDoNot(t *testing.T) {
	a, b := pair(t)
	a.tx.now = a.now()
	var want [][]byte
	for i, n := range []int{100, 100, 100, 50, 100, 200, 200, 300} {
		p := ip{udp: true, payload: n, port: uint16(i)}.build()
		want = append(want, p)
		copy(a.tx.in[inHead:], p)
		a.tx.packet(len(p), device.Offload{})
	}
	a.tx.out.flush()
	var shape []string
	runs := a.sock.take()
	for _, r := range runs {
		shape = append(shape, fmt.Sprint(r.Size-28-33, "/", (len(r.Buf)+r.Size-1)/r.Size))
	}
	if s := fmt.Sprint(shape); s != "[100/4 100/1 200/2 300/1]" {
		t.Error(s)
	}
	b.receive(addrA, runs...)
	same(t, flat(t, b.dev.take()), want)
}

// several makes the device deliver packets between two sends.
func (s *station) several(packets ...[]byte) []udp.Run {
	s.tx.now = s.now()
	for _, p := range packets {
		copy(s.tx.in[inHead:], p)
		s.tx.packet(len(p), device.Offload{})
	}
	s.tx.out.flush()
	return s.sock.take()
}

func TestPacketsForDifferentNodesInOneBatch(t *testing.T) {
	a, b, c := row(t, nil)
	toB, toC := ip{udp: true, payload: 500}.build(), ip{udp: true, payload: 500, dst: "10.2.0.1"}.build()
	// What b is to deliver and what it is to relay share a run: both go to b.
	runs := a.several(toC, toB, toC, toC, toB)
	if len(runs) != 1 {
		t.Fatalf("%d runs", len(runs))
	}
	b.receive(addrA, runs...)
	same(t, flat(t, b.dev.take()), [][]byte{toB, toB})
	c.receive(addrB, b.sock.take()...)
	same(t, flat(t, c.dev.take()), [][]byte{toC, toC, toC})

	// A node that is its own relay gets direct datagrams of the same size from the same batch, in a run of its own.
	a.republish("c", func(s *mesh.PeerState) { s.Addr, s.Confirmed, s.MinMTU, s.MTU = addrC, true, 1439, 1439 })
	if runs = a.several(toB, toC, toB, toC); len(runs) != 2 || runs[1].To != addrC {
		t.Fatalf("%d runs", len(runs))
	}
	b.receive(addrA, runs[0])
	same(t, flat(t, b.dev.take()), [][]byte{toB, toB})
	c.receive(addrA, runs[1])
	same(t, flat(t, c.dev.take()), [][]byte{toC, toC})
}

func TestRunsStayWithinTheirLimits(t *testing.T) {
	a, b := pair(t)
	a.republish("b", func(s *mesh.PeerState) { s.MTU, s.MinMTU = 1518, 1518 })
	whole := ip{payload: 65000, frag: 0x4000}.build()
	p, off := super(whole, 1464)
	runs := a.out(p, off)
	if len(runs) != 2 || len(runs[0].Buf) > udp.MaxRun {
		t.Errorf("%d runs, the first of %d bytes", len(runs), len(runs[0].Buf))
	}
	b.receive(addrA, runs...)
	same(t, flat(t, b.dev.take()), segmentReference(whole, 40, 20, 1464))
}

func TestEachAddressFamilyUsesItsSocket(t *testing.T) {
	a, _, _ := row(t, nil)
	six := &recordingSocket{local: netip.MustParseAddrPort("[::]:655")}
	a.cfg.Sockets = append(a.cfg.Sockets, six)
	a.v4 = append(a.v4, false)
	a.tx = newTransmitter(a.Plane)
	addr6 := netip.MustParseAddrPort("[2001:db8::3]:655")
	a.republish("c", func(s *mesh.PeerState) { s.Addr, s.Sock, s.Confirmed, s.MinMTU, s.MTU = addr6, 0, true, 1439, 1439 })
	toB, toC := ip{udp: true, payload: 500}.build(), ip{udp: true, payload: 500, dst: "10.2.0.1"}.build()
	runs := a.several(toB, toC, toB, toB, toC)
	if got := six.take(); len(got) != 2 || got[0].To != addr6 || got[1].To != addr6 {
		t.Errorf("%d runs by IPv6", len(got))
	}
	if len(runs) != 2 || len(runs[1].Buf) != 2*runs[1].Size {
		t.Errorf("%d runs by IPv4", len(runs))
	}
}

func TestSlowPathDoesNotOvertake(t *testing.T) {
	a, b := pair(t)
	first, second := ip{payload: 10}.build(), ip{payload: 10, flags: packet.FlagSYN, port: 1}.build()
	b.receive(addrA, a.several(first, second)...)
	same(t, flat(t, b.dev.take()), [][]byte{first, second})
}
