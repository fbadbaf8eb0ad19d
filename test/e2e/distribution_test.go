//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// knows tells whether n has the whole host file of o: not just its key.
func (n *node) knows(o *node) bool {
	return strings.Contains(n.file("hosts/"+o.Name()), "Subnet")
}

// missing lists who of the nodes does not know whom.
func missing(nodes ...*node) (list []string) {
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b && !a.knows(b) {
				list = append(list, a.Name()+" does not know "+b.Name())
			}
		}
	}
	return list
}

func TestWhoeverJoinsIsKnownToTwentyNodesInThreeSeconds(t *testing.T) {
	w := newWorld(t, "ip4")
	for i := range 20 {
		n := w.node(fmt.Sprintf("n%d", i+1))
		if i == 0 {
			n.found()
			n.up()
		} else if i < 19 {
			n.joins(w.nodes[0].invite(n.Name()))
		}
	}
	w.eventually("nineteen nodes know each other", patience, func() bool { return len(missing(w.nodes[:19]...)) == 0 })
	took := bestOf(3, func(i int) time.Duration {
		newcomer := w.nodes[19]
		if i > 0 {
			newcomer = w.node(fmt.Sprintf("late%d", i))
		}
		newcomer.tincan("join", w.nodes[0].invite(newcomer.Name()))
		newcomer.up()
		began := time.Now()
		w.eventually("the newcomer is known everywhere", patience, func() bool { return len(missing(w.nodes...)) == 0 })
		return time.Since(began)
	}, 3*time.Second)
	t.Logf("known to all after %v", took)
	if took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestTheFirstNodeMayDieForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	alice := w.node("alice")
	alice.found()
	alice.up()
	var rest []*node
	for _, name := range []string{"bob", "carol", "dave", "erin"} {
		n := w.node(name)
		n.tincan("join", alice.invite(name))
		if name != "erin" { // she has no address that others could dial
			n.tincan("add", "Address", n.Addr("ip4").String())
		}
		n.up()
		rest = append(rest, n)
	}
	w.eventually("everybody knows everybody", patience, func() bool { return len(missing(w.nodes...)) == 0 })
	if text := rest[2].file("hosts/bob"); !strings.Contains(text, "Address = "+rest[0].Addr("ip4").String()) {
		t.Errorf("dave does not know where bob is:\n%s", text)
	}
	alice.killed()
	for _, n := range rest {
		n.stopped()
	}
	for _, i := range []int{3, 1, 2, 0} { // in any order
		rest[i].up()
	}
	w.allReach("ip4", rest...)
}

func TestAChangedKeyWaitsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	alice, bob, carol := w.node("alice"), w.node("bob"), w.node("carol")
	alice.found()
	alice.up()
	bob.joins(alice.invite("bob"))
	carol.joins(alice.invite("carol"))
	w.eventually("carol knows bob", patience, func() bool { return carol.knows(bob) })
	before := carol.file("hosts/bob")

	// bob makes a new key, and only alice is told so by a person.
	bob.stopped()
	bob.tincan("tinc", "--force", "generate-ed25519-keys")
	w.must(alice.WriteFile(confBase+"/hosts/bob", []byte(bob.file("hosts/bob"))))
	alice.tincan("reload")
	bob.up()
	bob.reaches(alice)

	w.eventually("carol's status tells about the key", 90*time.Second, func() bool {
		return strings.Contains(carol.tincan("status"), "changed key: alice offers")
	})
	if carol.file("hosts/bob") != before {
		t.Error("the known key was replaced")
	}
	if list := carol.tincan("accept"); !strings.HasPrefix(list, "bob known ") {
		t.Errorf("accept lists %q", list)
	}
	carol.tincan("accept", "bob")
	carol.reaches(bob)
	if status := carol.tincan("status"); strings.Contains(status, "changed key") {
		t.Errorf("it still waits:\n%s", status)
	}
}

func TestKeyDistributionCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	alice, bob := w.node("alice"), w.node("bob")
	alice.found()
	alice.tincan("set", "KeyDistribution", "no")
	alice.up()
	bob.joins(alice.invite("bob"))
	bob.reaches(alice)
	if c, err := bob.Dial(t.Context(), "tcp", alice.vpn("ip4").String()+":1655"); err == nil {
		c.Close()
		t.Error("alice shows her host file")
	}
	c, err := alice.Dial(t.Context(), "tcp", bob.vpn("ip4").String()+":1655")
	if err != nil {
		t.Fatalf("bob should: %v", err)
	}
	c.Close()
}

// beside10 makes a node that runs tincd 1.0 with tinc-boot's scripts. It knows the
// nodes in peers, whose host files are there already.
func (w *world) beside10(name string, x int, public bool, peers ...*node) *node {
	w.Helper()
	n := w.node(name)
	conf := "Name = " + name + "\nInterface = dnet\n"
	host := fmt.Sprintf("\nSubnet = 172.20.0.%d/32\nPort = 655\n", x)
	if public {
		host += "Address = " + n.Addr("ip4").String() + "\n"
	}
	for _, p := range peers {
		conf = "ConnectTo = " + p.Name() + "\n" + conf
	}
	script := func(text string) string { return "#!/bin/sh\n" + text + "\n" }
	program := os.Getenv(binaryVar)
	w.must(n.InFiles(func() error {
		if err := os.MkdirAll(dnet+"/hosts", 0o755); err != nil {
			return err
		}
		for file, text := range map[string]string{
			"tinc.conf": conf, "hosts/" + name: host,
			"tinc-up": script(fmt.Sprintf("ip addr add 172.20.0.%d/16 dev $INTERFACE\nip link set $INTERFACE up\n"+
				"exec %s monitor --dir %s --interval 1s >%s/monitor.log 2>&1 &", x, program, dnet, dnet)),
			"tinc-down": script(program + " kill"), "subnet-up": script(program + " watch"), "subnet-down": script(program + " forget"),
		} {
			if err := os.WriteFile(dnet+"/"+file, []byte(text), 0o755); err != nil {
				return err
			}
		}
		return nil
	}))
	cmd := n.Command("tincd", "-c", dnet, "-K", "2048")
	cmd.Stdin = strings.NewReader("\n\n")
	if _, err := n.RunCommand(cmd); err != nil {
		w.Fatal(err)
	}
	return n
}

const dnet = "/etc/tinc/dnet"

// told copies the host file of o to n, as a join does.
func (n *node) told(o *node) {
	n.w.Helper()
	data, err := o.ReadFile(dnet + "/hosts/" + o.Name())
	n.w.must(err)
	n.w.must(n.WriteFile(dnet+"/hosts/"+o.Name(), data))
}

func TestMonitorsBesideTincd10(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("tincd", "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "version 1.0") {
		t.Fatal("there is no tincd 1.0 here; install the package tinc")
	}
	w := newWorld(t, "ip4")
	boot := w.beside10("boot", 1, true)
	second := w.beside10("second", 2, true, boot)
	third := w.beside10("third", 3, false, boot)
	for _, n := range []*node{second, third} {
		n.told(boot)
		boot.told(n)
	}
	for _, n := range w.nodes {
		_, err := n.Start("tincd", "-c", dnet, "-D", "-d3", "--pidfile="+dnet+"/pid")
		w.must(err)
	}
	read := func(n *node, name string) string {
		data, _ := n.ReadFile(dnet + "/" + name)
		return string(data)
	}
	w.eventually("everybody knows everybody", 30*time.Second, func() bool {
		for _, a := range w.nodes {
			for _, b := range w.nodes {
				if read(a, "hosts/"+b.Name()) != read(b, "hosts/"+b.Name()) {
					return false
				}
			}
		}
		return true
	})
	w.eventually("whoever can be dialled is in tinc.conf", patience, func() bool {
		return strings.HasPrefix(read(third, "tinc.conf"), "ConnectTo = second\n") && strings.HasPrefix(read(boot, "tinc.conf"), "ConnectTo = second\n")
	})
	if conf := read(second, "tinc.conf"); strings.Contains(conf, "third") {
		t.Errorf("third cannot be dialled, but tinc.conf of second says:\n%s", conf)
	}
	t.Log(read(boot, "monitor.log"))
}
