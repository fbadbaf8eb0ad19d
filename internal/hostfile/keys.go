package hostfile

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"tincan/internal/keys"
)

// Kinds of the blocks that hold public keys.
const (
	ed25519Block = "ED25519 PUBLIC KEY"
	pkcs1Block   = "RSA PUBLIC KEY" // what tinc 1.0 writes
	spkiBlock    = "PUBLIC KEY"     // what openssl writes
)

// Sizes of RSA keys, in bits.
const (
	minRSA = 1024
	maxRSA = 8192
)

// kind is what stands between BEGIN and the dashes.
func (r row) kind() string {
	return strings.Trim(strings.TrimPrefix(r.text, blockBegin), "- \t")
}

// block judges a block. Private keys and keys that cannot be read are no small
// matter, so they are errors.
func (c *checker) block(r row) (why string, err error) {
	switch kind := r.kind(); {
	case strings.HasSuffix(kind, "PRIVATE KEY"):
		return "", errors.New("it contains a private key, which must be secret")
	case kind == ed25519Block:
		k, err := keys.ParsePublicPEM(r.raw)
		if err == nil {
			err = k.Valid()
		}
		if err != nil {
			return "", err
		}
		if !r.plain() {
			return "", errors.New("the block of the key holds something else")
		}
		return "", c.key("Ed25519")
	case kind == pkcs1Block, kind == spkiBlock:
		if _, err := parseRSA(r.raw); err != nil && !(c.policy.AnyRSA && r.plain() && len(r.raw) <= maxRSA/4) {
			return "", err
		}
		if !r.plain() {
			return "", errors.New("the block of the key holds something else")
		}
		return "", c.key("RSA")
	default:
		return fmt.Sprintf("a block of the kind %.40q", kind), nil
	}
}

// base64Digits are those of PEM, and the two by which tinc's own base64 differs.
const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"

// plain tells whether a block holds nothing but a key's base64 between its first
// line and its last one. Programs that know nothing of blocks (tinc get is one)
// would read a setting there.
func (r row) plain() bool {
	lines := bytes.Split(bytes.TrimRight(r.raw, "\r\n"), []byte("\n"))
	for _, line := range lines[1 : len(lines)-1] {
		text, padding := strings.CutSuffix(string(bytes.TrimSuffix(line, []byte("\r"))), "=")
		if padding {
			text = strings.TrimSuffix(text, "=")
		}
		if strings.Trim(text, base64Digits) != "" || strings.HasPrefix(text, "-----") {
			return false
		}
	}
	return true
}

// key counts the keys: one of each kind.
func (c *checker) key(kind string) error {
	c.keys++
	if !c.first("key " + kind) {
		return fmt.Errorf("there are two %s keys", kind)
	}
	return nil
}

// parseRSA reads the block that text consists of.
func parseRSA(text []byte) (*rsa.PublicKey, error) {
	b, rest := pem.Decode(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
	if b == nil || len(b.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the RSA public key is damaged")
	}
	var k *rsa.PublicKey
	var err error
	if b.Type == pkcs1Block {
		k, err = x509.ParsePKCS1PublicKey(b.Bytes)
	} else {
		var any any
		if any, err = x509.ParsePKIXPublicKey(b.Bytes); err == nil {
			var ok bool
			if k, ok = any.(*rsa.PublicKey); !ok {
				err = errors.New("it is not for RSA")
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the RSA public key cannot be read: %w", err)
	}
	if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
		return nil, fmt.Errorf("the RSA public key has %d bits; it must have %d to %d", bits, minRSA, maxRSA)
	}
	return k, nil
}

// Key returns the public keys in a host file: the Ed25519 key, and the block
// (with its line ends) that holds the RSA key. Each is nil if there is none
// that can be read.
func Key(data []byte) (ed *keys.PublicKey, rsaPEM []byte) {
	rows, err := split(data)
	if err != nil {
		return nil, nil
	}
	for _, r := range rows {
		if !r.block {
			continue
		}
		switch r.kind() {
		case ed25519Block:
			if k, err := keys.ParsePublicPEM(r.raw); err == nil && ed == nil {
				ed = &k
			}
		case pkcs1Block, spkiBlock:
			if _, err := parseRSA(r.raw); err == nil && rsaPEM == nil {
				rsaPEM = r.raw
			}
		}
	}
	// The variable counts more than a block, as everywhere.
	for _, v := range values(data, "Ed25519PublicKey") {
		if k, err := keys.ParsePublicKey(v); err == nil {
			return &k, rsaPEM
		}
	}
	return ed, rsaPEM
}

// Difference says how the keys of a host file that is offered differ from those
// of the one that is known.
type Difference uint8

const (
	Same    Difference = iota // the same keys
	Added                     // all that are known, and one that was not
	Fewer                     // some of those that are known, nothing else
	Changed                   // a key where another one is known
)

// Compare compares the keys in two host files. A known file without any key
// has nothing to contradict, so the answer is then Added (or Same).
func Compare(known, offered []byte) Difference {
	oldEd, oldRSA := Key(known)
	newEd, newRSA := Key(offered)
	d := Same
	for _, k := range []struct {
		had, has, equal bool
	}{
		{oldEd != nil, newEd != nil, oldEd != nil && newEd != nil && *oldEd == *newEd},
		{oldRSA != nil, newRSA != nil, sameRSA(oldRSA, newRSA)},
	} {
		switch {
		case k.had && k.has && !k.equal:
			return Changed
		case k.had && !k.has:
			d = Fewer
		case k.has && !k.had && d == Same:
			d = Added
		}
	}
	if d == Fewer && ((oldEd == nil && newEd != nil) || (oldRSA == nil && newRSA != nil)) {
		return Changed // one kind was exchanged for the other: nothing connects the two
	}
	return d
}

func sameRSA(a, b []byte) bool {
	ka, errA := parseRSA(a)
	kb, errB := parseRSA(b)
	return errA == nil && errB == nil && ka.Equal(kb)
}

// Fingerprint is a short text by which people compare the keys of a host file:
// the Ed25519 key itself, else a hash of the RSA key; "" without a key.
func Fingerprint(data []byte) string {
	ed, rsaPEM := Key(data)
	if ed != nil {
		return ed.String()
	}
	if k, err := parseRSA(rsaPEM); err == nil {
		return rsaFingerprint(k)
	}
	return ""
}
