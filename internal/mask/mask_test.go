package mask

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func seq(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// The block is AES-128 of the tag: FIPS 197, appendix C.1.
func TestVector(t *testing.T) {
	m := New(Key(seq(16)))
	tag, _ := hex.DecodeString("00112233445566778899aabbccddeeff")
	d := append(make([]byte, 17), tag...)
	m.Flip(d, new(Block))
	if got := hex.EncodeToString(d[:17]); got != "69c4e0d86a7b0430d8cdb78070b4c55a00" || !bytes.Equal(d[17:], tag) {
		t.Errorf("%x", d)
	}
}

func TestFlipTwiceIsNothing(t *testing.T) {
	m, b := New(Key{1}), new(Block)
	for _, n := range []int{MinDatagram, 33, 100, 1472} {
		d := seq(n)
		m.Flip(d, b)
		if bytes.Equal(d, seq(n)) || !bytes.Equal(d[16:], seq(n)[16:]) {
			t.Errorf("%d bytes: %x", n, d)
		}
		if m.Flip(d, b); !bytes.Equal(d, seq(n)) {
			t.Errorf("%d bytes: not the same after both", n)
		}
	}
}

// Of many datagrams with the same ids and random tags, no byte has one value much more often than others.
func TestNoByteIsConstant(t *testing.T) {
	const datagrams = 1 << 14
	m, b, rnd := New(Key{1}), new(Block), rand.New(rand.NewPCG(1, 2))
	var counts [MinDatagram][256]int
	for n := range datagrams {
		d := append(make([]byte, 12), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		for range 16 {
			d = append(d, byte(rnd.Uint32()))
		}
		m.Flip(d, b)
		for i, c := range d {
			counts[i][c]++
		}
	}
	for i := range counts {
		for c, n := range counts[i] {
			if n > 3*datagrams/256 {
				t.Errorf("byte %d is %#x in %d of %d datagrams", i, c, n, datagrams)
			}
		}
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	k := Key(bytes.Repeat([]byte{0xab}, KeySize))
	for _, format := range []string{"%v", "%s", "%+v", "%#v"} {
		if s := fmt.Sprintf(format, k); strings.Contains(s, "171") || strings.Contains(s, "ab") {
			t.Errorf("%s prints %s", format, s)
		}
	}
}

func BenchmarkFlip(b *testing.B) {
	m, block, d := New(Key{1}), new(Block), make([]byte, 1400)
	b.ReportAllocs()
	for b.Loop() {
		m.Flip(d, block)
	}
}
