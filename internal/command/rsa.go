package command

import (
	"fmt"

	"tincan/internal/generate"
	"tincan/internal/keys"
	"tincan/internal/terminal"
)

// MakeRSA makes a key and says so as tinc does. Dots show that it is still at work.
func MakeRSA(bits int, s terminal.Streams) (*keys.RSAPrivateKey, error) {
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

// WarnReplaced says in which files a new key has taken the place of an old one.
func WarnReplaced(replaced []string, s terminal.Streams) {
	for _, path := range replaced {
		fmt.Fprintf(s.Err, "Warning: old key(s) found and disabled in %s.\n", path)
	}
}
