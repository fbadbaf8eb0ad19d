package keys

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
)

type rsaVector struct {
	PrivatePEM string `json:"private_pem_pkcs1"`
	PublicPEM  string `json:"public_pem_pkcs1"`
	N          string `json:"n_hex"`
	D          string `json:"d_hex"`
	E          int
	Size       int `json:"modulus_bytes"`
}

type rsaVectors struct {
	Keys  map[string]rsaVector
	Steps []struct {
		Dir, Line string
		Block     string `json:"rsa_plaintext_block"`
	}
}

func loadRSA(t testing.TB) rsaVectors {
	t.Helper()
	var v rsaVectors
	load(t, "legacy-handshake.json", &v)
	return v
}

func (v rsaVectors) private(t testing.TB, name string) *RSAPrivateKey {
	t.Helper()
	k, err := ParseRSAPrivate([]byte(v.Keys[name].PrivatePEM))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRSAKeyFilesLikeTinc(t *testing.T) {
	for name, c := range loadRSA(t).Keys {
		for form, text := range map[string]string{
			"as it is":                     c.PrivatePEM,
			"an empty line before it":      "\n" + c.PrivatePEM,
			"with CR":                      strings.ReplaceAll(c.PrivatePEM, "\n", "\r\n"),
			"after other PEM blocks":       string(MarshalPrivatePEM(FromSeed([32]byte{1}))) + c.PublicPEM + c.PrivatePEM,
			"as PKCS#8":                    pkcs8(t, c.PrivatePEM),
			"an unfinished block above it": "-----BEGIN NOTHING-----\n" + c.PrivatePEM,
		} {
			k, err := ParseRSAPrivate([]byte(text))
			if err != nil {
				t.Errorf("%s: private key, %s: %v", name, form, err)
				continue
			}
			if !strings.EqualFold(k.Public().N.Text(16), c.N) || k.Public().E != c.E || k.Public().Size() != c.Size {
				t.Errorf("%s: private key, %s: another key", name, form)
			}
			if again, err := k.MarshalPEM(); err != nil || string(again) != c.PrivatePEM {
				t.Errorf("%s: private key, %s: written as %s, %v", name, form, again, err)
			}
		}
		for form, text := range map[string]string{
			"as it is":       c.PublicPEM,
			"in a host file": "Address = 192.0.2.1\n" + c.PublicPEM + "Port = 655\n",
			"as PKIX":        pkix(t, c.PublicPEM),
		} {
			k, err := ParseRSAPublic([]byte(text))
			if err != nil || !strings.EqualFold(k.N.Text(16), c.N) || k.E != c.E {
				t.Errorf("%s: public key, %s: %v", name, form, err)
				continue
			}
			if string(k.MarshalPEM()) != c.PublicPEM {
				t.Errorf("%s: public key, %s: written as %s", name, form, k.MarshalPEM())
			}
		}
	}
}

func pkcs8(t *testing.T, text string) string {
	block, _ := pem.Decode([]byte(text))
	k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func pkix(t *testing.T, text string) string {
	block, _ := pem.Decode([]byte(text))
	k, err := x509.ParsePKCS1PublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestRSABlocksLikeTinc(t *testing.T) {
	v := loadRSA(t)
	count := 0
	for _, s := range v.Steps {
		if s.Block == "" {
			continue
		}
		count++
		receiver := "bob"
		if s.Dir == "r2i" {
			receiver = "alice"
		}
		k := v.private(t, receiver)
		words := strings.Fields(s.Line)
		cipher, block := unhex(t, words[len(words)-1]), unhex(t, s.Block)
		if got, err := k.Public().Encrypt(block); err != nil || !bytes.Equal(got, cipher) {
			t.Errorf("Encrypt: %x, %v", got, err)
		}
		if got, err := k.Decrypt(rand.Reader, cipher); err != nil || !bytes.Equal(got, block) {
			t.Errorf("Decrypt: %x, %v", got, err)
		}
	}
	if count != 2 {
		t.Errorf("%d blocks in the vectors", count)
	}
}

// withExponent makes a key with the exponent e, for which crypto/rsa does not ask.
func withExponent(t *testing.T, e int64) *rsa.PrivateKey {
	t.Helper()
	for {
		k, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(k.Primes[0], one), new(big.Int).Sub(k.Primes[1], one))
		if d := new(big.Int).ModInverse(big.NewInt(e), phi); d != nil {
			k = &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: k.N, E: int(e)}, D: d, Primes: k.Primes}
			k.Precompute()
			return k
		}
	}
}

func TestExponentsOfRealNodes(t *testing.T) {
	for _, e := range []int64{65537, 4097, 65535, 257} {
		k := withExponent(t, e)
		der := x509.MarshalPKCS1PrivateKey(k)
		parsed, err := ParseRSAPrivate(pem.EncodeToMemory(&pem.Block{Type: rsaPrivateType, Bytes: der}))
		if err != nil {
			t.Errorf("%d: %v", e, err)
			continue
		}
		block := make([]byte, parsed.Public().Size())
		block[0], block[100] = 0x7f, 42
		sealed, err := parsed.Public().Encrypt(block)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parsed.Decrypt(rand.Reader, sealed); err != nil || !bytes.Equal(got, block) {
			t.Errorf("%d: %x, %v", e, got, err)
		}
	}
}

func TestTheObsoleteHexadecimalForm(t *testing.T) {
	k := withExponent(t, hexExponent)
	n, d := k.N.Text(16), k.D.Text(16)
	private, err := ParseRSAPrivateHex(strings.ToUpper(d), n)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ParseRSAPublicHex(" " + strings.ToUpper(n) + " ")
	if err != nil || !public.Equal(private.Public()) || public.E != 0xffff {
		t.Errorf("public half: %v", err)
	}
	block := make([]byte, 128)
	block[127] = 9
	sealed, _ := public.Encrypt(block)
	if got, err := private.Decrypt(rand.Reader, sealed); err != nil || !bytes.Equal(got, block) {
		t.Errorf("%x, %v", got, err)
	}
	if _, err := private.MarshalPEM(); err == nil {
		t.Error("a key without primes was written")
	}
	other := withExponent(t, hexExponent)
	for name, pair := range map[string][2]string{
		"no digits":                  {d, "xyz"},
		"nothing":                    {d, ""},
		"half of another key":        {d, other.N.Text(16)},
		"even modulus":               {d, n[:len(n)-1] + "0"},
		"more digits than a request": {d, strings.Repeat("F", 2050)},
		"private part is no number":  {"-1", n},
	} {
		if _, err := ParseRSAPrivateHex(pair[0], pair[1]); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestGeneratedRSAKeys(t *testing.T) {
	for _, bits := range []int{1024, 1032, 2048} {
		k, err := GenerateRSA(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		if k.Public().Bits() != bits || k.Public().E != 65537 {
			t.Errorf("%d bits: got %d bits and the exponent %d", bits, k.Public().Bits(), k.Public().E)
		}
		text, err := k.MarshalPEM()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseRSAPrivate(text); err != nil || !again.Public().Equal(k.Public()) {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
	for _, bits := range []int{0, 512, 1023, 1025, 8200} {
		if _, err := GenerateRSA(rand.Reader, bits); err == nil {
			t.Errorf("%d bits: made", bits)
		}
	}
}

func TestUnusableRSAKeys(t *testing.T) {
	odd := func(bits uint) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return n.SetBit(n, 0, 1)
	}
	if err := (RSAPublicKey{odd(1024), 3}).Valid(); err != nil {
		t.Error(err)
	}
	for name, k := range map[string]RSAPublicKey{
		"no modulus":               {nil, 3},
		"even modulus":             {new(big.Int).Lsh(big.NewInt(1), 1023), 3},
		"negative modulus":         {new(big.Int).Neg(odd(1024)), 3},
		"too short":                {odd(1016), 3},
		"too long":                 {odd(8200), 3},
		"bits no multiple of 8":    {odd(1025), 3},
		"exponent 1":               {odd(1024), 1},
		"even exponent":            {odd(1024), 65536},
		"negative exponent":        {odd(1024), -3},
		"neither modulus nor less": {},
	} {
		if k.Valid() == nil {
			t.Errorf("%s: valid", name)
		}
		if _, err := k.Encrypt(make([]byte, 128)); err == nil {
			t.Errorf("%s: used", name)
		}
	}
}

func TestRSABlocksOfWrongShape(t *testing.T) {
	k := loadRSA(t).private(t, "alice")
	for name, block := range map[string][]byte{
		"empty":             nil,
		"too short":         make([]byte, 255),
		"too long":          make([]byte, 257),
		"the modulus":       k.Public().N.Bytes(),
		"above the modulus": bytes.Repeat([]byte{0xff}, 256),
	} {
		if _, err := k.Public().Encrypt(block); err == nil {
			t.Errorf("Encrypt, %s: accepted", name)
		}
		if _, err := k.Decrypt(rand.Reader, block); err == nil {
			t.Errorf("Decrypt, %s: accepted", name)
		}
	}
	if _, err := k.Decrypt(strings.NewReader("too few"), make([]byte, 256)); err == nil {
		t.Error("decrypted without randomness")
	}
}

func TestTextsWithoutRSAKeys(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":        "",
		"an Ed25519 key": string(MarshalPrivatePEM(FromSeed([32]byte{1}))),
	} {
		if _, err := ParseRSAPrivate([]byte(text)); !errors.Is(err, ErrNoRSAKey) {
			t.Errorf("private, %s: %v", name, err)
		}
		if _, err := ParseRSAPublic([]byte(text)); !errors.Is(err, ErrNoRSAKey) {
			t.Errorf("public, %s: %v", name, err)
		}
	}
	broken := "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n"
	if _, err := ParseRSAPublic([]byte(broken)); err == nil || errors.Is(err, ErrNoRSAKey) {
		t.Errorf("a broken key: %v", err)
	}
}

func TestPrivateRSAKeysAreNotPrinted(t *testing.T) {
	k := loadRSA(t).private(t, "alice")
	notPrinted(t, k, k.d.Text(10)[:8], strings.ToUpper(k.d.Text(16)[:8]), k.d.Text(16)[:8], k.whole.Primes[0].Text(10)[:8])
}

func FuzzParseRSA(f *testing.F) {
	for _, c := range loadRSA(f).Keys {
		f.Add([]byte(c.PublicPEM), c.N)
		f.Add([]byte(c.PrivatePEM), c.D)
	}
	f.Fuzz(func(t *testing.T, text []byte, hex string) {
		if k, err := ParseRSAPublic(text); err == nil {
			if again, err := ParseRSAPublic(k.MarshalPEM()); err != nil || !again.Equal(k) {
				t.Fatalf("a key changed by writing and reading it: %v", err)
			}
		}
		if k, err := ParseRSAPrivate(text); err == nil && k.Public().Valid() != nil {
			t.Fatal("an unusable key was read")
		}
		if k, err := ParseRSAPublicHex(hex); err == nil && k.Valid() != nil {
			t.Fatal("an unusable key was read")
		}
	})
}

func BenchmarkRSADecrypt(b *testing.B) {
	k := loadRSA(b).private(b, "alice")
	block := make([]byte, 256)
	block[255] = 2
	for b.Loop() {
		_, _ = k.Decrypt(rand.Reader, block)
	}
}
