package bootnode

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// SelfSigned returns a certificate of the store's own, which is made at the
// first call, and its pin for URLs. Nobody can check it but by the pin.
func (s *Store) SelfSigned() (tls.Certificate, string, error) {
	ctx, cancel := s.within(context.Background())
	defer cancel()
	text, err := s.once(ctx, tlsFile, selfSigned)
	if err != nil {
		return tls.Certificate{}, "", fmt.Errorf("the certificate of the boot service: %w", err)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return cert, "", fmt.Errorf("the certificate %s of the boot service: %w", tlsFile, err)
	}
	return cert, certPin(cert.Certificate[0]), nil
}

// selfSigned makes a certificate for twenty years and its key, as PEM.
func selfSigned() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "tincan boot node"}, DNSNames: []string{"tincan.invalid"},
		NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(20, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// certPin is the hash of a certificate, as it stands in URLs.
func certPin(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// pinned is a TLS configuration that accepts one certificate only.
func pinned(pin string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // in its place:
		VerifyConnection: func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 || certPin(c.PeerCertificates[0].Raw) != pin {
				return errors.New("the certificate is not the one that the URL names")
			}
			return nil
		},
	}
}
