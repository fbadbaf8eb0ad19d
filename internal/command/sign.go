package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// maxData is how much is signed or checked, in bytes: all of it is held in memory.
const maxData = 1 << 30

// ReadData reads a file, or in if path is "".
func ReadData(path string, in io.Reader) ([]byte, error) {
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxData+1))
	if err == nil && len(data) > maxData {
		err = fmt.Errorf("more than %d MiB cannot be signed", maxData>>20)
	}
	return data, err
}

// KeyError: a file that holds a key holds none that can be used.
type KeyError struct {
	Path string
	Err  error
}

func (e *KeyError) Error() string { return fmt.Sprintf("read the key in %s: %v", e.Path, e.Err) }
func (e *KeyError) Unwrap() error { return e.Err }

// Sign returns data with the own node's signature in front.
func Sign(l confdir.Layout, data []byte, now time.Time) ([]byte, error) {
	own, err := confdir.OwnName(l)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(l.PrivateKey())
	if err != nil {
		return nil, err
	}
	key, err := keys.ParsePrivatePEM(text)
	if err != nil {
		return nil, &KeyError{l.PrivateKey(), err}
	}
	return keys.SignFile(key, own, now, data), nil
}

var (
	// ErrSignerName: the one who is said to have signed cannot be the name of a node.
	ErrSignerName = errors.New("not the name of a node")
	// ErrSigner: somebody else has signed.
	ErrSigner = errors.New("the signature is that of another node")
	// ErrSignature: the signature does not match the data.
	ErrSignature = errors.New("the signature does not match the data")
	// ErrNoSignature: there is no signature.
	ErrNoSignature = errors.New("there is no signature at its beginning")
)

// Verify checks signed data. by is the name of a node, "." for the own one, or
// "*" for whoever has a host file here.
func Verify(l confdir.Layout, by string, text []byte) (keys.Signed, error) {
	var want node.Name
	var err error
	switch by {
	case "*":
	case ".":
		want, err = confdir.OwnName(l)
	default:
		if want, err = node.ParseName(by); err != nil {
			err = fmt.Errorf("%q is %w", by, ErrSignerName)
		}
	}
	if err != nil {
		return keys.Signed{}, err
	}
	var found error // why there is no key
	asked := false
	signed, err := keys.VerifyFile(text, func(signer node.Name) (keys.PublicKey, error) {
		asked = true
		var key keys.PublicKey
		key, found = signerKey(l, want, signer)
		return key, found
	})
	switch {
	case err == nil:
		return signed, nil
	case found != nil:
		return signed, found
	case asked:
		return signed, ErrSignature
	}
	return signed, fmt.Errorf("%w: %w", ErrNoSignature, err)
}

func signerKey(l confdir.Layout, want, signer node.Name) (keys.PublicKey, error) {
	if want != "" && signer != want {
		return keys.PublicKey{}, fmt.Errorf("%w: %s made it", ErrSigner, signer)
	}
	if _, err := os.Stat(l.Host(signer)); err != nil {
		return keys.PublicKey{}, err
	}
	host, _, err := confdir.LoadHost(l, signer, nil)
	if err == nil && host.Key == nil {
		err = errors.New("there is none")
	}
	if err != nil {
		return keys.PublicKey{}, &KeyError{l.Host(signer), err}
	}
	return *host.Key, nil
}
