package generate

import (
	"bytes"
	"crypto/rand"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/keys"
)

// DefaultRSABits is the length of an RSA key unless another is asked for.
const DefaultRSABits = 2048

// progressEvery is how often somebody who waits for a key sees a sign of life.
const progressEvery = 250 * time.Millisecond

// RSAKey makes an RSA key and calls progress now and then while it does so: 4096
// bits take seconds, 8192 a minute.
func RSAKey(bits int, progress func()) (*keys.RSAPrivateKey, error) {
	type result struct {
		key *keys.RSAPrivateKey
		err error
	}
	done := make(chan result, 1)
	go func() {
		key, err := keys.GenerateRSA(rand.Reader, bits)
		done <- result{key, err}
	}()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case r := <-done:
			return r.key, r.err
		case <-tick.C:
			progress()
		}
	}
}

// StoreRSAKey writes an RSA key pair as tinc 1.1 does: like [StoreKey], the public
// key as a PEM block.
func StoreRSAKey(key *keys.RSAPrivateKey, private, public string) (replaced []string, err error) {
	text, err := key.MarshalPEM()
	if err != nil {
		return nil, err
	}
	return store(text, private, key.Public().MarshalPEM(), public, disableRSAKeys)
}

// StoreRSAPublicKey is [StorePublicKey] for an RSA key.
func StoreRSAPublicKey(key keys.RSAPublicKey, path string) (replaced bool, err error) {
	return storeHalf(path, key.MarshalPEM(), confdir.FileMode, disableRSAKeys)
}

// StoreRSAKeyOld writes an RSA key pair as tinc 1.0 does: an empty line before each
// block, and earlier blocks stay but are called OLD.
func StoreRSAKeyOld(key *keys.RSAPrivateKey, private, public string) (replaced []string, err error) {
	text, err := key.MarshalPEM()
	if err != nil {
		return nil, err
	}
	line := func(text []byte) []byte { return append([]byte("\n"), text...) }
	return store(line(text), private, line(key.Public().MarshalPEM()), public, renameRSAKeys)
}

// disableRSAKeys puts a "#" before each line of an RSA key and counts the keys.
func disableRSAKeys(text []byte) (out []byte, n int) {
	inside := false
	for line := range bytes.Lines(text) {
		s := string(line)
		begin := isRSABegin(s) || len(config.Values(line, "PublicKey")) > 0
		if begin {
			n++
		}
		if inside || begin {
			out = append(out, '#')
		}
		inside = isRSABegin(s) || inside && !strings.HasPrefix(s, "-----END")
		out = append(out, line...)
	}
	return out, n
}

func isRSABegin(line string) bool {
	return strings.HasPrefix(line, "-----BEGIN RSA ") || strings.HasPrefix(line, "-----BEGIN PUBLIC KEY") ||
		strings.HasPrefix(line, "-----BEGIN PRIVATE KEY")
}

// renameRSAKeys calls the blocks of RSA keys OLD and counts them. The obsolete
// variable, which would come before a new block, gets a "#" in front.
func renameRSAKeys(text []byte) (out []byte, n int) {
	inside := false
	for line := range bytes.Lines(text) {
		s := string(line)
		switch {
		case isRSABegin(s):
			inside = true
			n++
			s = renamed(s, "-----BEGIN ")
		case inside && strings.HasPrefix(s, "-----END "):
			inside = false
			s = renamed(s, "-----END ")
		case len(config.Values(line, "PublicKey")) > 0:
			n++
			s = "#" + s
		}
		out = append(out, s...)
	}
	return out, n
}

// renamed is a line that begins or ends the block of an RSA key, with OLD instead
// of RSA.
func renamed(line, mark string) string {
	return mark + "OLD " + strings.TrimPrefix(strings.TrimPrefix(line, mark), "RSA ")
}
