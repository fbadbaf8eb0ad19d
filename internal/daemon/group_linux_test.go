package daemon

import (
	"fmt"
	"os"
	"os/user"
	"syscall"
	"testing"
)

// The socket is the group's, too; the pid file with the secret is not.
func TestAGroupMayLook(t *testing.T) {
	group, err := user.LookupGroupId(fmt.Sprint(os.Getegid()))
	if err != nil {
		t.Skip("this process's group has no name: ", err)
	}
	n := newNode(t, "m")
	n.add("tinc.conf", "ControlGroup = "+group.Name)
	n.start()
	for file, want := range map[string]os.FileMode{n.layout.PidFile: 0o600, n.layout.PidFile + ".socket": 0o770} {
		i, err := os.Stat(file)
		must(t, err)
		if got := i.Mode().Perm(); got != want || int(i.Sys().(*syscall.Stat_t).Gid) != os.Getegid() {
			t.Errorf("%s has mode %v and group %d, want %v and %d", file, got, i.Sys().(*syscall.Stat_t).Gid, want, os.Getegid())
		}
	}
	n.stop()
	n.replace("tinc.conf", group.Name, "no-such-group")
	if err := n.tryStart(Options{}); err == nil || hintOf(err) != "make it with: groupadd no-such-group" {
		t.Errorf("no such group: %v, hint %q", err, hintOf(err))
	}
}
