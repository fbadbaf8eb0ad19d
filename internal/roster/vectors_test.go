package roster

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/statements.json anew")

// vector is a statement as every version of this program has to read it.
type vector struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Signer string `json:"signer"`
	Hex    string `json:"hex"`
}

// vectors are statements, fingerprints and keys that must never change: the statements of
// networks that exist are signed like this.
type vectors struct {
	Comment     string            `json:"comment"`
	Network     string            `json:"network"`
	Statements  map[string]vector `json:"statements"`
	Owners      string            `json:"owners_list_id"`
	Fingerprint string            `json:"fingerprint_of_network"`
	Recovery    map[string]string `json:"recovery"`
	Invitation  map[string]string `json:"invitation_key"`
}

func makeVectors(t *testing.T) vectors {
	v := vectors{
		Comment:    "Private keys are SHA-256 of \"test NAME\" as Ed25519 seeds. Made by go test ./internal/roster -update.",
		Statements: map[string]vector{},
	}
	for name, raw := range samples(t) {
		s, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		v.Statements[name] = vector{s.Content.Kind().String(), s.ID().String(), hex.EncodeToString(s.Signer[:]), hex.EncodeToString(raw)}
		if g := s.ID(); name == "genesis" {
			v.Network, v.Fingerprint = g.String(), Fingerprint(g)
		}
		if o, ok := s.Content.(*Owners); ok {
			v.Owners = o.List(s.Network).String()
		}
	}
	secret := RecoverySecret([]byte("twenty secret bytes!"))
	recovery := secret.Key().Public()
	v.Recovery = map[string]string{"secret": hex.EncodeToString(secret[:]), "text": secret.Text(), "key": hex.EncodeToString(recovery[:])}
	invitation := InvitationKey([]byte("eighteen bytes....")).Public()
	v.Invitation = map[string]string{"secret": hex.EncodeToString([]byte("eighteen bytes....")), "key": hex.EncodeToString(invitation[:])}
	return v
}

func TestVectors(t *testing.T) {
	const path = "testdata/statements.json"
	got, err := json.MarshalIndent(makeVectors(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the format has changed; is:\n%s", got)
	}
}
