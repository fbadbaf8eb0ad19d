//go:build linux

package cli_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/generate"
)

// The seed's own line. The service would refuse the token every five seconds, so nothing is written.
func TestAServiceThatWouldRefuseItsTokenIsNotWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	run(t, "", "tincan", "-c", dir, "gen", "--standalone", "--name", "alice").must(t)
	run(t, "", "tincan", "tinc-boot", "bootnode", "--service", "--dir", dir, "--token", "MY TOKEN").refused(t, "too weak", "hint: leave --token away")
	run(t, "", "tincan", "-c", filepath.Join(t.TempDir(), "none"), "bootnode", "--service", "--token", "MY TOKEN").refused(t, "there is no network", "hint: make the node first")
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
		if !strings.Contains(got.out, "Port: 655\n") || !strings.Contains(got.err, "port 655, TCP and UDP: open it in firewalls") {
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
		for lines.Scan() && !strings.Contains(lines.Text(), "newcomers are let in") {
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
