// Package keys holds the Ed25519 keys of nodes: signing, key agreement, and
// tinc's own file formats for them.
//
// A tinc private key is the expanded form (clamped scalar and nonce prefix),
// from which the seed cannot be recovered; therefore the standard library can
// check its signatures but cannot make them.
package keys

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"filippo.io/edwards25519"

	"tincan/internal/b64"
)

// PublicKey is a compressed Ed25519 point.
type PublicKey [32]byte

// textLen is the length of a public key in tinc's base64.
const textLen = 43

// ParsePublicKey reads the 43 characters of an Ed25519PublicKey line. It does
// not check that the key is a point; see [PublicKey.Valid].
func ParsePublicKey(s string) (PublicKey, error) {
	if len(s) != textLen {
		return PublicKey{}, fmt.Errorf("an Ed25519 public key has %d characters, not %d", textLen, len(s))
	}
	b, err := b64.Decode(s)
	if err != nil {
		return PublicKey{}, fmt.Errorf("Ed25519 public key: %w", err)
	}
	return PublicKey(b), nil
}

// String returns the 43 characters that tinc writes.
func (k PublicKey) String() string { return b64.Encode(k[:]) }

// Verify tells whether sig is a signature of msg by the owner of k. Unlike
// tinc it refuses signatures whose S is not reduced; tinc never makes those.
func (k PublicKey) Verify(msg, sig []byte) bool {
	return len(sig) == ed25519.SignatureSize && ed25519.Verify(k[:], msg, sig)
}

var (
	errNoPoint    = errors.New("the public key is not a point of the curve")
	errSmallOrder = errors.New("the public key is a point of small order, which anybody could sign for")
)

// Valid tells whether k is a canonical point of the curve that is not of small
// order. A key that comes from somebody unknown must be checked like this.
func (k PublicKey) Valid() error {
	p, err := new(edwards25519.Point).SetBytes(k[:])
	if err != nil || !bytes.Equal(p.Bytes(), k[:]) {
		return errNoPoint
	}
	if p.MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return errSmallOrder
	}
	return nil
}
