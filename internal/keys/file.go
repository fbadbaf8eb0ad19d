package keys

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"tincan/internal/b64"
)

const (
	privateType = "ED25519 PRIVATE KEY"
	publicType  = "ED25519 PUBLIC KEY"
	bytesPerRow = 48 // 64 characters
)

// MarshalPrivatePEM returns the contents of ed25519_key.priv: something that
// looks like PEM, with 96 bytes (expanded private key, public key) in tinc's
// base64. The caller stores it with mode 0600.
func MarshalPrivatePEM(k *PrivateKey) []byte {
	body := make([]byte, 0, 96)
	body = append(body, k.scalar[:]...)
	body = append(body, k.prefix[:]...)
	body = append(body, k.public[:]...)
	return marshal(privateType, body)
}

// MarshalPublicPEM returns k as tinc's public key file has it.
func MarshalPublicPEM(k PublicKey) []byte { return marshal(publicType, k[:]) }

// ParsePrivatePEM reads the contents of ed25519_key.priv, as leniently as tinc
// about line lengths, CR, and what is before and after the key.
func ParsePrivatePEM(text []byte) (*PrivateKey, error) {
	var body [96]byte
	if err := unmarshal(privateType, text, body[:]); err != nil {
		return nil, err
	}
	return fromExpanded(&body)
}

// ParsePublicPEM finds a public key block in text, which may be a whole host
// file.
func ParsePublicPEM(text []byte) (PublicKey, error) {
	var k PublicKey
	err := unmarshal(publicType, text, k[:])
	return k, err
}

func marshal(kind string, body []byte) []byte {
	out := []byte("-----BEGIN " + kind + "-----\n")
	for len(body) > 0 {
		row := body[:min(bytesPerRow, len(body))]
		out = append(b64.AppendEncode(out, row), '\n')
		body = body[len(row):]
	}
	return append(out, "-----END "+kind+"-----\n"...)
}

var errNoKey = errors.New("no such key block found")

func unmarshal(kind string, text []byte, body []byte) error {
	inside, filled := false, 0
	for line := range bytes.Lines(text) {
		s := strings.TrimRight(string(line), "\r\n")
		switch {
		case !inside:
			inside = strings.HasPrefix(s, "-----BEGIN "+kind)
			continue
		case strings.HasPrefix(s, "-----END "):
			return complete(kind, filled, len(body))
		}
		row, err := b64.Decode(s)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if len(row) == 0 || filled+len(row) > len(body) {
			return fmt.Errorf("%s: a line has the wrong length", kind)
		}
		filled += copy(body[filled:], row)
	}
	if !inside {
		return fmt.Errorf("%s: %w", kind, errNoKey)
	}
	return complete(kind, filled, len(body))
}

func complete(kind string, got, want int) error {
	if got != want {
		return fmt.Errorf("%s: %d bytes instead of %d", kind, got, want)
	}
	return nil
}
