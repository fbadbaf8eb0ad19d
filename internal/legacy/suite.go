package legacy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"strconv"
	"strings"

	//lint:ignore SA1019 only where the configuration names it
	"golang.org/x/crypto/blowfish"

	"tincan/internal/compress"
)

// OpenSSL's numbers of the algorithms that nodes announce.
const (
	NoCipher  = 0
	TripleDES = 44
	Blowfish  = 91
	AES128CBC = 419
	AES192CBC = 423
	AES256CBC = 427

	NoDigest = 0
	MD5      = 4
	SHA1     = 64
	SHA256   = 672
	SHA384   = 673
	SHA512   = 674
	SHA224   = 675
)

// DefaultMACLen is the length of the message code that we ask for, in bytes.
// tinc's own is 4, and every tinc takes more if asked to.
const DefaultMACLen = 16

// minMACLen is the shortest message code that is not called weak.
const minMACLen = 4

// Suite is what the receiver of data asks the sender to use.
type Suite struct {
	Cipher, Digest int // OpenSSL's numbers, 0: none
	MACLen         int // bytes of the message code that are sent
	Compression    int // level, see package compress
}

// DefaultSuite is what we ask for unless the configuration says otherwise.
var DefaultSuite = Suite{Cipher: AES256CBC, Digest: SHA256, MACLen: DefaultMACLen}

// dataCipher is a cipher for data packets. All have a 16-byte block and an IV of
// one block, except where it says otherwise.
type dataCipher struct {
	number     int
	names      []string // of the configuration, ours first
	key, block int      // bytes
	make       func(key []byte) (cipher.Block, error)
}

var dataCiphers = []dataCipher{
	{AES256CBC, []string{"aes-256-cbc", "aes256", "aes-256"}, 32, 16, aes.NewCipher},
	{AES192CBC, []string{"aes-192-cbc", "aes192", "aes-192"}, 24, 16, aes.NewCipher},
	{AES128CBC, []string{"aes-128-cbc", "aes128", "aes-128"}, 16, 16, aes.NewCipher},
	{Blowfish, []string{"blowfish", "bf-cbc", "bf"}, 16, 8, newBlowfish},
	{TripleDES, []string{"des-ede3-cbc", "des3"}, 24, 8, des.NewTripleDESCipher},
}

func newBlowfish(key []byte) (cipher.Block, error) { return blowfish.NewCipher(key) }

type digest struct {
	number int
	names  []string
	size   int // bytes
	make   func() hash.Hash
}

var digests = []digest{
	{SHA256, []string{"sha256", "sha2-256", "sha-256"}, sha256.Size, sha256.New},
	{SHA224, []string{"sha224", "sha2-224", "sha-224"}, sha256.Size224, sha256.New224},
	{SHA384, []string{"sha384", "sha2-384", "sha-384"}, sha512.Size384, sha512.New384},
	{SHA512, []string{"sha512", "sha2-512", "sha-512"}, sha512.Size, sha512.New},
	{SHA1, []string{"sha1", "sha-1"}, sha1.Size, sha1.New},
	{MD5, []string{"md5"}, md5.Size, md5.New},
}

// others are algorithms that nodes may announce and that we do not have: what a
// message calls them.
var others = map[int]string{
	37: "rc2-cbc", 5: "rc4", 108: "cast5-cbc", 751: "camellia-128-cbc", 752: "camellia-192-cbc",
	753: "camellia-256-cbc", 777: "seed-cbc", 418: "aes-128-ecb", 422: "aes-192-ecb", 426: "aes-256-ecb",
	420: "aes-128-ofb", 424: "aes-192-ofb", 428: "aes-256-ofb", 421: "aes-128-cfb", 425: "aes-192-cfb",
	429: "aes-256-cfb", 93: "bf-cfb", 94: "bf-ofb", 904: "aes-128-ctr", 905: "aes-192-ctr", 906: "aes-256-ctr",
	895: "aes-128-gcm", 898: "aes-192-gcm", 901: "aes-256-gcm", 1018: "chacha20-poly1305", 1019: "chacha20",
	117: "ripemd160", 804: "whirlpool", 1056: "blake2b512", 1057: "blake2s256", 1097: "sha3-256", 257: "md4",
}

// nameOf returns what to call an algorithm that we do not have.
func nameOf(number int) string {
	if name := others[number]; name != "" {
		return name
	}
	return "with OpenSSL's number " + strconv.Itoa(number)
}

func cipherOf(number int) (dataCipher, error) {
	for _, c := range dataCiphers {
		if c.number == number {
			return c, nil
		}
	}
	return dataCipher{}, fmt.Errorf("the cipher %s is not supported", nameOf(number))
}

func digestOf(number int) (digest, error) {
	for _, d := range digests {
		if d.number == number {
			return d, nil
		}
	}
	return digest{}, fmt.Errorf("the digest %s is not supported", nameOf(number))
}

// cipherNamed and digestNamed find the number that a word of the configuration
// stands for.
func cipherNamed(word string) (int, bool) {
	word = strings.ToLower(word)
	if word == "none" {
		return NoCipher, true
	}
	for _, c := range dataCiphers {
		for _, name := range c.names {
			if name == word {
				return c.number, true
			}
		}
	}
	return 0, false
}

func digestNamed(word string) (int, bool) {
	word = strings.ToLower(word)
	if word == "none" {
		return NoDigest, true
	}
	for _, d := range digests {
		for _, name := range d.names {
			if name == word {
				return d.number, true
			}
		}
	}
	return 0, false
}

// SuiteFromConfig makes a suite of the words of the configuration. Empty words
// and a MAC length below zero stand for what we prefer.
func SuiteFromConfig(cipher, digest string, maclen, compression int) (Suite, error) {
	s := DefaultSuite
	var ok bool
	if cipher != "" {
		if s.Cipher, ok = cipherNamed(cipher); !ok {
			return Suite{}, fmt.Errorf("the cipher %.40q is not one of aes-256-cbc, aes-192-cbc, aes-128-cbc, blowfish, des-ede3-cbc, none", cipher)
		}
	}
	if digest != "" {
		if s.Digest, ok = digestNamed(digest); !ok {
			return Suite{}, fmt.Errorf("the digest %.40q is not one of sha256, sha224, sha384, sha512, sha1, md5, none", digest)
		}
	}
	if maclen >= 0 {
		s.MACLen = maclen
	}
	if s.Digest == NoDigest {
		s.MACLen = 0 // tinc 1.1 closes the connection if there is a length without a digest
	}
	s.Compression = compression
	return s, s.valid()
}

// valid tells why s cannot be used, whatever the policy.
func (s Suite) valid() error {
	if s.Cipher != NoCipher {
		if _, err := cipherOf(s.Cipher); err != nil {
			return err
		}
	}
	size := 0
	if s.Digest != NoDigest {
		d, err := digestOf(s.Digest)
		if err != nil {
			return err
		}
		size = d.size
	}
	switch {
	case s.MACLen < 0, s.Digest != NoDigest && s.MACLen > size:
		return fmt.Errorf("the MAC length %d does not fit the digest, which has %d bytes", s.MACLen, size)
	case s.Compression < compress.None || s.Compression > compress.MaxLegacy:
		return fmt.Errorf("the compression level %d is not supported, only 0 to %d", s.Compression, compress.MaxLegacy)
	}
	return nil
}

// Policy says which weak choices are allowed, because the configuration names
// them. The zero value allows none.
type Policy struct {
	Blowfish, TripleDES, NoCipher bool
	SHA1, MD5, NoDigest           bool // NoDigest: also message codes of less than 4 bytes
	ShortRSA                      bool // moduli of 1024 to 2047 bits
}

// PolicyFromConfig returns what is allowed because the configuration names it: the
// words of Cipher and Digest, a MAC length (below zero: none is named), and whether
// short RSA keys are allowed.
func PolicyFromConfig(cipher, digest string, maclen int, shortRSA bool) Policy {
	p := Policy{ShortRSA: shortRSA, NoDigest: maclen >= 0 && maclen < minMACLen}
	switch number, ok := cipherNamed(cipher); {
	case !ok:
	case number == Blowfish:
		p.Blowfish = true
	case number == TripleDES:
		p.TripleDES = true
	case number == NoCipher:
		p.NoCipher = true
	}
	switch number, ok := digestNamed(digest); {
	case !ok:
	case number == SHA1:
		p.SHA1 = true
	case number == MD5:
		p.MD5 = true
	case number == NoDigest:
		p.NoDigest = true
	}
	return p
}

// With returns what p or q allows.
func (p Policy) With(q Policy) Policy {
	return Policy{
		Blowfish:  p.Blowfish || q.Blowfish,
		TripleDES: p.TripleDES || q.TripleDES,
		NoCipher:  p.NoCipher || q.NoCipher,
		SHA1:      p.SHA1 || q.SHA1,
		MD5:       p.MD5 || q.MD5,
		NoDigest:  p.NoDigest || q.NoDigest,
		ShortRSA:  p.ShortRSA || q.ShortRSA,
	}
}

// ErrWeak is the error for a choice that is allowed only where the configuration
// names it.
type ErrWeak struct {
	What    string // what is weak, as part of a sentence: "the cipher blowfish"
	Setting string // the line that would allow it: "Cipher = blowfish"
}

func (e *ErrWeak) Error() string {
	return fmt.Sprintf("%s is too weak and not allowed by %q", e.What, e.Setting)
}

// Weak returns an [ErrWeak] if s is weak in a way that p does not allow.
func (s Suite) Weak(p Policy) error {
	switch {
	case s.Cipher == Blowfish && !p.Blowfish:
		return &ErrWeak{"the cipher blowfish", "Cipher = blowfish"}
	case s.Cipher == TripleDES && !p.TripleDES:
		return &ErrWeak{"the cipher des-ede3-cbc", "Cipher = des-ede3-cbc"}
	case s.Cipher == NoCipher && !p.NoCipher:
		return &ErrWeak{"no encryption of packets", "Cipher = none"}
	case s.Digest == NoDigest && !p.NoDigest:
		return &ErrWeak{"no authentication of packets", "Digest = none"}
	case s.Digest == SHA1 && !p.SHA1:
		return &ErrWeak{"the digest sha1", "Digest = sha1"}
	case s.Digest == MD5 && !p.MD5:
		return &ErrWeak{"the digest md5", "Digest = md5"}
	case s.MACLen < minMACLen && !p.NoDigest:
		return &ErrWeak{
			fmt.Sprintf("a MAC length of %d bytes", s.MACLen),
			fmt.Sprintf("MACLength = %d", s.MACLen),
		}
	}
	return nil
}

// String names the suite for people.
func (s Suite) String() string {
	cipherName, digestName := "none", "none"
	if c, err := cipherOf(s.Cipher); err == nil {
		cipherName = c.names[0]
	}
	if d, err := digestOf(s.Digest); err == nil {
		digestName = d.names[0]
	}
	return fmt.Sprintf("cipher %s, digest %s, MAC length %d, compression %d", cipherName, digestName, s.MACLen, s.Compression)
}

// DigestLen returns the length in bytes of the digest that a word of the
// configuration names; that of the default for an empty word, 0 for none.
func DigestLen(word string) int {
	number := DefaultSuite.Digest
	if word != "" {
		number, _ = digestNamed(word)
	}
	d, err := digestOf(number)
	if err != nil {
		return 0
	}
	return d.size
}
