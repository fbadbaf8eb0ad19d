//go:build linux

package cli_test

import (
	"strings"
	"testing"
)

// What a stranger types is answered with what is wrong, not with what comes next.
func TestWrongWords(t *testing.T) {
	dir, _ := network(t)
	none := t.TempDir() + "/none"
	for line, want := range map[string][]string{
		"help nosuch":                {`there is no command "nosuch"`, "hint: tincan --help lists"},
		"help service foo":           {`there is no command "foo"`, "hint: tincan service --help lists"},
		"service foo":                {`there is no command "foo"`, "hint: tincan service --help lists"},
		"-c " + none + " status":     {"there is no network in " + none},
		"-c " + none + " log":        {"there is no network in " + none},
		"--pidfile " + none + " top": {"no daemon runs for this network (there is no " + none + ")"},
		"-c " + dir + " dump foo":    {`there is no list called "foo"`},
		"dump nodes x":               {"dump takes only the name of one list"},
		"dump reachable":             {"only nodes can be reachable"},
	} {
		run(t, "", "tincan", strings.Fields(line)...).refused(t, want...)
	}
	for _, line := range []string{"help", "help service", "help service status", "service --help"} {
		if got := run(t, "", "tincan", strings.Fields(line)...).must(t); !strings.Contains(got.out, "Usage:") {
			t.Errorf("%s: %s", line, got.out)
		}
	}
}

// A value that keeps the node from starting is said at once, also when no node runs that would
// refuse it.
func TestBadValuesAreForeseen(t *testing.T) {
	dir, _ := network(t)
	for line, want := range map[string]string{
		"Mode foo":           "Mode = foo: write one of",
		"ReplayWindow 70000": "ReplayWindow = 70000: must be 65536 or less",
		"Port 123456789012":  "hosts/alice:",
		"PingTimeout x":      "PingTimeout = x: write a whole number",
		"PingTimeout 7":      "",
	} {
		name, value, _ := strings.Cut(line, " ")
		got := run(t, "", "tincan", "-c", dir, "set", name, value).must(t)
		if !strings.Contains(got.err, want) || (got.err == "") != (want == "") {
			t.Errorf("set %s: said %q", line, got.err)
		}
		run(t, "", "tincan", "-c", dir, "del", name).must(t)
	}
}
