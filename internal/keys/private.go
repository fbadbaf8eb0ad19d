package keys

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha512"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// PrivateKey is an expanded Ed25519 private key. It prints as "[redacted]".
type PrivateKey struct {
	scalar [32]byte // clamped, little endian
	prefix [32]byte // from which the nonces of signatures are made
	public PublicKey
}

// Generate makes a key from 32 bytes of rand.
func Generate(rand io.Reader) (*PrivateKey, error) {
	var seed [32]byte
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return nil, fmt.Errorf("making an Ed25519 key: %w", err)
	}
	return FromSeed(seed), nil
}

// FromSeed expands seed as tinc and RFC 8032 do.
func FromSeed(seed [32]byte) *PrivateKey {
	h := sha512.Sum512(seed[:])
	h[0] &= 248
	h[31] = h[31]&63 | 64
	k := &PrivateKey{scalar: [32]byte(h[:32]), prefix: [32]byte(h[32:])}
	k.public = k.derivePublic()
	return k
}

// fromExpanded makes a key of the 96 bytes that tinc stores: expanded private
// key and public key. The two must belong together: signing with a foreign
// public key gives the private one away.
func fromExpanded(b *[96]byte) (*PrivateKey, error) {
	k := &PrivateKey{
		scalar: [32]byte(b[:32]),
		prefix: [32]byte(b[32:64]),
		public: PublicKey(b[64:]),
	}
	if k.derivePublic() != k.public {
		return nil, fmt.Errorf("the private and the public half of the key do not belong together")
	}
	return k, nil
}

func (k *PrivateKey) derivePublic() PublicKey {
	return PublicKey(timesBase(reduced(k.scalar[:])).Bytes())
}

// Public returns the public half.
func (k *PrivateKey) Public() PublicKey { return k.public }

// Sign returns the Ed25519 signature (RFC 8032) of msg.
func (k *PrivateKey) Sign(msg []byte) [64]byte {
	r := hashed(k.prefix[:], msg)
	point := timesBase(r).Bytes()
	challenge := hashed(point, k.public[:], msg)
	s := new(edwards25519.Scalar).MultiplyAdd(challenge, reduced(k.scalar[:]), r)
	var sig [64]byte
	copy(sig[:32], point)
	copy(sig[32:], s.Bytes())
	return sig
}

// Secret derives a secret for some other purpose, which label names. Only the owner of the key can.
func (k *PrivateKey) Secret(label string) [32]byte {
	mac := hmac.New(sha512.New, k.prefix[:])
	mac.Write([]byte("tincan secret " + label))
	return [32]byte(mac.Sum(nil))
}

// Shared returns the X25519 secret of k and the owner of pub, whose Edwards
// point is first mapped to the Montgomery curve (tinc 1.1, key agreement).
// As in tinc nothing is checked; a degenerate pub gives 32 zero bytes, which
// callers must not use as a secret.
func (k *PrivateKey) Shared(pub PublicKey) [32]byte {
	var y, num, den field.Element
	if _, err := y.SetBytes(pub[:]); err != nil { // ignores the sign bit, reduces
		return [32]byte{}
	}
	one := new(field.Element).One()
	num.Add(one, &y)
	den.Subtract(one, &y)
	u := num.Multiply(&num, den.Invert(&den)) // 1/0 counts as 0

	priv, err := ecdh.X25519().NewPrivateKey(k.scalar[:])
	if err != nil {
		return [32]byte{}
	}
	peer, err := ecdh.X25519().NewPublicKey(u.Bytes())
	if err != nil {
		return [32]byte{}
	}
	secret, err := priv.ECDH(peer) // its only error is an all-zero result
	if err != nil {
		return [32]byte{}
	}
	return [32]byte(secret)
}

const redacted = "[redacted]"

// String hides the key.
func (PrivateKey) String() string { return redacted }

// GoString hides the key.
func (PrivateKey) GoString() string { return redacted }

// LogValue hides the key.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format hides the key, whatever the verb.
func (PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// tableAfter is after how many multiplications of the base point the library's table for it is used: that makes each 50 µs
// cheaper, but costs 1.7 ms once. A node that starts needs four or five.
const tableAfter = 30

var multiplied atomic.Int32

// timesBase is s times the base point, in constant time.
func timesBase(s *edwards25519.Scalar) *edwards25519.Point {
	if multiplied.Load() < tableAfter {
		multiplied.Add(1)
		return new(edwards25519.Point).ScalarMult(s, edwards25519.NewGeneratorPoint())
	}
	return new(edwards25519.Point).ScalarBaseMult(s)
}

// reduced returns the 256-bit little-endian number b modulo the group order.
func reduced(b []byte) *edwards25519.Scalar {
	var wide [64]byte
	copy(wide[:], b)
	return uniform(wide[:])
}

// hashed returns the SHA-512 of the parts, modulo the group order.
func hashed(parts ...[]byte) *edwards25519.Scalar {
	h := sha512.New()
	for _, p := range parts {
		h.Write(p)
	}
	return uniform(h.Sum(nil))
}

func uniform(wide []byte) *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetUniformBytes(wide)
	if err != nil {
		panic(err) // only for another length than 64
	}
	return s
}
