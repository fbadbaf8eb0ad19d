package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"tincan/internal/compress"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
)

// suite reads what nodes of tinc 1.0 should use towards us. level is that of Compression. What we ask for unless
// the files say otherwise is our own choice: a longer message code than tinc's.
func (r *Reader) suite(level int) legacy.Suite {
	value := func(name string) string {
		_, e, ok := r.value(name)
		if !ok {
			return ""
		}
		return e.Value
	}
	cipher, digest := value("Cipher"), value("Digest")

	macLen := r.IntOr("MACLength", -1)
	if limit := legacy.DigestLen(digest); macLen > limit {
		e, _ := r.Pool.Lookup("MACLength")
		r.warnings = append(r.warnings, Warning{Where: e.Where(), Text: fmt.Sprintf("MACLength = %d: the digest has only %d bytes, and that many are used", macLen, limit), Variable: "MACLength"})
		macLen = limit
	}
	if level > compress.MaxLegacy {
		e, _ := r.Pool.Lookup("Compression")
		r.warnings = append(r.warnings, Warning{Where: e.Where(), Text: fmt.Sprintf("Compression = %d: nodes of tinc 1.0 do not know LZ4; they are asked for no compression", level), Variable: "Compression"})
		level = compress.None
	}
	s, err := legacy.SuiteFromConfig(cipher, digest, macLen, level)
	if err != nil {
		return legacy.DefaultSuite // what is wrong has been said
	}
	return s
}

// policy reads which weak choices are named, and so allowed: in tinc.conf or the own
// host file with all nodes, in another host file with that node.
func (r *Reader) policy() legacy.Policy {
	value := func(name string) string {
		e, _ := r.Pool.Lookup(name)
		return e.Value
	}
	// What is wrong with these is not said here: of our own suite speaks, and
	// those of others are only hints.
	macLen := -1
	if n, err := mustFind("MACLength").number(value("MACLength")); err == nil {
		macLen = n
	}
	return legacy.PolicyFromConfig(value("Cipher"), value("Digest"), macLen, r.Bool("ShortRSAKeys"))
}

// rsaPublicKey finds the RSA key of a node: the modulus in a variable, else the
// file that another variable names, else a block in the host file.
func rsaPublicKey(r *Reader, name node.Name, src Source) (*keys.RSAPublicKey, error) {
	if e, ok := r.Pool.Lookup("PublicKey"); ok {
		k, err := keys.ParseRSAPublicHex(e.Value)
		if err != nil {
			return nil, Problem{Where: e.Where(), Text: "PublicKey: " + err.Error(), Variable: "PublicKey"}
		}
		return &k, nil
	}
	path := r.Path("PublicKeyFile", src.Dir)
	given := path != ""
	if !given {
		path = src.File
	}
	data, err := src.Read(path)
	switch {
	case !given && errors.Is(err, fs.ErrNotExist):
		return nil, nil // that there is no host file is said already
	case err != nil:
		return nil, fmt.Errorf("reading the RSA key of %s: %w", name, err)
	case !given && !hasRSAPublic(data):
		return nil, nil
	}
	k, err := keys.ParseRSAPublic(data)
	if err != nil {
		return nil, Problem{Where: path, Text: err.Error()}
	}
	return &k, nil
}

// hasRSAPublic tells whether a host file has what looks like an RSA key.
func hasRSAPublic(text []byte) bool {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("-----BEGIN RSA PUBLIC KEY")) || bytes.HasPrefix(line, []byte("-----BEGIN PUBLIC KEY")) {
			return true
		}
	}
	return false
}
