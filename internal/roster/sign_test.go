package roster

import (
	"errors"
	"strings"
	"testing"

	"tincan/internal/node"
)

// network is a roster with two owners, ann and ben, to which statements are added as commands make them.
type network struct {
	*Roster
	t *testing.T
}

func newNetwork(t *testing.T, threshold uint8) *network {
	g, id := genesis(t, threshold, "ann", "ben")
	n := &network{New(id), t}
	n.take([][]byte{g}, nil)
	return n
}

// take adds what was signed. All of it has to be accepted.
func (n *network) take(raws [][]byte, err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, result := range n.Merge(raws) {
		if result.Outcome != Added {
			n.t.Fatalf("%v: %v", result.Outcome, result.Reason)
		}
	}
}

func one(raw []byte, err error) ([][]byte, error) { return [][]byte{raw}, err }

// admit lets a member admit a newcomer of the same name as its key.
func (n *network) admit(by, url, newcomer string, now int64) {
	n.t.Helper()
	q := Request{Name: node.Name(newcomer), Key: pub(newcomer), Invitation: pub(url)}
	n.take(one(n.Admit(q, q.Sign(n.Network(), key(url)), nil, now, key(by))))
}

func (n *network) want(members string) {
	n.t.Helper()
	if got := strings.TrimSpace(names(n.State())); got != members {
		n.t.Fatalf("members: %q, want %q", got, members)
	}
}

// TestRemovalKeepsWhomTheRemovedHasAdmitted: a member is removed, and those whom it has admitted
// stay.
func TestRemovalKeepsWhomTheRemovedHasAdmitted(t *testing.T) {
	n := newNetwork(t, 1)
	n.take(n.SignMember(*member("bob", "bob"), 0, key("ann")))
	n.take(one(n.SignInvitation(Invitation{Uses: 3, Created: 1000}, 0, key("url"), key("ann"))))
	n.admit("bob", "url", "carl", 2000)
	n.admit("carl", "url", "dan", 2001)
	n.want("bob carl dan")
	n.take(n.SignRemoval(pub("bob"), "lost", key("ann")))
	n.want("carl dan")
	n.take(n.SignRemoval(pub("url"), "withdrawn", key("ann")))
	n.want("carl dan")
	if _, err := n.Admit(Request{Name: "eve", Key: pub("eve"), Invitation: pub("url")}, [64]byte{}, nil, 3000, key("carl")); err == nil {
		t.Error("admitted under an invitation that was withdrawn")
	}
}

func TestANewKeyOfAMemberKeepsWhomItHasAdmitted(t *testing.T) {
	n := newNetwork(t, 1)
	n.take(n.SignMember(*member("bob", "bob"), 0, key("ann")))
	n.take(one(n.SignInvitation(Invitation{Uses: 1, Created: 1000}, 0, key("url"), key("ann"))))
	n.admit("bob", "url", "carl", 2000)
	n.take(n.SignMember(*member("bob", "bob2"), 0, key("ben")))
	n.want("bob carl")
	if n.State().Member("bob").Key != pub("bob2") {
		t.Error("the key is still the old one")
	}
}

// retired is what a network with much to lose looks like, half of it signed by ben.
func retired(t *testing.T, threshold uint8) *network {
	n := newNetwork(t, threshold)
	n.take(n.SignMember(*member("bob", "bob"), 0, key("ben")))
	n.take(n.SignMember(*member("old", "old"), 0, key("ben")))
	n.take(n.SignMember(*member("amy", "amy"), 0, key("ann")))
	n.take(n.SignRemoval(pub("old"), "lost", key("ben")))
	n.take(one(n.SignInvitation(Invitation{Uses: 2, Created: 1000}, 0, key("url"), key("ben"))))
	n.take(one(n.SignPolicy("", "allow * -> *\n", key("ben"))))
	n.admit("bob", "url", "carl", 2000)
	n.want("amy bob carl")
	return n
}

func (n *network) complete(members string) {
	n.t.Helper()
	n.want(members)
	s := n.State()
	if _, ok := s.Policy(""); !ok || s.Removed(pub("old")) == nil || s.Invitation(pub("url")) == nil || len(s.Invitation(pub("url")).Used) != 1 {
		n.t.Error("policy, removal or invitation is lost")
	}
}

// A policy without text is none, and stays so if the owner who withdrew it retires.
func TestAPolicyIsWithdrawn(t *testing.T) {
	n := newNetwork(t, 1)
	n.take(one(n.SignPolicy("", "allow * -> * *\n", key("ann"))))
	n.take(one(n.SignPolicy("", "", key("ben"))))
	withdrawn := func() {
		t.Helper()
		p := n.State().SignedPolicy("")
		if text, ok := n.State().Policy(""); ok || p == nil || text != "" || p.Serial < 2 {
			t.Errorf("%q, %v, %+v", text, ok, p)
		}
	}
	withdrawn()
	n.take(n.SignOwners(Change{Owners: ownerList(1, "ann")}, key("ann")))
	withdrawn()
	n.take(one(n.SignPolicy("", "allow * -> * tcp\n", key("ann"))))
	if text, ok := n.State().Policy(""); !ok || text != "allow * -> * tcp\n" {
		t.Errorf("%q, %v", text, ok)
	}
}

func TestAnOwnerRetiresAndNothingIsLost(t *testing.T) {
	n := retired(t, 1)
	n.take(n.SignOwners(Change{Owners: ownerList(1, "ann")}, key("ann")))
	n.complete("amy bob carl")
	if len(n.State().Owners.Owners) != 1 {
		t.Error("ben is still an owner")
	}
	if _, err := n.SignMember(*member("eve", "eve"), 0, key("ben")); err == nil {
		t.Error("who has retired signs")
	}
}

func TestTwoOfTwoOwnersRetireOne(t *testing.T) {
	n := retired(t, 2)
	n.take(n.SignOwners(Change{Owners: ownerList(1, "ann")}, key("ben")))
	if p := n.State().Proposals; len(p) != 1 || len(p[0].Signers) != 1 {
		t.Fatalf("proposals: %v", p)
	}
	n.take(n.SignOwners(Change{Owners: n.State().Proposals[0].Owners.OwnerList}, key("ann")))
	n.complete("amy bob carl")
	if len(n.State().Proposals) != 0 {
		t.Error("what is in force is still a proposal")
	}
}

// TestWhoGoesSignsLast: as what is lost was said anew when the change was proposed.
func TestWhoGoesSignsLast(t *testing.T) {
	n := retired(t, 2)
	n.take(n.SignOwners(Change{Owners: ownerList(1, "ann"), Ahead: true}, key("ann")))
	n.complete("amy bob carl")
	n.take(n.SignOwners(Change{Owners: n.State().Proposals[0].Owners.OwnerList}, key("ben")))
	n.complete("amy bob carl")
	if len(n.State().Owners.Owners) != 1 {
		t.Error("ben is still an owner")
	}
}

// claims names what a change takes away, one thing a word.
func (n *network) claims(c Change, owner string) (list []Claim, text string) {
	n.t.Helper()
	list, err := n.Claims(c, key(owner))
	if err != nil {
		n.t.Fatal(err)
	}
	var words []string
	for _, claim := range list {
		switch c := claim.Content.(type) {
		case *Member:
			words = append(words, string(c.Name))
		case *Removal:
			words = append(words, "-"+string(c.Name))
		default:
			words = append(words, c.Kind().String())
		}
	}
	return list, strings.Join(words, " ")
}

// allOf drops all of it.
func allOf(list []Claim) map[ID]bool {
	drop := map[ID]bool{}
	for _, c := range list {
		drop[c.Statement] = true
	}
	return drop
}

func (n *network) wantClaims(c Change, owner, want string) []Claim {
	n.t.Helper()
	list, got := n.claims(c, owner)
	if got != want {
		n.t.Fatalf("claims %q, want %q", got, want)
	}
	return list
}

// TestACompromisedOwner: what it has signed goes, unless somebody else has, and what it signs
// afterwards with an earlier serial changes nothing.
func TestACompromisedOwner(t *testing.T) {
	n := retired(t, 1)
	c := Change{Owners: ownerList(1, "ann")}
	c.Drop = allOf(n.wantClaims(c, "ann", "-old invitation bob policy"))
	// Without these others come to light: who was removed, and who was admitted.
	for id := range allOf(n.wantClaims(c, "ann", "old carl")) {
		c.Drop[id] = true
	}
	n.wantClaims(c, "ann", "")
	n.take(n.SignOwners(c, key("ann")))
	n.want("amy")
	before := n.State()
	for _, raw := range [][]byte{
		sign(t, n.Network(), 1, member("eve", "eve"), "ben"),
		sign(t, n.Network(), 99, member("amy", "eve"), "ben"),
		sign(t, n.Network(), 1, &Removal{Key: pub("amy")}, "ben"),
	} {
		add(t, n.Roster, raw, Waiting)
	}
	if n.State() != before {
		t.Error("a compromised owner has changed something")
	}
	if n.CanUndo(pub("ben")) || n.CanUndo(pub("nobody")) {
		t.Error("a junior owner can undo what the senior one has decided")
	}
}

// TestOneThingOfACompromisedOwnerIsDropped: of what it has signed all stays but one, and who was admitted with its
// invitation is not let in again by it.
func TestOneThingOfACompromisedOwnerIsDropped(t *testing.T) {
	for what, members := range map[string]string{"bob": "amy carl", "carl": "amy bob", "-old": "amy bob carl old", "": "amy bob carl"} {
		n := retired(t, 1)
		c := Change{Owners: ownerList(1, "ann")}
		if what == "carl" { // stands on the invitation
			for _, m := range n.State().Members {
				if m.Name == "carl" {
					c.Drop = map[ID]bool{m.Statement: true}
				}
			}
		} else {
			list, words := n.claims(c, "ann")
			for i, word := range strings.Fields(words) {
				if word == what {
					c.Drop = map[ID]bool{list[i].Statement: true}
				}
			}
		}
		n.take(n.SignOwners(c, key("ann")))
		if got := strings.TrimSpace(names(n.State())); got != members {
			t.Errorf("without %q: members %q, want %q", what, got, members)
		}
		if open := n.State().Invitation(pub("url")) != nil; open != (what != "carl") {
			t.Errorf("without %q: the invitation is open: %v", what, open)
		}
	}
}

// TestWhoIsDroppedDoesNotComeBackByAnInvitation: the thief has signed for a newcomer who was admitted before.
func TestWhoIsDroppedDoesNotComeBackByAnInvitation(t *testing.T) {
	n := retired(t, 1)
	n.take(n.SignMember(*member("carl", "carl"), 0, key("ben")))
	c := Change{Owners: ownerList(1, "ann"), Drop: map[ID]bool{n.State().Member("carl").Statement: true}}
	n.take(n.SignOwners(c, key("ann")))
	n.want("amy bob")
}

// TestWhatARetiringOwnerHasChangedLastStays: also where another owner has said something before.
func TestWhatARetiringOwnerHasChangedLastStays(t *testing.T) {
	n := retired(t, 1)
	amy := member("amy", "amy")
	amy.Groups = []string{"web"}
	n.take(n.SignMember(*amy, 0, key("ben")))
	n.take(one(n.SignPolicy("", "allow * -> web\n", key("ann"))))
	n.take(one(n.SignPolicy("", "allow * -> db\n", key("ben"))))
	n.take(n.SignOwners(Change{Owners: ownerList(1, "ann")}, key("ann")))
	if text, _ := n.State().Policy(""); len(n.State().Member("amy").Groups) != 1 || text != "allow * -> db\n" {
		t.Errorf("%+v, policy %q", n.State().Member("amy"), text)
	}
}

// TestASeniorOwnerTakesTheNetworkBack: the thief of ben's key has put out ann and named himself.
func TestASeniorOwnerTakesTheNetworkBack(t *testing.T) {
	n := retired(t, 1)
	n.take(one(Sign(n.Network(), 9, 0, &Owners{Parent: n.Network(), OwnerList: ownerList(1, "thief")}, key("ben"))))
	n.want("")
	n.take(n.SignMember(*member("eve", "eve"), 0, key("thief")))
	n.want("eve")
	base := n.Base(pub("ann"), pub("ben"))
	if len(base) != 2 || base[0].ID != n.Network() || n.Base(pub("thief"))[0].ID != n.State().List {
		t.Fatalf("%+v", base)
	}
	c := Change{Parent: base[0].ID, Owners: ownerList(1, "ann")}
	n.wantClaims(c, "ann", "-old invitation bob policy")
	n.take(n.SignOwners(c, key("ann")))
	n.complete("amy bob carl")
	if n.CanUndo(pub("ben")) || n.CanUndo(pub("thief")) {
		t.Error("the thief can undo it")
	}
	if n.Base(pub("ben"), pub("ann")) != nil {
		t.Error("who was removed by a more senior owner can change the owners")
	}
	// He has also signed the list that alone would put him out.
	n = retired(t, 1)
	n.take(one(Sign(n.Network(), 9, 0, &Owners{Parent: n.Network(), OwnerList: ownerList(1, "ann", "ben", "cat")}, key("ben"))))
	if base := n.Base(pub("ann"), pub("ben")); len(base) != 2 || len(n.Base(pub("ann"), pub("cat"))) != 1 {
		t.Errorf("%+v", base)
	}
	// The other way round the thief is the more senior one.
	n = retired(t, 1)
	n.take(n.SignOwners(Change{Owners: ownerList(1, "ben")}, key("ben")))
	n.complete("amy bob carl")
	if !n.CanUndo(pub("ann")) {
		t.Error("the most senior owner cannot undo what others have decided")
	}
	n.take(n.SignRecovery(Change{Owners: ownerList(1, "ben")}, pub("paper"), key("paper"), key("ben")))
	if n.CanUndo(pub("ann")) {
		t.Error("not even a recovery ends that")
	}
}

func TestRecoveryAfterTheft(t *testing.T) {
	n := retired(t, 1)
	// The thief of ann's key makes himself the only owner, and everybody disappears.
	n.take(one(Sign(n.Network(), 9, 0, &Owners{Parent: n.Network(), OwnerList: ownerList(1, "thief")}, key("ann"))))
	n.want("")
	n.take(n.SignMember(*member("eve", "eve"), 0, key("thief")))
	c := Change{Owners: ownerList(1, "ben", "ann2")}
	c.Drop = allOf(n.wantClaims(c, "ben", "eve"))
	n.take(n.SignRecovery(c, pub("paper2"), key("paper"), key("ben")))
	n.complete("bob carl")
	if _, err := n.SignRecovery(Change{Owners: ownerList(1, "ben")}, pub("paper3"), key("paper"), key("ben")); err == nil {
		t.Error("a recovery key that was replaced recovers")
	}
	// What the thief signs beside it has no effect.
	add(t, n.Roster, sign(t, n.Network(), 99, &Owners{Parent: n.Network(), OwnerList: ownerList(1, "thief")}, "ann"), Waiting)
	n.complete("bob carl")
	if h := n.History(); len(h) != 3 || !h[0].Root || !h[2].Root || h[1].Owners[0].Name != "thief" || h[1].Signers[0] != pub("ann") {
		t.Errorf("%+v", h)
	}
}

// TestRecoveryWithNoOwnerLeft: the only owners' keys are gone, or in the wrong hands. What they had signed comes back with
// a new owner, also after a first recovery that forgot it.
func TestRecoveryWithNoOwnerLeft(t *testing.T) {
	for _, first := range []bool{true, false} {
		n := retired(t, 1)
		n.take(one(Sign(n.Network(), 9, 0, &Owners{Parent: n.Network(), OwnerList: ownerList(1, "thief")}, key("ann"))))
		n.take(n.SignMember(*member("eve", "eve"), 0, key("thief")))
		c := Change{Owners: ownerList(1, "new")}
		c.Drop = allOf(n.wantClaims(c, "new", "eve"))
		if first {
			n.take(n.SignRecovery(c, pub("paper"), key("paper"), key("new")))
			n.want("")
		}
		c.Former = ownerList(1, "ann", "ben").Owners
		n.wantClaims(c, "new", "-old invitation amy bob policy")
		n.take(n.SignRecovery(c, pub("paper"), key("paper"), key("new")))
		n.complete("amy bob carl")
	}
}

func TestWhoHasNoRightIsToldWhoHas(t *testing.T) {
	g, id, err := NewGenesis(Genesis{OwnerList: OwnerList{Threshold: 1, Owners: []Owner{
		owner("ann"), {Key: pub("ben"), Rights: RightAdmit, Name: "ben"},
	}}}, key("ann"))
	if err != nil {
		t.Fatal(err)
	}
	n := &network{New(id), t}
	n.take([][]byte{g}, nil)
	n.take(n.SignMember(*member("bob", "bob"), 0, key("ben")))
	_, err = n.SignRemoval(pub("bob"), "", key("ben"))
	var refused *NotAllowedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "removing bob") || !strings.Contains(refused.Hint(), "ann ("+Fingerprint(pub("ann"))) {
		t.Errorf("%v", err)
	}
}

func TestACriticalStatementOfANewerVersionStopsTheAdministration(t *testing.T) {
	n := newNetwork(t, 1)
	n.take(n.SignMember(*member("bob", "bob"), 0, key("ann")))
	s := &Statement{Critical: true, Network: n.Network(), Content: &Unknown{Type: 77}}
	s.sign(key("ann"))
	n.take([][]byte{s.Append(nil)}, nil)
	n.want("bob") // who belongs stays as it is
	_, err := n.SignMember(*member("carl", "carl"), 0, key("ann"))
	var refused *NotAllowedError
	if !errors.As(err, &refused) || !refused.New || !n.State().TooNew() {
		t.Errorf("%v", err)
	}
}

// TestAThiefCannotStayByACriticalStatement: with a stolen owner's key he can stop the administration, but not his end.
func TestAThiefCannotStayByACriticalStatement(t *testing.T) {
	for _, recover := range []bool{true, false} {
		n := newNetwork(t, 1)
		n.take(n.SignMember(*member("bob", "bob"), 0, key("ann")))
		s := &Statement{Critical: true, Network: n.Network(), Content: &Unknown{Type: 77}}
		s.sign(key("ben"))
		n.take([][]byte{s.Append(nil)}, nil)
		if _, err := n.SignOwners(Change{Owners: ownerList(1, "ann", "ben", "cat")}, key("ann")); err == nil {
			t.Error("owners are changed although nobody understands what one of them has said")
		}
		if recover {
			n.take(n.SignRecovery(Change{Owners: ownerList(1, "ann")}, pub("paper"), key("paper"), key("ann")))
		} else {
			n.take(n.SignOwners(Change{Owners: ownerList(1, "ann")}, key("ann")))
		}
		n.want("bob")
		if n.State().TooNew() || len(n.State().Owners.Owners) != 1 {
			t.Errorf("%+v", n.State().Owners)
		}
	}
}

// TestAMemberInvites: with the capability it may grant its own groups and addresses of its pool.
func TestAMemberInvites(t *testing.T) {
	n := newNetwork(t, 1)
	bob := member("bob", "bob")
	bob.Grant = Grant{Groups: []string{"web"}, Pool: subnets(t, "10.0.0.0/24"), Capabilities: CapInvite}
	n.take(n.SignMember(*bob, 0, key("ann")))
	for name, i := range map[string]Invitation{
		"a capability":    {Grant: Grant{Capabilities: CapRelay}},
		"another group":   {Grant: Grant{Groups: []string{"admin"}}},
		"another address": {Grant: Grant{Subnets: subnets(t, "10.1.0.1")}},
		"all addresses":   {Choose: subnets(t, "0.0.0.0/0")},
		"a larger pool":   {Grant: Grant{Pool: subnets(t, "10.0.0.0/8")}},
	} {
		i.Uses, i.Created = 1, 1000
		if _, err := n.SignInvitation(i, 0, key("url"), key("bob")); err == nil {
			t.Errorf("a member grants %s", name)
		}
		i.Key, i.Proof = pub("url"), key("url").Sign(invitationProof(n.Network(), pub("url")))
		add(t, n.Roster, sign(t, n.Network(), 1, &i, "bob"), Waiting)
	}
	i := Invitation{Uses: 2, Created: 1000, Grant: Grant{Groups: []string{"web"}}, Choose: subnets(t, "10.0.0.0/28")}
	n.take(one(n.SignInvitation(i, 0, key("url2"), key("bob"))))
	q := Request{Name: "carl", Key: pub("carl"), Invitation: pub("url2")}
	proof := q.Sign(n.Network(), key("url2"))
	if _, err := n.Admit(q, proof, subnets(t, "10.0.0.99"), 2000, key("bob")); err == nil {
		t.Error("an address outside of the invitation was given")
	}
	n.take(one(n.Admit(q, proof, subnets(t, "10.0.0.3"), 2000, key("bob"))))
	q = Request{Name: "dan", Key: pub("dan"), Invitation: pub("url2")}
	if _, err := n.Admit(q, q.Sign(n.Network(), key("url2")), subnets(t, "10.0.0.3"), 2001, key("bob")); err == nil || !strings.Contains(err.Error(), "address-taken") {
		t.Errorf("an address was given twice: %v", err)
	}
	n.want("bob carl")
	n.take(n.SignRemoval(pub("bob"), "", key("ann")))
	n.want("carl")
	if n.State().Invitation(pub("url2")) != nil {
		t.Error("the invitation of a removed member is open")
	}
}

func TestAdmittingIsRefusedWithItsReason(t *testing.T) {
	n := newNetwork(t, 1)
	n.take(n.SignMember(*member("bob", "bob"), 0, key("ann")))
	n.take(n.SignMember(*member("gone", "gone"), 0, key("ann")))
	n.take(n.SignMember(*member("guest", "guest"), 9000, key("ann")))
	n.take(n.SignRemoval(pub("gone"), "", key("ann")))
	n.take(one(n.SignInvitation(Invitation{Uses: 1, Created: 1000, Name: "web*"}, 5000, key("url"), key("ann"))))
	for _, c := range []struct {
		newcomer, keyName, by, url string
		now                        int64
		want                       Reason
	}{
		{"web1", "web1", "bob", "other", 2000, ReasonInvitation},
		{"web1", "web1", "eve", "url", 2000, ReasonVoucher},
		{"web1", "web1", "guest", "url", 2000, ReasonVoucher},
		{"web1", "gone", "bob", "url", 2000, ReasonRemoved},
		{"web1", "web1", "bob", "url", 5001, ReasonTime},
		{"mail", "web1", "bob", "url", 2000, ReasonName},
		{"web1", "web1", "bob", "url", 2000, ReasonNone},
		{"web1", "web1", "bob", "url", 2001, ReasonNone}, // comes again
		{"web2", "web2", "bob", "url", 2002, ReasonUses},
	} {
		q := Request{Name: node.Name(c.newcomer), Key: pub(c.keyName), Invitation: pub(c.url)}
		raw, err := n.Admit(q, q.Sign(n.Network(), key(c.url)), nil, c.now, key(c.by))
		var refusal *Refusal
		errors.As(err, &refusal)
		if (err == nil) != (c.want == ReasonNone) || refusal != nil && refusal.Reason != c.want {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil {
			_, _ = n.Add(raw)
		}
	}
	n.want("bob guest web1")
}

func TestTheClockOfAMemberMayBeBehind(t *testing.T) {
	n := newNetwork(t, 1)
	n.take(n.SignMember(*member("bob", "bob"), 0, key("ann")))
	n.take(one(n.SignInvitation(Invitation{Uses: 5, Created: 100_000}, 0, key("url"), key("ann"))))
	n.admit("bob", "url", "carl", 2000)
	n.admit("carl", "url", "dan", 10)
	n.want("bob carl dan")
}

func TestWhyAKeyIsNoMember(t *testing.T) {
	n := newNetwork(t, 1)
	n.take(n.SignMember(*member("bob", "bob"), 0, key("ann")))
	n.take(n.SignMember(*member("guest", "guest"), 5000, key("ann")))
	n.take(n.SignMember(*member("gone", "gone"), 0, key("ann")))
	n.take(n.SignMember(*member("left", "left"), 0, key("ann")))
	n.take(n.SignRemoval(pub("gone"), "", key("ann")))
	n.take(one(Leave(n.Network(), "left", key("left"))))
	n.take(one(n.SignInvitation(Invitation{Uses: 1, Created: 1000, Approval: true}, 0, key("url"), key("ann"))))
	n.admit("bob", "url", "new", 2000)
	n.take([][]byte{sign(t, n.Network(), 0, makeAdmission(n.Network(), "url", "late", "late", 2001), "bob")}, nil)
	add(t, n.Roster, sign(t, n.Network(), 0, makeAdmission(n.Network(), "url", "early", "early", 1000), "bob"), Waiting)
	n.take(one(n.SignInvitation(Invitation{Uses: 2, Created: 1000}, 3000, key("short"), key("ann"))))
	n.take([][]byte{sign(t, n.Network(), 0, makeAdmission(n.Network(), "short", "just", "just", 3000+afterEnd), "bob")}, nil)
	add(t, n.Roster, sign(t, n.Network(), 0, makeAdmission(n.Network(), "short", "over", "over", 3001+afterEnd), "bob"), Waiting)
	add(t, n.Roster, sign(t, n.Network(), 1, member("eve", "eve"), "mallory"), Waiting)
	for name, want := range map[string]Reason{
		"bob": ReasonNone, "guest": ReasonEnded, "gone": ReasonRemoved, "left": ReasonLeft, "new": ReasonApproval,
		"late": ReasonUses, "early": ReasonTime, "just": ReasonNone, "over": ReasonTime, "eve": ReasonSigner, "nobody": ReasonUnknown,
	} {
		if got := n.Why(pub(name), 5001); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if len(reasonCodes) != int(ReasonUnknown)+1 {
		t.Error("a reason has no code")
	}
}
