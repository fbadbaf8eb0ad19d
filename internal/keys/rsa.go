package keys

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"strings"
)

// RSA keys serve the protocol of tinc 1.0 and nothing else. That protocol uses
// RSA without padding, on whole blocks of random bytes.
const (
	// MinRSABits and MaxRSABits limit the length of a modulus. A longer one
	// does not fit into a request.
	MinRSABits = 1024
	MaxRSABits = 8192
	// SafeRSABits is the length below which a key counts as weak.
	SafeRSABits = 2048

	hexExponent = 0xffff // implied where only the modulus is written down

	rsaPrivateType = "RSA PRIVATE KEY" // PKCS#1
	rsaPublicType  = "RSA PUBLIC KEY"
	pkcs8Type      = "PRIVATE KEY"
	pkixType       = "PUBLIC KEY"
)

// RSAPublicKey is the public RSA key of a node.
type RSAPublicKey struct {
	N *big.Int // modulus
	E int      // public exponent: odd, 3 or more
}

// RSAPrivateKey is a private RSA key. It prints as "[redacted]".
type RSAPrivateKey struct {
	public RSAPublicKey
	d      *big.Int
	whole  *rsa.PrivateKey // nil if the primes are not known
}

// GenerateRSA makes a key with a modulus of bits bits, a multiple of 8, and the
// exponent 65537. It takes about a second for 4096 bits. The primes are those of
// crypto/rsa, which since Go 1.26 takes them from the system's own source of
// randomness and not from rand.
func GenerateRSA(rand io.Reader, bits int) (*RSAPrivateKey, error) {
	if bits < MinRSABits || bits > MaxRSABits || bits%8 != 0 {
		return nil, fmt.Errorf("an RSA key has %d to %d bits, a multiple of 8, not %d", MinRSABits, MaxRSABits, bits)
	}
	k, err := rsa.GenerateKey(rand, bits)
	if err != nil {
		return nil, fmt.Errorf("making an RSA key: %w", err)
	}
	return fromRSA(k)
}

func fromRSA(k *rsa.PrivateKey) (*RSAPrivateKey, error) {
	public := RSAPublicKey{N: k.N, E: k.E}
	if err := public.Valid(); err != nil {
		return nil, err
	}
	return &RSAPrivateKey{public: public, d: k.D, whole: k}, nil
}

// Bits returns the length of the modulus in bits.
func (k RSAPublicKey) Bits() int { return k.N.BitLen() }

// Size returns the length of the modulus, and so of a block, in bytes.
func (k RSAPublicKey) Size() int { return (k.N.BitLen() + 7) / 8 }

// Equal tells whether the two are the same key.
func (k RSAPublicKey) Equal(other RSAPublicKey) bool {
	return k.N != nil && other.N != nil && k.N.Cmp(other.N) == 0 && k.E == other.E
}

// Valid tells what is wrong with a key, nil if it can be used.
func (k RSAPublicKey) Valid() error {
	switch {
	case k.N == nil || k.N.Sign() <= 0 || k.N.Bit(0) == 0:
		return errors.New("the modulus of the RSA key is no odd number")
	case k.Bits() < MinRSABits || k.Bits() > MaxRSABits:
		return fmt.Errorf("the RSA key has %d bits; it must have %d to %d", k.Bits(), MinRSABits, MaxRSABits)
	case k.Bits()%8 != 0:
		return fmt.Errorf("the RSA key has %d bits, which is not a multiple of 8", k.Bits())
	case k.E < 3 || k.E%2 == 0:
		return fmt.Errorf("the RSA key has the exponent %d; it must be odd and 3 or more", k.E)
	}
	return nil
}

// Encrypt returns block^E mod N in Size bytes. The block must have Size bytes and
// stand for a number below N; a first byte below 0x80 makes sure of that.
func (k RSAPublicKey) Encrypt(block []byte) ([]byte, error) {
	m, err := k.number(block)
	if err != nil {
		return nil, err
	}
	return m.Exp(m, big.NewInt(int64(k.E)), k.N).FillBytes(make([]byte, k.Size())), nil
}

func (k RSAPublicKey) number(block []byte) (*big.Int, error) {
	if err := k.Valid(); err != nil {
		return nil, err
	}
	if len(block) != k.Size() {
		return nil, fmt.Errorf("an RSA block has %d bytes instead of %d", len(block), k.Size())
	}
	m := new(big.Int).SetBytes(block)
	if m.Cmp(k.N) >= 0 {
		return nil, errors.New("an RSA block is not smaller than the modulus")
	}
	return m, nil
}

// Public returns the public half.
func (k *RSAPrivateKey) Public() RSAPublicKey { return k.public }

// Decrypt undoes Encrypt. math/big does not take the same time for all numbers,
// so what it works on is hidden behind a random factor taken from rand.
func (k *RSAPrivateKey) Decrypt(rand io.Reader, block []byte) ([]byte, error) {
	c, err := k.public.number(block)
	if err != nil {
		return nil, err
	}
	r, inverse, err := k.blinding(rand)
	if err != nil {
		return nil, fmt.Errorf("using the RSA key: %w", err)
	}
	n := k.public.N
	r.Exp(r, big.NewInt(int64(k.public.E)), n)
	c.Mul(c, r).Mod(c, n)
	c.Exp(c, k.d, n)
	c.Mul(c, inverse).Mod(c, n)
	return c.FillBytes(make([]byte, k.public.Size())), nil
}

// blinding returns a random factor and its inverse modulo N.
func (k *RSAPrivateKey) blinding(rand io.Reader) (r, inverse *big.Int, err error) {
	// Eight bytes more than N has: the remainder is as good as uniform.
	b := make([]byte, k.public.Size()+8)
	for {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, nil, err
		}
		r = new(big.Int).SetBytes(b)
		r.Mod(r, k.public.N)
		if inverse = new(big.Int).ModInverse(r, k.public.N); inverse != nil {
			return r, inverse, nil
		}
		// r shares a factor with N. That finds the primes by chance; it will
		// not happen twice.
	}
}

// Hash returns the SHA-256 of the DER form (PKCS #1), by which a roster names the key.
func (k RSAPublicKey) Hash() [32]byte {
	return sha256.Sum256(x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: k.N, E: k.E}))
}

// MarshalPEM returns k as a PKCS#1 block, as it stands in host files.
func (k RSAPublicKey) MarshalPEM() []byte {
	der := x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: k.N, E: k.E})
	return pem.EncodeToMemory(&pem.Block{Type: rsaPublicType, Bytes: der})
}

// MarshalPEM returns the contents of rsa_key.priv (PKCS#1). The caller stores it
// with mode 0600. A key that was given as two numbers has no primes and cannot be
// written like this.
func (k *RSAPrivateKey) MarshalPEM() ([]byte, error) {
	if k.whole == nil {
		return nil, errors.New("the primes of this RSA key are not known")
	}
	der := x509.MarshalPKCS1PrivateKey(k.whole)
	return pem.EncodeToMemory(&pem.Block{Type: rsaPrivateType, Bytes: der}), nil
}

// ErrNoRSAKey means that there is no RSA key in a text, not even a broken one.
var ErrNoRSAKey = errors.New("no RSA key found")

// ParseRSAPublic finds a public key in text, which may be a whole host file:
// PKCS#1 or SubjectPublicKeyInfo.
func ParseRSAPublic(text []byte) (RSAPublicKey, error) {
	for block := range blocks(text) {
		var k *rsa.PublicKey
		var err error
		switch block.Type {
		case rsaPublicType:
			k, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case pkixType:
			k, err = asRSA[*rsa.PublicKey](x509.ParsePKIXPublicKey(block.Bytes))
		default:
			continue
		}
		if err != nil {
			return RSAPublicKey{}, fmt.Errorf("%s: %w", block.Type, err)
		}
		public := RSAPublicKey{N: k.N, E: k.E}
		return public, public.Valid()
	}
	return RSAPublicKey{}, ErrNoRSAKey
}

// ParseRSAPrivate finds a private key in the contents of rsa_key.priv: PKCS#1 or
// PKCS#8, not encrypted.
func ParseRSAPrivate(text []byte) (*RSAPrivateKey, error) {
	for block := range blocks(text) {
		var k *rsa.PrivateKey
		var err error
		switch block.Type {
		case rsaPrivateType:
			k, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case pkcs8Type:
			k, err = asRSA[*rsa.PrivateKey](x509.ParsePKCS8PrivateKey(block.Bytes))
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", block.Type, err)
		}
		return fromRSA(k)
	}
	return nil, ErrNoRSAKey
}

// blocks yields the PEM blocks in text.
func blocks(text []byte) func(yield func(*pem.Block) bool) {
	return func(yield func(*pem.Block) bool) {
		for {
			block, rest := pem.Decode(text)
			if block == nil || !yield(block) {
				return
			}
			text = rest
		}
	}
}

func asRSA[K any](key any, err error) (K, error) {
	k, ok := key.(K)
	if err == nil && !ok {
		err = errors.New("it is not an RSA key")
	}
	return k, err
}

// ParseRSAPublicHex reads the obsolete form "PublicKey = N": the modulus in
// hexadecimal; the exponent is 65535.
func ParseRSAPublicHex(n string) (RSAPublicKey, error) {
	modulus, err := parseHex(n)
	if err != nil {
		return RSAPublicKey{}, fmt.Errorf("the modulus of the RSA key %w", err)
	}
	k := RSAPublicKey{N: modulus, E: hexExponent}
	return k, k.Valid()
}

// ParseRSAPrivateHex reads the obsolete form "PrivateKey = D" together with the
// modulus of "PublicKey = N".
func ParseRSAPrivateHex(d, n string) (*RSAPrivateKey, error) {
	public, err := ParseRSAPublicHex(n)
	if err != nil {
		return nil, err
	}
	exponent, err := parseHex(d)
	if err != nil {
		return nil, fmt.Errorf("the private exponent of the RSA key %w", err)
	}
	// A key that does not undo itself would only fail much later.
	probe := big.NewInt(2)
	probe.Exp(probe, big.NewInt(int64(public.E)), public.N)
	if probe.Exp(probe, exponent, public.N); !probe.IsInt64() || probe.Int64() != 2 {
		return nil, errors.New("the private and the public half of the RSA key do not belong together")
	}
	return &RSAPrivateKey{public: public, d: exponent}, nil
}

func parseHex(s string) (*big.Int, error) {
	s = strings.TrimSpace(s)
	if len(s) > MaxRSABits/4 {
		return nil, fmt.Errorf("has more than %d hexadecimal digits", MaxRSABits/4)
	}
	if len(s)%2 == 1 {
		s = "0" + s
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil, errors.New("is not a hexadecimal number")
	}
	return new(big.Int).SetBytes(b), nil
}

// String hides the key.
func (RSAPrivateKey) String() string { return redacted }

// GoString hides the key.
func (RSAPrivateKey) GoString() string { return redacted }

// LogValue hides the key.
func (RSAPrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format hides the key, whatever the verb.
func (RSAPrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
