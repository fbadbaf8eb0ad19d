//go:build unix

// Package packages tests what somebody meets who builds tincan from its source or installs a package of it.
package packages

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// On a machine without a Go that can build tincan "make demo" says in one line what to do, before anything is
// downloaded, installed or built.
func TestFirstCommandOnABareMachine(t *testing.T) {
	for name, c := range map[string]struct {
		goVersion string // what "go env GOVERSION" says; "none": there is no go command
		toolchain string // GOTOOLCHAIN
		want      string
		goesOn    bool
	}{
		"no Go":                         {"none", "", "Go is missing: get it from ", false},
		"Go of long ago":                {"", "", "Go before 1.16 is too old", false},
		"Go that cannot fetch another":  {"go1.19.8", "", "Go 1.19.8 is too old", false},
		"a word that is no release":     {"devel +abc", "", "too old", false},
		"Go that may not fetch another": {"go1.24.4", "local", "make GOTOOLCHAIN=auto", false},
		"Go that is kept at a release":  {"go1.24.4", "go1.24.4", "make GOTOOLCHAIN=auto", false},
		"Go that fetches what it needs": {"go1.24.4", "auto", "Go 1.24.4 will fetch Go 1.26.", true},
		"the first Go that will do":     {"go1.26.0", "auto", "Go 1.26.0 will fetch Go 1.26.", true},
		"the same, which may not fetch": {"go1.26.0", "local", "building bin/tincan", true},
		"a release candidate to come":   {"go1.27rc1", "local", "building bin/tincan", true},
		"the development of Go":         {"devel go1.28-abcdef0 Mon Nov 30", "auto", "building bin/tincan", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin := t.TempDir()
			for _, tool := range []string{"make", "sh", "sed", "dirname", "git", "cat"} {
				path, err := exec.LookPath(tool)
				if err != nil {
					t.Skip("NOT TESTED: there is no", tool)
				}
				if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
					t.Fatal(err)
				}
			}
			called := filepath.Join(bin, "called")
			if c.goVersion != "none" {
				script := `#!/bin/sh
case "$*" in
"env GOVERSION") echo "$SAYS" ;;
"env GOTOOLCHAIN") echo "$MAY" ;;
*) echo "$*" >>"` + called + `"; exit 1 ;;
esac
`
				if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("make", "--no-print-directory", "-C", root, "demo")
			// Another PATH than the usual one: also make's own.
			cmd.Env = []string{"PATH=" + bin, "HOME=" + bin, "SAYS=" + c.goVersion, "MAY=" + c.toolchain, "LC_ALL=C"}
			cmd.Path = filepath.Join(bin, "make")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err == nil {
				t.Fatalf("it ended well, without Go:\n%s", out.String())
			}
			calls, _ := os.ReadFile(called)
			if (len(calls) > 0) != c.goesOn {
				t.Errorf("the go command was asked for:\n%s", calls)
			}
			if c.goesOn {
				if !strings.Contains(out.String(), c.want) {
					t.Errorf("it said:\n%s", out.String())
				}
				return
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != 2 || !strings.Contains(lines[0], c.want) || !strings.HasPrefix(lines[1], "make: ***") {
				t.Errorf("%d lines, want one and make's own:\n%s", len(lines), out.String())
			}
		})
	}
}
