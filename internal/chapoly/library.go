package chapoly

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"slices"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
	//lint:ignore SA1019 tinc's tag is a bare Poly1305, which the recommended AEAD cannot make
	"golang.org/x/crypto/poly1305"
)

// library is the cipher made of x/crypto's parts. The RFC construction with the
// nonce 0000 || be64(n) has the same keystream, so its vectorised code is used
// for the ciphertext and its tag is thrown away.
type library struct {
	aead    cipher.AEAD
	key     [KeySize]byte
	nonce   [chacha20.NonceSize]byte
	polyKey [32]byte
	tag     [Overhead]byte
}

func newLibrary(key *[KeySize]byte) *library {
	l := &library{key: *key}
	l.aead, _ = chacha20poly1305.New(l.key[:]) // fails only for another key length
	return l
}

func (l *library) clone() implementation { return newLibrary(&l.key) }

func (l *library) seal(dst, plain []byte, n uint64) []byte {
	start, end := len(dst), len(dst)+len(plain)
	l.number(n)
	out := l.aead.Seal(dst, l.nonce[:], plain, nil)
	poly1305.Sum(&l.tag, out[start:end], &l.polyKey)
	copy(out[end:], l.tag[:])
	return out
}

func (l *library) open(dst, sealed []byte, n uint64) ([]byte, error) {
	if !l.verify(sealed, n) {
		return dst, ErrOpen
	}
	size := len(sealed) - Overhead
	// XOR is its own inverse: sealing the ciphertext gives the plain text.
	out := l.aead.Seal(slices.Grow(dst, len(sealed)), l.nonce[:], sealed[:size], nil)
	return out[:len(dst)+size], nil
}

func (l *library) verify(sealed []byte, n uint64) bool {
	size := len(sealed) - Overhead
	l.number(n)
	poly1305.Sum(&l.tag, sealed[:size], &l.polyKey)
	return subtle.ConstantTimeCompare(l.tag[:], sealed[size:]) == 1
}

// number prepares nonce and Poly1305 key for record n.
func (l *library) number(n uint64) {
	binary.BigEndian.PutUint64(l.nonce[4:], n)
	s, _ := chacha20.NewUnauthenticatedCipher(l.key[:], l.nonce[:]) // fails only for other lengths
	clear(l.polyKey[:])
	s.XORKeyStream(l.polyKey[:], l.polyKey[:])
}
