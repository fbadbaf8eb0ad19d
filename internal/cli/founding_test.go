//go:build linux

package cli_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/control"
	"tincan/internal/fixture"
	"tincan/internal/members"
	"tincan/internal/report"
)

var recoveryText = regexp.MustCompile(`([0-9A-Z]{4}-){8}[0-9A-Z]{4}`)

// openTerminal opens a pseudo-terminal: master is the side of the person, slave that of the program.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal: %v", err)
	}
	return master, slave
}

// onTerminal runs tincan with a terminal as its standard error, and returns what that shows and what standard output got.
func onTerminal(t *testing.T, args ...string) (shown, out string) {
	t.Helper()
	master, slave := openTerminal(t)
	cmd := exec.Command(filepath.Join(bin, "tincan"), args...)
	var stdout strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	text, _ := io.ReadAll(master) // EIO at the end
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return string(text), stdout.String()
}

// The recovery key reaches a person's eyes, or a file that only root can read, and nothing else.
func TestANewNetworkIsSigned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	got := run(t, "", "tincan", "-c", dir, "init", "alice", "--port", "0").must(t)
	if got.out != "" || recoveryText.MatchString(got.err) || !strings.Contains(got.err, "owner_key.priv") || !strings.Contains(got.err, "recovery key: "+dir+"/recovery_key") {
		t.Errorf("without a terminal: %+v", got)
	}
	if text := read(t, dir, "recovery_key"); !recoveryText.MatchString(text) {
		t.Errorf("recovery key %q", text)
	}
	for _, file := range []string{"recovery_key", "owner_key.priv", "roster"} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	v := into[members.View](t, run(t, "", "tincan", "-c", dir, "members", "--json").must(t))
	if alice := memberNamed(t, v, "alice"); v.Mode != "signed" || !v.Recovery || v.Node != "alice" || len(alice.Subnets) != 1 {
		t.Errorf("%+v", v)
	}
	if conf := read(t, dir, "tinc.conf"); !strings.Contains(conf, "Roster = signed\n") || !strings.Contains(conf, "NetworkID = "+v.Network+"\n") {
		t.Errorf("tinc.conf:\n%s", conf)
	}

	dir = filepath.Join(t.TempDir(), "seen")
	shown, out := onTerminal(t, "-c", dir, "init", "alice", "--port", "0")
	if keys := recoveryText.FindAllString(shown, -1); len(keys) != 1 || out != "" || !strings.Contains(shown, "▀") {
		t.Errorf("shown %q, printed %q", shown, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "recovery_key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is in a file, too: %v", err)
	}

	dir = filepath.Join(t.TempDir(), "json")
	got = run(t, "", "tincan", "-c", dir, "init", "alice", "--port", "0", "--json").must(t)
	if made := into[report.Made](t, got); !recoveryText.MatchString(made.Recovery) || len(made.ID) != 64 || made.Owner != dir+"/owner_key.priv" || recoveryText.MatchString(got.err) {
		t.Errorf("%+v, %s", made, got.err)
	}
	if _, err := os.Stat(filepath.Join(dir, "recovery_key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is in a file, too: %v", err)
	}
}

func TestAnOpenNetworkHasNoRoster(t *testing.T) {
	made := func(program string, args ...string) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "net")
		if got := run(t, "", program, append([]string{"-c", dir}, args...)...).must(t); strings.Contains(got.err, "owner") {
			t.Errorf("%q: %s", args, got.err)
		}
		for _, file := range []string{"roster", "owner_key.priv", "recovery_key"} {
			if _, err := os.Stat(filepath.Join(dir, file)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q has made %s", args, file)
			}
		}
	}
	made("tincan", "init", "alice", "--port", "0", "--open")
	made("tinc", "init", "alice")
	t.Setenv("TINCAN_OPEN", "true")
	made("tincan", "init", "alice", "--port", "0")
}

// As in an open network: init, invite, join, up.
func TestAnInvitationMakesAMember(t *testing.T) {
	tmp := t.TempDir()
	node := func(name string) func(...string) outcome {
		return func(args ...string) outcome {
			t.Helper()
			return run(t, "", "tincan", append([]string{"-c", filepath.Join(tmp, name)}, args...)...).must(t)
		}
	}
	alice, bob := node("alice"), node("bob")
	port := freePort()
	alice("init", "alice", "--range", "10.9.0.0/16", "--port", port, "--public", "127.0.0.1:"+port)
	alice("set", "DeviceType", "dummy")
	up(t, filepath.Join(tmp, "alice"))
	url := strings.TrimSpace(alice("invite", "bob").out)
	open := into[report.Invitations](t, alice("dump", "invitations", "--json")).Invitations
	if len(open) != 1 || open[0].Node != "bob" || open[0].Key == "" || open[0].Expired {
		t.Errorf("%+v", open)
	}
	if inv := into[report.Invitation](t, alice("invite", "bob", "--json")); !inv.Again {
		t.Errorf("%+v", inv)
	}
	for _, wrong := range [][]string{{"--uses", "0"}, {"--uses", "-3"}, {"--uses", "65536"}, {"--expires", "0s"}, {"--expires", "-1h"}} {
		o := run(t, "", "tincan", "-c", filepath.Join(tmp, "alice"), "invite", "web*", wrong[0], wrong[1])
		if o.status != 1 || o.out != "" || !strings.Contains(o.err, "tincan: ") {
			t.Errorf("invite %q: %+v", wrong, o)
		}
	}
	bob("join", url)
	bob("set", "DeviceType", "dummy")
	bob("set", "Port", "0")
	up(t, filepath.Join(tmp, "bob"))
	eventually(t, "both are members on both sides, and connected", func() bool {
		for _, tincan := range []func(...string) outcome{alice, bob} {
			v := into[members.View](t, tincan("members", "--json"))
			s := into[control.Status](t, tincan("status", "--json"))
			if v.Mode != "signed" || v.Fetching || len(v.Members) != 2 || len(s.Nodes) != 1 || !s.Nodes[0].Reachable {
				return false
			}
		}
		return true
	})

	eventually(t, "bob has stored the roster", func() bool {
		return run(t, "", "tincan", "-c", filepath.Join(tmp, "bob"), "roster", "show").status == 0
	})

	run(t, "", "tincan", "-c", filepath.Join(tmp, "bob"), "invite", "carol").refused(t, "inviting carol: this key has no right to do that", "who has it: alice (")

	// Who was removed can come back with a new key, although the old host file is there.
	alice("admit", "erin", "--key", someKey(5))
	fixture.Put(t, filepath.Join(tmp, "alice", "hosts", "erin"), "Ed25519PublicKey = "+someKey(5)+"\n")
	run(t, "", "tincan", "-c", filepath.Join(tmp, "alice"), "invite", "erin").refused(t, "there is a node of that name already")
	alice("remove", "erin")
	if got := alice("invite", "erin").out; !strings.Contains(got, "127.0.0.1:"+port+"/") {
		t.Error(got)
	}

	// What the owner announces itself is granted at once; others are told who has to do it.
	if got := alice("add", "Subnet", "192.168.50.0/24"); !strings.Contains(got.err, "granted to alice") {
		t.Error(got.err)
	}
	if got := bob("add", "Subnet", "192.168.51.0/24"); !strings.Contains(got.err, "tincan admit bob --subnet 10.9.") || !strings.Contains(got.err, " --subnet 192.168.51.0/24") {
		t.Error(got.err)
	}
	eventually(t, "bob sees the subnet", func() bool { return strings.Contains(bob("dump", "subnets").out, "192.168.50.0/24") })
}

// eventually asks until ok, for a minute at most.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
