package roster

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// drawn is a random history: what could be signed by whoever has one of these keys.
type drawn struct {
	t       *rapid.T
	network ID
	lists   []ID // of which an owners statement could be the successor
	roots   []ID
	raws    [][]byte
}

// The names are few, so that statements meet.
var (
	ownerNames  = []string{"ann", "ben", "cat"}
	memberKeys  = []string{"k1", "k2", "k3", "k4", "k5"}
	memberNames = []string{"bob", "bo", "carl"}
	urlKeys     = []string{"u1", "u2", "u3"}
	addresses   = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}
)

func (d *drawn) pick(list []string) string { return rapid.SampledFrom(list).Draw(d.t, "pick") }

func (d *drawn) some(list []string) (out []string) {
	for _, s := range list {
		if rapid.Bool().Draw(d.t, s) {
			out = append(out, s)
		}
	}
	return out
}

func (d *drawn) time() int64    { return int64(rapid.IntRange(998, 1006).Draw(d.t, "time")) }
func (d *drawn) serial() uint64 { return uint64(rapid.IntRange(1, 3).Draw(d.t, "serial")) }

// anyone is a signer: mostly an owner, sometimes a member, sometimes nobody.
func (d *drawn) anyone() string {
	return d.pick(slices.Concat(ownerNames, ownerNames, memberKeys, []string{"paper", "eve"}))
}

func (d *drawn) sign(serial uint64, notAfter int64, c Content, signer string) {
	raw, err := Sign(d.network, serial, notAfter, c, key(signer))
	if err != nil {
		d.t.Fatal(err)
	}
	d.raws = append(d.raws, raw)
}

func (d *drawn) ownerList() OwnerList {
	l := OwnerList{}
	for _, name := range rapid.Permutation(ownerNames).Draw(d.t, "owners")[:rapid.IntRange(1, 3).Draw(d.t, "n")] {
		o := owner(name)
		o.Rights = rapid.SampledFrom([]Rights{AllRights, AllRights, AllRights, RightOwners, RightOwners | RightAdmit}).Draw(d.t, "rights")
		l.Owners = append(l.Owners, o)
	}
	l.Threshold = uint8(rapid.IntRange(1, len(l.Owners)).Draw(d.t, "k"))
	return l
}

func (d *drawn) owners() {
	o := &Owners{Parent: rapid.SampledFrom(d.lists).Draw(d.t, "parent"), OwnerList: d.ownerList()}
	for _, name := range d.some(ownerNames) {
		d.sign(d.serial(), 0, o, name)
	}
	d.lists = append(d.lists, o.List(d.network))
}

func (d *drawn) recovery() {
	c := &Recovery{Root: rapid.SampledFrom(d.roots).Draw(d.t, "root"), Recovery: pub("paper"), OwnerList: d.ownerList()}
	d.sign(d.serial(), 0, c, d.pick([]string{"paper", "paper", "ann"}))
	s, _ := Parse(d.raws[len(d.raws)-1])
	d.roots = append(d.roots, s.ID())
	d.lists = append(d.lists, s.ID())
}

func (d *drawn) grant() Grant {
	return Grant{
		Subnets: d.subnets(addresses), Groups: d.some([]string{"g", "h"}),
		Pool:         d.subnets([]string{"10.0.0.0/24"}),
		Capabilities: rapid.SampledFrom([]Capabilities{0, 0, CapInvite}).Draw(d.t, "capabilities"),
	}
}

func (d *drawn) subnets(texts []string) (list []subnet.Subnet) {
	for _, text := range d.some(texts) {
		s, err := subnet.ParseLocal(text)
		if err != nil {
			d.t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

func (d *drawn) member() {
	m := member(d.pick(memberNames), d.pick(memberKeys))
	m.Grant = d.grant()
	m.RSA[0] = byte(rapid.SampledFrom([]int{0, 0, 1}).Draw(d.t, "rsa"))
	d.sign(d.serial(), rapid.SampledFrom([]int64{0, 0, 0, 2000}).Draw(d.t, "end"), m, d.anyone())
}

func (d *drawn) invitation() {
	i := makeInvitation(d.network, d.pick(urlKeys), uint16(rapid.IntRange(1, 2).Draw(d.t, "uses")))
	i.Name = d.pick([]string{"", "bob", "b*"})
	i.Created = d.time()
	i.Choose = d.subnets([]string{"10.0.0.0/30"})
	if i.Grant = d.grant(); rapid.Bool().Draw(d.t, "small") {
		i.Capabilities = 0
	}
	i.Approval = rapid.IntRange(0, 3).Draw(d.t, "approval") == 0
	d.sign(d.serial(), rapid.SampledFrom([]int64{0, 0, 1}).Draw(d.t, "end"), i, d.anyone())
}

func (d *drawn) admission() {
	a := makeAdmission(d.network, d.pick(urlKeys), d.pick(memberNames), d.pick(memberKeys), d.time())
	if rapid.IntRange(0, 2).Draw(d.t, "address") == 0 {
		a.Subnets = d.subnets(addresses[:2])
	}
	d.sign(0, 0, a, d.pick(memberKeys))
}

func (d *drawn) removal() {
	name := d.pick(slices.Concat(memberKeys, urlKeys))
	d.sign(d.serial(), 0, &Removal{Key: pub(name)}, d.pick([]string{name, d.anyone()}))
}

func (d *drawn) policy() {
	d.sign(d.serial(), 0, &Policy{Text: d.pick([]string{"x", "y"})}, d.anyone())
}

func (d *drawn) names() {
	d.sign(d.serial(), 0, &Names{Text: d.pick([]string{"x", "y"})}, d.anyone())
}

// foreign adds what must change nothing: of another network, forged, cut off.
func (d *drawn) foreign() {
	raw := rapid.SampledFrom(d.raws).Draw(d.t, "victim")
	s, err := Parse(raw)
	if err != nil {
		return // damaged before
	}
	switch rapid.IntRange(0, 3).Draw(d.t, "how") {
	case 0:
		raw = raw[:len(raw)-1]
	case 1:
		s.Signature[5] ^= 1
		raw = s.Append(nil)
	case 2: // somebody else's name under it
		s.Signer = pub("ann")
		raw = s.Append(nil)
	case 3:
		s.Network[0] ^= 1
		if s.Content.Kind() != KindGenesis {
			s.sign(key("ann"))
		}
		raw = s.Append(nil)
	}
	d.raws = append(d.raws, raw)
}

// draw makes a history of up to n statements, and one for each kind of them more.
func draw(t *rapid.T, n int) *drawn {
	raw, network, err := NewGenesis(Genesis{Created: 1, Recovery: pub("paper"), OwnerList: ownerList(uint8(rapid.IntRange(1, 2).Draw(t, "k")), "ann", "ben")}, key("ann"))
	if err != nil {
		t.Fatal(err)
	}
	d := &drawn{t: t, network: network, lists: []ID{network}, roots: []ID{network}, raws: [][]byte{raw}}
	d.sign(1, 0, &Member{Name: "bob", Key: pub("k1"), Grant: Grant{Capabilities: CapInvite}}, "ann")
	kinds := []func(){d.owners, d.member, d.member, d.invitation, d.invitation, d.admission, d.admission, d.admission, d.removal, d.policy, d.names, d.foreign}
	if rapid.IntRange(0, 3).Draw(t, "recoveries") == 0 {
		kinds = append(kinds, d.recovery)
	}
	for range rapid.IntRange(1, n).Draw(t, "n") {
		rapid.SampledFrom(kinds).Draw(t, "kind")()
	}
	return d
}

// TestTheSameStatementsGiveTheSameMembers: in any order, with any repeated, in portions of any
// size, or divided among two nodes that exchange what they have. And they are those that the
// model names.
func TestTheSameStatementsGiveTheSameMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t, 25)
		want := model(d.network, d.raws)

		one := New(d.network)
		one.Merge(d.raws)
		compareDumps(t, "all at once, and the model", dump(one), want)

		shuffled := rapid.Permutation(append(slices.Clone(d.raws), d.raws[:len(d.raws)/2]...)).Draw(t, "order")
		two := New(d.network)
		for _, raw := range shuffled {
			_, _ = two.Add(raw)
		}
		compareDumps(t, "one by one", dump(two), want)
		compareSets(t, one, two)

		cut := rapid.IntRange(0, len(shuffled)).Draw(t, "cut")
		a, b := New(d.network), New(d.network)
		a.Merge(shuffled[:cut])
		b.Merge(shuffled[cut:])
		exchange(t, a, b)
		compareSets(t, a, b)
		compareDumps(t, "after a partition", dump(a), dump(b))
	})
}

// TestDifferingNamesAreThoseOfMembersWhoDiffer compares the walk through two states with a plain one.
func TestDifferingNamesAreThoseOfMembersWhoDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t, 25)
		cut := rapid.IntRange(0, len(d.raws)).Draw(t, "cut")
		r := New(d.network)
		r.Merge(d.raws[:cut])
		before := r.State()
		r.Merge(d.raws[cut:])
		after := r.State()
		var want []node.Name
		for _, name := range []node.Name{"bo", "bob", "carl"} {
			was, is := before.Member(name), after.Member(name)
			if (was == nil) != (is == nil) || was != nil && fmt.Sprint(*was) != fmt.Sprint(*is) {
				want = append(want, name)
			}
		}
		if got := after.Differing(before); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		if got := after.Differing(nil); len(got) != len(after.Members) {
			t.Fatalf("%v of %d members differ from none", got, len(after.Members))
		}
	})
}

// TestWhatIsStoredIsWhatCounts: a node that gets the stored statements, and nothing else, decides the
// same and stores the same.
func TestWhatIsStoredIsWhatCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t, 25)
		one := New(d.network)
		one.Merge(d.raws)
		two := New(d.network)
		for _, result := range two.Merge(all(one)) {
			if result.Outcome != Added {
				t.Fatalf("a stored statement was %v (%v) elsewhere", result.Outcome, result.Reason)
			}
		}
		compareSets(t, one, two)
		compareDumps(t, "copied", dump(two), dump(one))

		three, bad, err := Decode(one.Encode(nil))
		if err != nil || bad > 0 {
			t.Fatalf("%v, %d bad lines", err, bad)
		}
		compareSets(t, one, three)
		compareDumps(t, "from a file", dump(three), dump(one))
	})
}

// TestNobodyWithoutRightsChangesAnything: whatever somebody signs who is neither owner nor member
// nor has an invitation, it changes nothing.
func TestNobodyWithoutRightsChangesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t, 15)
		r := New(d.network)
		r.Merge(d.raws)
		before, ids := dump(r), slices.Clone(r.IDs())
		var forged [][]byte
		for _, raw := range d.raws {
			s, err := Parse(raw)
			if err != nil || s.Content.Kind() == KindGenesis {
				continue
			}
			s.sign(key("mallory"))
			forged = append(forged, s.Append(nil))
		}
		forged = append(forged,
			mustSign(t, d.network, &Removal{Key: pub("k1")}, "mallory"),
			mustSign(t, d.network, &Removal{Key: pub("mallory")}, "mallory"),
			mustSign(t, d.network, &Member{Name: "mallory", Key: pub("mallory")}, "mallory"),
			mustSign(t, d.network, &Owners{Parent: r.State().List, OwnerList: ownerList(1, "mallory")}, "mallory"),
			mustSign(t, d.network, makeInvitation(d.network, "mallory", 9), "mallory"),
		)
		state := r.State()
		for _, raw := range forged {
			if result, _ := r.Add(raw); result.Outcome == Added {
				t.Fatalf("added: %x", raw)
			}
		}
		if r.State() != state || dump(r) != before || !slices.Equal(r.IDs(), ids) {
			t.Fatal("something has changed")
		}
	})
}

func mustSign(t *rapid.T, network ID, c Content, signer string) []byte {
	raw, err := Sign(network, 1, 0, c, key(signer))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// all returns all stored statements.
func all(r *Roster) (raws [][]byte) {
	for _, id := range r.IDs() {
		raws = append(raws, r.Get(id))
	}
	return raws
}

// exchange lets two nodes offer each other what they have until neither takes anything.
func exchange(t *rapid.T, a, b *Roster) {
	for range 20 {
		x, y := a.Merge(all(b)), b.Merge(all(a))
		added := func(r Result) bool { return r.Outcome == Added }
		if !slices.ContainsFunc(x, added) && !slices.ContainsFunc(y, added) {
			return
		}
	}
	t.Fatal("two nodes do not come to an end")
}

func compareSets(t *rapid.T, a, b *Roster) {
	t.Helper()
	if !slices.Equal(a.IDs(), b.IDs()) {
		t.Fatalf("different sets:\n%s\nand\n%s", listing(a, b), listing(b, a))
	}
}

// listing describes what a has stored and b has not.
func listing(a, b *Roster) string {
	var out bytes.Buffer
	for _, id := range a.IDs() {
		if b.Get(id) == nil {
			s := a.Statement(id)
			fmt.Fprintf(&out, "%v serial %d by %v: %+v\n", s.Content.Kind(), s.Serial, s.Signer, s.Content)
		}
	}
	return out.String()
}

func compareDumps(t *rapid.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s:\n%s\n\nwanted:\n%s", what, got, want)
	}
}
