//go:build linux

package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bin holds the program under its three names.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tincan-cli")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		bin = dir
		args := []string{"build", "-o", filepath.Join(dir, "tincan")}
		if os.Getenv("GOCOVERDIR") != "" { // "make cover": each run of the program leaves there what it has reached
			args = append(args, "-cover", "-coverpkg=tincan/...")
		}
		build := exec.Command("go", append(args, "tincan/cmd/tincan")...)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s\n%v\n", out, err)
			return 1
		}
		for _, name := range []string{"tinc", "tincd"} {
			if err := os.Symlink("tincan", filepath.Join(dir, name)); err != nil {
				panic(err)
			}
		}
		for _, v := range os.Environ() {
			if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "TINCAN_") || name == "NETNAME" {
				os.Unsetenv(name)
			}
		}
		os.Setenv("TZ", "UTC")
		return m.Run()
	}())
}

// outcome is what a run of a program came to.
type outcome struct {
	out, err string
	status   int
}

// run runs one of the three programs with stdin and a list of words.
func run(t *testing.T, stdin, program string, args ...string) outcome {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, program), args...)
	cmd.Args[0] = program
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	cmd.WaitDelay = time.Second // what went into the background keeps no pipe open, but be sure
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatal(err)
	}
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must fails the test if a run did not end well.
func (o outcome) must(t *testing.T) outcome {
	t.Helper()
	if o.status != 0 {
		t.Fatalf("exit status %d:\n%s%s", o.status, o.out, o.err)
	}
	return o
}

// refused fails the test unless a run ended with status 1, printed no result
// and said this.
func (o outcome) refused(t *testing.T, texts ...string) {
	t.Helper()
	if o.status != 1 || o.out != "" {
		t.Errorf("exit status %d, printed %q", o.status, o.out)
	}
	for _, text := range texts {
		if !strings.Contains(o.err, text) {
			t.Errorf("%q is missing in:\n%s", text, o.err)
		}
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
