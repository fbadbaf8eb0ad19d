package chapoly

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	//lint:ignore SA1019 the measure of the tag is the library's
	"golang.org/x/crypto/poly1305"
)

// fastImplementations are those that this machine can run.
func fastImplementations() map[string]func(*[KeySize]byte) implementation {
	fasts := map[string]func(*[KeySize]byte) implementation{}
	for _, r := range []struct {
		name       string
		ok         bool
		wide, ifma bool
	}{
		{"AVX2", has256, false, false},
		{"AVX-512 without IFMA", has512, true, false},
		{"AVX-512", hasIFMA, true, true},
	} {
		if r.ok {
			fasts[r.name] = func(key *[KeySize]byte) implementation { return newKernel(key, r.wide, r.ifma) }
		}
	}
	return fasts
}

// The carries of Poly1305 are reached by numbers that random messages never make.
func TestTagOfExtremeNumbers(t *testing.T) {
	for _, ifma := range []bool{false, true} {
		if !has256 || ifma && !hasIFMA {
			continue
		}
		k := &kernel{ifma: ifma}
		check := func(msg []byte) {
			t.Helper()
			var want [16]byte
			poly1305.Sum(&want, msg, &k.polyKey)
			if k.sum(msg); k.tag != want {
				t.Fatalf("IFMA %v: key %x, message %x: tag %x, want %x", ifma, k.polyKey, msg, k.tag, want)
			}
		}
		r := rand.New(rand.NewPCG(3, 4))
		fills := []byte{0, 1, 0x7f, 0x80, 0xfb, 0xfe, 0xff}
		pick := func(b []byte) {
			for len(b) > 0 {
				n := min(1+r.IntN(40), len(b))
				copy(b, bytes.Repeat(fills[r.IntN(len(fills)):][:1], n))
				b = b[n:]
			}
		}
		for range 20_000 {
			msg := make([]byte, longTag+r.IntN(400))
			pick(msg)
			pick(k.polyKey[:])
			check(msg)
		}
		// The largest sums there are.
		for size := longTag; size < longTag+400; size++ {
			msg := bytes.Repeat([]byte{0xff}, size)
			k.polyKey = [32]byte(msg)
			check(msg)
		}
	}
}

func BenchmarkParts(b *testing.B) {
	if !hasIFMA {
		b.Skip("needs AVX-512")
	}
	k, msg := newKernel(new([KeySize]byte), true, true), make([]byte, benchSize)
	for _, wide := range []bool{false, true} {
		k.wide = wide
		for _, size := range []int{60, benchSize} {
			b.Run(fmt.Sprintf("keystream/wide=%v/%d", wide, size), func(b *testing.B) {
				for b.Loop() {
					k.first(msg[:size], msg[:size], 1)
				}
			})
		}
	}
	for _, size := range []int{64, 128, 256, 512, 1400} {
		for _, ifma := range []bool{false, true} {
			b.Run(fmt.Sprintf("tag/ifma=%v/%d", ifma, size), func(b *testing.B) {
				k.ifma = ifma
				for b.Loop() {
					k.sum(msg[:size])
				}
			})
		}
		b.Run(fmt.Sprintf("tag/library/%d", size), func(b *testing.B) {
			for b.Loop() {
				poly1305.Sum(&k.tag, msg[:size], &k.polyKey)
			}
		})
	}
}

func BenchmarkSealAVX2(b *testing.B) {
	if !has256 {
		b.Skip("needs AVX2")
	}
	k, plain, dst := newKernel(new([KeySize]byte), false, false), make([]byte, benchSize), make([]byte, 0, 1500)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		k.seal(dst, plain, 1)
	}
}
