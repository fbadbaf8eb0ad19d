package packet

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// flow describes a test packet.
type flow struct {
	v6      bool
	udp     bool
	opts    int // bytes of TCP options
	flags   uint8
	payload int
	df      bool
	seq     uint32
}

// build makes an IP packet with right lengths and checksums. Its payload counts
// up from seq, so that the pieces of a stream are known by their contents.
func (f flow) build() []byte {
	ip, tr, proto := IPv4Len, TCPLen+f.opts, ProtoTCP
	if f.v6 {
		ip = IPv6Len
	}
	if f.udp {
		tr, proto = UDPLen, ProtoUDP
	}
	p := make([]byte, ip+tr+f.payload)
	if f.v6 {
		p[0], p[1] = 0x61, 0x23
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-ip))
		p[6], p[7] = proto, 64
		copy(p[8:], bytes.Repeat([]byte{0xfd, 1}, 8))
		copy(p[24:], bytes.Repeat([]byte{0xfd, 2}, 8))
	} else {
		p[0], p[1] = 0x45, 0x02
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[4:], 0xfffe)
		if f.df {
			p[6] = 0x40
		}
		p[8], p[9] = 64, proto
		copy(p[12:], []byte{10, 0, 0, 1, 10, 1, 0, 1})
		FixIPv4Sum(p)
	}
	t := p[ip:]
	binary.BigEndian.PutUint16(t, 40000)
	binary.BigEndian.PutUint16(t[2:], 5201)
	if f.udp {
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	} else {
		binary.BigEndian.PutUint32(t[4:], f.seq)
		binary.BigEndian.PutUint32(t[8:], 77)
		t[12] = byte(tr/4) << 4
		t[13] = f.flags
		binary.BigEndian.PutUint16(t[14:], 500)
		for i := TCPLen; i < tr; i++ {
			t[i] = 1
		}
	}
	for i := range f.payload {
		t[tr+i] = byte(int(f.seq) + i)
	}
	h, ok := Parse(p)
	if !ok || !FixTransportSum(p, h) {
		panic("test packet is malformed")
	}
	return p
}

func TestCutSegmentsAreCompletePacketsThatJoinToTheSamePayload(t *testing.T) {
	cases := []struct {
		name string
		flow
		size, segments int
	}{
		{"TCP over IPv4, last segment shorter", flow{flags: FlagACK | FlagPSH, payload: 5000, seq: 0xfffffff0, df: true}, 1400, 4},
		{"TCP over IPv4, payload a multiple of the size", flow{flags: FlagACK, payload: 4200, seq: 5}, 1400, 3},
		{"TCP over IPv4 with options", flow{flags: FlagACK, opts: 12, payload: 60000, seq: 9}, 1388, 44},
		{"TCP over IPv6", flow{v6: true, flags: FlagACK | FlagPSH, opts: 12, payload: 9999}, 1368, 8},
		{"TCP with odd segments", flow{flags: FlagACK, payload: 501, df: true}, 101, 5},
		{"UDP over IPv4", flow{udp: true, payload: 3000}, 1000, 3},
		{"UDP over IPv6", flow{udp: true, v6: true, payload: 3001}, 1000, 4},
		{"a single segment", flow{flags: FlagACK, payload: 10}, 1400, 1},
		{"headers only", flow{flags: FlagACK}, 1400, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			super := c.build()
			want := bytes.Clone(super)
			h, _ := Parse(super)
			headers := len(super) - c.payload

			var cut Segmenter
			if !cut.Start(super, headers, h.Transport, c.size, h.Proto) {
				t.Fatal("refused")
			}
			var join Coalescer
			var out []byte
			var flags uint8
			for i := 0; ; i++ {
				left := cut.Segments()
				if left != c.segments-i {
					t.Fatalf("%d segments left before number %d", left, i)
				}
				from, to, ok := cut.Next()
				if !ok {
					break
				}
				seg := bytes.Clone(super[from:to])
				clear(super[:to]) // what was given out must not be needed again
				sh, ok := Parse(seg)
				if !ok || sh.Total != len(seg) {
					t.Fatalf("segment %d is no whole packet: %x", i, seg)
				}
				if !c.v6 && !IPv4SumOK(seg) {
					t.Errorf("segment %d: wrong header checksum", i)
				}
				if !TransportSumOK(seg, sh) {
					t.Errorf("segment %d: wrong transport checksum", i)
				}
				if !c.v6 {
					if id := binary.BigEndian.Uint16(seg[4:]); id != uint16(0xfffe+i) {
						t.Errorf("segment %d: id %x", i, id)
					}
				}
				if !c.udp {
					flags = seg[h.Transport+offTCPFlags]
					if left > 1 && flags != FlagACK {
						t.Errorf("segment %d: flags %02x before the end", i, flags)
					}
				}
				if i == 0 {
					if len(seg) > headers && !join.Start(seg, 1000) {
						t.Fatal("the joiner refuses the first segment")
					}
					out = append(out, seg...)
				} else {
					n, ok := join.Add(seg)
					if !ok {
						t.Fatalf("the joiner refuses segment %d", i)
					}
					out = append(out, seg[n:]...)
					if join.Len() != len(out) {
						t.Fatalf("joiner says %d bytes, have %d", join.Len(), len(out))
					}
				}
			}
			if !c.udp && flags != c.flags {
				t.Errorf("flags %02x on the last segment, want %02x", flags, c.flags)
			}
			s, joined := join.Finish(out)
			if joined != (c.segments > 1) {
				t.Fatalf("joined: %v", joined)
			}
			if joined {
				if want := (Super{h.Proto, uint16(headers), uint16(c.size), uint16(h.Transport), s.CsumOffset}); s != want {
					t.Errorf("described as %+v, want %+v", s, want)
				}
				FixTransportSum(out, h) // what the kernel would do
			}
			if !bytes.Equal(out, want) {
				t.Errorf("joined packet differs:\n%x\n%x", out[:headers], want[:headers])
			}
		})
	}
}

func TestJoinRefuses(t *testing.T) {
	first := flow{flags: FlagACK, payload: 1000, df: true}
	next := flow{flags: FlagACK, payload: 1000, seq: 1000, df: true}
	patch := func(f flow, at int, v ...byte) []byte {
		p := f.build()
		copy(p[at:], v)
		FixIPv4Sum(p)
		h, _ := Parse(p)
		FixTransportSum(p, h)
		return p
	}
	with := func(change func(*flow)) []byte { f := next; change(&f); return f.build() }
	broken := next.build()
	broken[500] ^= 1

	for _, c := range []struct {
		name string
		seg  []byte
	}{
		{"a gap in the sequence", with(func(f *flow) { f.seq = 1001 })},
		{"another port", patch(next, 20, 1, 1)},
		{"another address", patch(next, 15, 9)},
		{"another TTL", patch(next, 8, 63)},
		{"another traffic class (ECN mark)", patch(next, 1, 3)},
		{"another acknowledgement", patch(next, 28, 9, 9, 9, 9)},
		{"another window", patch(next, 34, 9, 9)},
		{"SYN", with(func(f *flow) { f.flags |= FlagSYN })},
		{"FIN", with(func(f *flow) { f.flags |= FlagFIN })},
		{"a longer segment", with(func(f *flow) { f.payload = 1001 })},
		{"an empty segment", with(func(f *flow) { f.payload = 0 })},
		{"other options", with(func(f *flow) { f.opts = 4 })},
		{"a wrong checksum", broken},
		{"a fragment", patch(next, 6, 0x20)},
		{"UDP", with(func(f *flow) { f.udp = true })},
		{"IPv6", with(func(f *flow) { f.v6 = true })},
		{"an id out of order without DF", with(func(f *flow) { f.df = false })},
		{"bytes after the end", append(next.build(), 0)},
		{"half a header", next.build()[:30]},
		{"nothing", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var j Coalescer
			if !j.Start(first.build(), 1000) {
				t.Fatal("first segment refused")
			}
			before := j
			if _, ok := j.Add(c.seg); ok {
				t.Error("joined")
			}
			if j != before {
				t.Error("the refused segment changed the joiner")
			}
			if _, ok := j.Add(next.build()); !ok {
				t.Error("the right segment is refused afterwards")
			}
		})
	}
}

func TestNothingJoinsBehindTheEndOfABurst(t *testing.T) {
	for name, second := range map[string]flow{
		"a shorter segment": {flags: FlagACK, payload: 999, seq: 1000},
		"PSH":               {flags: FlagACK | FlagPSH, payload: 1000, seq: 1000},
	} {
		var j Coalescer
		j.Start(flow{flags: FlagACK, payload: 1000, df: true}.build(), 1000)
		second.df = true
		if _, ok := j.Add(second.build()); !ok {
			t.Errorf("%s: refused itself", name)
		}
		if _, ok := j.Add(flow{flags: FlagACK, payload: 10, df: true, seq: 1000 + uint32(second.payload)}.build()); ok {
			t.Errorf("joined after %s", name)
		}
	}
}

func TestASuperPacketNeverGrowsBeyondAnIPPacket(t *testing.T) {
	var j Coalescer
	seq := uint32(0)
	j.Start(flow{v6: true, flags: FlagACK, payload: 1400}.build(), 1000)
	for range 60 {
		seq += 1400
		if _, ok := j.Add(flow{v6: true, flags: FlagACK, payload: 1400, seq: seq}.build()); !ok {
			break
		}
	}
	if j.Len() > 65535 || j.Len() < 65535-1400 {
		t.Errorf("%d bytes", j.Len())
	}
}

func TestSegmenterRefuses(t *testing.T) {
	p := flow{flags: FlagACK, payload: 3000}.build()
	for _, c := range []struct {
		name                    string
		p                       []byte
		hdrLen, transport, size int
		proto                   uint8
	}{
		{"no segment size", p, 40, 20, 0, ProtoTCP},
		{"headers longer than the packet", p[:39], 40, 20, 1000, ProtoTCP},
		{"headers longer than any", p, 161, 20, 1000, ProtoTCP},
		{"no room for a TCP header", p, 39, 20, 1000, ProtoTCP},
		{"a transport header inside the IP header", p, 40, 16, 1000, ProtoTCP},
		{"options that are not there", p, 44, 24, 1000, ProtoTCP},
		{"another protocol", p, 40, 20, 1000, ProtoICMP},
		{"UDP with a long header", p, 40, 20, 1000, ProtoUDP},
		{"nothing", nil, 0, 0, 1000, ProtoTCP},
		{"negative lengths", p, -1, -1, -1, ProtoTCP},
	} {
		var cut Segmenter
		if cut.Start(c.p, c.hdrLen, c.transport, c.size, c.proto) {
			t.Errorf("%s: accepted", c.name)
		}
		if _, _, ok := cut.Next(); ok || cut.Segments() != 0 {
			t.Errorf("%s: a segment came out", c.name)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add(flow{flags: FlagACK, payload: 300}.build(), 40, 20, 100, true)
	f.Add(flow{udp: true, v6: true, payload: 300}.build(), 48, 40, 7, false)
	f.Fuzz(func(t *testing.T, p []byte, hdrLen, transport, size int, tcp bool) {
		proto := ProtoUDP
		if tcp {
			proto = ProtoTCP
		}
		var c Segmenter
		if !c.Start(p, hdrLen, transport, size, proto) {
			return
		}
		n, end := c.Segments(), 0
		for range n {
			from, to, ok := c.Next()
			if !ok || to-from > hdrLen+size || from+hdrLen < end {
				t.Fatalf("segment %d..%d after %d", from, to, end)
			}
			end = to
		}
		if _, _, ok := c.Next(); ok || end != len(p) {
			t.Fatalf("%d segments end at %d of %d", n, end, len(p))
		}
	})
}

func FuzzJoin(f *testing.F) {
	f.Add(flow{flags: FlagACK, payload: 30, df: true}.build(), flow{flags: FlagACK, payload: 30, df: true, seq: 30}.build())
	f.Add(flow{udp: true, v6: true, payload: 30}.build(), flow{udp: true, v6: true, payload: 30}.build())
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var j Coalescer
		if !j.Start(a, 1000) {
			return
		}
		n, ok := j.Add(b)
		if !ok {
			return
		}
		p := append(bytes.Clone(a), b[n:]...)
		if _, ok := j.Finish(p); !ok {
			t.Fatal("two segments, but not finished")
		}
		if h, ok := Parse(p); !ok || h.Total != len(p) {
			t.Fatalf("joined to %x", p)
		}
	})
}

func BenchmarkCut64K(b *testing.B) {
	p := flow{flags: FlagACK, opts: 12, payload: 44 * 1388, df: true}.build()
	var c Segmenter
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		c.Start(p, 52, 20, 1388, ProtoTCP)
		for {
			if _, _, ok := c.Next(); !ok {
				break
			}
		}
	}
}

func BenchmarkJoinSegment(b *testing.B) {
	first := flow{flags: FlagACK, opts: 12, payload: 1388, df: true}.build()
	next := flow{flags: FlagACK, opts: 12, payload: 1388, df: true, seq: 1388}.build()
	var j Coalescer
	j.Start(first, 1000)
	start := j
	b.SetBytes(int64(len(next)))
	b.ReportAllocs()
	for b.Loop() {
		j = start
		if _, ok := j.Add(next); !ok {
			b.Fatal("refused")
		}
	}
}

// Segments is the number of segments that Next has yet to give.
func (c *Segmenter) Segments() int {
	switch {
	case c.p == nil:
		return 0
	case len(c.p) == c.hdrLen && c.number == 0:
		return 1 // headers without payload
	}
	return (len(c.p) - c.payload + c.size - 1) / c.size
}
