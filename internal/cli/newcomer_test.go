//go:build linux

package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/fixture"
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
	fixture.Put(t, filepath.Join(dir, "hosts/alice"), "")
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
	fixture.Put(t, filepath.Join(dir, "hosts/mallory"), "Port = 656\n")
	remove := func(name string) outcome { return run(t, "", "tincan", "-c", dir, "remove", name) }
	check := func() {
		t.Helper()
		remove("malory").refused(t, "no node of that name", `hint: did you mean "mallory"?`)
		if got := remove("mallory").must(t).err; !strings.HasPrefix(got, "removed mallory from this node") || !strings.Contains(got, "on each of them: tincan remove mallory") {
			t.Errorf("remove: %s", got)
		}
		if got := remove("mallory").must(t).err; !strings.HasPrefix(got, "mallory is removed already") {
			t.Errorf("once more: %s", got)
		}
	}
	check()
	fixture.Put(t, filepath.Join(dir, "hosts/mallory"), "Port = 656\n")
	up(t, dir)
	check()
	remove("alice").refused(t, "this node itself")
}

func TestSetForeseesWhatHasNoEffect(t *testing.T) {
	dir, port := network(t)
	fixture.Put(t, filepath.Join(dir, "hosts/bob"), "Port = 656\n")
	tincan := func(line string) outcome {
		return run(t, "", "tincan", append([]string{"-c", dir}, strings.Fields(line)...)...)
	}
	for line, want := range map[string]string{
		"set ConnectTo nobody":    "note: there is no host file " + dir + "/hosts/nobody",
		"add ConnectTo bbo":       "did you mean bob?",
		"set PingInterval -1":     "PingInterval = -1: less than one second; once a day is taken",
		"set PingTimeout 0":       "PingTimeout = 0: less than one second",
		"set Ifconfig 10.9.0.2/8": "",
	} {
		if got := tincan(line).must(t).err; !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q", line, got)
		}
	}
	if got := tincan("set PingInterval 0").must(t).err; !strings.HasPrefix(got, "warning: the file is changed, but the node does not use this value as written: ") {
		t.Errorf("a value that is replaced: %q", got)
	}
	tincan("set ConnectTo bob").must(t)
	if got := tincan("set ConnectTo bob").must(t).err; got != "" {
		t.Errorf("set ConnectTo bob: %q", got)
	}
	tincan("set Address foo bar").refused(t, `unknown service "bar"`)
	for _, name := range []string{"PingInterval", "PingTimeout"} {
		tincan("del " + name).must(t)
	}

	up(t, dir)
	if got := tincan("get Port").must(t); got.out != port+"\n" || got.err != "" {
		t.Errorf("get Port: %+v", got)
	}
	tincan("set Port 656").must(t)
	if got := tincan("get Port").must(t); got.out != "656\n" || !strings.Contains(got.err, "listens on port "+port) {
		t.Errorf("get Port after the change: %+v", got)
	}
	if got := tincan("why bbo"); !strings.Contains(got.err, `did you mean "bob"?`) {
		t.Errorf("why: %+v", got)
	}
}

// A port or a URL that is another service's is told of.
func TestPortsAndURLsThatAreMixedUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	tincan := func(line string) outcome {
		return run(t, "", "tincan", append([]string{"-c", dir}, strings.Fields(line)...)...)
	}
	tincan("up --boot 8655").refused(t, "no address to listen on", "hint: for that port of all addresses write :8655")
	tincan("up --join 127.0.0.1:655 --token abcdefgh --timeout 1s").refused(t, "hint: port 655 is that of nodes", "listens on 8655: 127.0.0.1:8655")
	for _, url := range []string{"http://127.0.0.1:8655", "https://vpn.example.org/path"} {
		tincan("join "+url).refused(t, "not an invitation URL", "hint: a URL that begins with http", "tincan up --join URL")
	}
}

func TestPublicRangesAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	tincan := func(line string) outcome {
		return run(t, "", "tincan", append([]string{"-c", dir}, strings.Fields(line)...)...)
	}
	for _, r := range []string{"8.8.8.0/24", "8.0.0.0/6", "2a00::/64"} {
		tincan("init alice --range "+r).refused(t, "the range "+r+" is not a private one", "--force")
	}
	if got := tincan("init alice --range 8.8.8.0/24 --port 0 --force").must(t).err; !strings.Contains(got, "warning: the range 8.8.8.0/24 is not a private one") {
		t.Errorf("forced: %s", got)
	}
	if got := tincan("token list").must(t); got.out != "" || !strings.HasPrefix(got.err, "no tokens; make one with: ") {
		t.Errorf("token list: %+v", got)
	}
}
