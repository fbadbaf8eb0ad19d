package keys

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"tincan/internal/node"
)

func load(t testing.TB, file string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func private(t testing.TB, expanded, public string) *PrivateKey {
	t.Helper()
	k, err := fromExpanded((*[96]byte)(unhex(t, expanded+public)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type keyVectors struct {
	Cases []struct {
		Seed, Private, Public string
		PrivatePEM            string `json:"private_pem"`
		PublicPEM             string `json:"public_pem"`
		PublicBase64          string `json:"public_base64"`
	}
	PublicLine []struct {
		Text, Public string
		OK           bool
	} `json:"public_line_parse"`
	PrivatePEM []struct {
		Text, Private, Public string
		OK                    bool
	} `json:"private_pem_parse"`
}

func TestKeyFilesLikeTinc(t *testing.T) {
	var v keyVectors
	load(t, "tinc11-keys.json", &v)
	for _, c := range v.Cases {
		k := FromSeed([32]byte(unhex(t, c.Seed)))
		if got := hex.EncodeToString(k.scalar[:]) + hex.EncodeToString(k.prefix[:]); got != c.Private {
			t.Errorf("seed %s expands to %s", c.Seed, got)
		}
		if got := string(MarshalPrivatePEM(k)); got != c.PrivatePEM {
			t.Errorf("private key file is\n%s", got)
		}
		if got := string(MarshalPublicPEM(k.Public())); got != c.PublicPEM {
			t.Errorf("public key file is\n%s", got)
		}
		if got := k.Public().String(); got != c.PublicBase64 {
			t.Errorf("public key is %s", got)
		}
		if err := k.Public().Valid(); err != nil {
			t.Errorf("a good public key is refused: %v", err)
		}
		inHostFile := "Address = 192.0.2.1\n" + c.PublicPEM + "Port = 655\n"
		if got, err := ParsePublicPEM([]byte(inHostFile)); err != nil || got != k.Public() {
			t.Errorf("public key in a host file: %v, %v", got, err)
		}
	}
	for _, c := range v.PublicLine {
		k, err := ParsePublicKey(c.Text)
		if (err == nil) != c.OK || err == nil && hex.EncodeToString(k[:]) != c.Public {
			t.Errorf("ParsePublicKey(%q) = %x, %v", c.Text, k, err)
		}
	}
	for _, c := range v.PrivatePEM {
		k, err := ParsePrivatePEM([]byte(c.Text))
		if (err == nil) != c.OK {
			t.Errorf("ParsePrivatePEM: %v for\n%s", err, c.Text)
			continue
		}
		if err == nil && *k != *private(t, c.Private, c.Public) {
			t.Errorf("another key came out of\n%s", c.Text)
		}
	}
}

func TestForeignPublicHalfIsRefused(t *testing.T) {
	a, b := FromSeed([32]byte{1}), FromSeed([32]byte{2})
	mixed := *a
	mixed.public = b.public
	if _, err := ParsePrivatePEM(MarshalPrivatePEM(&mixed)); err == nil {
		t.Error("accepted")
	}
}

func TestSharedSecretLikeTinc(t *testing.T) {
	var v struct {
		Cases []struct{ Note, Private, Public, Shared string }
	}
	load(t, "tinc11-ecdh.json", &v)
	for _, c := range v.Cases {
		k := &PrivateKey{scalar: [32]byte(unhex(t, c.Private)[:32])}
		got := k.Shared(PublicKey(unhex(t, c.Public)))
		if hex.EncodeToString(got[:]) != c.Shared {
			t.Errorf("%s %s: %x, want %s", c.Note, c.Public, got, c.Shared)
		}
	}
}

func TestSignaturesLikeTinc(t *testing.T) {
	var v struct {
		Cases []struct {
			Note, Private, Public, Message, Signature string
			Verifies                                  bool
		}
	}
	load(t, "tinc11-signatures.json", &v)
	for _, c := range v.Cases {
		msg, sig := unhex(t, c.Message), unhex(t, c.Signature)
		// tinc tolerates S + L; we do not, and tinc never makes one.
		want := c.Verifies && !strings.HasPrefix(c.Note, "S replaced by S+L")
		if got := PublicKey(unhex(t, c.Public)).Verify(msg, sig); got != want {
			t.Errorf("Verify of %s (%s) = %v", c.Message, c.Note, got)
		}
		if c.Private == "" {
			continue
		}
		if got := private(t, c.Private, c.Public).Sign(msg); !bytes.Equal(got[:], sig) {
			t.Errorf("Sign(%s) = %x", c.Message, got)
		}
	}
}

func TestSignedFilesLikeTinc(t *testing.T) {
	var v struct {
		Cases []struct {
			Private, Public string
			Input           string `json:"input_hex"`
			Output          string `json:"output_hex"`
		}
	}
	load(t, "tinc11-sign-file.json", &v)
	when := time.Unix(1795290760, 0)
	for _, c := range v.Cases {
		k := private(t, c.Private, c.Public)
		out := SignFile(k, "alice", when, unhex(t, c.Input))
		if hex.EncodeToString(out) != c.Output {
			t.Errorf("signed file is\n%s", out)
		}
		got, err := VerifyFile(out, func(n node.Name) (PublicKey, error) { return k.Public(), nil })
		if err != nil || got.Signer != "alice" || !got.When.Equal(when) || hex.EncodeToString(got.Data) != c.Input {
			t.Errorf("VerifyFile = %v, %v", got, err)
		}
	}
}

func TestBadSignedFiles(t *testing.T) {
	k := FromSeed([32]byte{1})
	lookup := func(n node.Name) (PublicKey, error) {
		if n == "nobody" {
			return PublicKey{}, errors.New("no such node")
		}
		return k.Public(), nil
	}
	good := string(SignFile(k, "alice", time.Unix(12345, 0), []byte("text")))
	for name, text := range map[string]string{
		"empty":              "",
		"no line end":        "Signature = alice 1 x",
		"changed data":       good + "!",
		"another signer":     strings.Replace(good, "alice", "bob", 1),
		"unknown signer":     strings.Replace(good, "alice", "nobody", 1),
		"bad name":           strings.Replace(good, "alice", "al-ice", 1),
		"another time":       strings.Replace(good, "12345", "12346", 1),
		"time zero":          strings.Replace(good, "12345", "0", 1),
		"time is no number":  strings.Replace(good, "12345", "now", 1),
		"short signature":    strings.Replace(good, "\n", "\x00", 1)[:60] + "\ntext",
		"another word":       strings.Replace(good, "Signature", "Sig", 1),
		"overlong first row": strings.Repeat("x", 3000) + "\n",
	} {
		if _, err := VerifyFile([]byte(text), lookup); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestInvalidPublicKeys(t *testing.T) {
	for name, text := range map[string]string{
		"neutral element":            "0100000000000000000000000000000000000000000000000000000000000000",
		"order 2":                    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":                    "0000000000000000000000000000000000000000000000000000000000000000",
		"order 8":                    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"not on the curve":           "0200000000000000000000000000000000000000000000000000000000000000",
		"not canonical":              "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"neutral with the sign bit":  "0100000000000000000000000000000000000000000000000000000000000080",
		"non-canonical, small order": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		if err := PublicKey(unhex(t, text)).Valid(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSecretsDifferByKeyAndLabel(t *testing.T) {
	a, b := FromSeed([32]byte{1}), FromSeed([32]byte{2})
	if a.Secret("x") != FromSeed([32]byte{1}).Secret("x") {
		t.Error("the same key and label give two secrets")
	}
	if a.Secret("x") == a.Secret("y") || a.Secret("x") == b.Secret("x") {
		t.Error("other keys or labels give the same secret")
	}
}

func TestPrivateKeysAreNotPrinted(t *testing.T) {
	k := FromSeed([32]byte{7})
	notPrinted(t, k, hex.EncodeToString(k.scalar[:4]), fmt.Sprint(k.scalar[:4]), hex.EncodeToString(k.public[:4]))
}

// notPrinted checks that no way to print a key shows any of the secrets.
func notPrinted[Key any](t *testing.T, k *Key, secrets ...string) {
	t.Helper()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "pointer", k, "value", *k)
	text := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		text += fmt.Sprintf(verb+verb+verb, k, *k, struct{ K *Key }{k})
	}
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%q was printed in %s", s, text)
		}
	}
}

func FuzzParsePrivatePEM(f *testing.F) {
	var v keyVectors
	load(f, "tinc11-keys.json", &v)
	for _, c := range v.PrivatePEM {
		f.Add([]byte(c.Text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParsePrivatePEM(text)
		if err != nil {
			return
		}
		again, err := ParsePrivatePEM(MarshalPrivatePEM(k))
		if err != nil || *again != *k {
			t.Fatalf("a key changed by writing and reading it: %v", err)
		}
	})
}

func FuzzPublicKey(f *testing.F) {
	f.Add("DE6B/OvzQ4bHw1NGnvEwZeG5WDzml2wXdwthkJRVxgL", []byte("sig"))
	own := FromSeed([32]byte{1})
	f.Fuzz(func(t *testing.T, text string, sig []byte) {
		k, err := ParsePublicKey(text)
		if err != nil {
			return
		}
		secret := own.Shared(k)
		if k.Valid() == nil && secret == [32]byte{} {
			t.Fatal("a valid key gave a degenerate secret")
		}
		k.Verify([]byte("message"), sig)
	})
}

func FuzzVerifyFile(f *testing.F) {
	k := FromSeed([32]byte{1})
	f.Add(SignFile(k, "alice", time.Unix(12345, 0), []byte("text")))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _ = VerifyFile(text, func(node.Name) (PublicKey, error) { return k.Public(), nil })
	})
}

func BenchmarkSign(b *testing.B) {
	k, msg := FromSeed([32]byte{1}), make([]byte, 164)
	for b.Loop() {
		k.Sign(msg)
	}
}

func BenchmarkShared(b *testing.B) {
	k, pub := FromSeed([32]byte{1}), FromSeed([32]byte{2}).Public()
	for b.Loop() {
		k.Shared(pub)
	}
}

// TestTheTableChangesNothing: signatures are the same before and after it is used.
func TestTheTableChangesNothing(t *testing.T) {
	multiplied.Store(0)
	first := FromSeed([32]byte{1})
	sig := first.Sign([]byte("x"))
	multiplied.Store(tableAfter)
	if second := FromSeed([32]byte{1}); second.public != first.public || second.Sign([]byte("x")) != sig {
		t.Error("with the table it is another signature")
	}
}
