//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// sixtySeconds are the commands of "Try it in 60 seconds" in the README, of each machine.
func sixtySeconds(t *testing.T) (first, second []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## Try it in 60 seconds\n")
	_, rest, _ = strings.Cut(rest, "```sh\n")
	block, _, _ := strings.Cut(rest, "```")
	var list *[]string
	for _, line := range strings.Split(block, "\n") {
		switch strings.TrimSpace(line) {
		case "# on the first":
			list = &first
		case "# on the second":
			list = &second
		case "":
		default:
			if list == nil {
				t.Fatalf("on which machine? %s", line)
			}
			*list = append(*list, line)
		}
	}
	if len(first) < 3 || len(second) < 3 {
		t.Fatalf("there are no commands for two machines:\n%s", block)
	}
	return first, second
}

// TestSixtySecondsOfTheREADME: what the README says, typed as it is there, on two machines on which nothing is but the program and
// systemd-resolved, until the two find each other by name.
func TestSixtySecondsOfTheREADME(t *testing.T) {
	t.Parallel()
	needResolve(t)
	first, second := sixtySeconds(t)
	w := newWorld(t, "ip4")
	alice, bob := w.node("alice"), w.node("bob")
	bin := t.TempDir()
	w.must(os.Symlink(os.Getenv(binaryVar), filepath.Join(bin, "tincan"))) // sudo make install
	for _, n := range []*node{alice, bob} {
		n.ownEtc()
		n.bus()
		n.resolver()
		t.Cleanup(func() { _, _ = n.try("down") })
	}
	url := ""
	ping := func(n *node, line string) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			p, err := n.Start("/bin/sh", "-c", "exec "+line)
			w.must(err)
			err = p.WaitLog(`bytes from .* icmp_seq=`, time.Until(end))
			p.Kill() // Ctrl-C
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	typed := func(n *node, lines []string) {
		t.Helper()
		for _, line := range lines {
			if strings.HasPrefix(line, "ping ") {
				ping(n, line)
				continue
			}
			cmd := n.Command("/bin/sh", "-c", strings.ReplaceAll(line, "URL", url))
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			began := time.Now()
			out, err := n.RunCommand(cmd)
			if err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			t.Logf("%6.2f s  %s# %s", time.Since(began).Seconds(), n.Name(), line)
			if m := regexp.MustCompile(`(?m)^\S+:\d+/\S+$`).FindString(out); m != "" {
				url = m
			}
		}
	}
	began := time.Now()
	typed(alice, first)
	if url == "" {
		t.Fatal("no URL was printed")
	}
	typed(bob, second)
	ping(alice, "ping bob")
	took := time.Since(began)
	fmt.Fprintf(os.Stderr, "from the README's first line to \"ping bob\": %.1f s\n", took.Seconds())
	if took > time.Minute {
		t.Errorf("sixty seconds took %v", took)
	}
	if s := bob.tincan("status"); !strings.Contains(s, "names: NODE.home.internal, by systemd-resolved") {
		t.Errorf("status:\n%s", s)
	}
}
