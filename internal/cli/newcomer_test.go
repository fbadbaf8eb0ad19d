//go:build linux

package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A new name without a host file would make a node without port, addresses and public key.
func TestSetNameNeedsTheHostFile(t *testing.T) {
	dir, _ := network(t)
	set := func(args ...string) outcome {
		return run(t, "", "tincan", append([]string{"-c", dir, "set"}, args...)...)
	}
	for _, word := range []string{"Name", "name"} {
		set(word, "carol").refused(t, "there is no host file "+dir+"/hosts/carol", "hint: rename the host file first: mv "+dir+"/hosts/alice "+dir+"/hosts/carol;", "set --force "+word+" carol")
	}
	t.Setenv("SOMEBODY", "carol")
	set("Name", "$SOMEBODY").refused(t, "there is no host file")
	if got := set("Name", "alice").must(t); got.err != "" {
		t.Errorf("the same name: %s", got.err)
	}
	if err := os.Rename(filepath.Join(dir, "hosts/alice"), filepath.Join(dir, "hosts/carol")); err != nil {
		t.Fatal(err)
	}
	set("Name", "carol").must(t)
	put(t, filepath.Join(dir, "hosts/alice"), "")
	if got := set("Name", "alice").must(t); !strings.Contains(got.err, "note: the other nodes know this node as carol") {
		t.Errorf("renamed: %s", got.err)
	}
	set("--force", "Name", "dave").must(t)
}

// -c means something else to the system's ping.
func TestPingWithTheSystemsOption(t *testing.T) {
	t.Chdir(t.TempDir())
	run(t, "", "tincan", "ping", "-c", "2", "bob").refused(t, "hint: -c is the directory of the network; for 2 requests: tincan ping --count 2 bob")
}

func TestCommandsOfOtherPrograms(t *testing.T) {
	for word, want := range map[string]string{"start": "up", "list": "status", "peers": "status"} {
		run(t, "", "tincan", word).refused(t, "hint: did you mean tincan "+want+"?")
	}
}

func TestRemoveSaysWhatItDid(t *testing.T) {
	dir, _ := network(t)
	put(t, filepath.Join(dir, "hosts/mallory"), "Port = 656\n")
	remove := func(name string) outcome { return run(t, "", "tincan", "-c", dir, "remove", name) }
	check := func() {
		t.Helper()
		remove("malory").refused(t, "no node of that name", `hint: did you mean "mallory"?`)
		if got := remove("mallory").must(t).err; !strings.HasPrefix(got, "removed mallory from this node") || !strings.Contains(got, "at each of them: tincan remove mallory") {
			t.Errorf("remove: %s", got)
		}
		if got := remove("mallory").must(t).err; !strings.HasPrefix(got, "mallory is removed already") {
			t.Errorf("once more: %s", got)
		}
	}
	check()
	put(t, filepath.Join(dir, "hosts/mallory"), "Port = 656\n")
	up(t, dir)
	check()
	remove("alice").refused(t, "this node itself")
}
