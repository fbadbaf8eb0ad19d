// Package mask hides the beginning of datagrams from whoever does not know a key, so that no byte of them is constant: what
// QUIC does with its headers (RFC 9001, 5.4).
//
// A datagram between tincans begins with two node ids and the number of its record, and ends with the tag of the record:
//
//	┌────────────────────────────────────────┬────────────┬────────┐
//	│ ids 12, number 4                       │ ciphertext │ tag 16 │
//	└────────────────────────────────────────┴────────────┴────────┘
//	  XOR AES-128(key, tag)
//
// The key is the receiver's: whoever may send to it has been told the key, and it needs only that one, whatever address a
// datagram comes from. The mask protects nothing else: the record authenticates itself, and who has a session with the
// receiver can read the ids of all that is sent to it.
package mask

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// Sizes in bytes.
const (
	KeySize = 16
	size    = aes.BlockSize // of what is hidden, and of the tag
	// MinDatagram is the length of the shortest datagram that has both.
	MinDatagram = 2 * size
)

// Key is what a node tells those that may send datagrams to it.
type Key [KeySize]byte

const redacted = "[redacted]"

// String does not show the key.
func (Key) String() string { return redacted }

// GoString does not show the key.
func (Key) GoString() string { return redacted }

// Mask hides and shows the beginnings of datagrams to the owner of one key. It is safe for concurrent use.
type Mask struct{ block cipher.Block }

// New returns the mask of a key.
func New(k Key) *Mask {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic("mask: " + err.Error()) // only for another length of the key
	}
	return &Mask{block: block}
}

// Block is memory that Flip works in. It belongs to one goroutine; on the stack it would be allocated each time.
type Block [size]byte

// Flip hides the beginning of a datagram of at least [MinDatagram] bytes, in place, or shows one that is hidden.
func (m *Mask) Flip(datagram []byte, b *Block) {
	m.block.Encrypt(b[:], datagram[len(datagram)-size:])
	head := datagram[:size]
	binary.NativeEndian.PutUint64(head, binary.NativeEndian.Uint64(head)^binary.NativeEndian.Uint64(b[:]))
	binary.NativeEndian.PutUint64(head[8:], binary.NativeEndian.Uint64(head[8:])^binary.NativeEndian.Uint64(b[8:]))
}
