package tincboot

import (
	"os"
	"strings"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/keydist"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/roster"
)

// A monitor in the directory of a signed network believes the roster first: it stores host files of members only, with their
// keys, also when the roster changes while it runs, and says which files are here that should not be.
func TestAMonitorBelievesTheRosterFirst(t *testing.T) {
	l := confdir.Layout{ConfBase: t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key := func(n byte) *keys.PrivateKey { return keys.FromSeed([32]byte{n}) }
	file := func(n byte) []byte { return []byte("Ed25519PublicKey = " + key(n).Public().String() + "\n") }
	must(os.Mkdir(l.Hosts(), 0o755))
	must(os.WriteFile(l.TincConf(), []byte("Name = alice\n"), 0o644))
	must(os.WriteFile(l.Host("mallory"), file(4), 0o644))
	var said []string
	say := func(_ int, text string) { said = append(said, text) }
	open := func() (*keydist.Store, error) {
		said = nil
		s := &keydist.Store{Layout: l, Self: "alice", Replace: true}
		return s, monitorOptions{}.believeRoster(s, say)
	}

	s, err := open()
	must(err)
	if s.Roster != nil || len(said) > 0 {
		t.Errorf("in an open network: %v", said)
	}

	owner := key(9)
	raw, id, err := roster.NewGenesis(roster.Genesis{Created: 1, OwnerList: roster.OwnerList{
		Threshold: 1, Owners: []roster.Owner{{Key: owner.Public(), Rights: roster.AllRights, Name: "owner"}},
	}}, owner)
	must(err)
	r := roster.New(id)
	add := func(raws [][]byte, err error) {
		t.Helper()
		must(err)
		for _, raw := range raws {
			_, err := r.Add(raw)
			must(err)
		}
	}
	add([][]byte{raw}, nil)
	for name, n := range map[node.Name]byte{"alice": 1, "bob": 2} {
		add(r.SignMember(roster.Member{Name: name, Key: key(n).Public()}, 0, owner))
	}
	must(members.Save(l, r))
	s, err = open()
	must(err)
	if text := strings.Join(said, "\n"); !strings.Contains(text, "hosts/mallory is to be deleted") || strings.Contains(text, "bob") {
		t.Errorf("it says: %s", text)
	}
	if _, err := s.Offer("bob", "bob", file(3)); err == nil {
		t.Error("it stores another key for bob")
	}
	if _, err := s.Offer("carol", "carol", file(5)); err == nil {
		t.Error("it stores the file of carol, who is no member")
	}
	if got, err := s.Offer("bob", "bob", file(2)); got != keydist.Stored || err != nil {
		t.Errorf("bob: %v, %v", got, err)
	}

	add(r.SignRemoval(key(2).Public(), "", owner))
	must(members.Save(l, r))
	must(os.Remove(l.Host("bob")))
	if _, err := s.Offer("bob", "bob", file(2)); err == nil {
		t.Error("bob has come back after his removal")
	}
	must(os.Remove(l.Roster()))
	if _, err := s.Offer("bob", "bob", file(2)); err == nil {
		t.Error("bob has come back when the roster was lost")
	}
	must(os.WriteFile(l.TincConf(), []byte("Name = alice\nNetworkID = "+id.String()+"\n"), 0o644))
	if _, err = open(); err == nil || !strings.Contains(err.Error(), "who belongs to it is not known") {
		t.Errorf("without the roster: %v", err)
	}
}
