package generate

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/keys"
)

// StoreKey writes a key pair: the private key to its own file (0600), the
// public one as a line to a host file. Both files may exist; earlier Ed25519
// keys in them are turned into comments, and replaced says in which files.
func StoreKey(key *keys.PrivateKey, private, public string) (replaced []string, err error) {
	line := fmt.Appendf(nil, "Ed25519PublicKey = %s\n", key.Public())
	return store(keys.MarshalPrivatePEM(key), private, line, public, disableKeys)
}

// StorePublicKey writes a public key as a PEM block to a host file. Earlier Ed25519
// keys in it are turned into comments; replaced tells if there were any.
func StorePublicKey(key keys.PublicKey, path string) (replaced bool, err error) {
	return storeHalf(path, keys.MarshalPublicPEM(key), confdir.FileMode, disableKeys)
}

// store appends the private half of a key to one file and the public half to
// another. disable makes earlier keys in a file ineffective and counts them.
func store(privateText []byte, private string, publicText []byte, public string, disable func([]byte) ([]byte, int)) (replaced []string, err error) {
	for _, f := range []struct {
		path string
		text []byte
		mode fs.FileMode
	}{
		{private, privateText, confdir.SecretMode},
		{public, publicText, confdir.FileMode},
	} {
		old, err := storeHalf(f.path, f.text, f.mode, disable)
		if old {
			replaced = append(replaced, f.path)
		}
		if err != nil {
			return replaced, err
		}
	}
	return replaced, nil
}

// storeHalf appends one half of a key to a file.
func storeHalf(path string, key []byte, mode fs.FileMode, disable func([]byte) ([]byte, int)) (replaced bool, err error) {
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return false, err
	}
	text, n := disable(old)
	return n > 0, confdir.WriteFile(path, append(config.EndLine(text), key...), mode)
}

// disableKeys puts a "#" before each line of an Ed25519 key and counts the keys.
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
	return out, n
}
