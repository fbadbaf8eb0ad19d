// Package node gives nodes their names and their short ids.
//
// It knows nothing of keys, addresses or the mesh.
package node

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Name is the name of a node: one or more of A-Z a-z 0-9 and _. Names are case
// sensitive. A Name that came through [ParseName] is safe to use as a file name
// and as one word of a request.
type Name string

// MaxNameLen is the longest name accepted, in bytes. Names are file names
// (hosts/NAME), so a longer one could not be stored.
const MaxNameLen = 255

// ErrTooLong is wrapped by the error of [ParseName] for a name above [MaxNameLen], which
// other nodes may know and speak of nevertheless.
var ErrTooLong = errors.New("node name is too long")

// ParseName checks s and returns it as a Name.
func ParseName(s string) (Name, error) {
	switch {
	case s == "":
		return "", fmt.Errorf("a node name may not be empty")
	case len(s) > MaxNameLen:
		return "", fmt.Errorf("%w: %d characters instead of at most %d", ErrTooLong, len(s), MaxNameLen)
	}
	for i := 0; i < len(s); i++ {
		if !allowed(s[i]) {
			return "", badName(s)
		}
	}
	return Name(s), nil
}

func allowed(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// badName is the error for a text with characters that names do not have.
type badName string

func (b badName) Error() string {
	return fmt.Sprintf("node name %.64q has a character other than letters, digits and _", string(b))
}

// Hint is for people who have written the name: what they can write in its place.
func (b badName) Hint() string {
	if better := underscored(string(b)); better != "" {
		return fmt.Sprintf("write %.64q", better)
	}
	return ""
}

// underscored is s with "_" in place of dashes, dots and blanks, as tinc makes a name of the host
// name, if that is a name.
func underscored(s string) string {
	s = strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(s)
	if strings.Trim(s, "_") == "" {
		return ""
	}
	for i := range len(s) {
		if !allowed(s[i]) {
			return ""
		}
	}
	return s
}

// Normalise turns a text into a name the way tinc-boot does: in lower case, and
// without everything that is neither a-z nor 0-9. What is left may be empty.
func Normalise(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(s))
}

// ID is the short form of a name in UDP packets: the first six bytes of its SHA-512.
type ID [6]byte

// ID returns the id of the node called n.
func (n Name) ID() ID {
	sum := sha512.Sum512([]byte(n))
	return ID(sum[:6])
}

// IsZero tells whether id is the all-zero id, which in a packet means "from the
// sender of this datagram to its receiver".
func (id ID) IsZero() bool { return id == ID{} }

// String returns id as 12 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }
