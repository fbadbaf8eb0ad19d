//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// status is what the kernel says of a process.
func (n *node) status(field string) string {
	n.w.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.daemon.PID()))
	n.w.must(err)
	for line := range strings.Lines(string(text)) {
		if k, v, _ := strings.Cut(line, ":"); k == field {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	n.w.Fatalf("no %s in %s", field, text)
	return ""
}

// nice is the nice value of the daemon.
func (n *node) nice() string {
	n.w.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.daemon.PID()))
	n.w.must(err)
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)[16]
}

// mapped tells whether a user exists in the user namespace of these tests.
func mapped(uid int) bool {
	text, _ := os.ReadFile("/proc/self/uid_map")
	for line := range strings.Lines(string(text)) {
		var first, outside, count int64
		if n, _ := fmt.Sscan(line, &first, &outside, &count); n == 3 && int64(uid) >= first && int64(uid) < first+count {
			return true
		}
	}
	return false
}

// owned gives the directory of the network to a user.
func (n *node) owned(uid int) {
	n.w.Helper()
	n.w.must(n.InFiles(func() error {
		return filepath.Walk(confBase, func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, uid, uid)
		})
	}))
}

// A node that has given up its rights still does all that it should: it makes
// routes, learns, writes, reloads, and cleans up.
func TestNodesThatGiveUpRights(t *testing.T) {
	t.Parallel()
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	landlock, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	const netAdmin, netAdminAndPort, all = "0000000000001000", "0000000000001400", "000000000000342b"
	for _, c := range []struct {
		name, extra string
		args        []string
		owned       bool
		caps        string
		filter      string // Seccomp
		box         bool
		keeps       []string // files that must be there after the end
	}{
		{name: "as it is", extra: "ProcessPriority = low\nKeyDistributionPort = 1700\n", caps: all, filter: "0"},
		{name: "another user", args: []string{"-U", "nobody"}, owned: true, caps: netAdminAndPort, filter: "0", keeps: []string{"pid"}},
		{name: "another user who may write nothing", extra: "Port = 7000\n", args: []string{"-U", "nobody"}, caps: netAdmin, filter: "0", keeps: []string{"pid"}},
		{name: "another root directory", args: []string{"-R"}, caps: all, filter: "0"},
		{name: "another user and root directory", args: []string{"-R", "-U", "nobody", "-L"}, owned: true, caps: "0000000000005400", filter: "0", keeps: []string{"pid"}},
		{name: "sandbox normal", extra: "Sandbox = normal\n", caps: all, filter: "2", box: true},
		{name: "sandbox high", extra: "Sandbox = high\n", caps: all, filter: "2", box: true},
		{name: "all of it", extra: "Sandbox = high\n", args: []string{"-U", "nobody", "-R", "-L"}, owned: true, caps: "0000000000005400", filter: "2", box: true, keeps: []string{"pid"}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			if c.box && int(landlock) < 1 {
				fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: this kernel has no Landlock ***\n\n", t.Name())
				t.Skip("no Landlock")
			}
			if slices.Contains(c.args, "-U") && !mapped(uid) {
				fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: there is no user nobody in this namespace; run it as root ***\n\n", t.Name())
				t.Skip("no other user")
			}
			w := newWorld(t, "ip4")
			nodes := w.static(site{name: "a", host: "Subnet = 192.168.77.0/24\n"}, site{name: "b", kind: tincand, connect: []string{"a"}, extra: c.extra})
			a, b := nodes[0], nodes[1]
			b.args = c.args
			b.write(map[string]string{"cache/up": "", "subnet-up": "#!/bin/sh\necho $NODE >> " + confBase + "/cache/up\n"})
			b.w.must(b.InFiles(func() error {
				return os.Chmod(confBase+"/subnet-up", 0o755)
			}))
			if c.owned {
				b.owned(uid)
			}
			b.up()
			w.must(b.daemon.WaitLog("Ready", patience))
			a.up()
			b.reaches(a)
			a.reaches(b)
			w.eventually("b has a route to the site behind a", patience, func() bool {
				out, err := b.Run("/sbin/ip", "route")
				return err == nil && strings.Contains(out, "192.168.77.0/24")
			})
			wantUID := "0 0 0 0"
			if slices.Contains(c.args, "-U") {
				wantUID = strings.TrimSpace(strings.Repeat(nobody.Uid+" ", 4))
			}
			for field, want := range map[string]string{"Uid": wantUID, "CapPrm": c.caps, "CapEff": c.caps, "Seccomp": c.filter} {
				if got := b.status(field); got != want {
					t.Errorf("%s is %s, want %s", field, got, want)
				}
			}
			var s struct {
				Process struct{ User, Sandbox string }
			}
			w.must(json.Unmarshal([]byte(b.tincan("status", "--json")), &s))
			if (s.Process.User != "") != slices.Contains(c.args, "-U") || c.box != (s.Process.Sandbox != "off") {
				t.Errorf("status: %+v", s)
			}

			if strings.Contains(c.extra, "ProcessPriority") {
				if got := b.nice(); got != "10" {
					t.Errorf("nice %s", got)
				}
				w.eventually("b shows its host file at the port of KeyDistributionPort", patience, func() bool {
					conn, err := a.Dial(t.Context(), "tcp", "10.7.0.2:1700")
					if err == nil {
						conn.Close()
					}
					return err == nil
				})
			}

			b.hangUp()
			if c.owned || !slices.Contains(c.args, "-U") {
				w.must(b.daemon.WaitLog("configuration reloaded", patience))
				w.eventually("the address of a has been kept", patience, func() bool { return slices.Contains(b.files(confBase+"/cache"), "a") })
			} else {
				w.must(b.daemon.WaitLog("may not write to "+confBase+"/hosts", patience))
				w.must(b.daemon.WaitLog("cannot be reloaded", patience))
			}
			b.reaches(a)

			up, err := b.ReadFile(confBase + "/cache/up")
			w.must(err)
			high := strings.Contains(c.extra, "high")
			later := !high && !slices.Contains(c.args, "-R") && (c.owned || !slices.Contains(c.args, "-U"))
			if got := string(up); !strings.HasPrefix(got, "b\n") || strings.Contains(got, "a\n") != later {
				t.Errorf("subnet-up ran for %q", got)
			}
			b.stopped()
			left := b.files("/run")
			left = slices.DeleteFunc(left, func(name string) bool { return !strings.HasPrefix(name, "tinc.home") })
			if (len(left) > 0) != (len(c.keeps) > 0) {
				t.Errorf("left behind: %v", left)
			}
			if ended := b.daemon.Log(); strings.Contains(ended, "panic") || strings.Contains(ended, "ERROR") && later {
				t.Errorf("log:\n%s", ended)
			}
		})
	}
}
