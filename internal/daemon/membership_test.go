package daemon

import (
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/invite"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/pidfile"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// signedBy is a roster whose members are some nodes, and the key of its owner.
func signedBy(t *testing.T, nodes ...*testNode) (*roster.Roster, *keys.PrivateKey) {
	t.Helper()
	owner := keys.FromSeed([32]byte{1, 2, 3})
	raw, id, err := roster.NewGenesis(roster.Genesis{Created: 1, Recovery: keys.FromSeed([32]byte{7}).Public(), OwnerList: roster.OwnerList{
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
	must(t, members.Save(a.layout, r))
	c.add("tinc.conf", "NetworkID = "+r.Network().String()) // it fetches the roster from its neighbour
	must(t, members.Save(b.layout, r))
	a.knows(b, c)
	a.start()
	for _, n := range []*testNode{b, c} {
		n.knows(a)
		n.start()
	}
	ca, cc := a.client(), c.client()
	eventually(t, "a sees both", func() bool { return a.sees(ca, "b") && a.sees(ca, "c") })
	eventually(t, "c has the roster", func() bool { return len(c.view(cc).Members) == 3 })

	if err := ca.AcceptKey("b"); err == nil || !strings.Contains(err.Error(), "the roster says who belongs to it") {
		t.Errorf("accepting a key in a signed network: %v", err)
	}

	raws, err := r.SignRemoval(b.key.Public(), "sold", owner)
	must(t, err)
	if outcome, err := ca.AddStatements(raws); err != nil || outcome != "added" {
		t.Errorf("outcome %q, %v", outcome, err)
	}
	b.ended()
	if !errors.Is(b.err, ErrExpelled) || !b.said(`removed from the network by olga ("sold")`) {
		t.Errorf("b ended with: %v", b.err)
	}
	eventually(t, "nobody sees it", func() bool { return !a.sees(ca, "b") && !c.sees(cc, "b") })
	onDisk, _, err := members.Load(a.layout, r.Network())
	must(t, err)
	if onDisk.State().Removed(b.key.Public()) == nil {
		t.Error("the removal is not on disk")
	}
	eventually(t, "c has it on disk", func() bool {
		onDisk, _, err := members.Load(c.layout, r.Network())
		return err == nil && onDisk.State().Removed(b.key.Public()) != nil
	})

	if err := b.tryStart(Options{}); err == nil { // it is told at once, by its own file
		b.ended()
	}
	if !errors.Is(b.err, ErrExpelled) {
		t.Errorf("started again it ended with: %v", b.err)
	}
	if !b.said("that was taken back after " + b.layout.Roster()) {
		t.Error("it does not say what to do if the removal was taken back")
	}
	must(t, os.Remove(b.layout.Roster())) // so it comes back as if nothing had happened
	b.start()
	b.says("ended")
	if a.sees(ca, "b") {
		t.Error("it was let in again")
	}
	b.stop()
}

// A roster that is an old copy, or was cut off, is named with what to do, in the log and the status.
func TestAnOldRosterIsNamed(t *testing.T) {
	a, b := newNode(t, "a", "ConnectTo = b"), newNode(t, "b")
	r, _ := signedBy(t, a)
	must(t, members.Save(a.layout, r))
	a.knows(b)
	a.start()
	a.says("is to connect to b, which by its roster is no member")
	var problems []control.Problem
	eventually(t, "the status says so", func() bool {
		s, err := a.client().Status()
		must(t, err)
		problems = s.Problems
		return slices.ContainsFunc(problems, func(p control.Problem) bool {
			return p.Code == whyOldRoster && strings.Contains(p.Change, a.layout.Roster()) && strings.Contains(p.Change, r.Network().String())
		})
	})
}

// A change of owners and what stands on it are taken in one go: there is no moment without members.
func TestStatementsAreTakenTogether(t *testing.T) {
	a := newNode(t, "a")
	r, _ := signedBy(t, a)
	must(t, members.Save(a.layout, r))
	a.start()
	c := a.client()
	next := keys.FromSeed([32]byte{9})
	change := roster.Change{Owners: roster.OwnerList{Threshold: 1, Owners: []roster.Owner{{Key: next.Public(), Rights: roster.AllRights, Name: "next"}}}}
	paper := keys.FromSeed([32]byte{7})
	raws, err := r.SignRecovery(change, paper.Public(), paper, next)
	must(t, err)
	if len(raws) != 2 {
		t.Fatalf("%d statements", len(raws))
	}
	if _, err := c.AddStatements([][]byte{raws[0], []byte("x")}); err == nil {
		t.Error("what is no statement was taken")
	}
	if outcome, err := c.AddStatements(raws); err != nil || outcome != "added" {
		t.Errorf("outcome %q, %v", outcome, err)
	}
	if v := a.view(c); v.Owners[0].Name != "next" || len(v.Members) != 1 || v.Members[0].By != "next" {
		t.Errorf("%+v", v)
	}
}

func TestARosterCountsAsTheConfigurationSays(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b", "ConnectTo = a")
	r, _ := signedBy(t, a)
	must(t, members.Save(a.layout, r))
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
	must(t, members.Save(a.layout, r))
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
	if _, err := c.AddStatements([][]byte{[]byte("x")}); err == nil || !strings.Contains(err.Error(), "open one") {
		t.Errorf("error %v", err)
	}
}

// The inviter is off for good: another member lets the newcomer in, once.
func TestAnInvitationOutlivesItsMaker(t *testing.T) {
	a, b := newNode(t, "a", "Ifconfig = 10.77.0.1/24"), newNode(t, "b", "ConnectTo = a", "Ifconfig = 10.77.0.2/24")
	r, owner := signedBy(t, a, b)
	for _, n := range []*testNode{a, b} {
		must(t, members.Save(n.layout, r))
	}
	a.knows(b)
	a.start()
	b.knows(a)
	b.start()
	ca, cb := a.client(), b.client()
	eventually(t, "b sees a", func() bool { return b.sees(cb, "a") })

	inv, cookie, err := invite.NewCookie(invite.Request{
		Dir: a.layout.ConfBase, Name: "a", Invitee: "carol", Address: "127.0.0.1", Port: 1, Rand: rand.Reader,
	}, members.GreetingKey(r).Public())
	must(t, err)
	given := netip.MustParsePrefix(inv.Addresses[0])
	what := roster.Invitation{Name: "carol", Uses: 1, Created: time.Now().Unix(), Grant: roster.Grant{
		Groups: []string{"web"}, Subnets: []subnet.Subnet{subnet.FromPrefix(netip.PrefixFrom(given.Addr(), 32))},
	}}
	raw, err := r.SignInvitation(what, time.Now().Add(time.Hour).Unix(), roster.InvitationKey(cookie), owner)
	must(t, err)
	_, err = ca.AddStatements([][]byte{raw})
	must(t, err)
	eventually(t, "b has the invitation", func() bool { return len(b.view(cb).Invitations) == 1 })
	a.stop()

	at, err := pidfile.Read(b.layout.PidFile)
	must(t, err)
	_, secret, _ := strings.Cut(inv.URL, "/")
	url := net.JoinHostPort(at.Host, at.Port) + "/" + secret
	join := func() (invite.Result, error) {
		dir := t.TempDir() + "/net"
		return invite.Join(t.Context(), invite.Options{URL: url, Place: confdir.Place{Conf: dir}})
	}
	res, err := join()
	must(t, err)
	if res.Name != "carol" || len(res.Addresses) != 1 || res.Addresses[0] != given.String() ||
		!slices.ContainsFunc(res.Settings, func(s string) bool { return s == "NetworkID = "+r.Network().String() }) {
		t.Errorf("joined: %+v", res)
	}
	v := b.view(cb)
	i := slices.IndexFunc(v.Members, func(m members.Member) bool { return m.Name == "carol" })
	if i < 0 || v.Members[i].By != "b" || v.Members[i].Invitation == "" || !slices.Equal(v.Members[i].Groups, []string{"web"}) {
		t.Errorf("members: %+v", v.Members)
	}
	if _, err := join(); !errors.Is(err, invite.Used) {
		t.Errorf("the second time: %v", err)
	}

	carol := &testNode{T: t, name: "carol", layout: res.Layout}
	carol.add("tinc.conf", "DeviceType = dummy\nBindToAddress = 127.0.0.1\nAutoConnect = no")
	carol.replace("tinc.conf", "Ifconfig = "+given.String(), "")
	carol.add("hosts/carol", "Port = 0")
	carol.start()
	cc := carol.client()
	eventually(t, "carol is in, with the roster", func() bool {
		v := carol.view(cc)
		return b.sees(cb, "carol") && len(v.Members) == 3 && !v.Fetching
	})
}

func TestAWrongCookieAndAnExpiredInvitationAreRefused(t *testing.T) {
	a := newNode(t, "a")
	r, owner := signedBy(t, a)
	must(t, members.Save(a.layout, r))
	a.start()
	c := a.client()
	at, err := pidfile.Read(a.layout.PidFile)
	must(t, err)
	port, _ := strconv.Atoi(at.Port)
	request := invite.Request{Dir: a.layout.ConfBase, Name: "a", Invitee: "bob", Address: at.Host, Port: uint16(port), Rand: rand.Reader}
	try := func(url string) error {
		_, err := invite.Join(t.Context(), invite.Options{URL: url, Place: confdir.Place{Conf: t.TempDir() + "/net"}})
		return err
	}
	inv, _, err := invite.NewCookie(request, members.GreetingKey(r).Public())
	must(t, err)
	if err := try(inv.URL); !errors.Is(err, invite.Unknown) {
		t.Errorf("an invitation that nobody signed: %v", err)
	}
	inv, cookie, err := invite.NewCookie(request, members.GreetingKey(r).Public())
	must(t, err)
	now := time.Now()
	raw, err := r.SignInvitation(roster.Invitation{Name: "bob", Uses: 1, Created: now.Add(-2 * time.Hour).Unix()}, now.Add(-time.Hour).Unix(), roster.InvitationKey(cookie), owner)
	must(t, err)
	_, err = c.AddStatements([][]byte{raw})
	must(t, err)
	if err := try(inv.URL); !errors.Is(err, invite.Expired) {
		t.Errorf("an invitation that has ended: %v", err)
	}
}
