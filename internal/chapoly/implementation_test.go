package chapoly

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// compare seals and opens one record on the fast path and on the library's.
func compare(t *testing.T, r *rand.Rand, fast implementation, slow *library, size, at, from int) {
	t.Helper()
	n := uint64(r.Uint32())
	if r.IntN(8) == 0 {
		n = r.Uint64()
	}
	plain := make([]byte, from+size)[from:]
	for i := range plain {
		plain[i] = byte(r.Uint32())
	}
	want := slow.seal(nil, plain, n)
	buf := make([]byte, at, at+size+2*Overhead+64)
	free := buf[at:cap(buf)]
	for i := range free {
		free[i] = 0xa5
	}
	sealed := fast.seal(buf, plain, n)[at:]
	if !bytes.Equal(sealed, want) {
		t.Fatalf("record %#x of %d bytes at offset %d, %d: sealed differently", n, size, at, from)
	}
	for _, b := range free[size+Overhead:] {
		if b != 0xa5 {
			t.Fatalf("record of %d bytes: wrote after the tag", size)
		}
	}
	if !fast.verify(sealed, n) {
		t.Fatalf("record of %d bytes does not verify", size)
	}
	apart, err := fast.open(make([]byte, at, at+size+Overhead), sealed, n)
	if err != nil || !bytes.Equal(apart[at:], plain) {
		t.Fatalf("record of %d bytes: opened differently, %v", size, err)
	}
	inPlace := append(make([]byte, at, at+size+Overhead), plain...)
	sealed = fast.seal(inPlace[:at], inPlace[at:], n)[at:]
	if !bytes.Equal(sealed, want) {
		t.Fatalf("record of %d bytes: sealed differently in place", size)
	}
	if opened, err := fast.open(inPlace[:at], sealed, n); err != nil || !bytes.Equal(opened[at:], plain) {
		t.Fatalf("record of %d bytes: opened differently in place, %v", size, err)
	}
	bad := bytes.Clone(want)
	bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
	if fast.verify(bad, n) {
		t.Fatalf("record of %d bytes: a flipped bit was accepted", size)
	}
	if _, err := fast.open(nil, bad, n); err == nil {
		t.Fatalf("record of %d bytes: a flipped bit was accepted", size)
	}
}

func TestImplementationsAgreeForAllLengths(t *testing.T) {
	for name, fast := range fastImplementations() {
		r := rand.New(rand.NewPCG(1, 2))
		key := randomKey(r)
		f, slow := fast(&key), newLibrary(&key)
		for size := range 3200 {
			compare(t, r, f, slow, size, r.IntN(70), r.IntN(70))
		}
		for range 30 {
			compare(t, r, f, slow, r.IntN(66_000), r.IntN(70), r.IntN(70))
		}
		t.Log(name)
	}
}

func randomKey(r *rand.Rand) (key [KeySize]byte) {
	for i := range key {
		key[i] = byte(r.Uint32())
	}
	return key
}

func FuzzImplementationsAgree(f *testing.F) {
	f.Add(uint64(1), uint16(1400))
	f.Add(uint64(2), uint16(0))
	f.Fuzz(func(t *testing.T, seed uint64, size uint16) {
		r := rand.New(rand.NewPCG(seed, 0))
		key := randomKey(r)
		for _, fast := range fastImplementations() {
			compare(t, r, fast(&key), newLibrary(&key), int(size), r.IntN(70), r.IntN(70))
		}
	})
}
