//go:build linux

package cli_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// What the owners have not allowed is said, with the command that allows it.
func TestCheckKnowsWhatOwnersAllow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "alice")
	tincan := func(args ...string) outcome { return run(t, "", "tincan", append([]string{"-c", dir}, args...)...) }
	tincan("init", "alice", "--port", "0").must(t)
	tincan("set", "DeviceType", "dummy").must(t)
	tincan("set", "Door", "yes").must(t)
	const shut = "the owners have not made this node a door, so it stays shut"
	if got := tincan("check"); got.status != 1 || !strings.Contains(got.out, shut) || !strings.Contains(got.out, "tincan admit alice --door") {
		t.Errorf("before:\n%s", got.out)
	}
	tincan("admit", "alice", "--door").must(t)
	if got := tincan("check"); got.status != 0 || strings.Contains(got.out, shut) {
		t.Errorf("after:\n%s", got.out)
	}
}
