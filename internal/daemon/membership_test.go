package daemon

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"tincan/internal/control"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/roster"
)

// signedBy is a roster whose members are some nodes, and the key of its owner.
func signedBy(t *testing.T, nodes ...*testNode) (*roster.Roster, *keys.PrivateKey) {
	t.Helper()
	owner := keys.FromSeed([32]byte{1, 2, 3})
	raw, id, err := roster.NewGenesis(roster.Genesis{Created: 1, OwnerList: roster.OwnerList{
		Threshold: 1, Owners: []roster.Owner{{Key: owner.Public(), Rights: roster.AllRights, Name: "olga"}},
	}}, owner)
	must(t, err)
	r := roster.New(id)
	raws := [][]byte{raw}
	r.Merge(raws)
	for _, n := range nodes {
		raws, err := r.SignMember(roster.Member{Name: n.name, Key: n.key.Public()}, 0, owner)
		must(t, err)
		for _, result := range r.Merge(raws) {
			must(t, result.Err())
		}
	}
	return r, owner
}

// view is what the running node says about its roster.
func (n *testNode) view(c *control.Client) (v members.View) {
	n.Helper()
	must(n, c.Members(&v))
	return v
}

func TestARemovedNodeEndsAndIsNotLetInAgain(t *testing.T) {
	a, b, c := newNode(t, "a"), newNode(t, "b", "ConnectTo = a"), newNode(t, "c", "ConnectTo = a")
	r, owner := signedBy(t, a, b, c)
	must(t, members.Save(a.layout.Roster(), r))
	c.add("tinc.conf", "NetworkID = "+r.Network().String()) // it fetches the roster from its neighbour
	must(t, members.Save(b.layout.Roster(), r))
	a.knows(b, c)
	a.start()
	for _, n := range []*testNode{b, c} {
		n.knows(a)
		n.start()
	}
	ca, cc := a.client(), c.client()
	eventually(t, "a sees both", func() bool { return a.sees(ca, "b") && a.sees(ca, "c") })
	eventually(t, "c has the roster", func() bool { return len(c.view(cc).Members) == 3 })

	raws, err := r.SignRemoval(b.key.Public(), "sold", owner)
	must(t, err)
	for _, raw := range raws {
		outcome, err := ca.AddStatement(raw)
		must(t, err)
		if outcome != "added" {
			t.Errorf("outcome %q", outcome)
		}
	}
	b.ended()
	if !errors.Is(b.err, ErrExpelled) || !b.said(`removed from the network by olga ("sold")`) {
		t.Errorf("b ended with: %v", b.err)
	}
	eventually(t, "nobody sees it", func() bool { return !a.sees(ca, "b") && !c.sees(cc, "b") })
	onDisk, _, err := members.Load(a.layout.Roster(), r.Network())
	must(t, err)
	if onDisk.State().Removed(b.key.Public()) == nil {
		t.Error("the removal is not on disk")
	}
	eventually(t, "c has it on disk", func() bool {
		onDisk, _, err := members.Load(c.layout.Roster(), r.Network())
		return err == nil && onDisk.State().Removed(b.key.Public()) != nil
	})

	if err := b.tryStart(Options{}); err == nil { // it is told at once, by its own file
		b.ended()
	}
	if !errors.Is(b.err, ErrExpelled) {
		t.Errorf("started again it ended with: %v", b.err)
	}
	must(t, os.Remove(b.layout.Roster())) // so it comes back as if nothing had happened
	b.start()
	b.says("ended")
	if a.sees(ca, "b") {
		t.Error("it was let in again")
	}
	b.stop()
}

func TestARosterCountsAsTheConfigurationSays(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b", "ConnectTo = a")
	r, _ := signedBy(t, a)
	must(t, members.Save(a.layout.Roster(), r))
	a.add("tinc.conf", "Roster = warn")
	a.knows(b)
	a.start()
	b.knows(a)
	b.start()
	c := a.client()
	eventually(t, "b is let in", func() bool { return a.sees(c, "b") })
	if v := a.view(c); v.Mode != "warn" || v.Fingerprint != roster.Fingerprint(r.Network()) || !slices.Equal(v.Owners[0].Rights, []string{"admit", "remove", "policy", "owners"}) {
		t.Errorf("view %+v", v)
	}
	a.replace("tinc.conf", "Roster = warn", "Roster = signed")
	must(t, c.Reload())
	a.says("b is no member of the network")
	eventually(t, "b is refused", func() bool { return !a.sees(c, "b") })
	a.replace("tinc.conf", "Roster = signed", "Roster = open")
	must(t, c.Reload())
	must(t, c.Retry())
	cb := b.client()
	must(t, cb.Retry())
	eventually(t, "b is let in again", func() bool { return a.sees(c, "b") })
}

func TestAWrongNetworkIDIsRefusedAtTheStart(t *testing.T) {
	a := newNode(t, "a")
	r, _ := signedBy(t, a)
	must(t, members.Save(a.layout.Roster(), r))
	a.add("tinc.conf", "NetworkID = "+strings.Repeat("ab", 32))
	if err := a.tryStart(Options{}); !errors.Is(err, members.ErrOtherNetwork) || hintOf(err) == "" {
		t.Errorf("error %v, hint %q", err, hintOf(err))
	}
	a.replace("tinc.conf", "NetworkID = "+strings.Repeat("ab", 32), "NetworkID = yes")
	if err := a.tryStart(Options{}); err == nil || !strings.Contains(err.Error(), "64 hexadecimal digits") {
		t.Errorf("error %v", err)
	}
}

func TestAnOpenNetworkHasNoRoster(t *testing.T) {
	a := newNode(t, "a")
	a.start()
	c := a.client()
	if v := a.view(c); v.Mode != "open" || v.Network != "" {
		t.Errorf("view %+v", v)
	}
	if _, err := c.AddStatement([]byte("x")); err == nil || !strings.Contains(err.Error(), "open one") {
		t.Errorf("error %v", err)
	}
}
