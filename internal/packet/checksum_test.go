package packet

import (
	"math/rand/v2"
	"testing"
)

// slowSum is RFC 1071 word by word.
func slowSum(b []byte, initial uint16) uint16 {
	sum := uint64(initial)
	for i := 0; i < len(b); i += 2 {
		w := uint64(b[i]) << 8
		if i+1 < len(b) {
			w |= uint64(b[i+1])
		}
		sum += w
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

func TestChecksumEqualsTheWordByWordSumAtEveryLength(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 300)
	for n := 0; n <= len(b); n++ {
		for i := range b {
			b[i] = byte(r.Uint32())
			if n%3 == 0 {
				b[i] = 0xff // carries everywhere
			}
		}
		initial := uint16(r.Uint32())
		if got, want := Checksum(b[:n], initial), slowSum(b[:n], initial); got != want {
			t.Fatalf("%d bytes: %04x, want %04x", n, got, want)
		}
	}
}

func TestChecksumOfTheExampleInRFC1071(t *testing.T) {
	if got := Checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0); got != 0xddf2 {
		t.Errorf("%04x, want ddf2", got)
	}
}

func TestUpdateSumEqualsANewSum(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 40)
	for range 2000 {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		old := ^Checksum(b, 0)
		was := uint16(b[8])<<8 | uint16(b[9])
		b[8], b[9] = byte(r.Uint32()), byte(r.Uint32())
		is := uint16(b[8])<<8 | uint16(b[9])
		if got, want := UpdateSum(old, was, is), ^Checksum(b, 0); got != want {
			t.Fatalf("update of %04x from %04x to %04x: %04x, want %04x", old, was, is, got, want)
		}
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 64, 1400} {
		p := make([]byte, n)
		b.Run(map[int]string{20: "header", 64: "small", 1400: "full"}[n], func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			var s uint16
			for b.Loop() {
				s = Checksum(p, s)
			}
		})
	}
}
