package chapoly

import (
	"bytes"
	"math/rand/v2"
	"testing"

	//lint:ignore SA1019 the measure of the tag is the library's
	"golang.org/x/crypto/poly1305"
)

// fastRoads are those that this machine can run.
func fastRoads() map[string]func(*[KeySize]byte) road {
	roads := map[string]func(*[KeySize]byte) road{}
	if has512 {
		roads["AVX-512"] = func(key *[KeySize]byte) road { return newKernel(key) }
	}
	return roads
}

// The carries of Poly1305 are reached by numbers that random messages never make.
func TestTagOfExtremeNumbers(t *testing.T) {
	if !hasIFMA {
		t.Skip("no vectorised tag on this CPU")
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
	k := &kernel{}
	for range 20_000 {
		msg := make([]byte, vectorTag+r.IntN(400))
		pick(msg)
		pick(k.polyKey[:])
		var want [16]byte
		poly1305.Sum(&want, msg, &k.polyKey)
		if k.sum(msg); k.tag != want {
			t.Fatalf("key %x, message %x: tag %x, want %x", k.polyKey, msg, k.tag, want)
		}
	}
	// The largest sums there are.
	for size := vectorTag; size < vectorTag+400; size++ {
		msg := bytes.Repeat([]byte{0xff}, size)
		k.polyKey = [32]byte(msg)
		var want [16]byte
		poly1305.Sum(&want, msg, &k.polyKey)
		if k.sum(msg); k.tag != want {
			t.Fatalf("%d times ff: tag %x, want %x", size, k.tag, want)
		}
	}
}

func BenchmarkParts(b *testing.B) {
	k, msg := &kernel{}, make([]byte, benchSize)
	b.Run("keystream", func(b *testing.B) {
		for b.Loop() {
			xor512x24(&msg[0], &msg[0], benchSize, &k.state, &k.polyKey)
		}
	})
	b.Run("keystream of a short record", func(b *testing.B) {
		for b.Loop() {
			xor512x8(&msg[0], &msg[0], 60, &k.state, &k.polyKey)
		}
	})
	for _, size := range []int{64, 128, 256, 512, 1400} {
		b.Run("tag", func(b *testing.B) {
			for b.Loop() {
				k.sum(msg[:size])
			}
		})
		b.Run("tag of the library", func(b *testing.B) {
			for b.Loop() {
				poly1305.Sum(&k.tag, msg[:size], &k.polyKey)
			}
		})
	}
}
