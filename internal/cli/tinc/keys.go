package tinc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"tincan/internal/config"
	"tincan/internal/generate"
	"tincan/internal/keys"
)

var errRSA = errors.New("no RSA key was made: this version of tincan does not speak the legacy protocol of tinc 1.0 yet")

func generateRSA(*call, []string) error { return errRSA }

// generateKeys makes what can be made, and says what cannot.
func generateKeys(c *call, args []string) error {
	if err := generateEd25519(c, nil); err != nil {
		return err
	}
	return errRSA
}

func generateEd25519(c *call, _ []string) error {
	fmt.Fprintln(c.Err, "Generating Ed25519 key pair...")
	key, err := keys.Generate(rand.Reader)
	if err != nil {
		return err
	}
	private, public := c.layout.PrivateKey(), filepath.Join(c.layout.ConfBase, "ed25519_key.pub")
	if own, err := config.OwnName(c.layout); err == nil {
		public = c.layout.Host(own)
	}
	if private, err = c.askFile("private Ed25519 key", private); err != nil {
		return err
	}
	if public, err = c.askFile("public Ed25519 key", public); err != nil {
		return err
	}
	replaced, err := generate.StoreKey(key, private, public)
	for _, path := range replaced {
		fmt.Fprintf(c.Err, "Warning: old key in %s disabled.\n", path)
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
