//go:build unix

package invite

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWhatRootInvitesBelongsToTheUserOfTheNode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	const user = 54321
	uid := func(path string) uint32 {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Uid
	}
	for _, owner := range []uint32{user, 0} {
		in := newInviter(t, "alice")
		if err := os.Chown(in.dir, int(owner), int(owner)); err != nil {
			t.Skip(err) // a user namespace without other users
		}
		first, second := in.issue("bob"), in.issue("carol")
		s := storeIn(in.dir)
		for _, path := range []string{s.dir, s.path(keyFile), first.File, second.File} {
			if got := uid(path); got != owner {
				t.Errorf("%s in a directory of user %d belongs to user %d", filepath.Base(path), owner, got)
			}
		}
	}

	// Whoever owns the directory must not get other files of root by that.
	in := newInviter(t, "alice")
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, "x", secret)
	s := storeIn(in.dir)
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(s.dir, user, user); err != nil {
		t.Skip(err)
	}
	for name, make := range map[string]func(from, to string) error{"link": os.Link, "symlink": os.Symlink} {
		if err := make(secret, s.path(name)); err != nil {
			t.Fatal(err)
		}
		if handOver(s.path(name)); uid(secret) != 0 {
			t.Errorf("a %s to another file of root was handed over", name)
		}
	}
}
