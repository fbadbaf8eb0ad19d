// Package chapoly is tinc's record cipher: the original ChaCha20 (64-bit
// nonce) with Poly1305 over the ciphertext alone. It is not the AEAD of
// RFC 8439: there is no associated data and there are no lengths in the tag.
//
//	nonce   = record number, 8 bytes big endian
//	polykey = first 32 bytes of keystream block 0
//	C       = plain XOR keystream from block 1 on
//	sealed  = C || Poly1305(polykey, C)
//
// There are three implementations of the same bytes. library.go builds them from
// x/crypto and works everywhere. With AVX2 and on arm64, interleaved.go makes keystream
// and tag at the same time, by generated assembly. With AVX-512, wide_amd64.go makes one
// after the other, which is quicker still.
package chapoly

import (
	"errors"
	"unsafe"

	"golang.org/x/crypto/chacha20"
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
	impl implementation
}

// New returns the cipher with the first 32 bytes of key (SPTPS derives 64, of
// which tinc uses half). A shorter key is a mistake of the caller and panics.
func New(key []byte) *Cipher {
	return &Cipher{newImplementation((*[KeySize]byte)(key))}
}

// Seal appends the sealed form of plain as record number n to dst. A number
// must never be used twice. plain must either start exactly where the sealed
// record will, at dst[len(dst)], or not overlap it at all; else it panics.
// Numbers that follow each other are quicker: while the tag of one record is
// made, the first keystream of the next one is.
func (c *Cipher) Seal(dst, plain []byte, n uint64) []byte {
	refuseOverlap(dst, plain, len(plain)+Overhead)
	return c.impl.seal(dst, plain, n)
}

// Open appends the plain text of sealed, which is record number n, to dst. It
// needs room for len(sealed) bytes after dst, 16 more than it appends, and
// leaves rubbish in those; nothing is written unless the tag is right.
// sealed must either start exactly at dst[len(dst)] or not overlap that room;
// else it panics.
func (c *Cipher) Open(dst, sealed []byte, n uint64) ([]byte, error) {
	if len(sealed) < Overhead {
		return dst, ErrOpen
	}
	refuseOverlap(dst, sealed, len(sealed))
	return c.impl.open(dst, sealed, n)
}

// Clone returns another cipher with the same key, for another goroutine. c must not be in use meanwhile.
func (c *Cipher) Clone() *Cipher { return &Cipher{c.impl.clone()} }

// refuseOverlap panics if size bytes after dst, where a result will be, overlap src
// without starting with it: bytes would be overwritten before they are read. The
// panic is for mistakes of the caller: it depends on no contents.
func refuseOverlap(dst, src []byte, size int) {
	if len(src) == 0 || cap(dst)-len(dst) < size {
		return // the result will be in new memory
	}
	out := uintptr(unsafe.Pointer(unsafe.SliceData(dst))) + uintptr(len(dst))
	in := uintptr(unsafe.Pointer(unsafe.SliceData(src)))
	if out != in && out < in+uintptr(len(src)) && in < out+uintptr(size) {
		panic("chapoly: the buffers overlap, but do not start at the same byte")
	}
}

// implementation is one way to seal and open. Sealed records have at least Overhead bytes.
type implementation interface {
	seal(dst, plain []byte, n uint64) []byte
	open(dst, sealed []byte, n uint64) ([]byte, error)
	clone() implementation
}
