package roster

import (
	"crypto/sha256"
	"testing"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// key returns the key pair of a name, the same in every run.
func key(name string) *keys.PrivateKey {
	k := keyCache[name]
	if k == nil {
		k = keys.FromSeed(sha256.Sum256([]byte("test " + name)))
		keyCache[name] = k
	}
	return k
}

var keyCache = map[string]*keys.PrivateKey{}

func pub(name string) keys.PublicKey { return key(name).Public() }

// owner is an owner with all rights.
func owner(name string) Owner {
	return Owner{Key: pub(name), Rights: AllRights, Name: node.Name(name)}
}

func ownerList(threshold uint8, names ...string) OwnerList {
	l := OwnerList{Threshold: threshold}
	for _, name := range names {
		l.Owners = append(l.Owners, owner(name))
	}
	return l
}

func subnets(t testing.TB, texts ...string) []subnet.Subnet {
	t.Helper()
	var list []subnet.Subnet
	for _, text := range texts {
		s, err := subnet.ParseLocal(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// genesis begins a network of these owners, with the recovery key "paper".
func genesis(t testing.TB, threshold uint8, owners ...string) ([]byte, ID) {
	t.Helper()
	raw, id, err := NewGenesis(Genesis{Created: 1000, Recovery: pub("paper"), OwnerList: ownerList(threshold, owners...)}, key(owners[0]))
	if err != nil {
		t.Fatal(err)
	}
	return raw, id
}

// sign makes a statement without asking anybody.
func sign(t testing.TB, network ID, serial uint64, c Content, signer string) []byte {
	t.Helper()
	raw, err := Sign(network, serial, 0, c, key(signer))
	if err != nil {
		t.Fatalf("%v by %s: %v", c.Kind(), signer, err)
	}
	return raw
}

func member(name, keyName string) *Member { return &Member{Name: node.Name(name), Key: pub(keyName)} }

// makeInvitation makes the content of an invitation whose key is that of a name.
func makeInvitation(network ID, keyName string, uses uint16) *Invitation {
	return &Invitation{Key: pub(keyName), Uses: uses, Created: 1000, Proof: key(keyName).Sign(invitationProof(network, pub(keyName)))}
}

func makeAdmission(network ID, inv, name, keyName string, at int64) *Admission {
	q := Request{Name: node.Name(name), Key: pub(keyName), Invitation: pub(inv)}
	return &Admission{Name: q.Name, Key: q.Key, Invitation: q.Invitation, Time: at, Proof: q.Sign(network, key(inv))}
}

func add(t testing.TB, r *Roster, raw []byte, want Outcome) {
	t.Helper()
	if got, err := r.Add(raw); got.Outcome != want {
		s, _ := Parse(raw)
		t.Fatalf("%v: %v (%v, %v), want %v", s.Content.Kind(), got.Outcome, got.Reason, err, want)
	}
}

func names(s *State) string {
	text := ""
	for _, m := range s.Members {
		text += string(m.Name) + " "
	}
	return text
}
