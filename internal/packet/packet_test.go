package packet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	v4 := flow{flags: FlagACK, payload: 100}.build()
	v6 := flow{v6: true, flags: FlagACK, payload: 100}.build()
	patch := func(p []byte, at int, v ...byte) []byte {
		p = bytes.Clone(p)
		copy(p[at:], v)
		return p
	}
	// One extension header of eight bytes in front of the first 52 bytes of what follows.
	ext := func(typ uint8, body ...byte) []byte {
		p := patch(v6[:IPv6Len], 6, typ)
		p = append(p, ProtoTCP, 0, 0, 0, 0, 0, 0, 0)
		copy(p[IPv6Len+1:], body)
		p = append(p, v6[IPv6Len:]...)
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-IPv6Len))
		return p
	}
	for _, c := range []struct {
		name string
		p    []byte
		want Header
		ok   bool
	}{
		{"IPv4", v4, Header{4, ProtoTCP, 20, 140, false, false, false}, true},
		{"IPv4 with padding", append(bytes.Clone(v4), 0, 0), Header{4, ProtoTCP, 20, 140, false, false, false}, true},
		{"IPv4 with DF", patch(v4, 6, 0x40), Header{4, ProtoTCP, 20, 140, false, false, true}, true},
		{"IPv4 first fragment", patch(v4, 6, 0x20), Header{4, ProtoTCP, 20, 140, true, false, false}, true},
		{"IPv4 later fragment", patch(v4, 6, 0x20, 1), Header{4, ProtoTCP, 20, 140, true, true, false}, true},
		{"IPv4 with options", patch(v4, 0, 0x46), Header{4, ProtoTCP, 24, 140, false, false, false}, true},
		{"IPv4 header too short", patch(v4, 0, 0x44), Header{}, false},
		{"IPv4 header longer than the packet", patch(v4[:30], 0, 0x4f, 0, 0, 30), Header{}, false},
		{"IPv4 cut off", v4[:139], Header{}, false},
		{"IPv4 shorter than its header", patch(v4, 2, 0, 19), Header{}, false},
		{"IPv6", v6, Header{6, ProtoTCP, 40, 160, false, false, true}, true},
		{"IPv6 cut off", v6[:159], Header{}, false},
		{"IPv6 with hop-by-hop options", ext(ProtoHopByHop, 0), Header{6, ProtoTCP, 48, 168, false, false, true}, true},
		{"IPv6 first fragment", ext(ProtoFragment, 0, 0, 1), Header{6, ProtoTCP, 48, 168, true, false, true}, true},
		{"IPv6 later fragment", ext(ProtoFragment, 0, 0, 8), Header{6, ProtoTCP, 48, 168, true, true, true}, true},
		{"IPv6 extension longer than the packet", ext(ProtoHopByHop, 20), Header{}, false},
		{"IPv6 extensions without end", append(patch(v6, 6, 0)[:IPv6Len], make([]byte, 120)...), Header{}, false},
		{"neither", patch(v4, 0, 0x55), Header{}, false},
		{"nothing", nil, Header{}, false},
	} {
		h, ok := Parse(c.p)
		if ok != c.ok || ok && h != c.want {
			t.Errorf("%s: %+v %v, want %+v %v", c.name, h, ok, c.want, c.ok)
		}
	}
}

func TestEtherTypeLooksThroughOneVLANTag(t *testing.T) {
	zero := make([]byte, 12)
	for _, c := range []struct {
		name   string
		tail   string
		typ    uint16
		offset int
		ok     bool
	}{
		{"IPv4", "0800", TypeIPv4, 14, true},
		{"tagged IPv6", "8100000586dd", TypeIPv6, 18, true},
		{"tag cut off", "8100000586", 0, 0, false},
		{"too short", "08", 0, 0, false},
	} {
		typ, offset, ok := EtherType(append(bytes.Clone(zero), unhex(t, c.tail)...))
		if typ != c.typ || offset != c.offset || ok != c.ok {
			t.Errorf("%s: %04x %d %v", c.name, typ, offset, ok)
		}
	}
}

func TestDecrementTTLKeepsTheChecksumRight(t *testing.T) {
	for ttl := range 256 {
		p := flow{flags: FlagACK, payload: 4}.build()
		p[8] = byte(ttl)
		FixIPv4Sum(p)
		before := bytes.Clone(p)
		if DecrementTTL(p) {
			if ttl <= 1 || p[8] != byte(ttl-1) || !IPv4SumOK(p) {
				t.Errorf("TTL %d became %d, checksum right: %v", ttl, p[8], IPv4SumOK(p))
			}
		} else if ttl > 1 || !bytes.Equal(p, before) {
			t.Errorf("TTL %d refused or changed", ttl)
		}
	}
	p := flow{v6: true, flags: FlagACK}.build()
	if !DecrementTTL(p) || p[7] != 63 {
		t.Errorf("hop limit is %d after 64", p[7])
	}
}

// syn makes a connection request with the given TCP options.
func syn(t testing.TB, v6 bool, options string) []byte {
	o := unhex(t, options)
	f := flow{v6: v6, flags: FlagSYN, opts: len(o)}
	p := f.build()
	copy(p[len(p)-len(o):], o)
	h, _ := Parse(p)
	FixTransportSum(p, h)
	return p
}

func TestClampMSS(t *testing.T) {
	const mtu = 1386
	for _, c := range []struct {
		name    string
		v6      bool
		options string
		want    string // "": unchanged
	}{
		{"first option", false, "020405b4", "02040542"},
		{"over IPv6", true, "020405b4", "0204052e"},
		{"after two no-ops", false, "01010402020405b4", "0101040202040542"},
		{"at an odd place", false, "01020405b4030307", "0102040542030307"},
		{"after window scale and timestamps", false, "03030701080a0000000100000000020405b4010101"[:40], "03030701080a000000010000000002040542010101"[:40]},
		{"small already", false, "020403e8", ""},
		{"equal already", false, "02040542", ""},
		{"after the end of options", false, "00000000020405b4", ""},
		{"of a wrong length", false, "020605b400000000", ""},
		{"cut off", false, "010101020101010204"[:16], ""},
		{"an option of length zero before it", false, "03000000020405b4", ""},
		{"no options", false, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := syn(t, c.v6, c.options)
			want := syn(t, c.v6, c.options)
			if c.want != "" {
				want = syn(t, c.v6, c.want)
			}
			if changed := ClampMSS(p, mtu); changed != (c.want != "") {
				t.Errorf("changed: %v", changed)
			}
			if !bytes.Equal(p, want) {
				t.Errorf("packet is\n%x, want\n%x", p, want)
			}
		})
	}
}

func TestClampMSSLeavesAlone(t *testing.T) {
	noSyn := syn(t, false, "020405b4")
	noSyn[33] = FlagACK
	later := syn(t, false, "020405b4")
	later[7] = 1
	for name, c := range map[string]struct {
		p   []byte
		mtu int
	}{
		"a packet that is no connection request": {noSyn, 1000},
		"a later fragment":                       {later, 1000},
		"UDP":                                    {flow{udp: true, payload: 50}.build(), 100},
		"an MTU that cannot be":                  {syn(t, false, "020405b4"), 50},
		"a negative MTU":                         {syn(t, false, "020405b4"), -5},
	} {
		before := bytes.Clone(c.p)
		if ClampMSS(c.p, c.mtu) || !bytes.Equal(c.p, before) {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestICMPErrorsAreNotAnsweredWithErrors(t *testing.T) {
	with := func(f flow, change func(p []byte)) []byte {
		p := f.build()
		change(p)
		return p
	}
	v4, v6 := flow{udp: true, payload: 20}, flow{udp: true, v6: true, payload: 20}
	for _, c := range []struct {
		name string
		p    []byte
		want bool
	}{
		{"UDP", v4.build(), true},
		{"UDP over IPv6", v6.build(), true},
		{"ping", with(v4, func(p []byte) { p[9], p[20] = ProtoICMP, 8 }), true},
		{"ICMP unreachable", with(v4, func(p []byte) { p[9], p[20] = ProtoICMP, 3 }), false},
		{"ICMPv6 ping", with(v6, func(p []byte) { p[6], p[40] = ProtoICMPv6, 128 }), true},
		{"ICMPv6 too big", with(v6, func(p []byte) { p[6], p[40] = ProtoICMPv6, 2 }), false},
		{"from multicast", with(v4, func(p []byte) { p[12] = 224 }), false},
		{"from nowhere", with(v4, func(p []byte) { clear(p[12:16]) }), false},
		{"from broadcast", with(v4, func(p []byte) { copy(p[12:], "\xff\xff\xff\xff") }), false},
		{"a later fragment", with(v4, func(p []byte) { p[7] = 9 }), false},
		{"a cut packet", v4.build()[:30], false},
	} {
		if got := MayAnswer(c.p); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestICMPErrorsHaveRightChecksumsAndLengths(t *testing.T) {
	for _, size := range []int{0, 1, 499, 520, 1400} {
		for _, v6 := range []bool{false, true} {
			p := flow{udp: true, v6: v6, payload: size}.build()
			e := AppendICMPError([]byte("front"), p, 2, 0, 1280, netip.Addr{})[5:]
			h, ok := Parse(e)
			if !ok || h.Total != len(e) || len(e) > MaxICMPError {
				t.Fatalf("%d bytes of payload, IPv6 %v: not a whole packet: %x", size, v6, e)
			}
			quoted := e[h.Transport+ICMPLen:]
			if !bytes.HasPrefix(p, quoted) || len(quoted) < len(p) && len(e) < MaxICMPError-1 {
				t.Errorf("quotes %d of %d bytes in %d", len(quoted), len(p), len(e))
			}
			if v6 && !TransportSumOK(e, h) || !v6 && (!IPv4SumOK(e) || Checksum(e[20:], 0) != 0xffff) {
				t.Errorf("wrong checksum in %x", e)
			}
			src, _ := Src(e)
			if dst, _ := Dst(p); src != dst {
				t.Errorf("from %v about a packet to %v", src, dst)
			}
		}
	}
}

func TestFragmentsPutTogetherAreThePacket(t *testing.T) {
	for _, c := range []struct {
		name                  string
		payload, mtu, offset0 int
		more                  bool
		count                 int
	}{
		{"three pieces", 1000, 500, 0, false, 3},
		{"exactly one", 96, 124, 0, false, 1},
		{"a fragment is cut again", 1000, 600, 50, true, 2},
		{"no payload", 0, 100, 0, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := flow{udp: true, payload: c.payload}.build()
			if c.payload == 0 {
				p = p[:IPv4Len]
				p[3] = IPv4Len
			}
			field := uint16(c.offset0)
			if c.more {
				field |= flagMF
			}
			binary.BigEndian.PutUint16(p[6:], field)
			FixIPv4Sum(p)

			var payload []byte
			next, n := 0, 0
			for {
				f, to, ok := AppendFragment(nil, p, c.mtu, next)
				if !ok {
					t.Fatalf("no fragment at %d", next)
				}
				n++
				h, ok := Parse(f)
				if !ok || !IPv4SumOK(f) || len(f) != h.Total || len(f) > c.mtu {
					t.Fatalf("bad fragment %x", f)
				}
				if at := int(binary.BigEndian.Uint16(f[6:])&0x1fff)*8 - c.offset0*8; at != len(payload) {
					t.Errorf("fragment at %d, want %d", at, len(payload))
				}
				if more := f[6]&0x20 != 0; more != (to != 0 || c.more) {
					t.Errorf("more fragments: %v", more)
				}
				payload = append(payload, f[IPv4Len:]...)
				if next = to; next == 0 {
					break
				}
			}
			if !bytes.Equal(payload, p[IPv4Len:]) || n != c.count {
				t.Errorf("%d fragments with %d bytes, want %d with %d", n, len(payload), c.count, len(p)-IPv4Len)
			}
		})
	}
}

func TestNoFragmentOf(t *testing.T) {
	patch := func(at int, v byte) []byte {
		p := flow{udp: true, payload: 1000}.build()
		p[at] = v
		return p
	}
	for name, c := range map[string]struct {
		p           []byte
		mtu, offset int
	}{
		"a packet with DF":            {patch(6, 0x40), 500, 0},
		"a packet with options":       {patch(0, 0x46), 500, 0},
		"IPv6":                        {flow{v6: true, payload: 1000}.build(), 500, 0},
		"too small an MTU":            {patch(1, 0), 27, 0},
		"a place after the end":       {patch(1, 0), 500, 1008},
		"a place between two":         {patch(1, 0), 500, 7},
		"a packet beyond the largest": {patch(6, 0x1f), 500, 480 + 8*250},
	} {
		if out, _, ok := AppendFragment(nil, c.p, c.mtu, c.offset); ok || out != nil {
			t.Errorf("%s was fragmented", name)
		}
	}
}

func TestSolicitationsThatAreNotAnswered(t *testing.T) {
	good := unhex(t, "6000000000203afffd000000000000000000000000000001ff0200000000000000000001ff00000787007d8c00000000fd0000010000000000000000000000070101020000000001")
	if a, ok := SolicitedTarget(good); !ok || a != netip.MustParseAddr("fd00:1::7") {
		t.Fatalf("the good one asks for %v, %v", a, ok)
	}
	patch := func(at int, v byte, fix bool) []byte {
		p := bytes.Clone(good)
		p[at] = v
		if h, ok := Parse(p); ok && fix {
			FixTransportSum(p, h)
		}
		return p
	}
	unspecified := bytes.Clone(good)
	clear(unspecified[8:24])
	h, _ := Parse(unspecified)
	FixTransportSum(unspecified, h)
	for name, p := range map[string][]byte{
		"wrong checksum":         patch(60, 9, false),
		"came through a router":  patch(7, 254, true),
		"wrong code":             patch(41, 1, true),
		"advertisement":          patch(40, 136, true),
		"is this address free?":  unspecified,
		"shorter than it claims": good[:70],
	} {
		if a, ok := SolicitedTarget(p); ok {
			t.Errorf("%s: asks for %v", name, a)
		}
	}
}

// FuzzPacket runs everything that takes bytes from the network over the same bytes.
func FuzzPacket(f *testing.F) {
	f.Add(flow{flags: FlagSYN, opts: 12, payload: 30}.build(), 60)
	f.Add(flow{v6: true, udp: true, payload: 30}.build(), 1280)
	f.Add(syn(f, false, "01020405b4030307"), 576)
	f.Add(unhex(f, "6000000000203afffd000000000000000000000000000001ff0200000000000000000001ff00000787007d8c00000000fd0000010000000000000000000000070101020000000001"), 68)
	f.Add(unhex(f, "00010800060400010200000000010a0000010000000000000a010007"), 68)
	f.Fuzz(func(t *testing.T, p []byte, mtu int) {
		h, ok := Parse(p)
		if ok && (h.Transport > h.Total || h.Total > len(p)) {
			t.Fatalf("%+v of %d bytes", h, len(p))
		}
		good := ok && TransportSumOK(p, h)
		TrafficClass(p)
		DF(p)
		if ClampMSS(p, mtu) && good && !TransportSumOK(p, h) {
			t.Fatal("clamping broke the checksum")
		}
		v4 := IPv4SumOK(p)
		if DecrementTTL(p) && v4 && !IPv4SumOK(p) {
			t.Fatal("decrementing broke the checksum")
		}
		if e := AppendICMPError(nil, p, 3, 4, uint32(mtu), netip.Addr{}); len(e) > MaxICMPError {
			t.Fatalf("error of %d bytes", len(e))
		}
		MayAnswer(p)
		for next, n := 0, 0; ; n++ {
			out, to, ok := AppendFragment(nil, p, mtu, next)
			if !ok {
				break
			}
			if len(out) > mtu || to != 0 && to <= next {
				t.Fatalf("fragment of %d bytes for an MTU of %d, next at %d after %d", len(out), mtu, to, next)
			}
			if next = to; next == 0 {
				break
			}
		}
		typ, offset, ok := EtherType(p)
		if ok && typ == TypeIPv6 {
			AnswerSolicitation(p, offset)
		}
		AnswerARP(p)
		FixTransportSum(p, h)
		FixIPv4Sum(p)
	})
}

func BenchmarkClampMSS(b *testing.B) {
	b.Run("data packet", func(b *testing.B) {
		p := flow{flags: FlagACK, opts: 12, payload: 1388}.build()
		b.ReportAllocs()
		for b.Loop() {
			ClampMSS(p, 1000)
		}
	})
	b.Run("connection request", func(b *testing.B) {
		p := syn(b, false, "020405b40402080a000000010000000001030307")
		b.ReportAllocs()
		for b.Loop() {
			p[42], p[43] = 5, 0xb4
			ClampMSS(p, 1000)
		}
	})
}

func TestNothingOnTheHotPathAllocates(t *testing.T) {
	p := syn(t, false, "020405b4")
	buf := make([]byte, 0, 600)
	from := netip.MustParseAddr("10.0.0.1")
	if n := testing.AllocsPerRun(100, func() {
		p[42], p[43] = 5, 0xb4
		ClampMSS(p, 1000)
		DecrementTTL(p)
		Dst(p)
		h, _ := Parse(p)
		TransportSumOK(p, h)
		AppendICMPError(buf, p, 3, 0, 0, from)
		AppendFragment(buf, p, 60, 0)
		MayAnswer(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
