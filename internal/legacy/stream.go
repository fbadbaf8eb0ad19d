package legacy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"hash"
	"math"

	//lint:ignore SA1019 only where the configuration names it
	"golang.org/x/crypto/blowfish"
)

// OpenSSL's numbers of the ciphers of meta connections.
const (
	blowfishOFB = 94 // tinc 1.0.29 and older
	aes128CFB   = 421
	aes192CFB   = 425
	aes256CFB   = 429
)

// streamCipher describes one of them. Feedback is a whole block.
type streamCipher struct {
	number   int
	key, iv  int // bytes; the IV is as long as a block
	feedback bool
	limit    uint64 // bytes that one direction may have
}

func streamCipherOf(number int) (streamCipher, bool) {
	switch number {
	case aes128CFB:
		return streamCipher{number, 16, aes.BlockSize, true, math.MaxInt64}, true
	case aes192CFB:
		return streamCipher{number, 24, aes.BlockSize, true, math.MaxInt64}, true
	case aes256CFB:
		return streamCipher{number, 32, aes.BlockSize, true, math.MaxInt64}, true
	case blowfishOFB:
		return streamCipher{number, 16, blowfish.BlockSize, false, 1 << 31}, true
	}
	return streamCipher{}, false
}

// metaDigestOf returns the digest that answers challenges.
func metaDigestOf(number int) (func() hash.Hash, bool) {
	switch number {
	case SHA256:
		return sha256.New, true
	case SHA384:
		return sha512.New384, true
	case SHA512:
		return sha512.New, true
	case SHA1:
		return sha1.New, true
	}
	return nil, false
}

var errByteLimit = errors.New("the connection has lasted for so many bytes that its key is exhausted")

// stream is one direction of a meta connection: a cipher in CFB or OFB mode, as it
// stands after the bytes so far.
type stream struct {
	block    cipher.Block
	register [aes.BlockSize]byte // key stream from pos on; before it what the next block is made of
	pos      int
	feedback bool
	left     uint64 // bytes until the key is worn out
}

func newStream(c streamCipher, key, iv []byte) (*stream, error) {
	var block cipher.Block
	var err error
	if c.number == blowfishOFB {
		block, err = blowfish.NewCipher(key)
	} else {
		block, err = aes.NewCipher(key)
	}
	if err != nil {
		return nil, err
	}
	s := &stream{block: block, feedback: c.feedback, left: c.limit, pos: c.iv}
	copy(s.register[:], iv)
	return s, nil
}

// spend counts n bytes.
func (s *stream) spend(n int) error {
	if uint64(n) > s.left {
		return errByteLimit
	}
	s.left -= uint64(n)
	return nil
}

// keyStream returns the next bytes of key stream, n of them or as many as the
// block still has, as they stand in the register.
func (s *stream) keyStream(n int) []byte {
	size := s.block.BlockSize()
	if s.pos == size {
		s.block.Encrypt(s.register[:size], s.register[:size])
		s.pos = 0
	}
	k := s.register[s.pos:min(s.pos+n, size)]
	s.pos += len(k)
	return k
}

// encrypt works in place.
func (s *stream) encrypt(b []byte) {
	for len(b) > 0 {
		k := s.keyStream(len(b))
		n := subtle.XORBytes(b, b, k)
		if s.feedback {
			copy(k, b)
		}
		b = b[n:]
	}
}

// decrypt works in place.
func (s *stream) decrypt(b []byte) {
	var sealed [aes.BlockSize]byte
	for len(b) > 0 {
		k := s.keyStream(len(b))
		n := copy(sealed[:len(k)], b)
		subtle.XORBytes(b, b, k)
		if s.feedback {
			copy(k, sealed[:n])
		}
		b = b[n:]
	}
}
