package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/node"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// Kinds of datagrams in a buffer of FuzzBatch.
const (
	rawBytes       = iota // bytes of the input, unchanged
	flowPacket            // sealed by the neighbour: a packet of a flow that may be coalesced
	ownRecord             // sealed by the neighbour: any record
	relayedKnown          // from the neighbour to the third node, as are those after it
	relayedStrange        // the same with one unknown id
	legacyFrame           // sealed by the legacy node
	datagramKinds
)

// batchScript builds batches for one receiver.
type batchScript struct {
	data      []byte
	seq       uint32
	neighbour *station // speaks 1.1 with the receiver
	legacy    *station // does not; may be nil
	ids       []byte   // from the neighbour to the third node
	src       string   // an address of the neighbour's
}

func (s *batchScript) byte() (b byte) {
	if len(s.data) > 0 {
		b, s.data = s.data[0], s.data[1:]
	}
	return b
}

func (s *batchScript) bytes(n int) []byte {
	n = min(n, len(s.data))
	b := s.data[:n]
	s.data = s.data[n:]
	return b
}

// datagram returns one of a kind that has n bytes, as far as the kind permits.
func (s *batchScript) datagram(kind byte, n int) []byte {
	_, to := s.neighbour.known("b")
	payload := max(0, n-minDatagram)
	switch kind % datagramKinds {
	case flowPacket:
		p := ip{src: s.src, seq: s.seq, payload: max(0, payload-40), frag: 0x4000}.build()
		s.seq += uint32(max(0, payload-40))
		return s.neighbour.record(to, wire.TypeIP, p).Buf
	case ownRecord:
		typ, body := s.byte(), make([]byte, payload)
		copy(body, s.bytes(8))
		return s.neighbour.record(to, typ, body).Buf
	case relayedKnown, relayedStrange:
		d := append(slices.Clone(s.ids), make([]byte, max(minDatagram-idsLen, n-idsLen))...)
		copy(d[idsLen:], s.bytes(8))
		if kind%datagramKinds == relayedStrange {
			d[s.byte()%idsLen]++
		}
		return d
	case legacyFrame:
		if s.legacy != nil {
			return s.legacy.legacyDatagramTo("b", frame(ip{payload: max(0, min(payload, 1400)-40), frag: 0x4000}.build())).Buf
		}
	}
	return slices.Clone(s.bytes(n))
}

// arrival is one buffer: an address, a segment size, and up to 64 datagrams, of which all but the last have that size
// (with cutElsewhere the boundaries are wrong).
func (s *batchScript) arrival() udp.Arrival {
	from := []netip.AddrPort{
		addrA, addrC, netip.MustParseAddrPort("198.51.100.1:655"), netip.AddrPortFrom(addrA.Addr(), uint16(s.byte())),
	}[s.byte()%4]
	size := int(binary.BigEndian.Uint16([]byte{s.byte() & 7, s.byte()}))
	var buf []byte
	for count := s.byte()%64 + 1; count > 0; {
		kind, same := s.byte(), s.byte()%64+1
		honest := kind&0x80 == 0
		for range min(same, count) {
			d := s.datagram(kind&0x7f, size)
			if kind&0x7f == legacyFrame && len(buf) == 0 {
				size = len(d)
			}
			if honest && len(d) < size {
				d = append(d, make([]byte, size-len(d))...)
			}
			if len(buf)+len(d) > udp.MaxRun {
				break
			}
			buf = append(buf, d...)
		}
		count -= min(same, count)
	}
	return udp.Arrival{From: from, Buf: buf, Size: size}
}

// splitArrival splits an arrival into datagrams as the receiver does.
func splitArrival(a udp.Arrival) (list [][]byte) {
	size := a.Size
	if size <= 0 {
		size = max(1, len(a.Buf))
	}
	for d := range slices.Chunk(a.Buf, size) {
		list = append(list, bytes.Clone(d))
	}
	return list
}

// Buffers of coalesced datagrams, as GRO makes them, from known and unknown addresses in one batch, for us and to be relayed:
// no panic; only what was received is relayed, and once; no amplification; nothing is kept without
// a limit; and the next buffer of the socket is not touched.
func FuzzBatch(f *testing.F) {
	script := func(receiver byte, arrivals ...[]byte) {
		f.Add(append([]byte{receiver, byte(len(arrivals) - 1)}, slicesOf(arrivals...)...))
	}
	const cutElsewhere = 0x80
	eight := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for receiver := range byte(2) {
		near := receiver // the neighbour's address
		// Port, address, segment size, how many less one; then kind, and how many of it less one.
		flow := []byte{0, near, 5, 0xa0, 40, flowPacket, 40}
		passedOn := slicesOf([]byte{0, near, 5, 0xa0, 43, relayedKnown, 43}, eight)
		both := slicesOf([]byte{0, near, 2, 0, 30, flowPacket, 9, relayedKnown, 9}, eight, bytes.Repeat(eight, 9), []byte{flowPacket, 10})
		script(receiver, flow)
		script(receiver, passedOn)
		script(receiver, both, flow, passedOn)
		script(receiver, []byte{0, near, 0, 100, 63, relayedKnown, 63})                                                             // more than one run holds
		script(receiver, []byte{0, 2, 4, 0, 62, relayedKnown, 62}, []byte{9, 3, 4, 0, 19, flowPacket, 19}, flow)                    // unknown senders
		script(receiver, slicesOf([]byte{0, near, 0, 60, 19, relayedStrange, 0}, eight, []byte{7}), passedOn)                       // strange ids
		script(receiver, []byte{0, near, 0, 1, 63, rawBytes, 2, 1, 2, 3}, []byte{0, near, 0, 0, 4, relayedKnown | cutElsewhere, 4}) // of one byte, of none
		script(receiver, []byte{0, near, 1, 0, 9, flowPacket | cutElsewhere, 9}, []byte{0, near, 0, 100, 63, relayedKnown | cutElsewhere, 63})
		script(receiver, []byte{0, 0, 1, 0, 29, legacyFrame, 29}, flow, []byte{0, 0, 1, 0, 29, legacyFrame, 9, relayedKnown, 9})
		script(receiver, slicesOf([]byte{0, near, 0, 90, 8, ownRecord, 0, wire.TypeProbe}, eight, []byte{ownRecord, 0, wire.TypeEcho}, eight,
			[]byte{flowPacket, 2, ownRecord, 0, wire.TypeFrame}, eight, []byte{flowPacket, 2})) // other records between packets
	}

	a, b, c := row(f, nil)
	old, hub, third := mixedRow(f, true, false)
	fromA := batchScript{neighbour: a, ids: wire.AppendIDs(nil, c.selfID, a.selfID), src: "10.0.0.1"}
	fromC := batchScript{neighbour: third, legacy: old, ids: wire.AppendIDs(nil, old.selfID, third.selfID), src: "10.2.0.1"}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<12 {
			return
		}
		s, self := fromA, b
		s.data = data
		if s.byte()%2 == 1 {
			s, self = fromC, hub
			s.data = data[1:]
		}
		const guard = 64
		var batch []udp.Arrival
		var all [][]byte
		came := make(map[string]int)
		for count := s.byte()%4 + 1; count > 0; count-- {
			arrival := s.arrival()
			for _, d := range splitArrival(arrival) {
				came[string(d)]++
				all = append(all, d)
			}
			arrival.Buf = append(arrival.Buf, bytes.Repeat([]byte{0xa5}, guard)...)[:len(arrival.Buf)]
			batch = append(batch, arrival)
		}
		self.time = self.time.Add(50 * time.Millisecond)
		self.rx.batch(batch)

		for i, arrival := range batch {
			if behind := arrival.Buf[len(arrival.Buf):][:guard]; !bytes.Equal(behind, bytes.Repeat([]byte{0xa5}, guard)) {
				t.Fatalf("buffer %d: %x follows it", i, behind)
			}
		}
		answers := 0
		passedOn := func(d []byte, by string) {
			if came[string(d)]--; came[string(d)] < 0 {
				t.Fatalf("%x is passed on by %s, but has not come in as often", d, by)
			}
		}
		for _, run := range self.sock.take() {
			if len(run.Buf) > udp.MaxRun || len(run.Buf) > run.Size*udp.MaxSegments {
				t.Fatalf("a run of %d bytes in datagrams of %d", len(run.Buf), run.Size)
			}
			for d := range slices.Chunk(run.Buf, run.Size) {
				if self == hub && run.To == addrA || len(d) < idsLen || node.ID(d[6:]) == self.selfID { // sealed by this node
					answers++
				} else {
					passedOn(d, "UDP")
				}
			}
		}
		for id, m := range self.metas {
			answers += len(m.frames) + len(m.requests)
			for _, d := range m.blobs {
				if len(d) < idsLen || node.ID(d[6:]) == self.selfID {
					answers++
				} else {
					passedOn(d, "TCP")
				}
			}
			*self.metas[id] = recordingMeta{}
		}
		if events := self.takeEvents(); len(events) > 2*len(all)+10 || answers > len(all) {
			t.Fatalf("%d answers and %d events for %d datagrams", answers, len(events), len(all))
		}
		checkWritten(t, self.dev.take())

		if n := len(self.dir.Load().byID) + len(self.dir.Load().byAddr) + len(self.names); n > 6 {
			t.Fatalf("%d nodes, ids and addresses are remembered", n)
		}
		if n := len(self.pending.waiting); n > maxPending {
			t.Fatalf("%d packets are held", n)
		}
		if n := len(self.work.early.waiting); n > maxEarly {
			t.Fatalf("%d records wait", n)
		}
		if r := self.rx; len(r.out.buf) > 0 || cap(r.out.buf) != outSize || len(r.buf) != inBase+device.MaxPacket+maxLegacy || r.batched != (batched{}) {
			t.Fatal("the batch has not ended")
		} else if len(r.relays[0].list)+len(r.out.bySocket[0].list) > 0 || cap(r.relays[0].list) > 1024 {
			t.Fatalf("%d and %d runs stay, of %d", len(r.relays[0].list), len(r.out.bySocket[0].list), cap(r.relays[0].list))
		}
	})
}
