//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Members of a group may look at the node, and nothing else; others may not even do that.
func TestAGroupMayLook(t *testing.T) {
	t.Parallel()
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	if !mapped(uid) {
		fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: there is no user nobody in this namespace; run it as root ***\n\n", t.Name())
		t.Skip("no other user")
	}
	group, err := user.LookupGroupId(nobody.Gid)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "ip4")
	n := w.static(site{name: "a"}, site{name: "b", connect: []string{"a"}, extra: "ControlGroup = " + group.Name + "\n"})
	a, b := n[0], n[1]
	upAll(n...)
	w.allReach("ip4", n...)
	w.must(os.Chmod(filepath.Dir(os.Getenv(binaryVar)), 0o755))
	as := func(n *node, uid, gid int, args ...string) (string, error) {
		cmd := n.Command(os.Getenv(binaryVar), append([]string{"-n", "home"}, args...)...)
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: false}
		return n.RunCommand(cmd)
	}
	if out, err := as(b, uid, gid, "status"); err != nil || !strings.Contains(out, "node b") || !strings.Contains(out, "direct (UDP)") {
		t.Errorf("status: %v\n%s", err, out)
	}
	if out, err := as(b, uid, gid, "dump", "nodes"); err != nil || !strings.Contains(out, "a id ") {
		t.Errorf("dump nodes: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"down"}, {"reload"}, {"retry"}, {"connect", "a"}, {"disconnect", "a"}, {"log"}, {"pcap"}, {"ping", "a"}} {
		if out, err := as(b, uid, gid, args...); err == nil || out != "" || !strings.Contains(err.Error(), "may query the node") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if out, err := as(b, uid, gid+1, "status"); err == nil || out != "" {
		t.Errorf("another group: %v\n%s", err, out)
	}
	if out, err := as(a, uid, gid, "status"); err == nil || out != "" {
		t.Errorf("without ControlGroup: %v\n%s", err, out)
	}
	b.reaches(a) // it still runs
}
