package generate

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"tincan/internal/config"
	"tincan/internal/keys"
)

// StoreKey writes a key pair: the private key to its own file (0600), the
// public one as a line to a host file. Both files may exist; earlier Ed25519
// keys in them are turned into comments, and replaced says in which files.
func StoreKey(key *keys.PrivateKey, private, public string) (replaced []string, err error) {
	line := fmt.Appendf(nil, "Ed25519PublicKey = %s\n", key.Public())
	for _, f := range []struct {
		path string
		text []byte
		mode fs.FileMode
	}{
		{private, keys.MarshalPrivatePEM(key), config.SecretMode},
		{public, line, config.FileMode},
	} {
		old, err := os.ReadFile(f.path)
		if err != nil && !os.IsNotExist(err) {
			return replaced, err
		}
		text, n := disableKeys(old)
		if n > 0 {
			replaced = append(replaced, f.path)
		}
		if err := config.WriteFile(f.path, append(text, f.text...), f.mode); err != nil {
			return replaced, err
		}
	}
	return replaced, nil
}

// disableKeys puts a "#" before each line of an Ed25519 key and counts the keys.
// The result ends with a newline.
func disableKeys(text []byte) (out []byte, n int) {
	inside := false
	for line := range bytes.Lines(text) {
		s := string(line)
		switch {
		case inside:
			inside = !strings.HasPrefix(s, "-----END")
			out = append(out, '#')
		case strings.HasPrefix(s, "-----BEGIN ") && strings.Contains(s, "ED25519"):
			inside = true
			n++
			out = append(out, '#')
		case len(config.Values(line, "Ed25519PublicKey")) > 0:
			n++
			out = append(out, '#')
		}
		out = append(out, line...)
	}
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return out, n
}
