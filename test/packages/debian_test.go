//go:build linux

package packages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// debian is a machine with a bare Debian: files of its own, and a network of its own.
type debian struct {
	*testing.T
	root string
	pid  int // of a process in its namespaces
}

// newDebian makes one, with the package of tincan in /tincan.deb.
func newDebian(t *testing.T, deb string) *debian {
	t.Helper()
	source := os.Getenv("DEBIAN_ROOT")
	if source == "" {
		fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: DEBIAN_ROOT is not set; scripts/peers fetches one ***\n\n", t.Name())
		t.Skip("DEBIAN_ROOT is not set")
	}
	if os.Getuid() != 0 {
		fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: it needs root ***\n\n", t.Name())
		t.Skip("it needs root")
	}
	d := &debian{T: t, root: filepath.Join(t.TempDir(), "root")}
	run(t, "/", nil, "cp", "-a", source, d.root)
	run(t, "/", nil, "cp", deb, filepath.Join(d.root, "tincan.deb"))
	cmd := exec.Command("unshare", "--net", "--mount", "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.pid = cmd.Process.Pid
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		mine, _ := os.Readlink("/proc/self/ns/mnt")
		if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", d.pid)); err == nil && its != mine {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no namespaces")
		}
	}
	d.enter("sh", "-c", `mount --bind /dev "$0/dev" && mount --rbind /proc "$0/proc" && ip link set lo up`, d.root)
	return d
}

// enter runs a command of the machine that runs the test in the namespaces.
func (d *debian) enter(command string, args ...string) string {
	d.Helper()
	return run(d.T, "/", nil, "nsenter", append([]string{"-t", fmt.Sprint(d.pid), "--net", "--mount", command}, args...)...)
}

// try runs a command of this Debian.
func (d *debian) try(command string, args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(d.pid), "--net", "--mount", "chroot", d.root, command}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (d *debian) do(command string, args ...string) string {
	d.Helper()
	out, err := d.try(command, args...)
	if err != nil {
		d.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
	return out
}

func (d *debian) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(d.root, path))
	return err == nil
}

// The package is installed by dpkg on two bare Debians, and they make a network as the README says.
func TestNetworkOfTwoFromTheDebianPackage(t *testing.T) {
	t.Parallel()
	deb := one(t, built(t), "*.deb")
	alice, bob := newDebian(t, deb), newDebian(t, deb)
	// Only AppArmor 4 is given the profile for user namespaces.
	alice.do("mkdir", "-p", "/etc/apparmor.d/abi")
	alice.do("touch", "/etc/apparmor.d/abi/4.0")
	for _, d := range []*debian{alice, bob} {
		d.do("dpkg", "-i", "/tincan.deb")
		if d.exists("/etc/apparmor.d/usr.bin.tincan") != (d == alice) || !d.exists("/etc/apparmor.d/tincan") {
			t.Error("the wrong profiles for AppArmor")
		}
		if got := d.do("dpkg", "-s", "tincan"); !strings.Contains(got, "Status: install ok installed") {
			t.Errorf("dpkg says: %s", got)
		}
		if d.exists("/usr/sbin/tincd") || d.exists("/usr/sbin/tinc") {
			t.Error("the package has taken a name of tinc's by itself")
		}
	}
	run(t, "/", nil, "ip", "link", "add", fmt.Sprintf("tc%d", alice.pid), "netns", fmt.Sprint(alice.pid), "type", "veth",
		"peer", "name", fmt.Sprintf("tc%d", bob.pid), "netns", fmt.Sprint(bob.pid))
	for d, addr := range map[*debian]string{alice: "192.0.2.1/24", bob: "192.0.2.2/24"} {
		d.enter("ip", "addr", "add", addr, "dev", fmt.Sprintf("tc%d", d.pid))
		d.enter("ip", "link", "set", fmt.Sprintf("tc%d", d.pid), "up")
	}

	alice.do("tincan", "-n", "home", "init", "alice", "--public", "192.0.2.1")
	alice.do("tincan", "up", "--detach")
	t.Cleanup(func() { _, _ = alice.try("tincan", "down") })
	url := strings.Fields(alice.do("tincan", "invite", "bob"))
	bob.do("tincan", "join", url[len(url)-1])
	bob.do("tincan", "up", "--detach")
	t.Cleanup(func() { _, _ = bob.try("tincan", "down") })
	bob.do("tincan", "ping", "--count", "1", "alice")
	if got := bob.do("tincan", "status"); !strings.Contains(got, "1 of 1 other node reachable") {
		t.Errorf("status: %s", got)
	}

	// What belongs to the administrator stays when the package goes.
	bob.do("tincan", "down")
	bob.do("dpkg", "--purge", "tincan")
	alice.do("tincan", "down")
	alice.do("dpkg", "--remove", "tincan")
	if alice.exists("/etc/apparmor.d/usr.bin.tincan") || bob.exists("/etc/apparmor.d/tincan") {
		t.Error("profiles for AppArmor are left")
	}
	if bob.exists("/usr/bin/tincan") || bob.exists("/usr/lib/systemd/system/tincan@.service") || !bob.exists("/etc/tinc/home/tinc.conf") {
		t.Error("after the removal there is too much or too little")
	}
}

// The names tinc and tincd are tincan's when that is asked for, whether tinc's package comes before or after, and tinc's
// again when it is taken back or when the package goes.
func TestNamesOfTincByDebiansAlternatives(t *testing.T) {
	t.Parallel()
	d := newDebian(t, one(t, built(t), "*.deb"))
	d.do("dpkg", "-i", "/tincan.deb")
	meaning := func(want string) {
		t.Helper()
		got := "nothing"
		if d.exists("/usr/sbin/tincd") {
			got = d.do("readlink", "-f", "/usr/sbin/tincd")
		}
		if got != want {
			t.Errorf("tincd is %s, want %s", got, want)
		}
	}
	meaning("nothing")
	if got := d.do("tincan", "migrate", "--names", "--dry-run"); !strings.Contains(got, "update-alternatives --install /usr/sbin/tincd tincd /usr/bin/tincan 60") {
		t.Errorf("it would do:\n%s", got)
	}
	meaning("nothing")
	d.do("tincan", "migrate", "--names")
	meaning("/usr/bin/tincan")
	if got := d.do("tincd", "--version"); !strings.Contains(got, "tincan") {
		t.Errorf("tincd --version: %s", got)
	}
	d.do("tinc", "version")
	// Its scripts want more than this Debian has.
	d.do("dpkg", "--force-depends", "--unpack", "/tinc.deb")
	meaning("/usr/bin/tincan")
	d.do("tincan", "migrate", "--names", "--back")
	meaning("/usr/sbin/tincd")
	if got := d.do("dpkg-divert", "--list", "*tinc*"); got != "" {
		t.Errorf("left: %s", got)
	}
	d.do("tincan", "migrate", "--names", "--back") // nothing to do
	d.do("tincan", "migrate", "--names")           // now with tinc's package there
	meaning("/usr/bin/tincan")
	d.do("update-alternatives", "--set", "tincd", "/usr/sbin/tincd.tinc")
	meaning("/usr/sbin/tincd.tinc")
	d.do("dpkg", "--remove", "tincan")
	meaning("/usr/sbin/tincd")
	if d.exists("/usr/sbin/tincd.tinc") || d.exists("/usr/sbin/tinc") {
		t.Error("something is left")
	}
}
