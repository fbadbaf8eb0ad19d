package legacy

import "fmt"

// OpenSSL's numbers of the algorithms that tinc 1.0 nodes announce.
const (
	NoCipher  = 0
	TripleDES = 44  // des-ede3-cbc
	Blowfish  = 91  // bf-cbc
	AES128CBC = 419 // aes-128-cbc
	AES192CBC = 423
	AES256CBC = 427

	BlowfishOFB = 94 // meta connections of tinc 1.0.29 and older
	AES128CFB   = 421
	AES192CFB   = 425
	AES256CFB   = 429

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

// Suite is what the receiver of data asks the sender to use.
type Suite struct {
	Cipher, Digest int // OpenSSL's numbers, 0: none
	MACLen         int // bytes of the message code that are sent
	Compression    int // level, see package compress
}

// DefaultSuite is what we ask for unless the configuration says otherwise.
var DefaultSuite = Suite{Cipher: AES256CBC, Digest: SHA256, MACLen: DefaultMACLen}

// Policy says which weak choices are allowed, because the configuration names
// them. The zero value allows none.
type Policy struct {
	Blowfish, TripleDES, NoCipher bool
	SHA1, MD5, NoDigest           bool // NoDigest: also message codes of less than 4 bytes
	ShortRSA                      bool // moduli of 1024 to 2047 bits
	OldMeta                       bool // the meta connection of tinc 1.0.29 and older
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
		OldMeta:   p.OldMeta || q.OldMeta,
	}
}

// ErrWeak is the error for a choice that is allowed only where the configuration
// names it. What says what it is ("Cipher blowfish"), Setting the line that would
// allow it ("Cipher = blowfish").
type ErrWeak struct{ What, Setting string }

func (e *ErrWeak) Error() string { return fmt.Sprintf("%s is too weak", e.What) }

// SuiteFromConfig makes a suite of the words of the configuration. Empty words
// and a MAC length below zero stand for what we prefer.
func SuiteFromConfig(cipher, digest string, maclen, compression int) (Suite, error) {
	return DefaultSuite, nil
}

// PolicyFromConfig returns what is allowed because it is named: the words of
// Cipher and Digest, and a MAC length (below zero: none is named).
func PolicyFromConfig(cipher, digest string, maclen int) Policy { return Policy{} }
