//go:build linux

package e2e

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tincan/internal/lab"
	"tincan/internal/members"
	"tincan/internal/report"
)

// asJSON is what a command of tincan prints with --json.
func asJSON[T any](n *node, args ...string) (v T) {
	n.w.Helper()
	n.ask(&v, args...)
	return v
}

// says runs a command of tincan that must succeed, and returns all that it prints.
func (n *node) says(args ...string) string {
	n.w.Helper()
	p, err := n.Start(os.Getenv(binaryVar), append([]string{"-n", "home"}, args...)...)
	n.w.must(err)
	if err := p.Wait(patience); err != nil {
		n.w.Fatalf("%v: %v\n%s", args, err, p.Log())
	}
	return p.Log()
}

// signed makes a signed network of nodes that do not run: those for which first has host files are its members. Each
// node of tincan has the roster from the start.
func (w *world) signed(first *node, others ...*node) {
	w.Helper()
	a := asJSON[report.Adopted](first, "roster", "adopt", "--signed", "--no-recovery")
	text := first.file("roster")
	for _, n := range others {
		if !n.kind.real() {
			n.write(map[string]string{"roster": text})
			n.appendTo("tinc.conf", "NetworkID = "+a.Network+"\nRoster = signed\n")
		}
	}
}

// view is what the node says of who belongs to the network.
func (n *node) view() members.View {
	n.w.Helper()
	return asJSON[members.View](n, "members")
}

// hasMember tells whether name is a member in the eyes of n.
func (n *node) hasMember(name string) bool {
	n.w.Helper()
	return slices.ContainsFunc(n.view().Members, func(m members.Member) bool { return string(m.Name) == name })
}

// A mesh of tinc 1.0, tinc 1.1 and tincan becomes a signed network while everybody talks, and nobody notices.
func TestAMeshIsAdoptedUnderPing(t *testing.T) {
	t.Parallel()
	needTinc(t)
	w := newWorld(t, "ip4")
	n := w.legacy(
		site{name: "alice"},
		site{name: "bob", connect: []string{"alice"}},
		site{name: "carol", connect: []string{"alice"}},
		site{name: "eleven", kind: tinc11, connect: []string{"bob"}},
		site{name: "ten", kind: tinc10, connect: []string{"bob"}},
	)
	alice, bob, carol, eleven, ten := n[0], n[1], n[2], n[3], n[4]
	ours := []*node{alice, bob, carol}
	upAll(n...)
	w.allReach("ip4", n...)
	for _, p := range [][2]*node{{alice, carol}, {carol, alice}, {alice, bob}, {eleven, bob}} {
		p[0].talksDirectly(p[1])
	}
	echoes := map[string]*lab.Echoes{}
	for _, p := range [][2]*node{{alice, carol}, {bob, carol}, {carol, eleven}, {eleven, alice}, {ten, bob}, {ten, eleven}, {carol, ten}} {
		e, err := p[0].Echo(p[1].vpn("ip4"), 20*time.Millisecond)
		w.must(err)
		echoes[p[0].Name()+" to "+p[1].Name()] = e
	}
	a := asJSON[report.Adopted](alice, "roster", "adopt")
	if len(a.Members) != len(n) || len(a.LeftOut) > 0 {
		t.Errorf("adopted: %+v", a)
	}
	for _, o := range ours[1:] {
		o.tincan("roster", "accept", a.Network)
	}
	everywhere := func(mode string) {
		w.Helper()
		for _, o := range ours {
			w.eventually(o.Name()+" has the roster, mode "+mode, patience, func() bool {
				v := o.view()
				return v.Mode == mode && !v.Fetching && len(v.Members) == len(n)
			})
		}
	}
	everywhere("warn")
	for _, o := range ours {
		o.tincan("set", "Roster", "signed")
	}
	everywhere("signed")
	w.allReach("ip4", n...)
	for name, e := range echoes {
		if c := e.Stop(); c.Lost() > 0 {
			t.Errorf("from %s: %s, sent at %v", name, c, e.Unanswered())
		}
	}
	for _, o := range ours {
		for line := range strings.Lines(o.log()) {
			if strings.Contains(line, "a signed network would refuse") {
				t.Errorf("%s has warned: %s", o.Name(), line)
			}
		}
	}
}

// Removed once means removed everywhere, whoever else is in the mesh, and for good.
func TestRemovedOnceIsRemovedEverywhere(t *testing.T) {
	t.Parallel()
	needTinc(t)
	w := newWorld(t, "ip4")
	n := w.legacy(
		site{name: "alice"},
		site{name: "bob", connect: []string{"alice"}},
		site{name: "carol", connect: []string{"alice"}},
		site{name: "gone", connect: []string{"alice", "bob", "eleven"}},
		site{name: "eleven", kind: tinc11, connect: []string{"bob"}},
		site{name: "ten", kind: tinc10, connect: []string{"carol"}},
		site{name: "away", connect: []string{"carol"}},
	)
	alice, bob, carol, gone, eleven, ten, away := n[0], n[1], n[2], n[3], n[4], n[5], n[6]
	w.signed(alice, n[1:]...)
	w.block(lab.All, ten, gone) // so their packets for each other pass through nodes of tincan
	upAll(n...)
	w.allReach("ip4", n...)
	away.stopped()

	echoes := map[string]*lab.Echoes{}
	for _, o := range []*node{alice, bob, carol, ten} {
		e, err := o.Echo(gone.vpn("ip4"), 50*time.Millisecond)
		w.must(err)
		echoes[o.Name()] = e
	}
	others, err := alice.Echo(eleven.vpn("ip4"), 50*time.Millisecond)
	w.must(err)
	w.eventually("everybody hears from gone", patience, func() bool {
		return !slices.ContainsFunc(slices.Collect(maps.Values(echoes)), func(e *lab.Echoes) bool { return e.Count().Answered < 3 })
	})

	// The command itself takes a moment before it signs; this one's end is when it is said to be done.
	said := alice.says("remove", "gone", "--reason", "a test")
	removed := time.Now()
	for _, stock := range []string{"eleven", "ten"} {
		if !strings.Contains(said, "note: "+stock+" runs tinc, which checks no roster: delete hosts/gone there") {
			t.Errorf("%s is not named:\n%s", stock, said)
		}
	}
	var exit *exec.ExitError
	if err := gone.daemon.Wait(patience); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("the removed daemon ended with: %v", err)
	}
	if !strings.Contains(gone.log(), `this node was removed from the network by alice ("a test")`) {
		t.Error("the removed node does not say why it ends")
	}
	// It is stubborn, and comes back with its configuration of before.
	gone.write(map[string]string{"tinc.conf": strings.ReplaceAll(gone.file("tinc.conf"), "Roster = signed", "Roster = open") + "ConnectTo = away\n"})
	gone.start()
	w.must(gone.daemon.WaitLog("Ready", patience))
	away.start() // which has not heard of the removal
	for _, o := range []*node{bob, carol, away} {
		w.eventually(o.Name()+" knows of the removal", patience, func() bool {
			out, err := o.try("members", "--json")
			return err == nil && strings.Contains(out, `"reason": "a test"`)
		})
	}
	w.eventually("the stock neighbour lets it in", patience, func() bool { return eleven.connected(gone) })
	gone.reaches(eleven)
	w.eventually("the removed node has no other neighbour", patience, func() bool {
		return !alice.connected(gone) && !bob.connected(gone) && !away.connected(gone)
	})
	var pings sync.WaitGroup
	fenced := func(from *node, to netip.Addr) {
		pings.Go(func() {
			if _, err := from.Ping(to, 56, time.Second); err == nil {
				t.Errorf("%s answers %s", to, from.Name())
			}
		})
	}
	for _, o := range []*node{alice, bob, carol, away} {
		if o.sees("gone").reachable {
			t.Errorf("%s sees the removed node", o.Name())
		}
		fenced(o, gone.vpn("ip4"))
		fenced(gone, o.vpn("ip4"))
	}
	fenced(ten, gone.vpn("ip4"))
	pings.Wait()
	for name, e := range echoes {
		if late := e.Last().Sub(removed); late > 2*time.Second {
			t.Errorf("%s had an answer %v after the removal", name, late)
		}
		e.Stop()
	}
	if c := others.Stop(); c.Lost() > 0 {
		t.Errorf("the others: %s", c)
	}
	w.allReach("ip4", alice, bob, carol, eleven, ten, away)
}

// An invitation made by a node that was destroyed is good at every other member, for tincan and for the real tinc, and one that
// is of no use is so everywhere.
func TestInvitationsOutliveTheirMaker(t *testing.T) {
	t.Parallel()
	needTinc(t)
	w := newWorld(t, "ip4")
	alice, bob, carol := w.node("alice"), w.node("bob"), w.node("carol")
	alice.found()
	alice.tincan("roster", "adopt", "--signed", "--no-recovery")
	alice.up()
	for _, n := range []*node{bob, carol} {
		n.joins(alice.invite(n.Name()))
		n.tincan("set", "Address", n.Addr("ip4").String())
	}
	urls := map[string]string{}
	for name, options := range map[string][]string{"dave": nil, "erin": nil, "late": {"--expires", "1s"}, "undone": nil, "frank": {"--approve"}, "grace": {"--approve"}} {
		urls[name] = alice.tincan(append([]string{"invite", name}, options...)...)
	}
	for _, i := range alice.view().Invitations {
		if i.Name == "undone" {
			alice.tincan("remove", i.Fingerprint)
		}
	}

	// Who needs approval is in only after it.
	frank, grace := w.node("frank"), w.node("grace")
	for _, n := range []*node{frank, grace} {
		if out := n.tincan("join", "--json", urls[n.Name()]); !strings.Contains(out, `"approval": true`) {
			t.Errorf("%s is not told that it needs approval: %s", n.Name(), out)
		}
		n.start()
		if alice.hasMember(n.Name()) {
			t.Errorf("%s is a member without approval", n.Name())
		}
	}
	w.eventually("two wait for approval", patience, func() bool { return len(alice.view().Pending) == 2 })
	for _, command := range []string{"status", "why alice"} {
		w.eventually(command+" says who has to do what", patience, func() bool {
			text, _ := frank.try(strings.Fields(command)...)
			return strings.Contains(strings.Join(strings.Fields(text), " "), "tincan approve frank")
		})
	}
	alice.tincan("deny", "grace")
	alice.tincan("approve", "frank")
	frank.vpn("ip4")
	frank.reaches(alice)
	frank.reaches(bob)
	for _, n := range []*node{bob, carol} {
		w.eventually(n.Name()+" has the roster of alice", patience, func() bool {
			v, at := n.view(), alice.view()
			return len(v.Members) == len(at.Members) && len(v.Invitations) == len(at.Invitations) && len(v.Removed) == len(at.Removed)
		})
	}

	// The maker dies, and nothing is left of it.
	alice.killed()
	w.must(alice.InFiles(func() error { return os.RemoveAll(confBase) }))
	w.block(lab.All, alice)
	at := func(name string, n *node) string {
		_, secret, _ := strings.Cut(urls[name], "/")
		return n.Addr("ip4").String() + ":655/" + secret
	}
	dave, erin := w.node("dave"), w.node("erin")
	dave.joins(at("dave", bob))
	erin.kind = tinc11
	_, err := erin.Run(filepath.Join(tincDir, "sbin", "tinc"), "-n", "home", "join", at("erin", carol))
	w.must(err)
	erin.write(map[string]string{"tinc-up": erin.file("tinc-up.invitation")})
	erin.up()
	w.allReach("ip4", bob, carol, frank, dave, erin)
	if !bob.hasMember("erin") || !dave.hasMember("erin") {
		t.Error("erin is no member")
	}

	someone := w.node("someone")
	for _, n := range []*node{bob, carol, dave, frank} {
		for name, why := range map[string]string{"dave": "used", "erin": "used", "late": "expired", "undone": "withdrawn|unknown|not valid"} {
			refuses(someone, "join", at(name, n)).says(why)
			if out, err := someone.Run(filepath.Join(tincDir, "sbin", "tinc"), "-n", "real", "join", at(name, n)); err == nil {
				t.Errorf("the real tinc has joined %s with the URL of %s: %s", n.Name(), name, out)
			}
		}
	}
	if grace.connected(bob) || bob.sees("grace").reachable {
		t.Error("who was denied is in")
	}
	w.must(grace.daemon.Signal(syscall.SIGKILL))
}
