package roster

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"tincan/internal/keys"
)

// crockford is the base32 of Douglas Crockford: without I, L, O and U, which are mistaken for
// other characters.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const groupLen = 4

// Identity is the key by which a member is known: that of tinc 1.1, or the hash of the RSA key of a node that speaks tinc 1.0 only.
func Identity(key keys.PublicKey, rsa [32]byte) [32]byte {
	if key == (keys.PublicKey{}) {
		return rsa
	}
	return key
}

// Fingerprint is how people compare a key, or an id: 100 bits of a hash, in five groups of four
// characters.
func Fingerprint[T ~[32]byte](key T) string {
	h := sha256.Sum256(append([]byte("tincan fingerprint v1\x00"), key[:]...))
	return grouped(base32(h[:13])[:20])
}

// ParseFingerprint brings a fingerprint that somebody has typed into the form of [Fingerprint]:
// small letters, blanks or nothing between the groups, and letters that look like digits are
// understood.
func ParseFingerprint(s string) (string, error) {
	text, err := typed(s)
	if err != nil || len(text) != 20 {
		return "", fmt.Errorf("fingerprint %.40q: not five groups of four letters or digits", s)
	}
	return grouped(text), nil
}

// RecoverySecret is what a recovery key is made from: on paper, and nowhere else.
type RecoverySecret [20]byte

// String hides the secret.
func (RecoverySecret) String() string { return "[redacted]" }

// GoString hides the secret.
func (RecoverySecret) GoString() string { return "[redacted]" }

// Key returns the key pair.
func (s RecoverySecret) Key() *keys.PrivateKey {
	return keys.FromSeed(sha256.Sum256(append([]byte("tincan recovery key v1\x00"), s[:]...)))
}

// Text returns the secret for the paper: eight groups of four characters, and one by which a
// slip is noticed.
func (s RecoverySecret) Text() string { return grouped(base32(s[:]) + s.checksum()) }

func (s RecoverySecret) checksum() string {
	h := sha256.Sum256(append([]byte("tincan recovery checksum v1\x00"), s[:]...))
	return base32(h[:3])[:groupLen]
}

// recoveryGroups is how many groups a recovery key has on paper.
const recoveryGroups = 9

// RecoveryError says what is wrong with a recovery key that somebody has typed, without showing any of it.
type RecoveryError struct {
	Group int // which group, from 1; 0: that cannot be told
	What  string
}

func (e *RecoveryError) Error() string {
	if e.Group == 0 {
		return "the recovery key " + e.What
	}
	return fmt.Sprintf("group %d of the recovery key %s", e.Group, e.What)
}

// ParseRecoverySecret reads what [RecoverySecret.Text] has written and somebody has typed. The error is a [*RecoveryError].
func ParseRecoverySecret(s string) (RecoverySecret, error) {
	groups := strings.FieldsFunc(s, func(c rune) bool { return c == '-' || c == ' ' || c == '\t' || c == '\n' || c == '\r' })
	text := ""
	for i, group := range groups {
		plain, err := typed(group)
		switch {
		case err != nil:
			return RecoverySecret{}, &RecoveryError{i + 1, "has a character that is no letter from A to Z (but U) and no digit"}
		case len(groups) == recoveryGroups && len(plain) != groupLen:
			return RecoverySecret{}, &RecoveryError{i + 1, fmt.Sprintf("has %d characters in place of %d", len(plain), groupLen)}
		}
		text += plain
	}
	if len(text) != recoveryGroups*groupLen {
		return RecoverySecret{}, &RecoveryError{0, fmt.Sprintf("has %d groups of %d letters or digits, and this has %d characters", recoveryGroups, groupLen, len(text))}
	}
	if secret, ok := recoverySecret(text); ok {
		return secret, nil
	}
	if group := slip(text); group > 0 {
		return RecoverySecret{}, &RecoveryError{group, "has a wrong character, most likely"}
	}
	return RecoverySecret{}, &RecoveryError{0, "has a mistake in it: its last group does not fit the others"}
}

// recoverySecret reads 36 characters, and tells whether the checksum is right.
func recoverySecret(text string) (RecoverySecret, bool) {
	const n = (recoveryGroups - 1) * groupLen
	secret := RecoverySecret(unbase32(text[:n]))
	return secret, secret.checksum() == text[n:]
}

// slip finds the group with the one character that has to be another one, or the two neighbours that have to be swapped,
// for the checksum to be right; 0 if there is none.
func slip(text string) int {
	try := []byte(text)
	for i := range try {
		for _, c := range []byte(crockford) {
			try[i] = c
			if _, ok := recoverySecret(string(try)); ok {
				return i/groupLen + 1
			}
		}
		try[i] = text[i]
		if i+1 < len(try) {
			try[i], try[i+1] = text[i+1], text[i]
			if _, ok := recoverySecret(string(try)); ok {
				return i/groupLen + 1
			}
			try[i], try[i+1] = text[i], text[i+1]
		}
	}
	return 0
}

// InvitationKey returns the key pair of an invitation, from the secret part of its URL.
func InvitationKey(secret []byte) *keys.PrivateKey {
	return keys.FromSeed(sha256.Sum256(append([]byte("tincan invitation key v1\x00"), secret...)))
}

// base32 writes b, the most significant bit first, and fills up with zero bits.
func base32(b []byte) string {
	var out strings.Builder
	acc, bits := uint(0), 0
	for _, c := range b {
		acc, bits = acc<<8|uint(c), bits+8
		for bits >= 5 {
			bits -= 5
			out.WriteByte(crockford[acc>>bits&31])
		}
	}
	if bits > 0 {
		out.WriteByte(crockford[acc<<(5-bits)&31])
	}
	return out.String()
}

// unbase32 reads characters of crockford, and drops the bits that fill no byte.
func unbase32(s string) []byte {
	var out []byte
	acc, bits := uint(0), 0
	for i := range len(s) {
		acc, bits = acc<<5|uint(strings.IndexByte(crockford, s[i])), bits+5
		if bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
		}
	}
	return out
}

// typed brings text that somebody has typed into characters of crockford without groups.
func typed(s string) (string, error) {
	s = strings.NewReplacer("-", "", " ", "", "\t", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(strings.TrimSpace(s)))
	for i := range len(s) {
		if strings.IndexByte(crockford, s[i]) < 0 {
			return "", errors.New("a character that is none of it")
		}
	}
	return s, nil
}

// grouped puts a dash after each four characters.
func grouped(s string) string {
	var groups []string
	for ; len(s) > groupLen; s = s[groupLen:] {
		groups = append(groups, s[:groupLen])
	}
	return strings.Join(append(groups, s), "-")
}
