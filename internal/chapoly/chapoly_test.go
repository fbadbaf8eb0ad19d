package chapoly

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

type vector struct {
	Key    string
	Seqno  uint64
	Plain  string
	Sealed string
}

func load(t testing.TB) []vector {
	b, err := os.ReadFile("testdata/tinc11-chacha-poly1305.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Cases []vector }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v.Cases
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSealAndOpenLikeTinc(t *testing.T) {
	for _, v := range load(t) {
		c := New(unhex(t, v.Key))
		plain, sealed := unhex(t, v.Plain), unhex(t, v.Sealed)
		if got := c.Seal([]byte("head"), plain, v.Seqno); !bytes.Equal(got, append([]byte("head"), sealed...)) {
			t.Errorf("record %d of %d bytes sealed to %x", v.Seqno, len(plain), got)
		}
		got, err := c.Open([]byte("head"), sealed, v.Seqno)
		if err != nil || !bytes.Equal(got, append([]byte("head"), plain...)) {
			t.Errorf("record %d of %d bytes opened to %x, %v", v.Seqno, len(plain), got, err)
		}
	}
}

func TestInPlace(t *testing.T) {
	for _, v := range load(t) {
		c := New(unhex(t, v.Key))
		plain, sealed := unhex(t, v.Plain), unhex(t, v.Sealed)
		buf := make([]byte, 3+len(plain), 3+len(sealed))
		copy(buf[3:], plain)
		buf = c.Seal(buf[:3], buf[3:], v.Seqno)
		if !bytes.Equal(buf[3:], sealed) {
			t.Errorf("record %d sealed in place to %x", v.Seqno, buf[3:])
		}
		out, err := c.Open(buf[:3], buf[3:], v.Seqno)
		if err != nil || !bytes.Equal(out[3:], plain) || &out[0] != &buf[0] {
			t.Errorf("record %d opened in place to %x, %v", v.Seqno, out, err)
		}
	}
}

func TestRefusal(t *testing.T) {
	c := New(make([]byte, 32))
	sealed := c.Seal(nil, []byte("some record"), 7)
	refuse := func(what string, sealed []byte, n uint64) {
		t.Helper()
		dst := make([]byte, 2, 64)
		out, err := c.Open(dst, sealed, n)
		if err == nil || len(out) != 2 || !bytes.Equal(dst[:64], make([]byte, 64)) {
			t.Errorf("%s: %x, %v", what, dst[:64], err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		refuse("a flipped bit", bad, 7)
		refuse("cut short", sealed[:i], 7)
	}
	refuse("another number", sealed, 8)
	refuse("a longer record", append(bytes.Clone(sealed), 0), 7)
}

func TestNoAllocation(t *testing.T) {
	c := New(make([]byte, 64))
	plain, sealed, out := make([]byte, 1400), make([]byte, 0, 1500), make([]byte, 0, 1500)
	n := testing.AllocsPerRun(100, func() {
		s := c.Seal(sealed, plain, 1)
		if _, err := c.Open(out, s, 1); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzOpen(f *testing.F) {
	for _, v := range load(f) {
		f.Add(unhex(f, v.Sealed), v.Seqno)
	}
	c := New(make([]byte, 32))
	f.Fuzz(func(t *testing.T, b []byte, n uint64) {
		if _, err := c.Open(nil, b, n); err == nil && len(b) < Overhead {
			t.Fatal("opened less than a tag")
		}
		got, err := c.Open(nil, c.Seal(nil, b, n), n)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x came back as %x, %v", b, got, err)
		}
	})
}

// The benchmarks stand beside the RFC construction, since only the ratio
// carries over from one machine to another.

const benchSize = 1400

func BenchmarkSeal(b *testing.B) {
	c, plain, dst := New(make([]byte, 32)), make([]byte, benchSize), make([]byte, 0, 1500)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		c.Seal(dst, plain, 1)
	}
}

func BenchmarkOpen(b *testing.B) {
	c, dst := New(make([]byte, 32)), make([]byte, 0, 1500)
	sealed := c.Seal(nil, make([]byte, benchSize), 1)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Open(dst, sealed, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealLibrary(b *testing.B) {
	c, plain, dst := newLibrary(new([KeySize]byte)), make([]byte, benchSize), make([]byte, 0, 1500)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		c.seal(dst, plain, 1)
	}
}

func BenchmarkSealRFC8439(b *testing.B) {
	c, _ := chacha20poly1305.New(make([]byte, 32))
	plain, dst, nonce := make([]byte, benchSize), make([]byte, 0, 1500), make([]byte, 12)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		c.Seal(dst, nonce, plain, nil)
	}
}

func BenchmarkOpenRFC8439(b *testing.B) {
	c, _ := chacha20poly1305.New(make([]byte, 32))
	dst, nonce := make([]byte, 0, 1500), make([]byte, 12)
	sealed := c.Seal(nil, nonce, make([]byte, benchSize), nil)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Open(dst, nonce, sealed, nil); err != nil {
			b.Fatal(err)
		}
	}
}
