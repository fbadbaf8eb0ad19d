package bootnode

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Secret is the text of a token, which both sides know. It prints as [redacted].
type Secret struct{ text string }

// MaxSecret is the longest text of a token, in bytes.
const MaxSecret = 1024

// ParseSecret takes a token as the user has given it. One that was made by [NewSecret] may be
// written as it was read out: in any case, in groups with spaces or dashes between them, with
// 0 for o and 1 for l or i. All others are taken letter by letter.
func ParseSecret(text string) (Secret, error) {
	switch {
	case text == "":
		return Secret{}, errors.New("the token is empty")
	case len(text) > MaxSecret:
		return Secret{}, errors.New("the token is longer than 1024 bytes")
	}
	for _, one := range []string{"l", "i"} {
		if s := (Secret{strings.NewReplacer("0", "o", "1", one).Replace(bare(text))}); s.generated() {
			return s, nil
		}
	}
	return Secret{text}, nil
}

// bare is a text without what only helps to read it.
func bare(text string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "\t", "").Replace(text))
}

// Mistyped tells whether the token looks like one that was made by [NewSecret], but is none. A person
// may have chosen it all the same.
func (s Secret) Mistyped() bool {
	b := bare(s.text)
	return len(b) == generatedEncoding.EncodedLen(generatedRandom+generatedCheck) && !s.generated() &&
		strings.Trim(b, "abcdefghijklmnopqrstuvwxyz01234567") == ""
}

// Groups is the token in groups of four, to be read out; as it is if a person has thought of it. It is as secret
// as [Secret.Reveal].
func (s Secret) Groups() string {
	if !s.generated() {
		return s.text
	}
	var groups []string
	for text := s.text; text != ""; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return strings.Join(groups, " ")
}

// A generated token is base32 of 17 random bytes and 3 bytes of their hash, by
// which it is recognised as generated.
const (
	generatedRandom = 17
	generatedCheck  = 3
)

var generatedEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewSecret generates a token: 32 letters and digits with 136 random bits.
func NewSecret(rand io.Reader) (Secret, error) {
	b := make([]byte, generatedRandom, generatedRandom+generatedCheck)
	if _, err := io.ReadFull(rand, b); err != nil {
		return Secret{}, err
	}
	sum := sha256.Sum256(b)
	return Secret{generatedEncoding.EncodeToString(append(b, sum[:generatedCheck]...))}, nil
}

// generated tells whether the token came from NewSecret: then it has so many
// random bits that nobody needs to slow down those who guess.
func (s Secret) generated() bool {
	b, err := generatedEncoding.DecodeString(s.text)
	if err != nil || len(b) != generatedRandom+generatedCheck {
		return false
	}
	sum := sha256.Sum256(b[:generatedRandom])
	return string(sum[:generatedCheck]) == string(b[generatedRandom:])
}

// Reveal returns the text, for the one place where a person has to see it.
func (s Secret) Reveal() string { return s.text }

// String returns "[redacted]".
func (Secret) String() string { return "[redacted]" }

// GoString returns "[redacted]".
func (Secret) GoString() string { return "[redacted]" }

// LogValue is "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// strongBits is what a token of the old protocols has to have: its guesses cost
// one hash each, and one recorded join is enough to check them.
const strongBits = 80

// Weak tells whether the text may be guessed by somebody who has recorded a
// join of an old protocol. It judges by length and kind of characters, and
// takes words for words.
func (s Secret) Weak() bool { return !s.generated() && s.bits() < strongBits }

func (s Secret) bits() float64 {
	var lower, upper, digit, other, vowels int
	distinct := map[rune]bool{}
	n := 0
	text := s.text
	if period := strings.Index((text + text)[min(1, len(text)):], text) + 1; period > 0 {
		text = text[:min(period, len(text))] // the same again adds nothing
	}
	for _, r := range text {
		n++
		distinct[r] = true
		switch {
		case r >= 'a' && r <= 'z':
			lower++
		case r >= 'A' && r <= 'Z':
			upper++
		case r >= '0' && r <= '9':
			digit++
		default:
			other++
		}
		if strings.ContainsRune("aeiouAEIOU", r) {
			vowels++
		}
	}
	_, err := hex.DecodeString(text)
	var each float64
	switch {
	case n == 0:
		return 0
	case lower+upper+digit == 0 || digit == n:
		each = 2.5
	case err == nil && digit > 0:
		each = 4
	case digit == 0 && (upper == 0 || lower == 0 || 4*vowels > n): // words
		each = 1.5
		if vowels*4 < n && other == 0 && n >= 32 {
			each = 4.5 // no language has so few vowels
		}
	case digit > 0:
		each = 4.5
		if digit*8 < n { // words followed by a number
			each = 2
		}
	default:
		each = 3.5
	}
	// Repetition adds nothing: no more than three of each character count.
	return each * math.Min(float64(n), float64(3*len(distinct)))
}

// oldKey is the key of both old protocols.
func (s Secret) oldKey() [32]byte { return sha256.Sum256([]byte(s.text)) }

// Cost of stretching a token that a person has thought of: the second choice of
// RFC 9106, about a tenth of a second.
const (
	stretchTime    = 3
	stretchMemory  = 64 << 10 // KiB
	stretchThreads = 4
)

// saltSize is the size of a boot node's salt, in bytes.
const saltSize = 16

// shared derives the key that both sides mix into the handshake.
func (s Secret) shared(salt []byte) [32]byte {
	if s.generated() {
		return sha256.Sum256(append(append([]byte("tincan generated token\x00"), salt...), s.text...))
	}
	return [32]byte(argon2.IDKey([]byte(s.text), salt, stretchTime, stretchMemory, stretchThreads, 32))
}

// Invitation derives the secret of the invitation that a token is in a signed network, from which everybody who is told the
// token derives the same. All members know what follows from it, so one that a person has thought of is stretched here, too.
func (s Secret) Invitation(network string) []byte {
	label := []byte("tincan token invitation v1\x00" + strings.ToLower(network) + "\x00")
	if s.generated() {
		sum := sha256.Sum256(append(label, s.text...))
		return sum[:]
	}
	salt := sha256.Sum256(label)
	return argon2.IDKey([]byte(s.text), salt[:saltSize], stretchTime, stretchMemory, stretchThreads, 32)
}

// tokenID is a name for a token that tells nothing about it.
func tokenID(shared [32]byte) string {
	sum := sha256.Sum256(append([]byte("tincan token id\x00"), shared[:]...))
	return hex.EncodeToString(sum[:4])
}
