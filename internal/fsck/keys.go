package fsck

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/files"
	"tincan/internal/generate"
)

// kind is one of the two kinds of keys.
type kind struct {
	name       string // Ed25519 or RSA
	generate   string // the command that makes one
	path       string // of the private key
	private    bool   // there is a usable one
	public     bool
	match      func() bool                     // both belong together; asked if both are usable
	load       error                           // why there is no private key
	store      func(path string) (bool, error) // writes the public half of the private key
	publicFile string                          // the file of the public key
}

// keys looks at what the node proves with who it is.
func (c *Checker) keys(net *confdir.Network) {
	modern, old := c.modern(net), c.old(net)
	c.private(net, modern)
	there := modern.private || errors.Is(modern.load, fs.ErrPermission)
	if !there || !withoutRSA(net, old) {
		c.private(net, old)
	}
	if !modern.private && !old.private {
		c.fail("Neither RSA or Ed25519 private key found.")
		if errors.Is(modern.load, fs.ErrPermission) || errors.Is(old.load, fs.ErrPermission) {
			return // they may well be there
		}
		c.say("\nYou can generate new keys with:\n\n%s", c.Command("generate-keys"))
		return
	}
	for _, k := range []kind{old, modern} {
		c.pair(k)
	}
}

// modern is the Ed25519 key.
func (c *Checker) modern(net *confdir.Network) kind {
	key, _, err := net.PrivateKey()
	k := kind{
		name: "Ed25519", generate: "generate-ed25519-keys", path: net.Settings.PrivateKeyFile,
		private: err == nil, load: err, public: net.Own.Key != nil, publicFile: c.publicFile(net, "Ed25519PublicKeyFile"),
	}
	k.match = func() bool { return *net.Own.Key == key.Public() }
	k.store = func(path string) (bool, error) { return generate.StorePublicKey(key.Public(), path) }
	return k
}

// old is the RSA key.
func (c *Checker) old(net *confdir.Network) kind {
	key, _, err := net.RSAPrivateKey()
	k := kind{
		name: "RSA", generate: "generate-rsa-keys", path: net.Settings.RSAPrivateKeyFile,
		private: err == nil && key != nil, load: err, public: net.Own.RSAKey != nil, publicFile: c.publicFile(net, "PublicKeyFile"),
	}
	if err == nil && key == nil {
		_, k.load = os.Stat(k.path)
	}
	k.match = func() bool { return net.Own.RSAKey.Equal(key.Public()) }
	k.store = func(path string) (bool, error) { return generate.StoreRSAPublicKey(key.Public(), path) }
	return k
}

// withoutRSA tells whether nothing speaks of an RSA key. A node of tinc 1.0 cannot be without
// one; with an Ed25519 key it is how nodes are made today, and nothing to fix.
func withoutRSA(net *confdir.Network, k kind) bool {
	for _, e := range net.Entries() {
		if v, ok := config.Find(e.Name); ok && (v.Name == "PrivateKeyFile" || v.Name == "PublicKeyFile") {
			return false
		}
	}
	return errors.Is(k.load, fs.ErrNotExist) && !k.public
}

// publicFile is where the public half is looked for.
func (c *Checker) publicFile(net *confdir.Network, variable string) string {
	for _, e := range net.Entries() {
		if v, ok := config.Find(e.Name); ok && v.Name == variable {
			if path := e.Value; filepath.IsAbs(path) {
				return path
			}
			return c.Layout.Script(e.Value)
		}
	}
	return c.Layout.Host(net.Name)
}

// private looks at a private key and at who may read it.
func (c *Checker) private(net *confdir.Network, k kind) {
	path, inConf, modulus := k.path, false, false
	for _, e := range net.Entries() {
		if k.name == "RSA" && strings.EqualFold(e.Name, "PrivateKey") {
			path, inConf = e.File, true
		}
		modulus = modulus || strings.EqualFold(e.Name, "PublicKey")
	}
	var text *fs.PathError
	switch {
	case k.private:
	case inConf && !modulus:
		c.say("WARNING: PrivateKey used but no PublicKey found in %s or the own host file.", path)
	case inConf:
		c.problem("WARNING: ", k.load)
	case errors.As(k.load, &text):
		c.say("Error reading %s private key file `%s': %s", k.name, text.Path, reason(k.load))
		if errors.Is(k.load, fs.ErrPermission) {
			c.say("You are not running tinc as root. Use sudo?")
		}
		if errors.Is(k.load, fs.ErrNotExist) {
			c.say("Create an %s key pair with `%s'.", k.name, c.Command(k.generate))
		}
	default:
		c.say("Reading %s private key file `%s' failed: %v", k.name, path, k.load)
	}
	info, err := os.Stat(path)
	if err != nil || !confdir.HasModes || info.Mode().Perm()&0o077 == 0 {
		return
	}
	c.say("WARNING: unsafe file permissions on %s.", path)
	switch {
	case !mayChange(info):
		c.say("You are not running tinc as the same uid as %s.", path)
	case c.Fix():
		if err := files.Chmod(path, info.Mode().Perm()&^0o077); err != nil {
			c.fail("cannot change the permissions of %s: %s", path, reason(err))
			return
		}
		c.say("Fixed permissions of %s.", path)
	}
}

// pair looks whether both halves of a key are there and fit.
func (c *Checker) pair(k kind) {
	switch {
	case k.private && !k.public:
		c.say("WARNING: No (usable) public %s key found.", k.name)
		c.repair(k)
	case !k.private && k.public:
		c.say("WARNING: A public %s key was found but no private key is known.", k.name)
		if errors.Is(k.load, fs.ErrNotExist) || k.name == "Ed25519" {
			c.say("\nYou can generate a new %s keypair with:\n\n%s", k.name, c.Command(k.generate))
		}
	case k.private && k.public && !k.match():
		c.say("ERROR: public and private %s keys do not match.", k.name)
		if !c.repair(k) {
			c.failed = true
		}
	}
}

// repair writes the public half of a key to its file, and sees whether that helped.
func (c *Checker) repair(k kind) bool {
	if !c.Fix() {
		return false
	}
	path := k.publicFile
	replaced, err := k.store(path)
	if err != nil {
		c.fail("cannot write the public %s key to %s: %s", k.name, path, reason(err))
		return false
	}
	if replaced {
		c.say("Warning: old key(s) found and disabled.")
	}
	c.say("Wrote %s public key to %s.", k.name, path)
	net, _, _ := confdir.Inspect(c.Layout, nil)
	now := c.modern(net)
	if k.name == "RSA" {
		now = c.old(net)
	}
	if !now.public || !now.match() {
		c.fail("the node still does not use that key; another file has one that takes precedence.")
		return false
	}
	// What was wrong with the key before is fixed.
	c.told[path] = true
	return true
}
