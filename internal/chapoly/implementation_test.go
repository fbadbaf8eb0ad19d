package chapoly

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	//lint:ignore SA1019 the measure of the tag is the library's
	"golang.org/x/crypto/poly1305"
)

// eachKernel runs f for the implementations in assembly that this machine can run.
func eachKernel(t *testing.T, f func(t *testing.T, kernel func(*[KeySize]byte) implementation)) {
	kernels := kernels()
	if len(kernels) == 0 {
		t.Skip("needs AVX2 or NEON")
	}
	for name, kernel := range kernels {
		t.Run(name, func(t *testing.T) { f(t, kernel) })
	}
}

// compare seals and opens record n by the kernel and by the library.
func compare(t *testing.T, r *rand.Rand, kernel implementation, slow *library, n uint64, size, at, from int) {
	t.Helper()
	plain := make([]byte, from+size)[from:]
	for i := range plain {
		plain[i] = byte(r.Uint32())
	}
	want := slow.seal(nil, plain, n)
	buf := make([]byte, at, at+size+2*Overhead+64)
	free := buf[at:cap(buf)]
	fill(free)
	sealed := kernel.seal(buf, plain, n)[at:]
	if !bytes.Equal(sealed, want) {
		t.Fatalf("record %#x of %d bytes at offset %d, %d: sealed differently", n, size, at, from)
	}
	if !filled(free[size+Overhead:]) {
		t.Fatalf("record of %d bytes: wrote after the tag", size)
	}
	room := make([]byte, at, at+size+Overhead)
	fill(room[at:cap(room)])
	bad := bytes.Clone(want)
	bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
	if out, err := kernel.open(room, bad, n); err == nil || len(out) != at || !filled(room[at:cap(room)]) {
		t.Fatalf("record of %d bytes with a flipped bit: %d bytes, %v, %x", size, len(out), err, room[at:cap(room)])
	}
	if opened, err := kernel.open(room, sealed, n); err != nil || !bytes.Equal(opened[at:], plain) {
		t.Fatalf("record of %d bytes: opened differently, %v", size, err)
	}
	inPlace := append(make([]byte, at, at+size+Overhead), plain...)
	sealed = kernel.seal(inPlace[:at], inPlace[at:], n)[at:]
	if !bytes.Equal(sealed, want) {
		t.Fatalf("record of %d bytes: sealed differently in place", size)
	}
	if opened, err := kernel.open(inPlace[:at], sealed, n); err != nil || !bytes.Equal(opened[at:], plain) {
		t.Fatalf("record of %d bytes: opened differently in place, %v", size, err)
	}
}

func fill(b []byte) {
	for i := range b {
		b[i] = 0xa5
	}
}

func filled(b []byte) bool { return len(bytes.Trim(b, "\xa5")) == 0 }

func TestKernelsAgreeWithTheLibraryForAllLengths(t *testing.T) {
	eachKernel(t, func(t *testing.T, kernel func(*[KeySize]byte) implementation) {
		r := rand.New(rand.NewPCG(1, 2))
		key := randomKey(r)
		fast, slow := kernel(&key), newLibrary(&key)
		for size := range 3200 {
			compare(t, r, fast, slow, randomNumber(r), size, r.IntN(70), r.IntN(70))
		}
		for range 30 {
			compare(t, r, fast, slow, randomNumber(r), r.IntN(66_000), r.IntN(70), r.IntN(70))
		}
	})
}

func TestKernelsAgreeWithTheLibraryForAllAlignments(t *testing.T) {
	eachKernel(t, func(t *testing.T, kernel func(*[KeySize]byte) implementation) {
		r := rand.New(rand.NewPCG(5, 6))
		key := randomKey(r)
		fast, slow := kernel(&key), newLibrary(&key)
		for at := range 64 {
			for from := range 64 {
				compare(t, r, fast, slow, randomNumber(r), r.IntN(2000), at, from)
			}
		}
	})
}

// Seal looks ahead from one record to the next, which must make no difference whatever
// comes between.
func TestKernelsAgreeWithTheLibraryForAnyOrder(t *testing.T) {
	eachKernel(t, func(t *testing.T, kernel func(*[KeySize]byte) implementation) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, n := range []uint64{0, math.MaxUint32 - 20, math.MaxUint64 - 20} {
			key := randomKey(r)
			sealInAnyOrder(t, r, kernel(&key), newLibrary(&key), n, 500)
		}
	})
}

// sealInAnyOrder seals records from number n on, most of them in sequence.
func sealInAnyOrder(t *testing.T, r *rand.Rand, fast implementation, slow *library, n uint64, records int) {
	t.Helper()
	for range records {
		plain := bytes.Repeat([]byte{byte(n)}, []int{0, 20, 200, 448, 449, 1400, 3000}[r.IntN(7)])
		want := slow.seal(nil, plain, n)
		if got := fast.seal(nil, plain, n); !bytes.Equal(got, want) {
			t.Fatalf("record %#x of %d bytes: sealed differently", n, len(plain))
		}
		switch r.IntN(8) {
		case 0: // the same number again
		case 1:
			n = randomNumber(r)
		case 2:
			if got, err := fast.open(nil, want, n); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("record %#x of %d bytes: opened differently, %v", n, len(plain), err)
			}
			n++
		default:
			n++
		}
	}
}

func randomKey(r *rand.Rand) (key [KeySize]byte) {
	for i := range key {
		key[i] = byte(r.Uint32())
	}
	return key
}

func randomNumber(r *rand.Rand) uint64 {
	if r.IntN(8) == 0 {
		return r.Uint64()
	}
	return uint64(r.Uint32())
}

// The carries of Poly1305 are reached by numbers that random messages never make.
func TestTagOfExtremeNumbers(t *testing.T) {
	sums := tagFunctions()
	if len(sums) == 0 {
		t.Skip("needs AVX2 or NEON")
	}
	for name, sum := range sums {
		r := rand.New(rand.NewPCG(3, 4))
		fills := []byte{0, 1, 0x7f, 0x80, 0xfb, 0xfe, 0xff}
		pick := func(b []byte) {
			for len(b) > 0 {
				n := min(1+r.IntN(40), len(b))
				copy(b, bytes.Repeat(fills[r.IntN(len(fills)):][:1], n))
				b = b[n:]
			}
		}
		check := func(key *[32]byte, msg []byte) {
			t.Helper()
			var want [Overhead]byte
			poly1305.Sum(&want, msg, key)
			if got := sum(key, msg); got != want {
				t.Fatalf("%s: key %x, message %x: tag %x, want %x", name, *key, msg, got, want)
			}
		}
		var key [32]byte
		for range 20_000 {
			msg := make([]byte, r.IntN(700))
			pick(msg)
			pick(key[:])
			check(&key, msg)
		}
		// The largest sums there are.
		for size := range 1500 {
			msg := bytes.Repeat([]byte{0xff}, size)
			key = [32]byte(bytes.Repeat([]byte{0xff}, 32))
			check(&key, msg)
		}
	}
}

func FuzzKernelsAgreeWithTheLibrary(f *testing.F) {
	f.Add(uint64(1), uint16(1400))
	f.Add(uint64(2), uint16(0))
	f.Fuzz(func(t *testing.T, seed uint64, size uint16) {
		r := rand.New(rand.NewPCG(seed, 0))
		key := randomKey(r)
		for _, kernel := range kernels() {
			fast, slow := kernel(&key), newLibrary(&key)
			compare(t, r, fast, slow, randomNumber(r), int(size), r.IntN(70), r.IntN(70))
			sealInAnyOrder(t, r, fast, slow, randomNumber(r), 4)
		}
	})
}
