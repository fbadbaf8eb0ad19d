//go:build unix

package confdir

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A user who is not root has networks in a directory that they have made; root has not.
func TestNetworksOfAUser(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	here := Place{Net: "no-such-network"}
	l, err := here.Layout()
	if err != nil || l.ConfBase != "/etc/tinc/no-such-network" {
		t.Errorf("without the directory: %s, %v", l.ConfBase, err)
	}
	dir := filepath.Join(home, "tinc", "no-such-network")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tinc.conf"), []byte("Name = a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err = here.Layout()
	nets, _ := Networks(Roots{})
	root := os.Geteuid() == 0
	if want := map[bool]string{true: "/etc/tinc/no-such-network", false: dir}[root]; err != nil || l.ConfBase != want {
		t.Errorf("with it: %s, %v, want %s", l.ConfBase, err, want)
	}
	if !root && l.PidFile != filepath.Join(dir, "pid") {
		t.Errorf("the pid file is %s", l.PidFile)
	}
	if slices.Contains(nets, "no-such-network") == root {
		t.Errorf("the networks are %v", nets)
	}
}
