package aesgcm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"testing"
)

func testKey() (key [KeySize]byte, iv [IVSize]byte) {
	for i := range key {
		key[i] = byte(i)
	}
	for i := range iv {
		iv[i] = byte(0xa0 + i)
	}
	return key, iv
}

func TestNonceIsIVAndNumber(t *testing.T) {
	key, iv := testKey()
	block, _ := aes.NewCipher(key[:])
	want, _ := cipher.NewGCM(block)
	for n, nonce := range map[uint64]string{
		0:          "a0a1a2a3a4a5a6a7a8a9aaab",
		1:          "a0a1a2a3a4a5a6a7a8a9aaaa",
		0xffffffff: "a0a1a2a3a4a5a6a757565554",
		1 << 40:    "a0a1a2a3a4a5a7a7a8a9aaab",
	} {
		b, _ := hex.DecodeString(nonce)
		plain := []byte("a record")
		if got := New(key, iv).Seal(nil, plain, n); !bytes.Equal(got, want.Seal(nil, b, plain, nil)) {
			t.Errorf("record %d does not have the nonce %s", n, nonce)
		}
	}
}

func TestSealedRecordsOpen(t *testing.T) {
	c := New(testKey())
	for size := range 70 {
		plain := bytes.Repeat([]byte{byte(size)}, size)
		sealed := c.Seal([]byte("head"), plain, uint64(size))
		got, err := c.Open([]byte("other"), sealed[4:], uint64(size))
		if err != nil || !bytes.Equal(got, append([]byte("other"), plain...)) {
			t.Fatalf("%d bytes: %q, %v", size, got, err)
		}
		buf := append(make([]byte, 0, size+64), sealed[4:]...)
		if got, err = c.Open(buf[:0], buf, uint64(size)); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes in place: %q, %v", size, got, err)
		}
	}
}

func TestForgedRecordsAreRefused(t *testing.T) {
	c := New(testKey())
	sealed := c.Seal(nil, []byte("forty bytes of plain text, more or less."), 7)
	refused := func(what string, b []byte, n uint64) {
		t.Helper()
		before := bytes.Clone(b)
		out, err := c.Open([]byte("kept"), b, n)
		if err != ErrOpen || string(out) != "kept" {
			t.Errorf("%s: %q, %v", what, out, err)
		}
		if _, err := c.Open(b[:0], b, n); err != ErrOpen || !bytes.Equal(b, before) {
			t.Errorf("%s in place: %v, changed: %v", what, err, !bytes.Equal(b, before))
		}
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		refused("a changed byte", b, 7)
	}
	refused("another number", bytes.Clone(sealed), 8)
	refused("a record that is cut", bytes.Clone(sealed[:len(sealed)-1]), 7)
	refused("less than a tag", bytes.Clone(sealed[:Overhead-1]), 7)
}

func TestNothingIsAllocated(t *testing.T) {
	c := New(testKey())
	buf := make([]byte, 4+1401+Overhead)
	out := make([]byte, 0, len(buf))
	sealed := c.Seal(nil, buf[4:1405], 1)
	if n := testing.AllocsPerRun(100, func() {
		c.Seal(buf[:4], buf[4:1405], 5)
		if _, err := c.Open(out, sealed, 1); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a record", n)
	}
}

func BenchmarkSeal(b *testing.B) {
	c := New(testKey())
	buf := make([]byte, 1401+Overhead)
	b.SetBytes(1401)
	b.ReportAllocs()
	for i := range b.N {
		c.Seal(buf[:0], buf[:1401], uint64(i))
	}
}

func BenchmarkOpen(b *testing.B) {
	c := New(testKey())
	sealed := c.Seal(nil, make([]byte, 1401), 1)
	out := make([]byte, 0, 1500)
	b.SetBytes(1401)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Open(out, sealed, 1); err != nil {
			b.Fatal(err)
		}
	}
}
