package hybrid

import (
	"crypto/mlkem"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"tincan/internal/mask"
)

// Kinds of messages.
const (
	kindOffer   = 1
	kindAnswer  = 2
	kindConfirm = 3
)

// MaxMessage is the length of the longest message, in bytes.
const MaxMessage = 2 + maxCiphers*costSize + pointSize + mask.KeySize + mlkem.EncapsulationKeySize768

// Kind is which message of the exchange something is.
type Kind uint8

// The kinds.
const (
	Unknown Kind = iota
	OfferKind
	AnswerKind
	ConfirmKind
)

// KindOf tells which message b is, by its first byte alone.
func KindOf(b []byte) Kind {
	if len(b) == 0 || b[0] > kindConfirm {
		return Unknown
	}
	return Kind(b[0])
}

// Cipher is a record cipher.
type Cipher uint8

// The ciphers. Both ends always name [Stock].
const (
	Stock  Cipher = 1 // that of SPTPS: package chapoly
	AESGCM Cipher = 2 // AES-256-GCM: package aesgcm
)

// String is the name in configuration and status.
func (c Cipher) String() string {
	switch c {
	case Stock:
		return "chacha20-poly1305"
	case AESGCM:
		return "aes-256-gcm"
	}
	return fmt.Sprintf("cipher %d", uint8(c))
}

// Cost is what a cipher costs this node.
type Cost struct {
	Cipher Cipher
	Nanos  uint32 // nanoseconds to seal and open a record of 1,400 bytes
}

const (
	maxCiphers = 16
	costSize   = 5
)

func appendCosts(dst []byte, costs []Cost) []byte {
	dst = append(dst, byte(len(costs)))
	for _, c := range costs {
		dst = append(dst, byte(c.Cipher))
		dst = binary.BigEndian.AppendUint32(dst, c.Nanos)
	}
	return dst
}

// choose returns the cipher of both lists with the least sum of costs; of equal ones that with the smaller number.
func choose(a, b []Cost) Cipher {
	best, least := Stock, uint64(math.MaxUint64)
	for _, x := range a {
		for _, y := range b {
			if sum := uint64(x.Nanos) + uint64(y.Nanos); x.Cipher == y.Cipher && x.Cipher.known() &&
				(sum < least || sum == least && x.Cipher < best) {
				best, least = x.Cipher, sum
			}
		}
	}
	return best
}

func (c Cipher) known() bool { return c == Stock || c == AESGCM }

// message is an OFFER or an ANSWER. Its slices are parts of what was parsed.
type message struct {
	kind     byte
	costs    []Cost
	point    []byte
	mask     []byte // nil without masking
	kem      []byte // key of an OFFER, ciphertext of an ANSWER; nil without post-quantum
	finished []byte // of an ANSWER
}

// parse reads an OFFER or an ANSWER of the session.
func (s *Session) parse(b []byte) (m message, err error) {
	if len(b) < 2 || b[1] > maxCiphers {
		return m, ErrMessage
	}
	m.kind = b[0]
	n := int(b[1])
	b = b[2:]
	tail := n*costSize + pointSize
	if s.Mask != nil {
		tail += mask.KeySize
	}
	switch {
	case m.kind == kindOffer && s.PostQuantum:
		tail += mlkem.EncapsulationKeySize768
	case m.kind == kindAnswer && s.PostQuantum:
		tail += mlkem.CiphertextSize768 + finishedSize
	case m.kind == kindAnswer:
		tail += finishedSize
	case m.kind != kindOffer:
		return m, ErrMessage
	}
	if len(b) != tail {
		return m, fmt.Errorf("%w: %d bytes instead of %d", ErrMessage, len(b), tail)
	}
	for range n {
		c := Cost{Cipher: Cipher(b[0]), Nanos: binary.BigEndian.Uint32(b[1:])}
		if slices.ContainsFunc(m.costs, func(o Cost) bool { return o.Cipher == c.Cipher }) {
			return m, fmt.Errorf("%w: %v twice", ErrMessage, c.Cipher)
		}
		m.costs = append(m.costs, c)
		b = b[costSize:]
	}
	if !slices.ContainsFunc(m.costs, func(c Cost) bool { return c.Cipher == Stock }) {
		return m, fmt.Errorf("%w: %v is missing", ErrMessage, Stock)
	}
	m.point, b = b[:pointSize], b[pointSize:]
	if s.Mask != nil {
		m.mask, b = b[:mask.KeySize], b[mask.KeySize:]
	}
	if m.kind == kindAnswer {
		b, m.finished = b[:len(b)-finishedSize], b[len(b)-finishedSize:]
	}
	if s.PostQuantum {
		m.kem = b
	}
	return m, nil
}

// Announcement is what an end of an SPTPS session says of itself in its nonce.
type Announcement struct {
	Version     uint8 // the highest that it knows; 0: it has announced nothing
	PostQuantum bool
	Masking     bool // it can be sent datagrams whose beginnings are hidden (package mask)
}

const (
	mark            = "tincan"
	version         = 1
	flagPostQuantum = 1
	flagMasking     = 2
	announceSize    = len(mark) + 2
)

// Announce overwrites the end of a nonce of at least 24 bytes.
func Announce(nonce []byte, postQuantum, masking bool) {
	flags := byte(0)
	if postQuantum {
		flags |= flagPostQuantum
	}
	if masking {
		flags |= flagMasking
	}
	end := nonce[len(nonce)-announceSize:]
	copy(end, mark)
	end[len(mark)], end[len(mark)+1] = version, flags
}

// Announced reads the end of a nonce.
func Announced(nonce []byte) (a Announcement) {
	if len(nonce) < announceSize {
		return a
	}
	end := nonce[len(nonce)-announceSize:]
	if string(end[:len(mark)]) != mark {
		return a
	}
	flags := end[len(mark)+1]
	return Announcement{Version: end[len(mark)], PostQuantum: flags&flagPostQuantum != 0, Masking: flags&flagMasking != 0}
}

// Mode is what a node wants of post-quantum keys.
type Mode uint8

// The modes.
const (
	No      Mode = iota // classical keys only
	Yes                 // with all that can do it
	Require             // no packets are exchanged with others
)
