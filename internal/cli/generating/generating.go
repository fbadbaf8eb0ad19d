// Package generating makes RSA keys before the eyes of somebody who waits for them.
package generating

import (
	"fmt"

	"tincan/internal/cli/terminal"
	"tincan/internal/generate"
	"tincan/internal/keys"
)

// RSA makes a key and says so as tinc does. Dots show that it is still at work.
func RSA(bits int, s terminal.Streams) (*keys.RSAPrivateKey, error) {
	fmt.Fprintf(s.Err, "Generating %d bits keys:\n", bits)
	dots := false
	key, err := generate.RSAKey(bits, func() {
		dots = true
		fmt.Fprint(s.Err, ".")
	})
	if dots {
		fmt.Fprintln(s.Err)
	}
	if err == nil {
		fmt.Fprintln(s.Err, "Done.")
	}
	return key, err
}

// Warn says in which files a new key has taken the place of an old one.
func Warn(replaced []string, s terminal.Streams) {
	for _, path := range replaced {
		fmt.Fprintf(s.Err, "Warning: old key(s) found and disabled in %s.\n", path)
	}
}
