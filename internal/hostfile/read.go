package hostfile

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"

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
