package metaconn

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/sptps"
)

// counter is a data plane that checks what it is given.
type counter struct{ t *testing.T }

func (c counter) FromMeta(hop node.Name, b []byte) {
	if hop != "bob" || len(b) < minBlob {
		c.t.Errorf("blob of %d bytes from %q", len(b), hop)
	}
}

func (c counter) FrameFromMeta(hop node.Name, b []byte) {
	if hop != "bob" || len(b) == 0 {
		c.t.Errorf("frame of %d bytes from %q", len(b), hop)
	}
}

// established returns two ends of a session.
func established(t testing.TB) (ours, theirs *sptps.Stream) {
	label := sptps.LabelTCP("bob", "alice")
	a, kexA, err := sptps.NewStream(sptps.Config{Key: keyOf("alice"), Peer: keyOf("bob").Public(), Label: label, Rand: zero{}})
	if err != nil {
		t.Fatal(err)
	}
	b, kexB, err := sptps.NewStream(sptps.Config{Initiator: true, Key: keyOf("bob"), Peer: keyOf("alice").Public(), Label: label, Rand: zero{}})
	if err != nil {
		t.Fatal(err)
	}
	toA, toB := kexB, kexA
	for len(toA)+len(toB) > 0 {
		for len(toA) > 0 {
			n, ev, err := a.Next(toA)
			if err != nil {
				t.Fatal(err)
			}
			toA, toB = toA[n:], append(toB, ev.Out...)
		}
		for len(toB) > 0 {
			n, ev, err := b.Next(toB)
			if err != nil {
				t.Fatal(err)
			}
			toB, toA = toB[n:], append(toA, ev.Out...)
		}
	}
	return a, b
}

// inputOf is the reader of an accepted connection whose bytes come from r.
func inputOf(t *testing.T, r io.Reader) (*conn, *input) {
	table := New(Config{Self: "alice", Key: keyOf("alice"), Data: counter{t}, Event: func(e mesh.Event) {
		if r, ok := e.(mesh.Request); ok && len(r.Text) > maxRequest {
			t.Errorf("request of %d bytes", len(r.Text))
		}
	}})
	c := newConn(table, 2)
	return c, &input{c: c, from: r, buf: make([]byte, smallBuffer)}
}

// FuzzLogin sends arbitrary bytes from the ID line on.
func FuzzLogin(f *testing.F) {
	f.Add([]byte("0 bob 17.7\n"))
	f.Add([]byte("0 bob 17.7\n\x00\x41\x80\x00"))
	f.Add(append([]byte("0 bob 17.7\n\x00\x41\x80\x00"), make([]byte, 64)...))
	f.Add([]byte("0 bob 17.7\n\xff\xff\x80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, in := inputOf(t, iotest.HalfReader(bytes.NewReader(b)))
		line, err := in.line()
		if err != nil {
			return
		}
		if len(line) > 2175 || !bytes.HasPrefix(b, []byte(line+"\n")) {
			t.Fatalf("line %q", line)
		}
		c.secure(mesh.Secure{Conn: 2, Node: "bob", PeerKey: keyOf("bob").Public(), Label: sptps.LabelTCP("bob", "alice")})
		if err := in.messages(); err == nil {
			t.Fatal("the login ended without a reason")
		}
		if len(in.buf) > smallBuffer {
			t.Fatalf("an unauthenticated peer made us take %d bytes", len(in.buf))
		}
	})
}

// FuzzRecords sends arbitrary records and raw bytes in a session that stands. The
// input is a list of pieces: a byte 0 and a record, or another byte and raw bytes,
// each with its length in one byte.
func FuzzRecords(f *testing.F) {
	piece := func(kind byte, text string) []byte { return append([]byte{kind, byte(len(text))}, text...) }
	blob := string(make([]byte, 20))
	f.Add(bytes.Join([][]byte{piece(0, ack), piece(0, "21 20\n"), piece(1, blob), piece(0, "8\n")}, nil))
	f.Add(bytes.Join([][]byte{piece(0, ack), piece(0, "17 20"), piece(0, blob), piece(0, "8")}, nil))
	f.Add(bytes.Join([][]byte{piece(0, ack), piece(0, "21 99999")}, nil))
	f.Add(piece(0, "17 20"))
	f.Add(piece(1, "\x00\x00\x80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := established(t)
		var stream []byte
		for len(b) >= 2 {
			n := min(int(b[1]), len(b)-2)
			data := b[2 : 2+n]
			if b[0] == 0 {
				stream, _ = theirs.AppendRecord(stream, 0, data)
			} else {
				stream = append(stream, data...)
			}
			b = b[2+n:]
		}
		c, in := inputOf(t, iotest.HalfReader(bytes.NewReader(stream)))
		c.codec = modern{ours}
		c.attach("bob")
		if err := in.messages(); errors.Is(err, errStopped) || errors.Is(err, io.EOF) {
			t.Fatalf("the stream ended with %v", err)
		}
		if len(in.buf) > largeBuffer {
			t.Fatalf("the buffer grew to %d bytes", len(in.buf))
		}
	})
}

// BenchmarkTrySPTPS shows that a packet over TCP costs no allocation on its way out.
func BenchmarkTrySPTPS(b *testing.B) {
	ours, _ := established(b)
	c := newConn(New(Config{}), 2)
	c.codec, c.hop = modern{ours}, "bob"
	blob := make([]byte, 1400)
	b.ReportAllocs()
	b.SetBytes(int64(len(blob)))
	for b.Loop() {
		c.out = c.out[:0]
		if !c.TrySPTPS(blob) {
			b.Fatal("dropped")
		}
	}
}
