package members

import (
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/roster"
)

// Used, ended and withdrawn invitations count as little as they are in the view.
func TestCountsAreThoseOfTheView(t *testing.T) {
	owner, alice, bob, carol := key(0), key(1), key(2), key(3)
	r := genesis(t)
	add := func(raws [][]byte, err error) {
		t.Helper()
		must(t, err)
		r.Merge(raws)
	}
	now := time.Now()
	add(r.SignMember(roster.Member{Name: "alice", Key: alice.Public()}, 0, owner))
	add(r.SignMember(roster.Member{Name: "bob", Key: bob.Public()}, 0, owner))
	add(r.SignRemoval(bob.Public(), "sold", owner))
	invite := func(cookie string, lifetime time.Duration) *keys.PrivateKey {
		key := roster.InvitationKey([]byte(cookie))
		raw, err := r.SignInvitation(roster.Invitation{Name: "carol", Uses: 1, Approval: true, Created: now.Unix()}, now.Add(lifetime).Unix(), key, owner)
		add([][]byte{raw}, err)
		return key
	}
	invite("open", time.Hour)
	invite("ended", -time.Hour)
	add(r.SignRemoval(invite("withdrawn", time.Hour).Public(), "", owner))
	used := invite("used", time.Hour)
	q := roster.Request{Name: "carol", Key: carol.Public(), Invitation: used.Public()}
	raw, err := r.Admit(q, q.Sign(r.Network(), used), nil, now.Unix(), alice)
	add([][]byte{raw}, err)

	want := Counts{Owners: 1, Members: 1, Pending: 1, Invitations: 1, Removed: 1}
	v := NewView(r.State(), "alice", "signed", now)
	if got := (Counts{len(v.Owners), len(v.Members), len(v.Pending), len(v.Invitations), len(v.Removed)}); got != want {
		t.Errorf("the view has %+v, want %+v", got, want)
	}
	if got := Count(r.State(), now); got != want {
		t.Errorf("counted: %+v, want %+v", got, want)
	}
}
