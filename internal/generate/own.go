package generate

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/keys"
)

// OwnKey reads the private key of a node that is about to be made, or makes one
// and stores it. An attempt that broke off has left it there: whoever stored the
// public half then will know it again.
func OwnKey(l confdir.Layout) (key *keys.PrivateKey, reused bool, err error) {
	reused, err = ownFile(l.PrivateKey(), func() ([]byte, error) {
		key, err = keys.Generate(rand.Reader)
		if err != nil {
			return nil, err
		}
		return keys.MarshalPrivatePEM(key), nil
	}, func(text []byte) error {
		key, err = keys.ParsePrivatePEM(text)
		return err
	})
	return key, reused, err
}

// OwnRSA is the same for the RSA key that tinc 1.0 asks for. Making one of 4096
// bits takes seconds.
func OwnRSA(l confdir.Layout, bits int) (key *keys.RSAPrivateKey, reused bool, err error) {
	reused, err = ownFile(l.ConfBase+"/rsa_key.priv", func() ([]byte, error) {
		key, err = keys.GenerateRSA(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		return key.MarshalPEM()
	}, func(text []byte) error {
		key, err = keys.ParseRSAPrivate(text)
		return err
	})
	return key, reused, err
}

func ownFile(path string, generate func() ([]byte, error), parse func([]byte) error) (reused bool, err error) {
	old, err := os.ReadFile(path)
	if err == nil {
		if err := parse(old); err != nil {
			return false, fmt.Errorf("there is a private key in %s already, which cannot be read: %w", path, err)
		}
		return true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	text, err := generate()
	if err != nil {
		return false, err
	}
	return false, confdir.Create(path, text, confdir.SecretMode)
}

// SetAside renames the files that make a directory a network, so that Create
// can recreate it. Keys and the host files of others stay. It returns the new
// names.
func SetAside(l confdir.Layout) (moved []string, err error) {
	paths := []string{l.TincConf()}
	if name, err := confdir.OwnName(l); err == nil {
		paths = append(paths, l.Host(name))
	}
	for _, path := range paths {
		to := path + ".old"
		if path != l.TincConf() {
			to = l.ConfBase + "/host.old" // not among the host files
		}
		if err := files.Rename(path, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return moved, err
		}
		moved = append(moved, to)
	}
	return moved, nil
}
