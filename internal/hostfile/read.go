package hostfile

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"

	"tincan/internal/config"
	"tincan/internal/subnet"
)

// Public tells whether a host file says where its node can be dialled.
func Public(data []byte) bool { return len(values(data, "Address")) > 0 }

// Subnets returns the subnets in a host file that can be read.
func Subnets(data []byte) []subnet.Subnet {
	var out []subnet.Subnet
	for _, v := range values(data, "Subnet") {
		if s, err := subnet.Parse(v); err == nil {
			out = append(out, s)
		}
	}
	return out
}

// Equivalent tells whether two host files say the same, whatever the order of their lines, their
// comments and the way in which they write a key.
func Equivalent(a, b []byte) bool {
	sayA, errA := meaning(a)
	sayB, errB := meaning(b)
	return errA == nil && errB == nil && Compare(a, b) == Same && slices.Equal(sayA, sayB)
}

// meaning is what the lines of a host file say but for the keys, sorted.
func meaning(data []byte) ([]string, error) {
	rows, err := split(data)
	var out []string
	var c checker
	for _, r := range rows {
		if r.block {
			if _, err := parseRSA(r.raw); err != nil && r.kind() != ed25519Block {
				out = append(out, string(r.raw))
			}
			continue
		}
		entries, _, err := config.Parse("", r.raw)
		if err != nil || len(entries) != 1 {
			if text := strings.TrimSpace(r.text); text != "" && text[0] != '#' {
				out = append(out, text)
			}
			continue
		}
		name, value := entries[0].Name, entries[0].Value
		if v, ok := config.Find(name); ok {
			name = v.Name
			if name == "Ed25519PublicKey" || !v.Is(config.Multiple) && !c.first(name) {
				continue // compared as keys, or without effect after the first
			}
			if s, err := subnet.Parse(value); name == "Subnet" && err == nil {
				value = s.String()
			}
		}
		out = append(out, name+" = "+value)
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// values returns the values of a variable outside of blocks.
func values(data []byte, name string) []string {
	rows, err := split(data)
	if err != nil {
		return nil
	}
	var out []string
	for _, r := range rows {
		if !r.block {
			out = append(out, config.Values(r.raw, name)...)
		}
	}
	return out
}

func rsaFingerprint(k *rsa.PublicKey) string {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(k))
	return "RSA SHA256:" + hex.EncodeToString(sum[:16])
}
