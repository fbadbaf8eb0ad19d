// Package hybrid is the second key exchange of two tincans, inside an established SPTPS session: X25519
// and ML-KEM-768 (FIPS 203), and the choice of the record cipher by measured speed. Decision 039 has the
// reasons.
//
// It has no cryptography of its own against somebody in between: its messages are records of the SPTPS session,
// which authenticates both ends. What it adds is that the new keys follow from secrets of three kinds, so that a
// recording stays unreadable for whoever can break some of them later, and that both ends have agreed on a cipher.
//
// # Announcement
//
// Both ends of an SPTPS session send a nonce of 32 bytes, which their signatures cover. The last eight bytes of it are
//
//	"tincan" | version u8 | flags u8
//
// where tinc has random bytes. So each end learns from the session itself what the other can do, and nobody can take that
// away without breaking the signature. To tinc it is a nonce like any other.
//
// # Messages
//
// The initiator and the responder are those of the SPTPS session. Numbers are big endian.
//
//	OFFER    responder to initiator  1 | ciphers | X25519 key 32 | mask key 16 | ML-KEM-768 key 1184
//	ANSWER   initiator to responder  2 | ciphers | X25519 key 32 | mask key 16 | ML-KEM-768 ciphertext 1088 | finished 32
//	CONFIRM  responder to initiator  3 | finished 32
//
//	ciphers  count u8 | count × (cipher u8 | cost u32)
//
// cost is in nanoseconds, to seal and open a record of 1,400 bytes. Of the ciphers that both name, the one with the least sum of
// costs is taken. The two parts of ML-KEM are there if both have announced [PostQuantum],
// the key of its sender's mask (package mask) if both have announced that they take masked datagrams.
//
// # Keys
//
//	T   = SHA-512(label | "session", initiator's and responder's public key, their KEX, OFFER, ANSWER without finished)
//	PRK = HKDF-Extract(SHA-512, no salt, stock secret 64 | X25519 32 | ML-KEM 32)
//	key 32 | iv 12 = HKDF-Expand(PRK, "tincan hybrid 1 initiator key" | T), and the same for the responder
//	finished 32    = HKDF-Expand(PRK, "tincan hybrid 1 initiator finished" | T), and the same
//
// The initiator's key seals what the initiator sends. In T each part has a length of two bytes before it.
package hybrid

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"tincan/internal/mask"
)

// Sizes in bytes.
const (
	KeySize      = 32
	IVSize       = 12
	SecretSize   = 64 // of [Session].Secret
	finishedSize = 32
	pointSize    = 32
	prefix       = "tincan hybrid 1 "
)

// Errors of the exchange. They are for logs.
var (
	ErrMessage  = errors.New("malformed message of the hybrid key exchange")
	ErrRole     = errors.New("message of the hybrid key exchange from the wrong end")
	ErrFinished = errors.New("the two ends of the hybrid key exchange have not seen the same messages")
)

// Session is the SPTPS session in which the exchange takes place, the same at both ends.
type Session struct {
	Label                      []byte // of SPTPS: the kind of session and both names
	InitiatorKey, ResponderKey [32]byte
	InitiatorKEX, ResponderKEX []byte // the last ones
	Secret                     []byte // SecretSize bytes that only the two ends of the session know
	PostQuantum                bool   // both have announced it
	// Mask is the key of this end's own mask, nil unless both have announced that they take masked datagrams.
	Mask        *mask.Key
	encapsulate func(*mlkem.EncapsulationKey768) (secret, ciphertext []byte)
}

// Keys are the outcome of an exchange.
type Keys struct {
	Cipher               Cipher
	PostQuantum          bool
	Initiator, Responder Key // for what the initiator seals, and the responder
	// Mask is the key of the other end's mask; nil: it does not take masked datagrams.
	Mask *mask.Key
}

// Key is what a cipher needs for one direction.
type Key struct {
	Key [KeySize]byte
	IV  [IVSize]byte
}

// Offer is an exchange that the responder of the session has begun.
type Offer struct {
	session Session
	message []byte
	point   *ecdh.PrivateKey
	kem     *mlkem.DecapsulationKey768 // nil unless Session.PostQuantum
}

// NewOffer begins an exchange: the message is for the initiator. costs is what this node can do. Up to 96 bytes of
// rand are read.
func NewOffer(s Session, costs []Cost, rand io.Reader) (*Offer, error) {
	point, err := newPoint(rand)
	if err != nil {
		return nil, err
	}
	o := &Offer{session: s, point: point}
	o.message = appendCosts([]byte{kindOffer}, costs)
	o.message = append(o.message, point.PublicKey().Bytes()...)
	o.message = s.appendMask(o.message)
	if s.PostQuantum {
		var seed [mlkem.SeedSize]byte
		if _, err := io.ReadFull(rand, seed[:]); err != nil {
			return nil, fmt.Errorf("making keys: %w", err)
		}
		if o.kem, err = mlkem.NewDecapsulationKey768(seed[:]); err != nil {
			return nil, fmt.Errorf("making keys: %w", err)
		}
		o.message = append(o.message, o.kem.EncapsulationKey().Bytes()...)
	}
	return o, nil
}

// Message is the OFFER. It is not to be changed.
func (o *Offer) Message() []byte { return o.message }

// Finish takes the ANSWER, and returns the keys and the CONFIRM. The offer can be finished more than once.
func (o *Offer) Finish(answer []byte) (Keys, []byte, error) {
	a, err := o.session.parse(answer)
	if err != nil {
		return Keys{}, nil, err
	}
	if a.kind != kindAnswer {
		return Keys{}, nil, ErrRole
	}
	own, err := o.session.parse(o.message)
	if err != nil {
		return Keys{}, nil, err
	}
	x, err := shared(o.point, a.point)
	if err != nil {
		return Keys{}, nil, err
	}
	var k []byte
	if o.kem != nil {
		if k, err = o.kem.Decapsulate(a.kem); err != nil {
			return Keys{}, nil, fmt.Errorf("%w: %w", ErrMessage, err)
		}
	}
	r := o.session.derive(choose(own.costs, a.costs), o.message, answer[:len(answer)-finishedSize], x, k)
	if subtle.ConstantTimeCompare(a.finished, r.initiatorFinished) != 1 {
		return Keys{}, nil, ErrFinished
	}
	r.keys.Mask = a.maskKey()
	return r.keys, append([]byte{kindConfirm}, r.responderFinished...), nil
}

// Answer is what the initiator of the session has made of an OFFER.
type Answer struct {
	Keys    Keys
	Message []byte // the ANSWER
	confirm []byte
}

// NewAnswer takes an OFFER. 32 bytes of rand are read.
func NewAnswer(s Session, costs []Cost, offer []byte, rand io.Reader) (*Answer, error) {
	o, err := s.parse(offer)
	if err != nil {
		return nil, err
	}
	if o.kind != kindOffer {
		return nil, ErrRole
	}
	point, err := newPoint(rand)
	if err != nil {
		return nil, err
	}
	x, err := shared(point, o.point)
	if err != nil {
		return nil, err
	}
	msg := appendCosts([]byte{kindAnswer}, costs)
	msg = append(msg, point.PublicKey().Bytes()...)
	msg = s.appendMask(msg)
	var k []byte
	if s.PostQuantum {
		kem, err := mlkem.NewEncapsulationKey768(o.kem)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMessage, err)
		}
		encapsulate := s.encapsulate
		if encapsulate == nil {
			encapsulate = (*mlkem.EncapsulationKey768).Encapsulate
		}
		var ciphertext []byte
		k, ciphertext = encapsulate(kem)
		msg = append(msg, ciphertext...)
	}
	r := s.derive(choose(costs, o.costs), offer, msg, x, k)
	r.keys.Mask = o.maskKey()
	return &Answer{
		Keys: r.keys, Message: append(msg, r.initiatorFinished...),
		confirm: append([]byte{kindConfirm}, r.responderFinished...),
	}, nil
}

// Confirmed tells whether message is the CONFIRM of the other end, which has the same keys then.
func (a *Answer) Confirmed(message []byte) bool {
	return subtle.ConstantTimeCompare(message, a.confirm) == 1
}

// appendMask appends the key of this end's mask, if that is told.
func (s *Session) appendMask(dst []byte) []byte {
	if s.Mask == nil {
		return dst
	}
	return append(dst, s.Mask[:]...)
}

// maskKey is the key of the mask of the end that has sent m, nil if it told none.
func (m *message) maskKey() *mask.Key {
	if m.mask == nil {
		return nil
	}
	k := mask.Key(m.mask)
	return &k
}

// result is what follows from the secrets and the transcript.
type result struct {
	keys                                 Keys
	initiatorFinished, responderFinished []byte
}

// derive makes the keys. answer is the ANSWER without finished; x and k are the secrets of X25519 and ML-KEM.
func (s *Session) derive(c Cipher, offer, answer, x, k []byte) result {
	h := sha512.New()
	h.Write([]byte(prefix + "session"))
	for _, part := range [][]byte{s.Label, s.InitiatorKey[:], s.ResponderKey[:], s.InitiatorKEX, s.ResponderKEX, offer, answer} {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(part))))
		h.Write(part)
	}
	transcript := string(h.Sum(nil))

	secret := append([]byte(nil), s.Secret...)
	secret = append(append(secret, x...), k...)
	prk, err := hkdf.Extract(sha512.New, secret, nil)
	if err != nil {
		panic("hybrid: " + err.Error()) // only with a hash that FIPS mode forbids
	}
	expand := func(what string, size int) []byte {
		out, err := hkdf.Expand(sha512.New, prk, prefix+what+transcript, size)
		if err != nil {
			panic("hybrid: " + err.Error()) // only if size is too large
		}
		return out
	}
	key := func(who string) (key Key) {
		b := expand(who+" key", KeySize+IVSize)
		copy(key.Key[:], b)
		copy(key.IV[:], b[KeySize:])
		return key
	}
	return result{
		keys:              Keys{Cipher: c, PostQuantum: len(k) > 0, Initiator: key("initiator"), Responder: key("responder")},
		initiatorFinished: expand("initiator finished", finishedSize),
		responderFinished: expand("responder finished", finishedSize),
	}
}

func newPoint(rand io.Reader) (*ecdh.PrivateKey, error) {
	var seed [pointSize]byte
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}
	return ecdh.X25519().NewPrivateKey(seed[:])
}

// shared refuses points of small order.
func shared(own *ecdh.PrivateKey, point []byte) ([]byte, error) {
	p, err := ecdh.X25519().NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	x, err := own.ECDH(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return x, nil
}
