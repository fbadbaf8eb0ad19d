package chapoly

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"testing"
	"time"

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
		if got := c.Clone().Seal(nil, plain, v.Seqno); !bytes.Equal(got, sealed) {
			t.Errorf("a clone sealed record %d of %d bytes to %x", v.Seqno, len(plain), got)
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

// A result that overlaps its source, but does not start where that does, would be wrong:
// no implementation may make it.
func TestPartialOverlapPanics(t *testing.T) {
	c := New(make([]byte, 32))
	for _, shift := range []int{-1416, -1400, -64, -1, 0, 1, 64, 1399, 1400} {
		for _, what := range []string{"Seal", "Open"} {
			buf := make([]byte, 5000)
			src := buf[2000:3400]
			if what == "Open" {
				src = c.Seal(buf[:2000], buf[2000:3384], 1)[2000:]
			}
			panics := func() (panics bool) {
				defer func() { panics = recover() != nil }()
				dst := buf[:2000+shift]
				if what == "Seal" {
					c.Seal(dst, src, 1)
				} else if _, err := c.Open(dst, src, 1); err != nil {
					t.Errorf("%s, shifted by %d: %v", what, shift, err)
				}
				return false
			}()
			size := len(src)
			if what == "Seal" {
				size += Overhead
			}
			if want := shift != 0 && shift > -size && shift < len(src); panics != want {
				t.Errorf("%s, shifted by %d: panic %v, want %v", what, shift, panics, want)
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	c := New(make([]byte, 64))
	plain, sealed, out := make([]byte, 1400), make([]byte, 0, 1500), make([]byte, 0, 1500)
	number := uint64(0)
	n := testing.AllocsPerRun(100, func() {
		number++
		s := c.Seal(sealed, plain, number)
		if _, err := c.Open(out, s, number); err != nil {
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
// carries over from one machine to another. Numbers rise as in a session.

var benchSizes = []int{64, 512, 1400}

func BenchmarkSeal(b *testing.B) {
	benchmarkSeal(b, New(make([]byte, 32)).Seal)
}

func BenchmarkOpen(b *testing.B) {
	c := New(make([]byte, 32))
	benchmarkOpen(b, c.Seal, c.Open)
}

func BenchmarkSealLibrary(b *testing.B) {
	benchmarkSeal(b, newLibrary(new([KeySize]byte)).seal)
}

func BenchmarkSealRFC8439(b *testing.B) {
	seal, _ := rfc8439()
	benchmarkSeal(b, seal)
}

func BenchmarkOpenRFC8439(b *testing.B) {
	seal, open := rfc8439()
	benchmarkOpen(b, seal, open)
}

// BenchmarkKernels shows those of this machine that New does not choose, too.
func BenchmarkKernels(b *testing.B) {
	for name, kernel := range kernels() {
		b.Run(name, func(b *testing.B) { benchmarkSeal(b, kernel(new([KeySize]byte)).seal) })
	}
}

// BenchmarkRatio takes turns with the RFC construction in short batches and compares the
// quickest ones, so that its figures hold on a busy machine, too.
func BenchmarkRatio(b *testing.B) {
	sealRFC, openRFC := rfc8439()
	c := New(make([]byte, 32))
	opener := New(make([]byte, 32))
	for _, size := range benchSizes {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			plain, dst, n := make([]byte, size), make([]byte, 0, size+Overhead), uint64(1)
			sealed, sealedRFC := c.Seal(nil, plain, n), sealRFC(nil, plain, n)
			best := [4]time.Duration{time.Hour, time.Hour, time.Hour, time.Hour}
			const batch = 50
			for b.Loop() {
				for i, f := range [4]func(){
					func() { n++; c.Seal(dst, plain, n) },
					func() { sealRFC(dst, plain, n) },
					func() { opener.Open(dst, sealed, 1) },
					func() { openRFC(dst, sealedRFC, 1) },
				} {
					start := time.Now()
					for range batch {
						f()
					}
					best[i] = min(best[i], time.Since(start))
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(best[0])/batch, "seal-ns")
			b.ReportMetric(float64(best[0])/float64(best[1]), "seal/RFC")
			b.ReportMetric(float64(best[2])/batch, "open-ns")
			b.ReportMetric(float64(best[2])/float64(best[3]), "open/RFC")
		})
	}
}

type (
	sealFunction = func(dst, plain []byte, n uint64) []byte
	openFunction = func(dst, sealed []byte, n uint64) ([]byte, error)
)

func rfc8439() (sealFunction, openFunction) {
	c, _ := chacha20poly1305.New(make([]byte, 32))
	nonce := make([]byte, 12)
	seal := func(dst, plain []byte, n uint64) []byte {
		binary.LittleEndian.PutUint64(nonce[4:], n)
		return c.Seal(dst, nonce, plain, nil)
	}
	open := func(dst, sealed []byte, n uint64) ([]byte, error) {
		binary.LittleEndian.PutUint64(nonce[4:], n)
		return c.Open(dst, nonce, sealed, nil)
	}
	return seal, open
}

func benchmarkSeal(b *testing.B, seal sealFunction) {
	for _, size := range benchSizes {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			plain, dst, n := make([]byte, size), make([]byte, 0, size+Overhead), uint64(0)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				n++
				seal(dst, plain, n)
			}
		})
	}
}

func benchmarkOpen(b *testing.B, seal sealFunction, open openFunction) {
	for _, size := range benchSizes {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			sealed, dst := seal(nil, make([]byte, size), 1), make([]byte, 0, size+Overhead)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := open(dst, sealed, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
