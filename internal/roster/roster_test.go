package roster

import (
	"slices"
	"strings"
	"testing"

	"tincan/internal/b64"
	"tincan/internal/keys"
)

func TestMembersAreThoseWhomOwnersAdmitAndDoNotRemove(t *testing.T) {
	g, network := genesis(t, 1, "ann")
	r := New(network)
	add(t, r, sign(t, network, 1, member("bob", "bob"), "ann"), Waiting) // no genesis yet
	add(t, r, g, Added)
	if got := names(r.State()); got != "bob " {
		t.Errorf("members: %q", got)
	}
	add(t, r, sign(t, network, 1, member("eve", "eve"), "eve"), Waiting)
	add(t, r, sign(t, network, 1, member("carl", "carl"), "ann"), Added)
	add(t, r, sign(t, network, 1, &Removal{Key: pub("bob")}, "eve"), Waiting)
	if got := names(r.State()); got != "bob carl " {
		t.Errorf("members: %q", got)
	}
	add(t, r, sign(t, network, 1, &Removal{Key: pub("bob")}, "ann"), Added)
	add(t, r, sign(t, network, 2, member("bob", "bob"), "ann"), Added)
	if s := r.State(); names(s) != "carl " || s.Removed(pub("bob")) == nil || s.MemberByKey(pub("bob")) != nil {
		t.Errorf("a removed key came back: %q", names(r.State()))
	}
	add(t, r, sign(t, network, 3, member("bob", "bob2"), "ann"), Added)
	if s := r.State(); names(s) != "bob carl " || s.Member("bob").Key != pub("bob2") {
		t.Errorf("the name did not come back with another key: %q", names(s))
	}
	add(t, r, sign(t, network, 2, member("bob", "bob"), "ann"), Superseded)
	add(t, r, sign(t, network, 1, &Removal{Key: pub("bob2")}, "bob2"), Added)
	if s := r.State(); names(s) != "carl " || !s.Removed(pub("bob2")).Left() {
		t.Errorf("who leaves is a member: %q", names(s))
	}
}

// otherNonce returns the same key with another nonce prefix: it signs the same words differently.
func otherNonce(t *testing.T, k *keys.PrivateKey) *keys.PrivateKey {
	t.Helper()
	block := strings.Split(string(keys.MarshalPrivatePEM(k)), "\n") // two rows of 48 bytes: scalar and half of the prefix, the rest
	body, err := b64.Decode(block[1] + block[2])
	if err != nil {
		t.Fatal(err)
	}
	body[40] ^= 1
	again, err := keys.ParsePrivatePEM([]byte(strings.Join([]string{block[0], b64.Encode(body[:48]), b64.Encode(body[48:]), block[3]}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// TestTheSameWordsSignedTwice: who has a key can make any number of signatures of one statement.
// Nodes that got different ones end with the same one.
func TestTheSameWordsSignedTwice(t *testing.T) {
	g, network := genesis(t, 1, "ann")
	for _, c := range []Content{
		member("carl", "carl"), makeInvitation(network, "url", 1), &Removal{Key: pub("gone")}, &Unknown{Type: 99},
		&Owners{Parent: network, OwnerList: ownerList(1, "ann", "ben")},
	} {
		a, b := New(network), New(network)
		for i, r := range []*Roster{a, b} {
			k := key("ann")
			if i == 1 {
				k = otherNonce(t, k)
			}
			raw, err := Sign(network, 1, 0, c, k)
			if err != nil {
				t.Fatal(err)
			}
			r.Merge([][]byte{g, raw})
		}
		if slices.Equal(a.IDs(), b.IDs()) {
			t.Fatalf("%v: not two signatures", c.Kind())
		}
		a.Merge(all(b))
		b.Merge(all(a))
		if !slices.Equal(a.IDs(), b.IDs()) || len(a.IDs()) != 2 {
			t.Errorf("%v: two nodes keep different signatures", c.Kind())
		}
	}
}
