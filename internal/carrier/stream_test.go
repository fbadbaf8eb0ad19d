package carrier

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"tincan/internal/fixture"
)

// fed is a connection that reads from a buffer and remembers what is written.
type fed struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (f *fed) Read(b []byte) (int, error)  { return f.in.Read(b) }
func (f *fed) Write(b []byte) (int, error) { return f.out.Write(b) }
func (f *fed) Close() error                { return nil }

func feed(raw []byte, client bool) (*Stream, *fed) {
	f := &fed{in: bytes.NewReader(raw)}
	s := newStream(f, f, nil, client)
	return s, f
}

func frame(op byte, final bool, payload string, masked bool) []byte {
	mask := [4]byte{1, 2, 3, 4}
	b := appendHeader(nil, op, len(payload), masked, mask)
	if !final {
		b[0] &^= 0x80
	}
	n := len(b)
	b = append(b, payload...)
	if masked {
		xor(b[n:], mask, 0)
	}
	return b
}

func TestFramesOfOtherPrograms(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 70_000))
	for name, c := range map[string]struct {
		in   [][]byte
		want string
		says string // frames that are sent, by their kinds
	}{
		"one message":                      {[][]byte{frame(opBinary, true, "hello", false), frame(opClose, true, "", false)}, "hello", "\x08"},
		"a long one":                       {[][]byte{frame(opBinary, true, long, false), frame(opClose, true, "", false)}, long, "\x08"},
		"empty ones":                       {[][]byte{frame(opBinary, true, "", false), frame(opBinary, true, "x", false), frame(opClose, true, "", false)}, "x", "\x08"},
		"a message in pieces":              {[][]byte{frame(opBinary, false, "he", false), frame(opContinuation, false, "ll", false), frame(opContinuation, true, "o", false), frame(opClose, true, "", false)}, "hello", "\x08"},
		"a ping between pieces":            {[][]byte{frame(opBinary, false, "he", false), frame(opPing, true, "are you there", false), frame(opContinuation, true, "llo", false), frame(opClose, true, "", false)}, "hello", "\x0a\x08"},
		"a pong that nobody has asked for": {[][]byte{frame(opPong, true, "x", false), frame(opBinary, true, "x", false), frame(opClose, true, "", false)}, "x", "\x08"},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := feed(bytes.Join(c.in, nil), true)
			defer s.Close()
			got, err := io.ReadAll(s)
			if err != nil || string(got) != c.want {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			var kinds string
			for out := f.out.Bytes(); len(out) > 0; {
				h, n, err := parseHeader(out)
				if err != nil || !h.masked {
					t.Fatalf("%+v, %v", h, err)
				}
				kinds += string(h.op)
				out = out[n+int(h.length):]
			}
			if kinds != c.says {
				t.Errorf("it said %q, want %q", kinds, c.says)
			}
		})
	}
}

func TestFramesThatMayNotBe(t *testing.T) {
	reserved := frame(opBinary, true, "x", false)
	reserved[0] |= 0x40
	for name, in := range map[string][]byte{
		"text":                              frame(opText, true, "x", false),
		"an unknown kind":                   frame(3, true, "x", false),
		"a reserved bit":                    reserved,
		"masked by a server":                frame(opBinary, true, "x", true),
		"a continuation of nothing":         frame(opContinuation, true, "x", false),
		"a message within a message":        append(frame(opBinary, false, "x", false), frame(opBinary, true, "x", false)...),
		"a long ping":                       frame(opPing, true, string(make([]byte, 126)), false),
		"a ping in pieces":                  frame(opPing, false, "x", false),
		"a length in a form that is longer": {0x82, 126, 0, 5, 'h', 'e', 'l', 'l', 'o'},
		"an impossible length":              {0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0},
		"an end within a header":            {0x82},
		"an end within a message":           frame(opBinary, true, "hello", false)[:4],
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := feed(in, true)
			defer s.Close()
			if got, err := io.ReadAll(s); err == nil {
				t.Errorf("taken: %q", got)
			}
		})
	}
}

// The reader of a meta connection is woken by a deadline in the past, and what waits is still sent and read.
func TestADeadlineLeavesTheStreamAsItWas(t *testing.T) {
	m := fixture.GoodCertificate(t, "vpn.example.org")
	port, _ := serve(t, &m)
	s, err := dial(t, port, "wss://vpn.example.org"+secret, m.Roots)
	must(t, err)
	s.SetReadDeadline(time.Unix(1, 0))
	var timeout net.Error
	if _, err := s.Read(make([]byte, 10)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("%v", err)
	}
	sendsBack(t, s)
}

func TestMasks(t *testing.T) {
	mask := [4]byte{0xde, 0xad, 0xbe, 0xef}
	plain := []byte("the quick brown fox jumps over the lazy dog")
	for cut := range plain {
		b := bytes.Clone(plain)
		pos := xor(b[:cut], mask, 0)
		pos = xor(b[cut:], mask, pos)
		if pos != len(plain)%4 {
			t.Errorf("cut at %d: position %d", cut, pos)
		}
		for i := range b {
			if b[i] != plain[i]^mask[i%4] {
				t.Fatalf("cut at %d: byte %d", cut, i)
			}
		}
	}
}

// Whatever comes in: no panic, no more memory, and a stream ends with an error or a close frame.
func FuzzFrames(f *testing.F) {
	f.Add(frame(opBinary, true, "hello", true), false)
	f.Add(append(frame(opBinary, false, "he", false), frame(opContinuation, true, "llo", false)...), true)
	f.Add(append(frame(opPing, true, "x", true), frame(opClose, true, "", true)...), false)
	f.Fuzz(func(t *testing.T, raw []byte, client bool) {
		s, _ := feed(raw, client)
		defer s.Close()
		got, _ := io.ReadAll(s)
		if len(got) > len(raw) {
			t.Fatalf("%d bytes out of %d", len(got), len(raw))
		}
		if len(s.in) != bufferSize {
			t.Fatalf("the buffer has grown to %d bytes", len(s.in))
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	s, f := feed(nil, true)
	defer s.Close()
	payload := make([]byte, MaxPayload)
	b.SetBytes(MaxPayload)
	b.ReportAllocs()
	for b.Loop() {
		f.out.Reset()
		s.Write(payload)
	}
}
