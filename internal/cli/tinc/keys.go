package tinc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/generate"
	"tincan/internal/keys"
)

func generateKeys(c *call, args []string) error {
	if err := generateRSA(c, args); err != nil {
		return err
	}
	return generateEd25519(c, nil)
}

func generateRSA(c *call, args []string) error {
	bits := generate.DefaultRSABits
	if len(args) > 0 {
		bits, _ = strconv.Atoi(args[0]) // 0 is refused below, as tinc does it
		bits -= bits % 8
	}
	if bits < keys.MinRSABits || bits > keys.MaxRSABits {
		return sentence(fmt.Sprintf("Invalid key size %d specified! It should be between %d and %d bits.", bits, keys.MinRSABits, keys.MaxRSABits))
	}
	if bits < keys.SafeRSABits {
		fmt.Fprintf(c.Err, "WARNING: generating a weak %d bits RSA key! %d or more bits are recommended.\n", bits, keys.SafeRSABits)
	}
	key, err := command.MakeRSA(bits, c.Streams)
	if err != nil {
		return err
	}
	return c.storeKey("RSA", c.layout.RSAPrivateKey(), "rsa_key.pub", func(private, public string) ([]string, error) {
		return generate.StoreRSAKey(key, private, public)
	})
}

func generateEd25519(c *call, _ []string) error {
	fmt.Fprintln(c.Err, "Generating Ed25519 key pair:")
	key, err := keys.Generate(rand.Reader)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Err, "Done.")
	return c.storeKey("Ed25519", c.layout.PrivateKey(), "ed25519_key.pub", func(private, public string) ([]string, error) {
		return generate.StoreKey(key, private, public)
	})
}

// storeKey finds out where a new key goes and has it stored there. nameless is the
// public file of a node that has no name yet.
func (c *call) storeKey(kind, private, nameless string, store func(private, public string) ([]string, error)) error {
	public := filepath.Join(c.layout.ConfBase, nameless)
	if own, err := confdir.OwnName(c.layout); err == nil {
		public = c.layout.Host(own)
	}
	private, err := c.askFile("private "+kind+" key", private)
	if err != nil {
		return err
	}
	if public, err = c.askFile("public "+kind+" key", public); err != nil {
		return err
	}
	replaced, err := store(private, public)
	command.WarnReplaced(replaced, c.Streams)
	if file := new(fs.PathError); errors.As(err, &file) {
		return fmt.Errorf("%w `%s': %w", sentence("Error opening file"), file.Path, file.Err)
	}
	return err
}

// askFile lets a person choose another file.
func (c *call) askFile(what, path string) (string, error) {
	if !c.interactive() {
		return path, nil
	}
	answer, err := c.Ask("Please enter a file to save %s to [%s]: ", what, path)
	if err != nil || answer == "" {
		return path, err
	}
	return filepath.Abs(answer)
}
