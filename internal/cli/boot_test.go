//go:build linux

package cli_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/generate"
)

// The seed's own line. The service would refuse the token every five seconds, so nothing is written.
func TestAServiceThatWouldRefuseItsTokenIsNotWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	run(t, "", "tincan", "-c", dir, "gen", "--standalone", "--name", "alice").must(t)
	run(t, "", "tincan", "tinc-boot", "bootnode", "--service", "--dir", dir, "--token", "MY TOKEN").refused(t, "too weak", "hint: omit --token")
	run(t, "", "tincan", "-c", filepath.Join(t.TempDir(), "none"), "bootnode", "--service", "--token", "MY TOKEN").refused(t, "there is no network", "hint: create the node first")
	run(t, "", "tincan", "-c", dir, "bootnode", "--service", "--token", "a token of some length", "--binding", ":0").refused(t, "another port at each start", "hint: choose one")
	run(t, "", "tincan", "-c", dir, "bootnode", "--service", "--token", "MY TOKEN", "--binding", "nowhere:x").refused(t, "no address to listen on")
}

// The first node of a network, and one with a public address, are to be reached by others.
func TestNodesThatOthersReachListenOn655(t *testing.T) {
	if !generate.PortFree(generate.DefaultPort) {
		t.Skip("port 655 is in use here, or may not be used")
	}
	for _, args := range [][]string{{"--standalone"}, {"--standalone", "-a", "192.0.2.1"}} {
		dir := filepath.Join(t.TempDir(), "net")
		got := run(t, "", "tincan", append([]string{"-c", dir, "gen", "--name", "alice"}, args...)...).must(t)
		if !strings.Contains(got.out, "Port: 655\n") || !strings.Contains(got.err, "open in firewalls: port 655, TCP and UDP") {
			t.Errorf("%v printed\n%s%s", args, got.out, got.err)
		}
	}
}

// Others can read the command line of a process for as long as it runs.
func TestTheTokenIsTakenOffTheCommandLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	run(t, "", "tincan", "-c", dir, "gen", "--standalone", "--name", "alice").must(t)
	const token = "not for other eyes"
	for _, args := range [][]string{{"--token", token}, {"--token=" + token}, {"-t", token}, {"-t" + token}} {
		cmd := exec.Command(filepath.Join(bin, "tincan"), append([]string{"-c", dir, "bootnode", "--binding", "127.0.0.1:0"}, args...)...)
		said, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(said)
		for lines.Scan() && !strings.Contains(lines.Text(), "admitting new nodes") {
		}
		if strings.Contains(lines.Text(), ":0#") {
			t.Errorf("newcomers are told to come to port 0: %s", lines.Text())
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		if err != nil || strings.Contains(string(line), token) || !strings.Contains(string(line), "xxxx") {
			t.Errorf("%q, %v", line, err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		store := run(t, "", "tincan", "-c", dir, "token", "list").must(t).out
		if strings.Count(store, "command line") != 1 {
			t.Errorf("the tokens are\n%s", store)
		}
	}
}

// Init scripts return before the node that they start has a control socket.
func TestANewNodeThatStartsAMomentLaterIsWaitedFor(t *testing.T) {
	alice, _ := network(t)
	up(t, alice)
	bob := filepath.Join(t.TempDir(), "bob")
	run(t, "", "tincan", "-c", bob, "join", strings.TrimSpace(run(t, "", "tincan", "-c", alice, "invite", "bob").must(t).out)).must(t)
	run(t, "", "tincan", "-c", bob, "set", "DeviceType", "dummy").must(t)
	node := exec.Command(filepath.Join(bin, "tincan"), "-c", bob, "up")
	started := make(chan error, 1)
	time.AfterFunc(300*time.Millisecond, func() { started <- node.Start() })
	l, err := confdir.Place{Conf: bob}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	lines := command.ContactLines(t.Context(), l)
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "connected with alice") {
		t.Errorf("a newcomer is told %q", lines)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	run(t, "", "tincan", "-c", bob, "down").must(t)
	_ = node.Wait()
}

// The port for newcomers of a boot node may be open and that of the node closed.
func TestANewNodeIsToldWhetherItIsConnected(t *testing.T) {
	base := t.TempDir()
	dir := func(name string) string { return filepath.Join(base, name) }
	dummy := func(name string) {
		f, err := os.OpenFile(filepath.Join(dir(name), "tinc.conf"), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("DeviceType = dummy\n")
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got := run(t, "", "tincan", "-c", dir("alice"), "gen", "--standalone", "--name", "alice", "--port", freePort(), "-a", "127.0.0.1").must(t)
	if !strings.Contains(got.err, "TCP and UDP, for the other nodes; and port 8655, TCP") {
		t.Errorf("the first node says %q", got.err)
	}
	dummy("alice")
	boot := exec.Command(filepath.Join(bin, "tincan"), "-c", dir("alice"), "bootnode", "--binding", "127.0.0.1:"+freePort(), "--token", "some token")
	said, err := boot.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := boot.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { boot.Process.Kill(); boot.Wait() })
	url := ""
	for lines := bufio.NewScanner(said); url == "" && lines.Scan(); {
		_, url, _ = strings.Cut(lines.Text(), "admitting new nodes at ")
	}
	go io.Copy(io.Discard, said)

	const missing = "could not reach alice at 127.0.0.1 port "
	got = run(t, "", "tincan", "-c", dir("bob"), "gen", "--name", "bob", "--token", "some token", url).must(t)
	if !strings.Contains(got.err, missing) || !strings.Contains(got.err, "by TCP: connection refused") || !strings.Contains(got.err, "hint: ") {
		t.Errorf("while alice does not run, gen says %q", got.err)
	}
	dummy("bob")
	got = run(t, "", "tincan", "-c", dir("bob"), "up", "--detach").must(t)
	if !strings.Contains(got.err, "not connected with any other yet") || !strings.Contains(got.err, "could not reach alice: connect to 127.0.0.1:") {
		t.Errorf("while alice does not run, up says %q", got.err)
	}
	run(t, "", "tincan", "-c", dir("bob"), "down").must(t)

	run(t, "", "tincan", "-c", dir("alice"), "up", "--detach").must(t)
	defer run(t, "", "tincan", "-c", dir("alice"), "down")
	got = run(t, "", "tincan", "-c", dir("carol"), "gen", "--name", "carol", "--token", "some token", url).must(t)
	if !strings.Contains(got.err, "alice answers at 127.0.0.1 port ") {
		t.Errorf("while alice runs, gen says %q", got.err)
	}
	dummy("carol")
	got = run(t, "", "tincan", "-c", dir("carol"), "up", "--detach").must(t)
	defer run(t, "", "tincan", "-c", dir("carol"), "down")
	if !strings.Contains(got.err, "connected with alice at 127.0.0.1:") {
		t.Errorf("while alice runs, up says %q", got.err)
	}
}
