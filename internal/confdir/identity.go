package confdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/legacy"
)

// Identity is what a node proves with who it is. At least one key is there.
type Identity struct {
	Key    *keys.PrivateKey    // Ed25519; nil: the protocol of tinc 1.1 is not spoken
	RSAKey *keys.RSAPrivateKey // nil: the protocol of tinc 1.0 is not spoken
}

// Identity reads the keys of this node. As with tinc 1.1 a node without an Ed25519
// key speaks the protocol of tinc 1.0 only, and one without an RSA key that of 1.1
// only. What cannot be used is a warning as long as the other key can.
func (n *Network) Identity() (Identity, []config.Warning, error) {
	var id Identity
	var warnings []config.Warning
	rsaKey, more, rsaErr := n.RSAPrivateKey()
	warnings = append(warnings, more...)
	if rsaErr == nil && rsaKey != nil {
		if text := shortKey(rsaKey, n.Settings.Policy); text != "" {
			rsaErr = config.Problem{Where: n.Settings.RSAPrivateKeyFile, Text: text}
		}
	}
	if rsaErr == nil {
		id.RSAKey = rsaKey
	}

	if n.Settings.Protocol == config.Disabled {
		switch {
		case rsaErr != nil:
			return Identity{}, warnings, rsaErr
		case id.RSAKey == nil:
			return Identity{}, warnings, config.Problem{Where: n.Settings.RSAPrivateKeyFile, Text: "there is no RSA key, and ExperimentalProtocol = no leaves nothing else; make one with: tincan tinc generate-rsa-keys"}
		}
		return id, warnings, nil
	}
	key, more, err := n.PrivateKey()
	warnings = append(warnings, more...)
	id.Key = key
	switch {
	case err == nil && rsaErr != nil:
		p := config.AsProblem(n.Settings.RSAPrivateKeyFile, rsaErr)
		p.Text += "; the protocol of tinc 1.0 is off"
		warnings = append(warnings, p)
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && id.RSAKey != nil && n.Settings.Protocol != config.Required:
		warnings = append(warnings, config.Warning{Where: n.Settings.PrivateKeyFile, Text: "there is no Ed25519 key, so this node uses only the protocol of tinc 1.0; make one with: tincan tinc generate-ed25519-keys"})
	case rsaErr != nil && errors.Is(err, fs.ErrNotExist):
		return Identity{}, warnings, rsaErr
	default:
		return Identity{}, warnings, err
	}
	return id, warnings, nil
}

// shortKey says what to do about a key that is too short, "" if it is not.
func shortKey(k *keys.RSAPrivateKey, p legacy.Policy) string {
	if k.Public().Bits() >= keys.SafeRSABits || p.ShortRSA {
		return ""
	}
	return fmt.Sprintf("this RSA key has only %d bits; make a new one with: tincan tinc generate-rsa-keys, or write ShortRSAKeys = yes into tinc.conf", k.Public().Bits())
}

// PrivateKey reads the node's Ed25519 key. A warning tells if others may read
// the file too.
func (n *Network) PrivateKey() (*keys.PrivateKey, []config.Warning, error) {
	path := n.Settings.PrivateKeyFile
	data, warnings, err := readSecret(path)
	if err != nil {
		return nil, warnings, fmt.Errorf("reading the private key: %w", err)
	}
	key, err := keys.ParsePrivatePEM(data)
	if err != nil {
		return nil, warnings, fmt.Errorf("reading the private key %s: %w", path, err)
	}
	return key, warnings, nil
}

// RSAPrivateKey reads the node's RSA key, which serves the protocol of tinc 1.0;
// nil if it has none. A warning tells if others may read the file too.
func (n *Network) RSAPrivateKey() (*keys.RSAPrivateKey, []config.Warning, error) {
	if e, ok := n.pool.Lookup("PrivateKey"); ok {
		key, err := n.hexKey(e)
		return key, nil, err
	}
	path := n.Settings.RSAPrivateKeyFile
	data, warnings, err := readSecret(path)
	if _, given := n.pool.Lookup("PrivateKeyFile"); !given && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, warnings, fmt.Errorf("reading the RSA private key: %w", err)
	}
	key, err := keys.ParseRSAPrivate(data)
	if err != nil {
		return nil, warnings, fmt.Errorf("reading the RSA private key %s: %w", path, err)
	}
	return key, warnings, nil
}

// hexKey reads the obsolete variable PrivateKey. Its value is in no message.
func (n *Network) hexKey(e config.Entry) (*keys.RSAPrivateKey, error) {
	modulus, ok := n.pool.Lookup("PublicKey")
	if !ok {
		return nil, config.Problem{Where: e.Where(), Text: "PrivateKey needs PublicKey, its modulus, in tinc.conf or in the own host file"}
	}
	key, err := keys.ParseRSAPrivateHex(e.Value, modulus.Value)
	if err != nil {
		return nil, config.Problem{Where: e.Where(), Text: "PrivateKey: " + err.Error(), Variable: "PrivateKey"}
	}
	return key, nil
}

// readSecret reads a file that nobody else should be able to read.
func readSecret(path string) ([]byte, []config.Warning, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	var warnings []config.Warning
	if info.Mode().Perm()&0o077 != 0 && HasModes {
		warnings = append(warnings, config.Warning{Where: path, Text: "other users may read this private key; run chmod 600 on it", OpenKey: true})
	}
	if info.Size() > maxFile {
		return nil, warnings, config.Problem{Where: path, Text: "this file is too large for a key"}
	}
	data, err := os.ReadFile(path)
	return data, warnings, err
}
