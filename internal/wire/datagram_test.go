package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"

	"tincan/internal/node"
)

type probeVectors struct {
	Captured []struct {
		From, To    node.Name
		UDPPayload  string `json:"udp_payload_hex"`
		Probe       string `json:"probe_hex"`
		ProbeType   int    `json:"probe_type"`
		ProbeLength int    `json:"probe_length"`
		LengthField int    `json:"length_field"`
	}
	Constructed []struct {
		Description string
		Probe       string `json:"probe_hex"`
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDatagramsOfTinc(t *testing.T) {
	var v probeVectors
	load(t, "tinc11-udp-probes.json", &v)
	for _, c := range v.Captured {
		payload := unhex(t, c.UDPPayload)
		dst, src, record, err := ParseDatagram(payload)
		if err != nil || !dst.IsZero() || src != c.From.ID() || len(record) != len(payload)-IDsLen {
			t.Errorf("from %s: to %v, from %v, record of %d bytes, %v", c.From, dst, src, len(record), err)
		}
		if again := append(AppendIDs(nil, dst, src), record...); !bytes.Equal(again, payload) {
			t.Errorf("made again as %x, want %x", again, payload)
		}
		if len(payload) != len(unhex(t, c.Probe))+MinDatagram {
			t.Errorf("a probe of %d bytes in a datagram of %d", len(c.Probe)/2, len(payload))
		}
	}
}

func TestShortDatagramsAreRefused(t *testing.T) {
	for n := range MinDatagram {
		if _, _, _, err := ParseDatagram(make([]byte, n)); err == nil {
			t.Errorf("a datagram of %d bytes was taken", n)
		}
	}
	if _, _, _, err := ParseDatagram(make([]byte, MinDatagram)); err != nil {
		t.Error(err)
	}
}

func TestProbesOfTinc(t *testing.T) {
	var v probeVectors
	load(t, "tinc11-udp-probes.json", &v)
	for _, c := range v.Captured {
		data := unhex(t, c.Probe)
		want := Probe{c.ProbeType, len(data)}
		if c.ProbeType == ProbeReplySize {
			want.Size = c.LengthField
		}
		if got, err := ParseProbe(data); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", c.Probe, got, err, want)
		}
		random := data[probeHeader:]
		switch c.ProbeType {
		case ProbeRequest:
			if got := AppendProbeRequest(nil, len(data), random); !bytes.Equal(got, data) {
				t.Errorf("made %x, want %x", got, data)
			}
		case ProbeReplySize:
			if got := AppendProbeNotice(nil, c.LengthField, random); !bytes.Equal(got, data) {
				t.Errorf("made %x, want %x", got, data)
			}
		}
	}

	if len(v.Constructed) != 3 {
		t.Fatal("the constructed probes are a request and its two replies")
	}
	request, same, size := unhex(t, v.Constructed[0].Probe), unhex(t, v.Constructed[1].Probe), unhex(t, v.Constructed[2].Probe)
	prefix := []byte("before")
	for minor, want := range map[int][]byte{2: same, 3: size, 7: size} {
		got := AppendProbeReply(prefix, minor, request)
		if !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Errorf("reply to minor %d is %x, want %x", minor, got[len(prefix):], want)
		}
	}
	if p, err := ParseProbe(same); err != nil || p != (Probe{ProbeReplySame, 64}) {
		t.Errorf("reply of the same size is %+v, %v", p, err)
	}
}

func TestProbeRequestRepeatsScarceRandomBytes(t *testing.T) {
	got := AppendProbeRequest([]byte{9}, 24, []byte{1, 2, 3, 4})
	want := append(append([]byte{9}, make([]byte, 14)...), 1, 2, 3, 4, 1, 2, 3, 4, 1, 2)
	if !bytes.Equal(got, want) {
		t.Errorf("made %x, want %x", got, want)
	}
	if got := AppendProbeRequest(nil, 5, nil); !bytes.Equal(got, make([]byte, MinProbe)) {
		t.Errorf("the smallest request is %x", got)
	}
}

func TestBadProbesAreRefused(t *testing.T) {
	long := make([]byte, 64)
	long[0] = 3
	for _, data := range [][]byte{nil, make([]byte, MinProbe-1), long} {
		if p, err := ParseProbe(data); err == nil {
			t.Errorf("%x is taken as %+v", data, p)
		}
	}
}

func TestPadding(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100, MaxPadding} {
		plain := Pad([]byte{TypeIP, 1, 2, 3}, n)
		if len(plain) != 4+n || n > 0 && plain[0] != TypeIP|TypePadded {
			t.Errorf("padded by %d: %x", n, plain)
		}
		if rest, ok := Unpad(plain); !ok || !bytes.Equal(rest, []byte{TypeIP, 1, 2, 3}) {
			t.Errorf("padded by %d and back: %x", n, rest)
		}
	}
	for _, bad := range [][]byte{{TypePadded}, {TypePadded, 0}, {TypePadded, 2}, {TypePadded, 1, 2, 4}} {
		if rest, ok := Unpad(bad); ok {
			t.Errorf("%x was taken as %x", bad, rest)
		}
	}
}

func FuzzUnpad(f *testing.F) {
	f.Add([]byte{TypePadded | TypeProbe, 1, 0, 0, 3})
	f.Add([]byte{TypePadded, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		padded, before := b[0]&TypePadded != 0, bytes.Clone(b)
		rest, ok := Unpad(b)
		if ok && padded && !bytes.Equal(Pad(bytes.Clone(rest), len(b)-len(rest))[:len(rest)], before[:len(rest)]) {
			t.Errorf("%x was read as %x", before, rest)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	f.Add(make([]byte, MinDatagram))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if dst, src, record, err := ParseDatagram(b); err == nil && !bytes.Equal(append(AppendIDs(nil, dst, src), record...), b) {
			t.Errorf("%x comes apart as %v, %v, %x", b, dst, src, record)
		}
	})
}

func FuzzProbe(f *testing.F) {
	f.Add(AppendProbeRequest(nil, 64, []byte{1}))
	f.Add(AppendProbeNotice(nil, 1439, []byte{1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProbe(data)
		if err != nil {
			return
		}
		for minor, kind := range map[int]int{2: ProbeReplySame, 3: ProbeReplySize} {
			if r, err := ParseProbe(AppendProbeReply(nil, minor, data)); err != nil || r.Kind != kind || r.Size != len(data)&0xffff && kind == ProbeReplySize {
				t.Errorf("%+v of %d bytes: reply to minor %d is %+v, %v", p, len(data), minor, r, err)
			}
		}
	})
}

func TestEchoes(t *testing.T) {
	e := Echo{Kind: EchoReply, Flags: EchoByTCP, Hop: node.Name("bob").ID(), Number: 1 << 40, Token: 7, Size: 100}
	data := e.Append(nil)
	if len(data) != 100 {
		t.Fatalf("%d bytes", len(data))
	}
	if got, err := ParseEcho(data); err != nil || got != e {
		t.Errorf("%+v, %v; want %+v", got, err, e)
	}
	for _, a := range []string{"192.0.2.1:655", "[2001:db8::1]:7000"} {
		e.Seen = netip.MustParseAddrPort(a)
		for size, want := range map[int]netip.AddrPort{SeenEcho: e.Seen, SeenEcho - 1: {}} {
			e.Size = size
			if got, err := ParseEcho(e.Append(nil)); err != nil || got.Seen != want || got.Size != size {
				t.Errorf("%+v, %v", got, err)
			}
		}
	}
	for _, n := range []int{0, MinEcho - 1, MaxEcho + 1} {
		if _, err := ParseEcho(make([]byte, n)); err == nil {
			t.Errorf("an echo of %d bytes was taken", n)
		}
	}
	if n := len(Echo{Size: 100_000}.Append(nil)); n != MaxEcho {
		t.Errorf("the largest has %d bytes", n)
	}
	if _, err := ParseEcho(append([]byte{EchoPaths + 1}, data[1:]...)); err == nil {
		t.Error("an echo of unknown kind was taken")
	}
}

func FuzzEcho(f *testing.F) {
	f.Add(Echo{Number: 1, Size: MinEcho}.Append(nil))
	f.Add(Echo{Kind: EchoReply, Flags: 255, Size: MaxEcho}.Append(nil))
	f.Add(Echo{Kind: EchoReply, Seen: netip.MustParseAddrPort("192.0.2.1:655"), Size: SeenEcho}.Append(nil))
	f.Add(Echo{Kind: EchoDial, Seen: netip.MustParseAddrPort("[2001:db8::1]:655"), Size: SeenEcho}.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEcho(data)
		if err != nil {
			return
		}
		if again, err := ParseEcho(e.Append(nil)); err != nil || again != e {
			t.Fatalf("%+v was read again as %+v, %v", e, again, err)
		}
	})
}

// ParseDatagram takes a datagram apart. The record shares memory with b. A
// datagram shorter than [MinDatagram] is an error.
func ParseDatagram(b []byte) (dst, src node.ID, record []byte, err error) {
	if len(b) < MinDatagram {
		return dst, src, nil, fmt.Errorf("datagram of %d bytes is shorter than %d", len(b), MinDatagram)
	}
	return node.ID(b), node.ID(b[6:]), b[IDsLen:], nil
}
