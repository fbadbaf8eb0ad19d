package keydist

import (
	"errors"
	"os"
	"strings"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// In a signed network the roster decides which host files of others are taken, and whose key is the right one.
func TestTheRosterDecidesAboutHostFiles(t *testing.T) {
	l := confdir.Layout{ConfBase: t.TempDir()}
	if err := os.Mkdir(l.Hosts(), 0o755); err != nil {
		t.Fatal(err)
	}
	file := func(n byte) []byte {
		return []byte("Ed25519PublicKey = " + keys.FromSeed([32]byte{n}).Public().String() + "\n")
	}
	refused := errors.New("no member")
	s := &Store{Layout: l, Self: "alice", Roster: func(name node.Name, data []byte) (bool, error) {
		if name != "bob" || string(data) != string(file(1)) {
			return true, refused
		}
		return true, nil
	}}
	for name, data := range map[node.Name][]byte{"eve": file(2), "bob": file(3)} {
		if _, err := s.Offer(name, name, data); !errors.Is(err, refused) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(l.Host(name)); err == nil {
			t.Errorf("the file of %s was stored", name)
		}
	}
	if err := os.WriteFile(l.Host("bob"), file(4), 0o644); err != nil { // wrong, or left behind
		t.Fatal(err)
	}
	if got, err := s.Offer("bob", "bob", file(1)); got != Stored || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if data, _ := s.Read("bob"); !strings.Contains(string(data), string(file(1))) {
		t.Errorf("stored %q", data)
	}
}
