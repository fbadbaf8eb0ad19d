// Package aesgcm is AES-256-GCM as a record cipher: the ciphertext is as long as the plain text, and a tag of 16 bytes
// follows. There is no associated data. The nonce is the IV of the key, its last eight bytes XORed with the record number
// (big endian), as in TLS 1.3 (RFC 8446, 5.3).
package aesgcm

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
)

// Sizes in bytes.
const (
	Overhead = 16
	KeySize  = 32
	IVSize   = 12
)

// MaxRecords is after how many records of up to 1,500 bytes a key should be replaced: the advantage of whoever tries to
// tell the ciphertext from random bytes then is below 2^-59.
const MaxRecords = 1 << 28

// ErrOpen says that a record was forged, damaged, or sealed with another key.
var ErrOpen = errors.New("the record does not authenticate")

// Cipher seals and opens the records of one key. It must be used by one goroutine at a time. It allocates nothing as
// long as dst has room.
type Cipher struct {
	aead  cipher.AEAD
	iv    uint64 // the part of the IV that is XORed with the number
	nonce [IVSize]byte
	copy  []byte // of what is opened in place
}

// New returns the cipher of a key.
func New(key [KeySize]byte, iv [IVSize]byte) *Cipher {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("aesgcm: " + err.Error()) // only for another length of the key
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("aesgcm: " + err.Error()) // only for other block sizes
	}
	return &Cipher{aead: aead, iv: binary.BigEndian.Uint64(iv[IVSize-8:]), nonce: iv}
}

// Clone returns another cipher with the same key, for another goroutine.
func (c *Cipher) Clone() *Cipher { return &Cipher{aead: c.aead, iv: c.iv, nonce: c.nonce} }

// Seal appends the sealed form of plain as record number n to dst. A number must never be used twice. plain must either
// start exactly where the sealed record will, at dst[len(dst)], or not overlap it at all; else it panics.
func (c *Cipher) Seal(dst, plain []byte, n uint64) []byte {
	binary.BigEndian.PutUint64(c.nonce[IVSize-8:], c.iv^n)
	return c.aead.Seal(dst, c.nonce[:], plain, nil)
}

// Open appends the plain text of sealed, which is record number n, to dst. sealed must either start exactly at
// dst[len(dst)] or not overlap what is appended; else it panics. If the tag is wrong, the room after dst may have been
// overwritten by zeros, but never sealed.
func (c *Cipher) Open(dst, sealed []byte, n uint64) ([]byte, error) {
	if len(sealed) < Overhead {
		return dst, ErrOpen
	}
	binary.BigEndian.PutUint64(c.nonce[IVSize-8:], c.iv^n)
	if cap(dst) > len(dst) && &dst[:len(dst)+1][len(dst)] == &sealed[0] {
		c.copy = append(c.copy[:0], sealed...)
		plain, err := c.aead.Open(c.copy[:0], c.nonce[:], c.copy, nil)
		if err != nil {
			return dst, ErrOpen
		}
		return append(dst, plain...), nil
	}
	out, err := c.aead.Open(dst, c.nonce[:], sealed, nil)
	if err != nil {
		return dst, ErrOpen
	}
	return out, nil
}
