//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/lab"
)

// joinCommand is what "up --boot" prints for the next machine.
var joinCommand = regexp.MustCompile(`sudo tincan -n home up --join '?([^ ']+)'? --token (\S+)`)

// upWith starts "tincan -n home up ARGS".
func (n *node) upWith(args ...string) {
	n.w.Helper()
	var err error
	cmd := n.Command(os.Getenv(binaryVar), append([]string{"-n", "home", "up", "--debug=1", "--name", n.Name()}, args...)...)
	cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	n.daemon, err = n.StartCommand(cmd)
	n.w.must(err)
}

// isUp waits until the node has an address in the network.
func (n *node) isUp() {
	n.w.Helper()
	if _, err := n.TunnelAddr("ip4", 2*patience); err != nil {
		n.w.Fatalf("%v\n%s", err, n.daemon.Tail(10))
	}
}

// boots starts the node as a boot node and returns URL and token.
func (n *node) boots(args ...string) (url, token string) {
	n.w.Helper()
	n.upWith(append([]string{"--boot", ":8655", "--public", n.Addr("ip4").String()}, args...)...)
	n.w.must(n.daemon.WaitLog(joinCommand.String(), patience))
	m := joinCommand.FindStringSubmatch(n.daemon.Log())
	n.isUp()
	return m[1], m[2]
}

// joinsAt starts the node with the help of a boot node.
func (n *node) joinsAt(url, token string, args ...string) {
	n.w.Helper()
	n.upWith(append([]string{"--join", url, "--token", token}, args...)...)
	n.isUp()
}

func TestOneCommandForTheFirstMachineAndOneForEachOther(t *testing.T) {
	t.Parallel()
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", tls), func(t *testing.T) {
			w := newWorld(t, "ip4")
			boot := w.node("boot")
			var args []string
			if tls {
				args = append(args, "--tls-self")
			}
			url, token := boot.boots(args...)
			if strings.Contains(url, "https://") != tls || strings.Contains(url, "#sha256=") != tls {
				t.Errorf("the URL is %s", url)
			}
			began := time.Now()
			for i := range 5 {
				w.node(fmt.Sprintf("joiner%d", i)).upWith("--join", url, "--token", token)
			}
			for _, n := range w.nodes {
				n.isUp()
			}
			w.allReach("ip4", w.nodes...)
			t.Logf("six nodes in %v", time.Since(began))
			addrs := map[netip.Addr]bool{}
			for _, n := range w.nodes {
				addrs[n.vpn("ip4")] = true
			}
			if len(addrs) != len(w.nodes) {
				t.Error("two nodes have the same address")
			}
			if got := strings.Count(boot.daemon.Log(), "by protocol tincan with token"); got != 5 {
				t.Errorf("%d joins were logged", got)
			}
			// The same command again simply starts the node.
			joiner := w.nodes[1]
			joiner.stopped()
			joiner.joinsAt(url, token)
			joiner.reaches(boot)
		})
	}
}

func TestTheBootNodeDiesForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	boot := w.node("boot")
	url, token := boot.boots()
	for i := range 4 {
		n := w.node(fmt.Sprintf("joiner%d", i))
		n.joinsAt(url, token, "--public", n.Addr("ip4").String())
		n.reaches(boot)
	}
	others := w.nodes[1:]
	w.allReach("ip4", others...)
	boot.killed()
	for _, n := range others {
		n.stopped()
	}
	for _, i := range []int{2, 0, 3, 1} { // in any order
		others[i].joinsAt(url, token)
	}
	w.allReach("ip4", others...)
}

func TestTwoBootNodesOneOfThemDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	boot, joiner := w.node("boot"), w.node("joiner")
	url, token := boot.boots()
	dead := w.node("dead")
	joiner.upWith("--join", dead.Addr("ip4").String(), "--join", url, "--token", token)
	joiner.isUp()
	joiner.reaches(boot)
}

func TestABootServiceBesideTheNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	boot, alice, bob := w.node("boot"), w.node("alice"), w.node("bob")
	boot.tincan("gen", "--standalone", "--name", "boot", "-a", boot.Addr("ip4").String(), "--prefix", "10.77.0.0/16")
	boot.up()
	token := boot.tincan("token", "new", "--uses", "1", "--label", "for alice")
	service, err := boot.Start(os.Getenv(binaryVar), "-n", "home", "bootnode", "--token", "a token of a person")
	w.must(err)
	w.must(service.WaitLog("admitting new nodes at", patience))
	alice.tincan("gen", "--name", "alice", "--token", token, boot.Addr("ip4").String()+":8655")
	alice.up()
	alice.reaches(boot)
	if !netip.MustParsePrefix("10.77.0.0/16").Contains(alice.vpn("ip4")) {
		t.Errorf("alice has %v", alice.vpn("ip4"))
	}
	refuses(bob, "gen", "--name", "bob", "--token", token, boot.Addr("ip4").String()).says("used up")
	// One whole command line, as a person would type it.
	refuses(bob, "gen", "--name", "Bob.example.org", "--token", "a token of a person", boot.Addr("ip4").String()).says("Bob_example_org")
	bob.tincan("gen", "--name", "bobexampleorg", "--token", "a token of a person", "--ip", "10.77.8.9", boot.Addr("ip4").String())
	bob.up()
	w.allReach("ip4", boot, alice, bob)
	if bob.vpn("ip4").String() != "10.77.8.9" || !strings.Contains(bob.file("tinc.conf"), "Name = bobexampleorg\n") {
		t.Errorf("bob has %v and\n%s", bob.vpn("ip4"), bob.file("tinc.conf"))
	}
	refuses(bob, "gen", "--name", "bob", "--token", token, boot.Addr("ip4").String()).says("already").says("hint: .*--force")
}

func TestWhoShallNotGetIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	boot, mallory := w.node("boot"), w.node("mallory")
	url, token := boot.boots()
	before := boot.memory()
	base := "http://" + url
	client := mallory.HTTP()
	post := func(path string, body io.Reader) int {
		req, err := http.NewRequest("POST", base+path, body)
		w.must(err)
		res, err := client.Do(req)
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	join := func(name, token string) error {
		_, err := mallory.Run(os.Getenv(binaryVar), "-n", "x"+name, "gen", "--name", name, "--token", token, "--timeout", "5s", url)
		return err
	}
	for _, c := range []struct {
		name string
		try  func() bool // true: let in
	}{
		{"a wrong token", func() bool { return join("mallory", "wrong") == nil }},
		{"the boot node's own name", func() bool { return join("boot", token) == nil }},
		{"a path as a name", func() bool {
			return post("/2801b6d403e4d445869c616f93ed10f7d48a2396ecb4183e/..%2f..%2ftinc-up", strings.NewReader("x")) == 200
		}},
		{"a hundred megabytes", func() bool {
			return post("/tincan/join/1", io.LimitReader(zeros{}, 100<<20)) == 200
		}},
		{"a slow client", func() bool {
			c, err := mallory.Dial(t.Context(), "tcp", url)
			w.must(err)
			defer c.Close()
			fmt.Fprint(c, "POST /tincan/join/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 48\r\n\r\nslow")
			c.SetReadDeadline(time.Now().Add(2 * patience))
			answer, err := io.ReadAll(c)
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Error("the slow client is still connected")
			}
			return bytes.Contains(answer, []byte(" 200 "))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := strings.Count(boot.daemon.Log(), "refused")
			if c.try() {
				t.Error("it was let in")
			}
			time.Sleep(200 * time.Millisecond)
			if got := strings.Count(boot.daemon.Log(), "refused") - lines; got != 1 {
				t.Errorf("%d lines were logged:\n%s", got, boot.daemon.Tail(4))
			}
		})
	}
	if grown := boot.memory() - before; grown > 16<<20 {
		t.Errorf("the memory has grown by %d KiB", grown>>10)
	}
	if files := boot.files(confBase + "/hosts"); len(files) != 1 {
		t.Errorf("host files: %v", files)
	}
	if strings.Contains(boot.daemon.Log(), "wrong\"") {
		t.Error("a token is in the log")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTwoHundredNewcomersAtOnce(t *testing.T) {
	w := newWorld(t, "ip4")
	boot, many := w.node("boot"), w.node("many")
	boot.tincan("gen", "--standalone", "--name", "boot", "-a", boot.Addr("ip4").String())
	boot.up()
	token := boot.tincan("token", "new", "--uses", "200")
	service, err := boot.Start(os.Getenv(binaryVar), "-n", "home", "bootnode", "--token", "unused")
	w.must(err)
	w.must(service.WaitLog("admitting new nodes at", patience))
	var wg sync.WaitGroup
	began := time.Now()
	for i := range 200 {
		wg.Go(func() {
			name := fmt.Sprintf("n%d", i)
			if _, err := many.Run(os.Getenv(binaryVar), "-n", name, "gen", "--name", name, "--token", token, "--port", fmt.Sprint(20000+i), "--timeout", "30s", boot.Addr("ip4").String()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("200 joins in %v", took)
	if took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	subnets := map[string]string{}
	for _, name := range boot.files(confBase + "/hosts") {
		text := boot.file("hosts/" + name)
		line := regexp.MustCompile(`(?m)^Subnet = (.*)$`).FindString(text)
		if line == "" || !strings.Contains(text, "Ed25519PublicKey = ") || !strings.HasSuffix(text, "\n") {
			t.Errorf("the file of %s is torn: %q", name, text)
		}
		if other := subnets[line]; other != "" {
			t.Errorf("%s and %s both have %s", other, name, line)
		}
		subnets[line] = name
	}
	if len(subnets) != 201 {
		t.Errorf("%d nodes are known", len(subnets))
	}
}

func TestRunAndRunJoin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	one, two := w.node("one"), w.node("two")
	run := func(n *node, args ...string) {
		var err error
		n.daemon, err = n.Start(os.Getenv(binaryVar), append([]string{"tinc-boot", "run", "--dir", confBase + "/vpn", "-n", n.Name(), "-a", n.Addr("ip4").String()}, args...)...)
		w.must(err)
	}
	run(one)
	command := regexp.MustCompile(`tinc-boot run --token (\S+) --join (\S+)`)
	w.must(one.daemon.WaitLog(command.String(), patience))
	m := command.FindStringSubmatch(one.daemon.Log())
	run(two, "--token", m[1], "--join", m[2])
	one.isUp()
	two.isUp()
	two.reaches(one)
	if !netip.MustParsePrefix("172.16.0.0/12").Contains(two.vpn("ip4")) {
		t.Errorf("address %v", two.vpn("ip4"))
	}
	for _, n := range []*node{one, two} { // nodes of the original run have tinc 1.0
		for _, name := range []string{"one", "two"} {
			data, err := n.ReadFile(confBase + "/vpn/config/hosts/" + name)
			if err != nil || !strings.Contains(string(data), "BEGIN RSA PUBLIC KEY") {
				t.Errorf("%s has no RSA key of %s: %v", n.Name(), name, err)
			}
		}
	}
}

// The two commands of tinc-boot, with the engine of tincan.
func TestTincBootsOwnCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	boot, joiner := w.node("boot"), w.node("joiner")
	tb := func(n *node, args ...string) string {
		out, err := n.Run(os.Getenv(binaryVar), append([]string{"tinc-boot"}, args...)...)
		w.must(err)
		return out
	}
	out := tb(boot, "gen", "--standalone", "--engine", "embedded", "--network", "home", "--name", "boot", "-a", boot.Addr("ip4").String(), "--prefix", "172.20")
	if !strings.Contains(out, "DONE!") || !regexp.MustCompile(`(?m)^Subnet: 172\.20\.\d+\.\d+/32$`).MatchString(out) {
		t.Errorf("gen printed %q", out)
	}
	boot.up()
	weak, err := boot.Run(os.Getenv(binaryVar), "tinc-boot", "bootnode", "--dir", confBase, "--token", "MY TOKEN")
	if err == nil {
		t.Errorf("a weak token is used for the old protocol: %s", weak)
	}
	service, err := boot.Start(os.Getenv(binaryVar), "tinc-boot", "bootnode", "--dir", confBase)
	w.must(err)
	w.must(service.WaitLog("admitting new nodes at", patience))
	token := regexp.MustCompile(`Generated token: (\S+)`).FindStringSubmatch(service.Log())[1]
	// By the old protocol, as the original joins.
	tb(joiner, "gen", "--engine", "embedded", "--protocol", "gen1", "--network", "home", "--name", "joiner", "--prefix", "172.20", "--token", token, boot.Addr("ip4").String())
	if !strings.Contains(service.Log(), "by protocol gen1") {
		t.Errorf("log:\n%s", service.Log())
	}
	joiner.up()
	joiner.reaches(boot)
}

func TestGenTellsHowToStartTheNode(t *testing.T) {
	t.Parallel()
	one := newWorld(t, "ip4").node("one")
	out, err := one.Run("sh", "-c", os.Getenv(binaryVar)+" gen --standalone --name one 2>&1")
	if err != nil || !strings.Contains(out, "next: tincan -n dnet up\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// A firewall lets newcomers in and their node not.
func TestANewcomerIsToldWhatItCannotReach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	boot, bob, carol := w.node("boot"), w.node("bob"), w.node("carol")
	url, token := boot.boots()
	at := boot.Addr("ip4").String()
	if log := boot.daemon.Log(); !strings.Contains(log, "open in firewalls: port 655, TCP and UDP, for the other nodes; port 8655, TCP, for new nodes") {
		t.Errorf("the first node does not say which ports to open:\n%s", log)
	}
	said := func(n *node, args ...string) string {
		out, err := n.Run("sh", append([]string{"-c", `"$@" 2>&1`, "sh", os.Getenv(binaryVar), "-n", "home"}, args...)...)
		w.must(err)
		return out
	}
	var opens []func()
	for _, n := range []*node{bob, carol} {
		opens = append(opens, w.block(lab.UDP, n), w.block(lab.OtherTCP(8655), n))
	}
	out := said(bob, "gen", "--name", "bob", "--token", token, url)
	for _, want := range []string{"could not reach boot at " + at + " port 655 by TCP: no answer", "hint: does the other node run, and is its port 655 open there, TCP and UDP?"} {
		if !strings.Contains(out, want) {
			t.Errorf("gen does not say %q:\n%s", want, out)
		}
	}
	carol.upWith("--join", url, "--token", token)
	w.must(carol.daemon.WaitLog("could not reach boot: connect to "+at+":655: no answer", 2*patience))
	for _, open := range opens {
		open()
	}
	if out := said(bob, "up", "--detach"); !strings.Contains(out, "connected with boot at "+at+":655") {
		t.Errorf("up does not say with whom it is connected:\n%s", out)
	}
	bob.tincan("down")
	carol.reaches(boot)
	dave := w.node("dave")
	dave.joinsAt(url, token)
	w.must(dave.daemon.WaitLog("connected with boot at "+at+":655", patience))
}
