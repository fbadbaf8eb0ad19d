package bootnode

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// roll is a signed network.
type roll struct {
	keys     map[node.Name]keys.PublicKey
	admitted []string // invitation and name
	removed  []string // keys
	refuse   error
	warns    bool
}

const networkID = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func (r *roll) NetworkID() string                      { return networkID }
func (r *roll) Enforced() bool                         { return !r.warns }
func (r *roll) Key(n node.Name) (keys.PublicKey, bool) { k, ok := r.keys[n]; return k, ok }
func (r *roll) Granted() []Owned                       { return nil }
func (r *roll) Removed(key string) bool                { return slices.Contains(r.removed, key) }
func (r *roll) Admit(invitation []byte, n node.Name, host []byte) ([]subnet.Subnet, error) {
	if r.refuse != nil {
		return nil, r.refuse
	}
	r.admitted = append(r.admitted, string(invitation)+" "+string(n))
	r.keys[n] = *edKey(host)
	return nil, nil
}

func TestNewcomersOfASignedNetworkBecomeMembers(t *testing.T) {
	b := newBoot(t)
	r := &roll{keys: map[node.Name]keys.PublicKey{}}
	b.server.Network.Members = r
	old, _ := b.token(Limits{Label: "old", Uses: 5})
	secret, token := b.token(Limits{Label: "new", Uses: 5, Network: networkID})

	if _, err := join(t, b.newcomer("alice", old, Current)); err == nil || !strings.Contains(err.Error(), "made before the network was a signed one") {
		t.Errorf("with a token from before: %v", err)
	}
	for range 2 { // it has missed the answer
		j, err := join(t, b.newcomer("alice", secret, Current))
		b.must(err)
		if j.Network != networkID {
			t.Errorf("network %q", j.Network)
		}
	}
	if want := string(secret.Invitation(networkID)) + " alice"; len(r.admitted) != 2 || r.admitted[0] != want || string(token.Invitation)+" alice" != want {
		t.Errorf("admitted %q", r.admitted)
	}

	// The roster says whose a name is, and not a host file that has been left behind.
	b.must(os.WriteFile(b.layout.Host("bob"), []byte(keyLine(77)), 0o644))
	r.warns = true
	if _, err := join(t, b.newcomer("bob", secret, Current)); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("while the roster only warns: %v", err)
	}
	r.warns = false
	_, err := join(t, b.newcomer("bob", secret, Current))
	b.must(err)
	if strings.Contains(b.hosts()["bob"], keyLine(77)) {
		t.Error("the old file is still there")
	}
	r.keys["carol"] = keys.FromSeed([32]byte{78, 1}).Public()
	if _, err := join(t, b.newcomer("carol", secret, Current)); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("the name of a member: %v", err)
	}

	// Whom the roster does not take leaves nothing behind.
	r.refuse = Refusal("the token was withdrawn")
	if _, err := join(t, b.newcomer("dave", secret, Current)); err == nil || !strings.Contains(err.Error(), "was withdrawn") {
		t.Errorf("refused by the roster: %v", err)
	}
	r.refuse = errors.New("secret of the machine")
	if _, err := join(t, b.newcomer("dave", secret, Current)); err == nil || strings.Contains(err.Error(), "secret of") {
		t.Errorf("an error of the machine: %v", err)
	}
	if b.hosts()["dave"] != "" {
		t.Error("a host file was stored")
	}
}

// Everybody who is told a token derives the same invitation from it; other networks have others.
func TestATokenIsAnInvitation(t *testing.T) {
	for _, text := range []string{"some words", "mazgouvqu7avyv25o2g7w33yjr7olvsf"} {
		a, b := secretOf(t, text).Invitation(networkID), secretOf(t, text).Invitation(strings.ToUpper(networkID))
		if string(a) != string(b) || len(a) != 32 {
			t.Errorf("%q: %x, %x", text, a, b)
		}
		if other := secretOf(t, text).Invitation(strings.Repeat("ab", 32)); string(a) == string(other) {
			t.Errorf("%q: another network has the same", text)
		}
	}
}
