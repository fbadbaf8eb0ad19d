package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/reconcile"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// signed is a roster with the hosts of a world as members, and its owner.
type signed struct {
	t     *testing.T
	owner *keys.PrivateKey
	*roster.Roster
}

func newSigned(t *testing.T, hosts ...*Host) *signed {
	t.Helper()
	owner := keys.FromSeed([32]byte{1, 2, 3})
	raw, id, err := roster.NewGenesis(roster.Genesis{Created: 1, OwnerList: roster.OwnerList{
		Threshold: 1, Owners: []roster.Owner{{Key: owner.Public(), Rights: roster.AllRights, Name: "owner"}},
	}}, owner)
	if err != nil {
		t.Fatal(err)
	}
	s := &signed{t, owner, roster.New(id)}
	s.add(raw)
	for _, h := range hosts {
		s.admit(h)
	}
	return s
}

func (s *signed) add(raws ...[]byte) {
	s.t.Helper()
	for _, raw := range raws {
		if _, err := s.Add(raw); err != nil {
			s.t.Fatal(err)
		}
	}
}

// admit makes h a member, with its own subnet.
func (s *signed) admit(h *Host) {
	s.t.Helper()
	own := []subnet.Subnet{subnet.FromPrefix(h.Subnet())}
	raws, err := s.SignMember(roster.Member{Name: h.Name, Key: h.Key.Public(), Grant: roster.Grant{Subnets: own}}, 0, s.owner)
	if err != nil {
		s.t.Fatal(err)
	}
	s.add(raws...)
}

func (s *signed) remove(h *Host) {
	s.t.Helper()
	raws, err := s.SignRemoval(h.Key.Public(), "", s.owner)
	if err != nil {
		s.t.Fatal(err)
	}
	s.add(raws...)
}

// tell gives the roster to hosts, as it is now.
func (s *signed) tell(hosts ...*Host) {
	for _, h := range hosts {
		h.event(mesh.RosterChanged{State: s.State()})
	}
}

func TestARemovedNodeIsOutAtOnceAndStaysOut(t *testing.T) {
	w := New(1)
	hs := line(w, 4)
	roll := newSigned(t, hs...)
	roll.tell(hs...)
	last := hs[3]
	if _, _, _, ok := w.Reaches(hs[0], last, 10*time.Second); !ok {
		t.Fatal("members do not reach each other")
	}
	w.Run(5 * time.Second)
	roll.remove(last)
	roll.tell(hs[:3]...) // it has not heard itself
	w.Run(2 * time.Second)
	for _, h := range hs[:3] {
		if p := h.peers[last.Name]; p.Reachable || p.Tunnel != nil || h.connected(last.Name) {
			t.Errorf("%s still has to do with it: %+v", h.Name, p)
		}
	}
	if _, _, _, ok := w.Reaches(last, hs[0], 2*time.Minute); ok {
		t.Error("it came back")
	}
	if _, _, _, ok := w.Reaches(hs[0], hs[2], 10*time.Second); !ok {
		t.Error("the others do not reach each other")
	}
}

// toldNothing fails the test if h has anything sent to gone from now on.
func (h *Host) toldNothing(t *testing.T, gone ...*Host) {
	h.w.OnEffect = func(from *Host, e mesh.Effect) {
		if from != h {
			return
		}
		for _, x := range gone {
			switch e := e.(type) {
			case mesh.Send:
				if l := h.links[e.Conn]; l != nil && l.other.host == x {
					t.Errorf("%s is sent %q", x.Name, e.Text)
				}
			case mesh.SendEcho:
				if e.Node == x.Name {
					t.Errorf("%s is sent an echo", x.Name)
				}
			}
		}
	}
}

// Two who are removed at once are not told either that the connection with the other has ended.
func TestSeveralRemovedAtOnceAreToldNothing(t *testing.T) {
	w := New(1)
	hs := line(w, 3)
	roll := newSigned(t, hs...)
	roll.tell(hs...)
	w.Run(5 * time.Second)
	roll.remove(hs[0])
	roll.remove(hs[2])
	hs[1].toldNothing(t, hs[0], hs[2])
	roll.tell(hs[1])
	w.Run(time.Minute)
}

// The name of somebody who was removed is given to another key, and both is heard at once.
func TestWhoHasLoggedInWithTheKeyOfBeforeIsOut(t *testing.T) {
	w := New(1)
	hs := line(w, 2)
	roll := newSigned(t, hs...)
	roll.tell(hs...)
	w.Run(5 * time.Second)
	roll.remove(hs[1])
	raws, err := roll.SignMember(roster.Member{Name: hs[1].Name, Key: keys.FromSeed([32]byte{9}).Public()}, 0, roll.owner)
	if err != nil {
		t.Fatal(err)
	}
	roll.add(raws...)
	roll.tell(hs[0])
	w.Run(time.Second)
	if p := hs[0].peers[hs[1].Name]; hs[0].connected(hs[1].Name) || p.Reachable || p.Tunnel != nil {
		t.Errorf("the removed node still has a connection: %+v", p)
	}
}

// mute is an Exchange that says nothing, although its node announces that it exchanges rosters.
type mute struct{ *notes }

func (mute) Flush(time.Time) []reconcile.Out { return nil }

// A member who is the only one between two others keeps all statements to herself.
func TestNobodyBetweenTwoOthersKeepsARemovalFromThem(t *testing.T) {
	w := New(1)
	hs := line(w, 4)
	for i, h := range hs {
		h.Kill()
		for j := range i - 1 {
			h.Knows(hs[j], false)
		}
	}
	roll := newSigned(t, hs...)
	for i, h := range hs {
		if i != 1 {
			h.Keep(roll.Clone())
		}
	}
	hs[1].Exchange = mute{newNotes(hs[1].Name)}
	hs[0].Start()
	for i, h := range hs[1:] {
		h.Start(hs[i].Name)
	}
	w.Run(20 * time.Second)
	raws, err := roll.SignRemoval(hs[3].Key.Public(), "", roll.owner)
	if err != nil {
		t.Fatal(err)
	}
	hs[0].Submit(raws...)
	took, ok := w.Until(2*time.Second, func() bool { return hs[3].Expelled != nil && !hs[2].connected(hs[3].Name) })
	if !ok {
		t.Errorf("%s has not heard of it after %v", hs[2].Name, took)
	}
}

// Of an echo that is lost because its receiver was removed meanwhile no others follow.
func TestARemovedNodeIsSentNoEchoes(t *testing.T) {
	w := New(1)
	hs := line(w, 2)
	roll := newSigned(t, hs...)
	roll.tell(hs...)
	talk := func() { w.Send(hs[0], hs[1], 64, func(Trace) {}) }
	for range 5 {
		talk()
		w.Run(time.Second)
	}
	w.UDP = func(_, _ *Host) bool { return false }
	asked := false
	w.OnEffect = func(h *Host, e mesh.Effect) {
		if e, ok := e.(mesh.SendEcho); ok && h == hs[0] && e.Node == hs[1].Name {
			asked = true
		}
	}
	talk()
	if took, ok := w.Until(10*time.Second, func() bool { return asked }); !ok {
		t.Fatalf("no echo within %v", took)
	}
	roll.remove(hs[1])
	hs[0].toldNothing(t, hs[1])
	roll.tell(hs[0])
	w.Run(10 * time.Second)
}

func TestANodeThatIsToldOfItsRemovalSaysSo(t *testing.T) {
	w := New(1)
	hs := line(w, 2)
	roll := newSigned(t, hs...)
	roll.tell(hs...)
	w.Run(5 * time.Second)
	roll.remove(hs[1])
	roll.tell(hs...)
	w.Run(time.Second)
	if hs[1].Expelled == nil || hs[1].Expelled.By != roll.owner.Public() || hs[0].Expelled != nil {
		t.Errorf("expelled: %v, %v", hs[0].Expelled, hs[1].Expelled)
	}
}

// Stock nodes check nothing. What they pass on about a node that is no member is not believed, nor is it lost if the
// admission comes later.
func TestNewsOfSomebodyAreHeldUntilHisAdmission(t *testing.T) {
	w := New(1)
	hs := line(w, 4)
	members := hs[:3]
	roll := newSigned(t, members...)
	roll.tell(hs[0], hs[2]) // hs[1] is a stock node, which believes everybody, and hs[3] dials hs[2]
	w.Until(5*time.Second, func() bool { return hs[0].peers["n02"].Reachable })
	if hs[0].peers["n03"].Reachable || hs[2].connected("n03") {
		t.Error("a stranger is let in")
	}
	hs[3].Knows(hs[1], true)
	hs[3].event(mesh.HostLoaded{Node: "n01", Known: true, Host: hs[3].known["n01"]})
	hs[1].event(mesh.HostLoaded{Node: "n03", Known: true, Host: host(hs[3])})
	hs[3].event(mesh.ConnectNow{Node: "n01"})
	if _, ok := w.Until(20*time.Second, func() bool { return hs[1].connected("n03") }); !ok {
		t.Fatal("the stock node does not let it in")
	}
	w.Run(2 * time.Second)
	if hs[0].peers["n03"].Reachable {
		t.Error("news about a stranger are believed")
	}
	roll.admit(hs[3])
	roll.tell(hs[0], hs[2])
	if took, ok := w.Until(5*time.Second, func() bool { return hs[0].peers["n03"].Reachable }); !ok {
		t.Errorf("the new member is not reachable after %v", took)
	}
	if _, _, _, ok := w.Reaches(hs[0], hs[3], 10*time.Second); !ok {
		t.Error("no packet gets through to it")
	}
}

// A node that has only just fetched the roster may have a state from before an admission that others have acted on: what it has
// believed of that node until then is not lost.
func TestWhatWasBelievedBeforeAnAdmissionIsNotLost(t *testing.T) {
	w := New(1)
	hs := line(w, 4)
	roll := newSigned(t, hs[:3]...)
	old := roll.State()
	roll.admit(hs[3])
	roll.tell(hs[1:]...)
	if _, ok := w.Until(10*time.Second, func() bool { return hs[0].peers["n03"].Reachable }); !ok {
		t.Fatal("an open node does not believe it")
	}
	w.Run(time.Second)
	hs[0].event(mesh.RosterChanged{State: old})
	w.Run(100 * time.Millisecond)
	if hs[0].peers["n03"].Reachable {
		t.Error("somebody who is no member is believed in")
	}
	roll.tell(hs[0])
	w.Run(100 * time.Millisecond)
	if !hs[0].peers["n03"].Reachable {
		t.Error("it is still not reachable after its admission")
	}
	if _, _, _, ok := w.Reaches(hs[0], hs[3], 5*time.Second); !ok {
		t.Error("it is not reached")
	}
}

func TestOnlyGrantedSubnetsAreBelieved(t *testing.T) {
	w := New(1)
	hs := line(w, 2)
	roll := newSigned(t, hs...)
	roll.tell(hs...)
	w.Run(5 * time.Second)
	extra := subnet.FromPrefix(netip.MustParsePrefix("192.168.7.0/24"))
	has := func() bool {
		n := hs[0].Core.NodesAfter("n00", 1)
		return len(n) == 1 && slices.Contains(n[0].Subnets, extra)
	}
	hs[1].reload(func(c *mesh.Config) { c.Subnets = append(c.Subnets, extra) })
	w.Run(5 * time.Second)
	if has() {
		t.Error("a subnet that was not granted is believed")
	}
	raws, err := roll.SignMember(roster.Member{Name: "n01", Key: hs[1].Key.Public(), Grant: roster.Grant{
		Subnets: []subnet.Subnet{subnet.FromPrefix(hs[1].Subnet()), subnet.FromPrefix(netip.MustParsePrefix("192.168.0.0/16"))},
	}}, 0, roll.owner)
	if err != nil {
		t.Fatal(err)
	}
	roll.add(raws...)
	roll.tell(hs...)
	w.Run(time.Second)
	if !has() {
		t.Error("it is not believed after the grant")
	}
}

// A gateway that was granted everything cannot announce the address of another member.
func TestTheNarrowestGrantCounts(t *testing.T) {
	w := New(1)
	hs := line(w, 3)
	roll := newSigned(t, hs...)
	wide := subnet.FromPrefix(netip.MustParsePrefix("0.0.0.0/0"))
	raws, err := roll.SignMember(roster.Member{Name: "n01", Key: hs[1].Key.Public(), Grant: roster.Grant{Subnets: []subnet.Subnet{wide}}}, 0, roll.owner)
	if err != nil {
		t.Fatal(err)
	}
	roll.add(raws...)
	roll.tell(hs...)
	narrow, free := subnet.FromPrefix(hs[2].Subnet()), subnet.FromPrefix(netip.MustParsePrefix("192.168.7.0/24"))
	hs[1].reload(func(c *mesh.Config) { c.Subnets = []subnet.Subnet{wide, narrow, free} })
	w.Run(5 * time.Second)
	n := hs[0].Core.NodesAfter("n00", 1)
	if len(n) != 1 || slices.Contains(n[0].Subnets, narrow) || !slices.Contains(n[0].Subnets, wide) || !slices.Contains(n[0].Subnets, free) {
		t.Errorf("the gateway is believed to have %v", n)
	}
}

// The key in the roster counts, whatever lies on the disk; a member without a host file may log in.
func TestTheRosterIsTheHostFile(t *testing.T) {
	w := New(1)
	a, b := w.Add("a"), w.Add("b")
	b.Knows(a, true) // a has no file of b
	roll := newSigned(t, a, b)
	a.Configure = func(c *mesh.Config) { c.Roster = mesh.RosterChanged{State: roll.State()} }
	b.Configure = a.Configure
	a.Start()
	b.Start("a")
	if _, _, _, ok := w.Reaches(a, b, 10*time.Second); !ok {
		t.Fatal("a member without a host file is not let in")
	}
	wrong := keys.FromSeed([32]byte{9}).Public()
	a.event(mesh.HostLoaded{Node: "b", Known: true, Host: mesh.Host{Key: &wrong}})
	w.Run(5 * time.Second)
	if _, _, _, ok := w.Reaches(a, b, 10*time.Second); !ok {
		t.Error("a host file with another key counts more than the roster")
	}
}

// When owners change, what they sign about members may arrive after the change.
func TestWhoIsNotRemovedButLostStaysForAMoment(t *testing.T) {
	w := New(1)
	hs := line(w, 2)
	with, without := newSigned(t, hs...), newSigned(t, hs[0])
	with.tell(hs[0])
	w.Run(5 * time.Second)
	without.tell(hs[0])
	w.Run(5 * time.Second)
	if !hs[0].connected("n01") {
		t.Fatal("a member that got lost is out at once")
	}
	with.tell(hs[0])
	w.Run(20 * time.Second)
	if !hs[0].connected("n01") {
		t.Error("a member that has come back is out")
	}
	without.tell(hs[0])
	w.Run(11 * time.Second)
	if hs[0].connected("n01") {
		t.Error("somebody who is no member any more is still in")
	}
}

// Who stays for a moment and is removed in it is out at once.
func TestWhoStaysForAMomentCanBeRemoved(t *testing.T) {
	w := New(1)
	hs := line(w, 2)
	with, without := newSigned(t, hs...), newSigned(t, hs[0])
	with.tell(hs[0])
	w.Run(5 * time.Second)
	without.tell(hs[0])
	w.Run(time.Second)
	without.remove(hs[1])
	without.tell(hs[0])
	w.Run(100 * time.Millisecond)
	if hs[0].connected("n01") {
		t.Error("somebody who was removed is still in")
	}
}

func TestAMembershipThatEndsInTime(t *testing.T) {
	w := New(1)
	hs := line(w, 2)
	roll := newSigned(t, hs[0])
	raws, err := roll.SignMember(roster.Member{Name: hs[1].Name, Key: hs[1].Key.Public()}, w.Now.Add(time.Minute).Unix(), roll.owner)
	if err != nil {
		t.Fatal(err)
	}
	roll.add(raws...)
	roll.tell(hs[0])
	w.Run(50 * time.Second)
	if !hs[0].connected("n01") {
		t.Error("it is out before its time")
	}
	w.Run(15 * time.Second)
	if hs[0].connected("n01") {
		t.Error("it is still in")
	}
}

func TestAnEmptyRosterAndOneThatOnlyWarnsRefuseNobody(t *testing.T) {
	for _, mode := range []mesh.RosterMode{mesh.RosterEnforced, mesh.RosterWarns} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			w := New(1)
			hs := line(w, 3)
			state := newSigned(t, hs[0]).State()
			if mode == mesh.RosterEnforced {
				state = roster.New(state.Network).State()
			}
			for _, h := range hs {
				h.event(mesh.RosterChanged{State: state, Mode: mode})
			}
			if _, _, _, ok := w.Reaches(hs[0], hs[2], 10*time.Second); !ok {
				t.Error("somebody is refused")
			}
			if mode == mesh.RosterWarns { // also of whom it says that he was removed
				removal := newSigned(t, hs...)
				removal.remove(hs[2])
				for _, h := range hs {
					h.event(mesh.RosterChanged{State: removal.State(), Mode: mode})
				}
				if _, _, _, ok := w.Reaches(hs[0], hs[2], 10*time.Second); !ok || hs[2].Expelled != nil {
					t.Errorf("somebody who was removed is refused, or ends: %v", hs[2].Expelled)
				}
			}
			hs[0].event(mesh.RosterChanged{})
			w.Run(time.Second)
			if _, _, _, ok := w.Reaches(hs[0], hs[2], 10*time.Second); !ok {
				t.Error("somebody is refused after it is gone")
			}
		})
	}
}
