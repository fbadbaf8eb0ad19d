package roster

import "testing"

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
