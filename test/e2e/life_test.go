//go:build linux

package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/lab"
)

func TestAnyNodeMayDieAndComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(
		site{name: "n1"},
		site{name: "n2", connect: []string{"n1"}},
		site{name: "n3", connect: []string{"n1", "n2"}},
		site{name: "n4", connect: []string{"n1", "n2", "n3"}})
	upAll(n...)
	w.allReach("ip4", n...)
	for _, victim := range n {
		t.Logf("killing %s", victim.Name())
		addr := victim.vpn("ip4")
		victim.killed()
		others := slices.DeleteFunc(slices.Clone(n), func(m *node) bool { return m == victim })
		w.allReach("ip4", others...)
		for _, m := range others {
			m.cannotReach(addr)
		}
		victim.up()
		w.allReach("ip4", n...)
	}
}

func TestTheInvitersDeath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carol := w.node("alice"), w.node("bob"), w.node("carol")
	alice.found()
	alice.up()
	bob.joins(alice.invite("bob"))
	carol.joins(alice.invite("carol"))
	w.allReach("ip4", alice, bob, carol)
	w.eventually("bob and carol connect to each other", 2*patience, func() bool { return bob.linked(carol) })

	addr := alice.vpn("ip4")
	e, err := bob.Echo(carol.vpn("ip4"), 20*time.Millisecond)
	w.must(err)
	alice.killed()
	bob.cannotReach(addr)
	time.Sleep(6 * time.Second) // the others give her up after PingTimeout
	if count := e.Stop(); count.Lost() > 5 {
		t.Errorf("bob and carol without alice: %s", count)
	}

	alice.up()
	w.allReach("ip4", alice, bob, carol)
	if now := alice.vpn("ip4"); now != addr {
		t.Errorf("alice was %s and came back as %s", addr, now)
	}
}

func TestSessionsSurviveRekeying(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	const expire = "KeyExpire = 1\n"
	n := w.static(
		site{name: "alice", extra: expire},
		site{name: "bob", connect: []string{"alice"}, extra: expire},
		site{name: "carol", connect: []string{"bob"}, extra: expire})
	upAll(n...)
	w.allReach("ip4", n...)
	alice, bob, carol := n[0], n[1], n[2]
	alice.talksDirectly(bob)
	alice.talksDirectly(carol)

	// 24 hours of the default KeyExpire are 24 rekeys; half as many are made here, all of them by "make soak".
	settle, watch := 4*time.Second, 8*time.Second
	if soakTrials > 0 {
		settle, watch = 8*time.Second, 20*time.Second
	}
	const pace = 5 * time.Millisecond
	near, err := alice.Echo(bob.vpn("ip4"), pace)
	w.must(err)
	far, err := alice.Echo(carol.vpn("ip4"), pace)
	w.must(err)
	time.Sleep(settle)
	before := memory(n...)
	time.Sleep(watch)
	for _, e := range []*lab.Echoes{near, far} {
		count := e.Stop()
		t.Log(count)
		// If the machine stood still, so that answers came late by half the life
		// of a key, what was under way may be two keys old and is lost.
		allowed := 2
		if count.WorstRTT > 500*time.Millisecond {
			allowed += int(count.WorstRTT / pace)
		}
		if count.Lost() > allowed {
			t.Errorf("while rekeying: %s", count)
		}
	}
	for i, now := range memory(n...) {
		t.Logf("%s used %d KiB before and %d KiB after", n[i].Name(), before[i]>>10, now>>10)
		// The race detector's own memory is not what this is about.
		if raced := os.Getenv("E2E_RACE") != ""; !raced && (now > before[i]+3<<20 || now > 30<<20) {
			t.Errorf("%s has grown from %d to %d KiB", n[i].Name(), before[i]>>10, now>>10)
		}
	}
	used := goroutines(bob)
	bob.up()
	w.allReach("ip4", n...)
	if fresh := goroutines(bob); used > fresh+2 {
		t.Errorf("%d goroutines after rekeying, %d in a fresh process", used, fresh)
	}
}

// memory is the resident memory of each node.
func memory(nodes ...*node) (sizes []int) {
	for _, n := range nodes {
		n.w.Helper()
		sizes = append(sizes, n.memory())
	}
	return sizes
}

// usual is what a node that does little has at least, in bytes.
const usual = 16 << 20

// memory is the resident memory of the node in bytes, usual if it is less: a kernel may have taken away pages of the
// program that have not been used for a while, and they come back without anything having grown.
func (n *node) memory() int {
	n.w.Helper()
	rss, err := n.daemon.RSS()
	n.w.must(err)
	return max(rss, usual)
}

func TestManyReconnectsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
	upAll(n...)
	alice, bob := n[0], n[1]
	alice.reaches(bob)
	for range 5 {
		bob.killed()
		bob.up()
		bob.reaches(alice)
	}
	used := goroutines(alice)
	alice.up()
	alice.reaches(bob)
	if fresh := goroutines(alice); used > fresh+2 {
		t.Errorf("%d goroutines after five reconnects, %d in a fresh process", used, fresh)
	}
}

// forgotten is when nothing is left of what has happened: PingTimeout and more.
const forgotten = 3 * time.Second

// goroutines ends the daemon of a node and returns how many goroutines it
// had: the Go runtime lists them when it is aborted.
func goroutines(n *node) int {
	n.w.Helper()
	time.Sleep(forgotten)
	return n.goroutinesNow()
}

func (n *node) goroutinesNow() int {
	n.w.Helper()
	n.w.must(n.daemon.Signal(syscall.SIGABRT))
	_ = n.daemon.Wait(patience)
	count := len(regexp.MustCompile(`(?m)^goroutine \d+ `).FindAllString(n.daemon.Log(), -1))
	if count < 2 {
		n.w.Fatalf("%s did not list its goroutines:\n%s", n.Name(), n.daemon.Tail(20))
	}
	return count
}

func TestASecondUpHarmsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
	upAll(n...)
	alice, bob := n[0], n[1]
	bob.reaches(alice)
	before := alice.files("/run")

	if out, err := alice.Run("sh", "-c", os.Getenv(binaryVar)+" -n home up 2>&1"); err != nil || !strings.Contains(out, "the node is already running (pid ") {
		t.Errorf("a second up: %v, %s", err, out)
	}
	if after := alice.files("/run"); !slices.Equal(before, after) {
		t.Errorf("/run had %v and has %v now", before, after)
	}
	if alice.daemon.Ended() {
		t.Fatal("the first one has ended")
	}
	bob.reaches(alice)
	alice.dump("nodes")
}

func TestStoppingLeavesTheHostClean(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*node){
		"Ctrl-C": (*node).stopped,
		"down":   func(n *node) { n.w.Helper(); n.tincan("down"); n.w.must(n.daemon.Wait(patience)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			alice := w.static(site{name: "alice"})[0]
			alice.up()
			if len(alice.files("/run")) == 0 {
				t.Error("no pid file in /run")
			}
			stop(alice)
			if left := alice.files("/run"); len(left) != 0 {
				t.Errorf("left in /run: %v", left)
			}
			ifaces, err := alice.Interfaces()
			w.must(err)
			if got := strings.Join(ifaces, " "); got != "lo eth0" {
				t.Errorf("interfaces are %s", got)
			}
			// And it can be started again.
			alice.up()
		})
	}
}

func TestAStoppedNodeSaysGoodbye(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
	upAll(n...)
	n[0].reaches(n[1])
	n[1].stopped()
	w.eventually("alice notices that bob has gone", time.Second, func() bool { return !n[0].sees("bob").reachable })
}

func TestReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
	upAll(n...)
	alice, bob := n[0], n[1]
	bob.reaches(alice)
	good, err := alice.ReadFile(confBase + "/tinc.conf")
	w.must(err)

	// A broken file is refused, with its place, and changes nothing.
	alice.write(map[string]string{"tinc.conf": "Name = alice\nMaxTimeout = soon\n"})
	alice.hangUp()
	w.must(alice.daemon.WaitLog(`tinc\.conf`, patience))
	time.Sleep(500 * time.Millisecond)
	if alice.daemon.Ended() {
		t.Fatal("the daemon ended")
	}
	bob.reaches(alice)

	// A good one is taken over.
	alice.write(map[string]string{"tinc.conf": string(good)})
	alice.appendTo("hosts/alice", "Subnet = 10.77.0.0/16\n")
	alice.hangUp()
	w.eventually("bob learns the new subnet", patience, func() bool {
		return strings.Contains(bob.dump("subnets"), "10.77.0.0/16 owner alice")
	})
}
