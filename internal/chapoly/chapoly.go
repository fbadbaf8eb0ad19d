// Package chapoly is tinc's record cipher: the original ChaCha20 (64-bit
// nonce) with Poly1305 over the ciphertext alone. It is not the AEAD of
// RFC 8439: there is no associated data and there are no lengths in the tag.
//
//	nonce   = record number, 8 bytes big endian
//	polykey = first 32 bytes of keystream block 0
//	C       = plain XOR keystream from block 1 on
//	sealed  = C || Poly1305(polykey, C)
//
// The RFC construction with the nonce 0000 || be64(n) has the same keystream,
// so its vectorised code is used for C and its tag is thrown away.
package chapoly

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
	//lint:ignore SA1019 tinc's tag is a bare Poly1305, which the recommended AEAD cannot make
	"golang.org/x/crypto/poly1305"
)

// Overhead is how many bytes a sealed record is longer than its plain text.
const Overhead = 16

// KeySize is the length of the key that is used, in bytes.
const KeySize = chacha20.KeySize

// ErrOpen says that a record was forged, damaged, or sealed with another key.
var ErrOpen = errors.New("the record does not authenticate")

// Cipher seals and opens the records of one key. It holds its scratch space
// and must be used by one goroutine at a time. It allocates nothing as long
// as dst has room.
type Cipher struct {
	aead    cipher.AEAD
	key     [KeySize]byte
	nonce   [chacha20.NonceSize]byte
	polyKey [32]byte
	tag     [Overhead]byte
}

// New returns the cipher with the first 32 bytes of key (SPTPS derives 64, of
// which tinc uses half). A shorter key is a mistake of the caller and panics.
func New(key []byte) *Cipher {
	c := &Cipher{key: [KeySize]byte(key)}
	c.aead, _ = chacha20poly1305.New(c.key[:]) // fails only for another key length
	return c
}

// Seal appends the sealed form of plain as record number n to dst. A number
// must never be used twice. plain must either start exactly where the sealed
// record will, at dst[len(dst)], or not overlap it at all.
func (c *Cipher) Seal(dst, plain []byte, n uint64) []byte {
	start, end := len(dst), len(dst)+len(plain)
	c.number(n)
	out := c.aead.Seal(dst, c.nonce[:], plain, nil)
	poly1305.Sum(&c.tag, out[start:end], &c.polyKey)
	copy(out[end:], c.tag[:])
	return out
}

// Open appends the plain text of sealed, which is record number n, to dst. It
// needs room for len(sealed) bytes behind dst, 16 more than it appends, and
// leaves rubbish in those; nothing is written unless the tag is right.
// sealed must either start exactly at dst[len(dst)] or not overlap that room.
func (c *Cipher) Open(dst, sealed []byte, n uint64) ([]byte, error) {
	if !c.Verify(sealed, n) {
		return dst, ErrOpen
	}
	size := len(sealed) - Overhead
	// XOR is its own inverse: sealing the ciphertext gives the plain text.
	out := c.aead.Seal(slices.Grow(dst, len(sealed)), c.nonce[:], sealed[:size], nil)
	return out[:len(dst)+size], nil
}

// Verify tells whether sealed is record number n, without opening it.
func (c *Cipher) Verify(sealed []byte, n uint64) bool {
	if len(sealed) < Overhead {
		return false
	}
	size := len(sealed) - Overhead
	c.number(n)
	poly1305.Sum(&c.tag, sealed[:size], &c.polyKey)
	return subtle.ConstantTimeCompare(c.tag[:], sealed[size:]) == 1
}

// number prepares nonce and Poly1305 key for record n.
func (c *Cipher) number(n uint64) {
	binary.BigEndian.PutUint64(c.nonce[4:], n)
	s, _ := chacha20.NewUnauthenticatedCipher(c.key[:], c.nonce[:]) // fails only for other lengths
	clear(c.polyKey[:])
	s.XORKeyStream(c.polyKey[:], c.polyKey[:])
}
