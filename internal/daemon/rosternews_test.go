package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/roster"
)

// TestTheNewsOfARoster signs one thing after the other, and looks at what people are told.
func TestTheNewsOfARoster(t *testing.T) {
	owner, alice, bob, carol, dave := keys.FromSeed([32]byte{1}), keys.FromSeed([32]byte{2}), keys.FromSeed([32]byte{3}), keys.FromSeed([32]byte{4}), keys.FromSeed([32]byte{5})
	genesis, id, err := roster.NewGenesis(roster.Genesis{Created: 1, OwnerList: roster.OwnerList{
		Threshold: 1, Owners: []roster.Owner{{Key: owner.Public(), Rights: roster.AllRights, Name: "olga"}},
	}}, owner)
	must(t, err)
	r := roster.New(id)
	var news rosterNews
	one := func(raw []byte, err error) ([][]byte, error) { return [][]byte{raw}, err }
	step := func(what string, want string) func([][]byte, error) {
		return func(raws [][]byte, err error) {
			t.Helper()
			must(t, err)
			r.Merge(raws)
			var got []string
			for _, e := range news.see(r.State(), true) {
				got = append(got, fmt.Sprintf("%s %s: %s", e.Event, e.Node, e.Text))
			}
			if text := strings.Join(got, "\n"); text != want {
				t.Errorf("%s:\n%s\nwant:\n%s", what, text, want)
			}
		}
	}
	step("the whole roster has arrived", "")(([][]byte{genesis}), nil)
	step("a member", "member-joined alice: alice is a member now, by olga")(r.SignMember(roster.Member{Name: "alice", Key: alice.Public()}, 0, owner))
	step("other groups", "")(r.SignMember(roster.Member{Name: "alice", Key: alice.Public(), Grant: roster.Grant{Groups: []string{"staff"}}}, 0, owner))

	now := time.Now().Unix()
	secret := roster.InvitationKey([]byte("cookie"))
	step("an invitation", "")(one(r.SignInvitation(roster.Invitation{Name: "bob", Uses: 1, Approval: true, Created: now}, now+1000, secret, owner)))
	admit := func(key *keys.PrivateKey, by *keys.PrivateKey) ([][]byte, error) {
		q := roster.Request{Name: "bob", Key: key.Public(), Invitation: secret.Public()}
		return one(r.Admit(q, q.Sign(r.Network(), secret), nil, now, by))
	}
	step("a newcomer that waits", "member-pending bob: bob waits for the approval of an owner")(admit(bob, alice))
	step("approved", "member-joined bob: bob is a member now, by olga")(r.Approve("bob", owner))
	step("removed", "member-removed bob: bob was removed by olga (\"sold\")")(r.SignRemoval(bob.Public(), "sold", owner))

	second := roster.InvitationKey([]byte("another"))
	step("another invitation", "")(one(r.SignInvitation(roster.Invitation{Name: "carol", Uses: 1, Created: now}, now+1000, second, owner)))
	use := func(on *roster.Roster, key *keys.PrivateKey) []byte {
		q := roster.Request{Name: "carol", Key: key.Public(), Invitation: second.Public()}
		raw, err := on.Admit(q, q.Sign(r.Network(), second), nil, now, alice)
		must(t, err)
		return raw
	}
	first, twice := use(r, carol), use(r, dave) // at two nodes that have not heard of each other
	r.Merge([][]byte{first})
	news.see(r.State(), true)
	r.Merge([][]byte{twice})
	reused := 0
	for _, e := range news.see(r.State(), true) {
		if e.Event == "invitation-reused" {
			reused++
		}
	}
	if reused != 1 {
		t.Errorf("an invitation that was used twice was told of %d times", reused)
	}
	for _, m := range r.State().Members {
		if m.Name == "carol" {
			key := carol
			if m.Key != carol.Public() {
				key = dave
			}
			step("somebody leaves", "member-left carol: carol has left the network")(one(roster.Leave(r.Network(), "carol", key)))
			break
		}
	}
	step("a policy", "policy-changed : the network has a new access policy, by olga")(one(r.SignPolicy("", "allow * -> *\n", owner)))
	step("none", "policy-changed : the network has no access policy any more, by olga")(one(r.SignPolicy("", "", owner)))
}
