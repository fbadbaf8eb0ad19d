//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/lab"
)

// resolvedOf finds systemd-resolved and its tool. RESOLVED names it, or it is installed.
func resolvedOf(t *testing.T) (daemon, ctl string) {
	t.Helper()
	for _, path := range []string{os.Getenv("RESOLVED"), "/usr/lib/systemd/systemd-resolved", "/lib/systemd/systemd-resolved"} {
		if found, err := exec.LookPath(path); err == nil {
			if ctl, err = exec.LookPath(filepath.Join(filepath.Dir(path), "resolvectl")); err != nil {
				ctl, err = exec.LookPath("resolvectl")
			}
			if err == nil {
				return found, ctl
			}
		}
	}
	t.Skip("SKIP: there is no systemd-resolved; scripts/peers fetches it, and RESOLVED names it")
	return "", ""
}

// ownEtc gives a host an /etc of its own, in which its programs ask systemd-resolved, if there is one.
func (n *node) ownEtc() {
	n.w.Helper()
	const bus = `<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth><policy context="default">` +
		`<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`
	n.w.must(n.InFiles(func() error {
		if err := unix.Mount("tmpfs", "/etc", "tmpfs", 0, "mode=0755"); err != nil {
			return err
		}
		for path, text := range map[string]string{
			"/etc/passwd":        "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\nsystemd-resolve:x:990:990::/:/bin/false\n",
			"/etc/group":         "root:x:0:\nnogroup:x:65534:\nsystemd-resolve:x:990:\n",
			"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
			"/etc/hosts":         "127.0.0.1\tlocalhost",
			"/run/dbus.conf":     bus,
		} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
		}
		for _, dir := range []string{"/etc/tinc", "/etc/systemd", "/run/dbus", "/run/systemd/resolve"} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		// For names without dots it would wait for answers of the LAN.
		if err := os.WriteFile("/etc/systemd/resolved.conf", []byte("[Resolve]\nLLMNR=no\nMulticastDNS=no\n"), 0o644); err != nil {
			return err
		}
		if err := os.Chown("/run/systemd/resolve", 990, 990); err != nil {
			return err
		}
		return os.Symlink("/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf")
	}))
}

// bus starts a system bus on the host.
func (n *node) bus() {
	n.w.Helper()
	path, err := exec.LookPath("dbus-daemon")
	n.w.must(err)
	_, err = n.Start(path, "--config-file=/run/dbus.conf", "--nofork")
	n.w.must(err)
	n.w.eventually("there is a bus", patience, func() bool { return len(n.files("/run/dbus")) > 0 })
}

// resolver starts systemd-resolved on the host.
func (n *node) resolver() *lab.Process {
	n.w.Helper()
	daemon, _ := resolvedOf(n.w.T)
	p, err := n.Start(daemon)
	n.w.must(err)
	n.w.eventually("systemd-resolved answers", patience, func() bool { return n.asked("status") != "" })
	return p
}

// asked is what resolvectl says, "" if it fails.
func (n *node) asked(args ...string) string {
	_, ctl := resolvedOf(n.w.T)
	out, err := n.Run(ctl, args...)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// looksUp is what the C library finds for a name or an address: "ADDRESS NAMES".
func (n *node) looksUp(what string) string {
	out, _ := n.Run("/usr/bin/getent", "hosts", what)
	return strings.Join(strings.Fields(out), " ")
}

func (n *node) finds(what, want string) {
	n.w.Helper()
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if got = n.looksUp(what); got == want {
			return
		}
	}
	n.w.Fatalf("%s finds %q for %s, want %q", n.Name(), got, what, want)
}

// needResolve skips the test where systemd-resolved cannot become its user.
func needResolve(t *testing.T) {
	t.Helper()
	resolvedOf(t)
	if !mapped(990) {
		fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: there is no user systemd-resolve in this namespace; run it as root ***\n\n", t.Name())
		t.Skip("no other user")
	}
}

func TestNamesBySystemdResolved(t *testing.T) {
	t.Parallel()
	needResolve(t)
	w := newWorld(t, "ip4")
	alice, bob := w.node("alice"), w.node("bob")
	bob.ownEtc()
	alice.tincan("init", "alice") // a signed network
	alice.up()
	bob.bus()
	resolved := bob.resolver()
	bob.joins(alice.invite("bob"))
	addr := alice.vpn("ip4").String()
	bob.finds("alice", addr+" alice.home.internal")
	bob.finds("Alice.Home.internal", addr+" Alice.Home.internal")
	bob.finds(addr, addr+" alice.home.internal")
	bob.finds("bob", bob.vpn("ip4").String()+" bob.home.internal")
	bob.finds("carol", "")
	if link := bob.asked("default-route", "home"); !strings.HasSuffix(link, ": no") {
		t.Errorf("queries for all other names are sent into the VPN: %s", link)
	}
	if s := bob.tincan("status"); !strings.Contains(s, "names: NODE.home.internal, by systemd-resolved") {
		t.Errorf("status:\n%s", s)
	}
	if out := bob.tincan("why", "alice.home.internal"); !strings.Contains(out, "alice") {
		t.Errorf("why: %s", out)
	}

	// An owner gives a further name to a node, and bob hears of it.
	w.must(alice.WriteFile("/tmp/names", []byte("Alias = www alice\nService = _http._tcp alice 8080\n")))
	alice.tincan("names", "set", "/tmp/names")
	bob.finds("www", addr+" alice.home.internal www.home.internal")
	if got := bob.asked("--service-txt=no", "service", "_http._tcp.home.internal"); !strings.Contains(got, "alice.home.internal:8080") {
		t.Errorf("the service: %s", got)
	}

	// It starts anew, and has forgotten all.
	resolved.Kill()
	w.must(bob.InFiles(func() error { return os.RemoveAll("/run/systemd/resolve/netif") }))
	resolved = bob.resolver()
	bob.finds("alice", addr+" alice.home.internal")

	// Nothing is left of a node that was killed, and what it needs it tells again.
	bob.killed()
	w.eventually("the names have gone with the interface", patience, func() bool { return !strings.Contains(bob.asked("domain"), "home.internal") })
	if left := bob.files("/run/systemd/resolve/netif"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	bob.finds("alice", "")
	bob.up()
	bob.finds("alice", addr+" alice.home.internal")
	w.eventually("bob has the whole roster", patience, func() bool {
		out, err := bob.try("members", "--json")
		return err == nil && strings.Contains(out, `"alice"`) && strings.Contains(out, `"bob"`) && !strings.Contains(out, `"fetching": true`)
	})
	bob.stopped()
	if d := bob.asked("domain"); strings.Contains(d, "home.internal") {
		t.Errorf("after the end: %s", d)
	}

	// It was not there when the node started, and neither was alice: she has what the owners have granted her.
	resolved.Kill()
	alice.killed()
	bob.up()
	w.must(bob.daemon.WaitLog("do not find nodes by name: systemd-resolved does not run", patience))
	bob.resolver()
	bob.finds("alice", addr+" alice.home.internal")
	bob.stopped()
}

// An interface that outlives the node keeps what systemd-resolved was told: the next start takes it back.
func TestNamesOnAnInterfaceThatStays(t *testing.T) {
	t.Parallel()
	needResolve(t)
	w := newWorld(t, "ip4")
	alice := w.node("alice")
	alice.ownEtc()
	alice.bus()
	alice.resolver()
	alice.found()
	_, err := alice.Run("/sbin/ip", "tuntap", "add", "mode", "tun", "name", "home")
	w.must(err)
	told := func() bool { return strings.Contains(alice.asked("domain", "home"), "home.internal") }
	alice.up()
	w.eventually("systemd-resolved is told", patience, told)
	alice.stopped()
	if told() {
		t.Error("it was not told of the end")
	}
	alice.up()
	w.eventually("systemd-resolved is told", patience, told)
	alice.killed()
	if !told() {
		t.Error("the interface has gone: this test says nothing")
	}
	alice.tincan("down")
	if told() {
		t.Error("down leaves it behind")
	}
	alice.up()
	w.eventually("systemd-resolved is told", patience, told)
	alice.killed()
	alice.tincan("set", "Names", "no")
	alice.up()
	w.eventually("the next start takes it back", patience, func() bool { return !told() })
	alice.stopped()
}

// TestNamesOfNodesThatGiveUpRights: systemd-resolved believes root only. Such a node tells it before, and no connection of root is left.
func TestNamesOfNodesThatGiveUpRights(t *testing.T) {
	t.Parallel()
	needResolve(t)
	for _, c := range []struct {
		name, extra string
		args        []string
	}{
		{"another-user", "", []string{"-U", "nobody"}},
		{"sandbox-high", "high", nil},
		{"another-root-directory", "", []string{"-R"}},
		{"on-port-53", "53", []string{"-U", "nobody"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			alice := w.node("alice")
			alice.ownEtc()
			alice.bus()
			alice.resolver()
			alice.found()
			switch c.extra {
			case "high":
				alice.tincan("set", "Sandbox", "high")
			case "53":
				alice.tincan("set", "NamesPort", "53")
			}
			alice.args = c.args
			alice.kind = tincand
			alice.up()
			alice.finds("alice", alice.vpn("ip4").String()+" alice.home.internal")
			alice.stopped()
		})
	}
}
