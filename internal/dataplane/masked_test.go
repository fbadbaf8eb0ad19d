package dataplane

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"tincan/internal/device"
	"tincan/internal/mask"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// maskOf is the mask of a station.
func maskOf(name node.Name) *mask.Mask { return mask.New(mask.Key([]byte(fmt.Sprintf("%16s", name)))) }

// maskAll has stations agree on masks with each other.
func maskAll(stations ...*station) {
	for _, s := range stations {
		s.cfg.Mask = maskOf(s.name)
		for _, other := range stations {
			if _, st := s.known(other.name); st != nil {
				s.republish(other.name, func(p *mesh.PeerState) { p.Mask, p.Pad = maskOf(other.name), p.Tunnel != nil })
			}
		}
	}
}

func maskedPair(t testing.TB) (a, b *station) {
	a, b = pair(t)
	maskAll(a, b)
	return a, b
}

// each calls f for the datagrams of runs.
func each(runs []udp.Run, f func(d []byte)) {
	for _, r := range runs {
		for b := r.Buf; len(b) > 0; b = b[min(r.Size, len(b)):] {
			f(b[:min(r.Size, len(b))])
		}
	}
}

// constant lists the offsets among the first 33 at which all datagrams have the same byte.
func constant(datagrams [][]byte) (list []int) {
	for i := range minDatagram {
		same := func(d []byte) bool { return d[i] == datagrams[0][i] }
		if !slices.ContainsFunc(datagrams, func(d []byte) bool { return !same(d) }) {
			list = append(list, i)
		}
	}
	return list
}

// Packets, probes and echoes: everything that is sent by UDP.
func (s *station) someOfAll(to node.Name, addr netip.AddrPort) (runs []udp.Run) {
	p, off := super(ip{payload: 20000, frag: 0x4000}.build(), 1300)
	runs = append(runs, s.out(p, off)...)
	for n := range 20 {
		runs = append(runs, s.out(ip{payload: n}.build(), device.Offload{})...)
		s.tx.pad = n
	}
	_, st := s.known(to)
	s.SendProbe(mesh.SendProbe{Node: to, Addr: addr, Mask: st.Mask, Data: wire.AppendProbeRequest(nil, 18, []byte{1})})
	s.SendProbe(mesh.SendProbe{Node: to, Addr: addr, Mask: st.Mask, Data: wire.AppendProbeRequest(nil, 1400, []byte{1})})
	s.SendEcho(mesh.SendEcho{Node: to, Path: mesh.EchoUDP, Data: wire.Echo{Size: 24}.Append(nil)})
	s.SendRecord(mesh.SendRecord{Node: to, Type: wire.TypeRoster, Data: []byte("roster")})
	return append(runs, s.sock.take()...)
}

func TestNoByteOfMaskedDatagramsIsConstant(t *testing.T) {
	for _, masked := range []bool{false, true} {
		a, b := pair(t)
		if masked {
			maskAll(a, b)
		}
		var datagrams [][]byte
		runs := a.someOfAll("b", addrB)
		each(runs, func(d []byte) { datagrams = append(datagrams, bytes.Clone(d)) })
		if got := constant(datagrams); masked && len(got) > 0 || !masked && len(got) < idsLen {
			t.Errorf("masked %v: of %d datagrams these bytes are constant: %v", masked, len(datagrams), got)
		}
		b.takeEvents()
		b.receive(addrA, runs...)
		if got := payloads(t, b.dev.take()); len(got) != 16+20 || len(b.Drops()) > 0 {
			t.Errorf("masked %v: %d packets arrived; drops %v", masked, len(got), b.Drops())
		}
		var probes, echoes, rosters int
		for _, e := range b.takeEvents() {
			switch e := e.(type) {
			case mesh.ProbeIn:
				probes++
				if e.Masked != masked || len(e.Data) != 18 && len(e.Data) != 1400 {
					t.Errorf("a probe of %d bytes, masked %v", len(e.Data), e.Masked)
				}
			case mesh.EchoIn:
				echoes++
			case mesh.RosterIn:
				rosters++
			}
		}
		if probes != 2 || echoes != 1 || rosters != 1 {
			t.Errorf("masked %v: %d probes, %d echoes, %d rosters", masked, probes, echoes, rosters)
		}
	}
}

// Packets that are read in a row are padded alike, so that they leave as one run; those of another time are not.
func TestSmallPacketsArePadded(t *testing.T) {
	a, b := maskedPair(t)
	sizes := map[int]bool{}
	for range 50 {
		a.tx.pad, a.tx.now = randomPadding(), a.now()
		for range 8 {
			p := ip{payload: 10}.build()
			copy(a.tx.in[inHead:], p)
			a.tx.packet(len(p), device.Offload{})
		}
		a.tx.out.flush()
		runs := a.sock.take()
		if len(runs) != 1 || len(runs[0].Buf) != 8*runs[0].Size {
			t.Fatalf("%d runs instead of one", len(runs))
		}
		sizes[runs[0].Size] = true
		b.receive(addrA, runs...)
	}
	if got := payloads(t, b.dev.take()); len(got) != 400 || got[0] != 10 || len(sizes) < 10 {
		t.Errorf("%d packets arrived, their datagrams had %d sizes", len(got), len(sizes))
	}
	if out, in := a.Counters("b").OutBytes, b.Counters("a").InBytes; out != in || out != 400*50 {
		t.Errorf("%d bytes were counted at the one end, %d at the other", out, in)
	}
	large := a.out(ip{payload: 1000}.build(), device.Offload{})
	if got, want := large[0].Size, 1040+idsLen+recordOverhead; got != want {
		t.Errorf("a large packet left in %d bytes, want %d", got, want)
	}
	sizes = map[int]bool{}
	for range 50 {
		a.SendProbe(mesh.SendProbe{Node: "b", Addr: addrB, Mask: maskOf("b"), Data: wire.AppendProbeRequest(nil, 18, []byte{1})})
		sizes[a.sock.take()[0].Size] = true
	}
	if len(sizes) < 10 {
		t.Errorf("small probes had %d sizes", len(sizes))
	}
}

// Whoever has changed its address, or was never heard of by UDP, is understood at once.
func TestMaskedDatagramsFromUnknownAddresses(t *testing.T) {
	a, b := maskedPair(t)
	b.takeEvents()
	b.receive(netip.MustParseAddrPort("198.51.100.9:4000"), a.someOfAll("b", addrB)...)
	if got := payloads(t, b.dev.take()); len(got) != 36 {
		t.Errorf("%d packets arrived; drops %v", len(got), b.Drops())
	}
	if got := fmt.Sprint(b.takeEvents()); !bytes.Contains([]byte(got), []byte("198.51.100.9:4000")) {
		t.Errorf("the address was not reported: %s", got)
	}
}

// Relays show what they are sent and hide it again with the mask of the next hop, if that has one.
func TestRelaysMaskHopByHop(t *testing.T) {
	for _, c := range [][3]bool{{true, true, true}, {true, true, false}, {false, true, true}, {false, false, false}} {
		a, b, d := row(t, nil)
		var masked []*station
		for i, s := range []*station{a, b, d} {
			if c[i] {
				masked = append(masked, s)
			}
		}
		maskAll(masked...)
		p, off := super(ip{dst: "10.2.0.1", payload: 30000, frag: 0x4000}.build(), 1300)
		runs := a.out(p, off)
		for n := range 5 {
			runs = append(runs, a.out(ip{dst: "10.2.0.1", payload: n}.build(), device.Offload{})...)
		}
		onward := func(s *station, from netip.AddrPort, runs []udp.Run, hidden bool) {
			each(runs, func(d []byte) {
				if shown := b.dir.Load().byID[node.ID(d[6:])] != nil; shown == hidden {
					t.Errorf("%v: a datagram from %v to %s, hidden: %v", c, from, s.name, !shown)
				}
			})
			s.receive(from, runs...)
		}
		onward(b, addrA, runs, c[0] && c[1])
		passed := b.sock.take()
		if len(passed) > 7 {
			t.Errorf("%v: %d runs were relayed", c, len(passed))
		}
		onward(d, addrB, passed, c[1] && c[2])
		if got := payloads(t, d.dev.take()); len(got) != 24+5 || len(b.Drops())+len(d.Drops()) > 0 {
			t.Errorf("%v: %d packets arrived; drops %v %v", c, len(got), b.Drops(), d.Drops())
		}
	}
}

// A padded record that comes over a meta connection is understood as well.
func TestPaddedRecordsByTCP(t *testing.T) {
	a, b := maskedPair(t)
	a.republish("b", func(s *mesh.PeerState) { s.Options |= uint32(wire.TCPOnly); s.Adjacent = false })
	a.out(ip{payload: 100}.build(), device.Offload{})
	for _, blob := range a.metas[1].blobs {
		if node.ID(blob) != b.selfID {
			t.Errorf("over a meta connection a record is hidden: %x", blob[:16])
		}
		b.FromMeta("a", blob)
	}
	if got := payloads(t, b.dev.take()); !slices.Equal(got, []int{100}) {
		t.Errorf("%v arrived; drops %v", got, b.Drops())
	}
}

// Nodes without masks, nodes of tinc 1.0 and strangers are understood as before.
func TestDatagramsWithoutMask(t *testing.T) {
	a, b := pair(t)
	b.cfg.Mask = maskOf("b")
	b.receive(addrA, a.someOfAll("b", addrB)...)
	if got := payloads(t, b.dev.take()); len(got) != 36 || len(b.Drops()) > 0 {
		t.Errorf("%d packets arrived; drops %v", len(got), b.Drops())
	}
	old, b := legacyPair(t)
	b.cfg.Mask = maskOf("b")
	b.receive(addrA, old.out(ip{payload: 10}.build(), device.Offload{})...)
	if got := payloads(t, b.dev.take()); !slices.Equal(got, []int{10}) {
		t.Errorf("from a node of tinc 1.0 %v arrived; drops %v", got, b.Drops())
	}
	stranger := bytes.Repeat([]byte{7}, 100)
	b.receive(addrC, udp.Run{Buf: stranger, Size: 100})
	if b.dropped(UnknownSender) != 1 || !bytes.Equal(stranger, bytes.Repeat([]byte{7}, 100)) {
		t.Errorf("drops %v", b.Drops())
	}
	c, d := maskedPair(t)
	d.cfg.Mask = maskOf("other")
	d.receive(addrA, c.out(ip{payload: 10}.build(), device.Offload{})...)
	if d.dropped(UnknownSender)+d.dropped(UnknownNode)+d.dropped(UnconfirmedRelay) != 1 {
		t.Errorf("hidden with another mask: drops %v", d.Drops())
	}
}

// maskedBench is bench with masks, by AES-256-GCM: what two tincans have.
func maskedBench(t testing.TB) (*transmitter, *Plane) {
	tx, to := aesBench(t)
	to.cfg.Mask = maskOf("b")
	_, s := tx.p.known("b")
	ps := s.PeerState
	ps.Mask, ps.Pad = maskOf("b"), true
	tx.p.PublishPeers([]mesh.PeerState{ps})
	return tx, to
}

// BenchmarkMaskedDeviceToDevice is BenchmarkAESDeviceToDevice with masks.
func BenchmarkMaskedDeviceToDevice(b *testing.B) { deviceToDevice(b, maskedBench) }

func FuzzMaskedDatagram(f *testing.F) {
	a, _ := maskedPair(f)
	each(a.someOfAll("b", addrB), func(d []byte) { f.Add(bytes.Clone(d)) })
	f.Add(bytes.Repeat([]byte{0}, minDatagram))
	f.Fuzz(func(t *testing.T, d []byte) {
		if len(d) == 0 {
			return
		}
		_, b := maskedPair(t)
		b.receive(addrA, udp.Run{Buf: d, Size: len(d)})
		b.receive(addrC, udp.Run{Buf: d, Size: (len(d) + 1) / 2})
	})
}
