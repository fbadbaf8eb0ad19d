//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// removes deletes the host file of o at n, as its owner does, and reloads.
func (n *node) removes(o string) {
	n.w.Helper()
	n.w.must(n.InFiles(func() error { return os.Remove(confBase + "/hosts/" + o) }))
	switch n.kind {
	case tinc10:
		n.w.must(n.daemon.Signal(syscall.SIGHUP))
	case tinc11:
		n.tinc("reload")
	default:
		n.tincan("reload")
	}
}

// knowsKeyOf tells whether n has a host file of o, or has learned its key.
func (n *node) knowsKeyOf(o string) bool {
	return n.file("hosts/"+o) != "" || strings.Contains(n.file("cache/keys.json"), `"`+o+`": {`)
}

func TestANewcomerWhoseInviterIsGoneGetsIn(t *testing.T) {
	t.Parallel()
	const token = "mazgouvqu7avyv25o2g7w33yjr7olvsf"
	for name, lets := range map[string]func(alice, dave *node){
		"by an invitation": func(alice, dave *node) { dave.tincan("join", alice.invite("dave")) },
		"by a token": func(alice, dave *node) {
			service, err := alice.Start(os.Getenv(binaryVar), "-n", "home", "bootnode", "--token", token)
			alice.w.must(err)
			alice.w.must(service.WaitLog("admitting new nodes at", patience))
			dave.tincan("gen", "--name", "dave", "--no-bin-copy", "--bin", os.Getenv(binaryVar), "--token", token, alice.Addr("ip4").String())
			service.Kill()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "ip4")
			alice, bob, dave := w.node("alice"), w.node("bob"), w.node("dave")
			alice.found()
			alice.up()
			bob.joins(alice.invite("bob"))
			w.eventually("the two know each other", patience, func() bool { return len(missing(alice, bob)) == 0 })
			lets(alice, dave)
			w.must(dave.WriteFile(confBase+"/hosts/bob", []byte(bob.file("hosts/bob")+"Address = "+bob.Addr("ip4").String()+"\n")))
			w.eventually("bob has heard of dave", patience, func() bool { return bob.knowsKeyOf("dave") })
			alice.killed()
			dave.up()
			dave.reaches(bob)
			bob.reaches(dave)

			bob.tincan("remove", "dave")
			w.eventually("dave is out", patience, func() bool {
				return strings.Contains(dave.tincan("status", "--json"), `"connections": 0`)
			})
			if bob.knowsKeyOf("dave") || !strings.Contains(bob.tincan("accept"), "dave removed ") {
				t.Error("bob has not removed dave")
			}
		})
	}
}

// Six nodes, and the owner goes from one to the next, under traffic. Whoever has deleted the file does not get it back
// from those who have not, and in the end the removed node is out.
func TestRollingRemovalOverSix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	for i := range 7 {
		n := w.node(fmt.Sprintf("n%d", i+1))
		if i == 0 {
			n.found()
			n.up()
		} else {
			n.joins(w.nodes[0].invite(n.Name()))
		}
	}
	members, gone := w.nodes[:6], w.nodes[6]
	w.eventually("all know each other", patience, func() bool { return len(missing(w.nodes...)) == 0 })
	gone.reaches(members[5])
	for i, n := range members {
		n.removes(gone.Name())
		for k := range 3 { // packets for the removed one are what would have its key asked for
			_, _ = n.Ping(gone.vpn("ip4"), 56, 200*time.Millisecond)
			members[(i+k)%6].reaches(members[(i+k+1)%6])
		}
		for _, m := range members[:i+1] {
			if m.knowsKeyOf(gone.Name()) {
				t.Errorf("%s knows %s again, after %d of 6 were done", m.Name(), gone.Name(), i+1)
			}
		}
	}
	time.Sleep(5 * time.Second)
	for _, m := range members {
		if m.knowsKeyOf(gone.Name()) {
			t.Errorf("%s knows %s again", m.Name(), gone.Name())
		}
		if list := m.tincan("accept"); !strings.Contains(list, gone.Name()+" removed ") {
			t.Errorf("accept at %s lists %q", m.Name(), list)
		}
	}
	w.eventually("the removed one is alone", patience, func() bool {
		return strings.Contains(gone.tincan("status", "--json"), `"connections": 0`)
	})
	members[0].reaches(members[5])
}

// traffic sends ten echoes a second from n to o. end tells how many were sent, and how many answered.
func (n *node) traffic(o *node) (end func() (sent, answered int)) {
	n.w.Helper()
	ping, err := n.Start("ping", "-i", "0.1", "-q", o.vpn("ip4").String())
	n.w.must(err)
	counts := regexp.MustCompile(`([0-9]+) packets transmitted, ([0-9]+) received`)
	return func() (sent, answered int) {
		n.w.Helper()
		n.w.must(ping.Signal(syscall.SIGINT))
		n.w.must(ping.WaitLog("packets transmitted", patience))
		m := counts.FindStringSubmatch(ping.Log())
		if m == nil {
			n.w.Fatalf("ping says %q", ping.Log())
		}
		sent, _ = strconv.Atoi(m[1])
		answered, _ = strconv.Atoi(m[2])
		return sent, answered
	}
}

// The same where two of the six are of tinc 1.0 and one is of tinc 1.1, under steady traffic.
func TestRollingRemovalWithTinc(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	newer := tinc11
	if tincDir == "" {
		newer = tincan
	}
	sites := []site{
		{name: "n1", kind: tincan}, {name: "n2", kind: tinc10, connect: []string{"n1"}}, {name: "n3", kind: newer, connect: []string{"n1", "n2"}},
		{name: "n4", kind: tincan, connect: []string{"n1", "n2"}}, {name: "n5", kind: tinc10, connect: []string{"n1", "n3"}},
		{name: "n6", kind: tincan, connect: []string{"n1", "n3"}}, {name: "gone", kind: tincan, connect: []string{"n1", "n2", "n3", "n4", "n5", "n6"}},
	}
	nodes := w.legacy(sites...)
	for _, n := range nodes {
		n.start()
	}
	w.allReach("ip4", nodes...)
	members, gone := nodes[:6], nodes[6]
	ends := []func() (sent, answered int){
		members[0].traffic(members[5]), members[1].traffic(members[3]), members[2].traffic(members[4]), members[5].traffic(members[1]),
	}
	for i, n := range members {
		n.removes(gone.Name())
		for range 5 {
			_, _ = n.Ping(gone.vpn("ip4"), 56, 200*time.Millisecond)
		}
		time.Sleep(time.Second)
		for _, m := range members[:i+1] {
			if m.knowsKeyOf(gone.Name()) {
				t.Errorf("%s (%s) knows %s again, after %d of 6 were done", m.Name(), m.kind, gone.Name(), i+1)
			}
		}
	}
	w.eventually("the removed one is alone", patience, func() bool {
		return strings.Contains(gone.tincan("status", "--json"), `"connections": 0`)
	})
	time.Sleep(5 * time.Second)
	for _, m := range members {
		if m.knowsKeyOf(gone.Name()) {
			t.Errorf("%s (%s) knows %s again", m.Name(), m.kind, gone.Name())
		}
		m.cannotReach(gone.vpn("ip4"))
	}
	for i, end := range ends {
		if sent, answered := end(); answered*100 < sent*99 {
			t.Errorf("traffic %d: %d of %d echoes were answered", i, answered, sent)
		} else {
			t.Logf("traffic %d: %d of %d echoes were answered", i, answered, sent)
		}
	}
}

// A node that may not write the roster remembers a removal as well, however it ends.
func TestARemovalIsRememberedByNodesWithFewerRights(t *testing.T) {
	t.Parallel()
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	for _, c := range []struct {
		name, extra string
		args        []string
		fetches     bool // it has not had the roster before
	}{
		{name: "sandbox normal", extra: "Sandbox = normal\n"},
		{name: "sandbox high", extra: "Sandbox = high\n", fetches: true},
		{name: "another user", args: []string{"-U", "nobody"}},
		{name: "another user and root directory", extra: "Sandbox = high\n", args: []string{"-U", "nobody", "-R"}, fetches: true},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			if len(c.args) > 0 && !mapped(uid) {
				fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: there is no user nobody in this namespace; run it as root ***\n\n", t.Name())
				t.Skip("no other user")
			}
			w := newWorld(t, "ip4")
			n := w.static(
				site{name: "alice"},
				site{name: "less", kind: tincand, extra: c.extra, connect: []string{"alice"}},
				site{name: "away", connect: []string{"less"}},
				site{name: "gone", connect: []string{"alice", "less", "away"}},
			)
			alice, less, away, gone := n[0], n[1], n[2], n[3]
			less.args = c.args
			w.signed(alice, n[1:]...)
			if c.fetches {
				w.must(less.InFiles(func() error { return os.Remove(confBase + "/roster") }))
			}
			upAll(n...)
			w.allReach("ip4", alice, less, gone)
			w.eventually("less has the roster", patience, func() bool { v := less.view(); return !v.Fetching && len(v.Members) == 4 })
			away.stopped()

			linked := func(o string) bool { // away, which may be about to start
				out, err := away.try("dump", "connections")
				return err == nil && strings.Contains("\n"+out, "\n"+o+" ")
			}
			kept := func() string {
				data, _ := less.ReadFile(confBase + "/roster.new/roster") // not there until it is needed
				return string(data)
			}
			before := kept()
			alice.tincan("remove", "gone")
			removed := func(o *node) bool {
				out, err := o.try("members", "--json")
				return err == nil && strings.Contains(out, `"removed"`)
			}
			w.eventually("less hears of it, and keeps it", patience, func() bool { return removed(less) && kept() != before })
			w.eventually("the removed node ends", patience, gone.daemon.Ended)
			less.killed()
			alice.stopped()
			if !removed(less) {
				t.Error("the commands do not know of the removal while the node does not run")
			}

			gone.write(map[string]string{"tinc.conf": strings.ReplaceAll(gone.file("tinc.conf"), "Roster = signed", "Roster = open")})
			for _, o := range []*node{away, gone} {
				o.start()
			}
			w.eventually("those who have not heard of it talk", patience, func() bool { return linked("gone") })
			less.start()
			w.must(less.daemon.WaitLog("Ready", patience))
			w.eventually("away hears of it from less", patience, func() bool { return removed(away) })
			w.eventually("it is in the roster itself", patience, func() bool { return len(less.files(confBase+"/roster.new")) == 0 })
			if less.connected(gone) || less.sees("gone").reachable {
				t.Error("the removed node is back")
			}
			if regexp.MustCompile(`connection with gone.* activated`).MatchString(less.log()) {
				t.Errorf("it was let in:\n%s", less.log())
			}
			w.eventually("away has ended its connection, too", patience, func() bool { return !linked("gone") })
		})
	}
}
