//go:build linux

package cli_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tincan/internal/fixture"
)

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// wait waits until text is in the log.
func (s *syncBuffer) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(s.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("%q did not come:\n%s", text, s.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestTincdUsage(t *testing.T) {
	for _, c := range []struct {
		args      []string
		out, err  string
		status    int
		pointHelp bool
	}{
		{[]string{"--version"}, "tinc version 1.1", "", 0, false},
		{[]string{"--help"}, "Usage: tincd", "", 0, false},
		{[]string{"--bogus"}, "", "tincd: unrecognized option '--bogus'\n", 1, true},
		{[]string{"-n"}, "", "tincd: option requires an argument -- 'n'\n", 1, true},
		{[]string{"extra"}, "", "tincd: unrecognized argument 'extra'\n", 1, true},
		{[]string{"-K511"}, "", "Invalid argument `511'; BITS must be a number equal to or greater than 512.\nTry `tincd --help' for more information.\n", 1, true},
		{[]string{"-K", "foo"}, "", "Invalid argument `foo'; BITS must be", 1, true},
		{[]string{"--generate-keys=1016"}, "", "1024 to 8192 bits", 1, false},
		{[]string{"-n", "a/b"}, "", "Invalid character in netname!\n", 1, false},
		{[]string{"-c", "/nonexistent", "-D"}, "", "no such file or directory", 1, false},
	} {
		got := run(t, "", "tincd", c.args...)
		if got.status != c.status || !strings.HasPrefix(got.out, c.out) || !strings.Contains(got.err, c.err) {
			t.Errorf("%v: %+v", c.args, got)
		}
		if strings.Contains(got.err, "Try `tincd --help' for more information.\n") != c.pointHelp {
			t.Errorf("%v: said %q", c.args, got.err)
		}
	}
}

// foreground runs tincd -D with options until it is ready, then ends it with
// sig, and returns its log.
func foreground(t *testing.T, sig os.Signal, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "tincd"), append(args, "-D")...)
	var log syncBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.wait(t, "Ready\n")
	cmd.Process.Signal(sig)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after %v: %v", sig, err)
	}
	return log.String()
}

func TestTincdLogLines(t *testing.T) {
	dir, _ := network(t)
	tinc11 := regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d NOTICE  Ready$`)
	if log := foreground(t, syscall.SIGTERM, "-c", dir); !tinc11.MatchString(log) {
		t.Errorf("in the way of tinc 1.1:\n%s", log)
	}
	// Programs that start it in tinc 1.0's way read bare lines.
	if log := foreground(t, syscall.SIGINT, "-c", dir, "-d", "-d", "--pidfile", filepath.Join(dir, "p")); !strings.Contains("\n"+log, "\nReady\n") {
		t.Errorf("in the way of tinc 1.0:\n%s", log)
	}
	if log := foreground(t, syscall.SIGQUIT, "-c", dir, "-d5"); !strings.Contains(log, "starting, debug level 5\n") {
		t.Errorf("with -d5:\n%s", log)
	}
	if log := foreground(t, syscall.SIGQUIT, "-c", dir, "-ddd", "-o", "LogLevel=1"); !strings.Contains(log, "starting, debug level 3\n") {
		t.Errorf("with -ddd:\n%s", log)
	}
}

func TestTincdLogFile(t *testing.T) {
	dir, _ := network(t)
	file := filepath.Join(t.TempDir(), "log")
	run(t, "", "tincd", "-c", dir, "--logfile", file).must(t)
	pidFile := filepath.Join(dir, "pid")
	waitFor(t, "the pid file", func() bool { b, _ := os.ReadFile(pidFile); return len(b) > 0 })
	waitFor(t, "Ready", func() bool { return strings.Contains(read(t, file), ": Ready\n") })
	var pid int
	fmt.Sscan(read(t, pidFile), &pid)
	if line := regexp.MustCompile(fmt.Sprintf(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d tinc\[%d\]: Ready$`, pid)); !line.MatchString(read(t, file)) {
		t.Errorf("log file:\n%s", read(t, file))
	}

	// Moved away and told so, it writes a new one.
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGHUP)
	waitFor(t, "the new log file", func() bool { _, err := os.Stat(file); return err == nil })

	// A second one leaves the first alone.
	run(t, "", "tincd", "-c", dir).refused(t, fmt.Sprintf("already running with pid %d.", pid))
	run(t, "", "tinc", "-c", dir, "pid").must(t)
	run(t, "", "tinc", "-c", dir, "stop").must(t)
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The first process of a detaching tincd finds mistakes in the configuration
// before it says that all is well.
func TestTincdChecksBeforeDetaching(t *testing.T) {
	dir, _ := network(t)
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alice\nMode\n")
	run(t, "", "tincd", "-c", dir).refused(t, dir+"/tinc.conf:2: ", "ERROR")
	run(t, "", "tincd", "-c", dir, "-D").refused(t, dir+"/tinc.conf:2: ", "ERROR")
}

// What the real `tinc start` does: it hands over a stream, copies what comes, and
// takes a last NUL byte and exit status 0 as success.
func TestUmbilical(t *testing.T) {
	dir, _ := network(t)
	for _, c := range []struct {
		name string
		args []string
		ok   bool
	}{
		{"good start", []string{"-b", "--force"}, true},
		{"the port is in use", []string{"-o", "BindToAddress=203.0.113.1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
			defer ours.Close()
			ours.SetReadDeadline(time.Now().Add(20 * time.Second))
			cmd := exec.Command(filepath.Join(bin, "tincd"), append([]string{"-c", dir}, c.args...)...)
			cmd.ExtraFiles = []*os.File{nil, theirs} // descriptor 4
			cmd.Env = append(os.Environ(), "TINC_UMBILICAL=4 1")
			if err := cmd.Run(); err != nil {
				t.Fatalf("the first process failed: %v", err)
			}
			theirs.Close()
			got, err := io.ReadAll(ours)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(string(got), "Ready\n\x00") != c.ok || !strings.Contains(string(got), "\x1b[") {
				t.Errorf("the umbilical carried %q", got)
			}
			if c.ok {
				run(t, "", "tinc", "-c", dir, "stop").must(t)
			}
		})
	}
}

// TestTincdMakesKeysAsTinc10 follows what tincd 1.0.36 did with -K.
func TestTincdMakesKeysAsTinc10(t *testing.T) {
	dir := t.TempDir()
	tincd := func(args ...string) outcome { return run(t, "\n\n", "tincd", append([]string{"-c", dir}, args...)...) }
	// Without a Name; what a program feeds as answers is not needed.
	got := tincd("-K", "1024").must(t)
	if got.out != "" || !strings.Contains(got.err, "Generating 1024 bits keys:\n") || !strings.HasSuffix(got.err, "Done.\n") {
		t.Errorf("%+v", got)
	}
	if got := read(t, dir, "rsa_key.pub"); !strings.HasPrefix(got, "\n-----BEGIN RSA PUBLIC KEY-----\n") {
		t.Errorf("rsa_key.pub: %q", got)
	}

	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	tincd("-K1024").refused(t, "hosts") // there is no such directory

	const host = "\nSubnet = 10.1.0.1/32\nAddress = 192.0.2.1\n"
	fixture.Put(t, filepath.Join(dir, "hosts/alpha"), host)
	tincd("--generate-keys=1024", "-D", "-d").must(t)
	first := read(t, dir, "hosts/alpha")
	if !strings.HasPrefix(first, host+"\n-----BEGIN RSA PUBLIC KEY-----\n") {
		t.Errorf("hosts/alpha: %q", first)
	}
	got = tincd("-K", "1024").must(t)
	if strings.Count(got.err, "Warning: old key(s) found and disabled") != 2 {
		t.Errorf("%+v", got)
	}
	second := read(t, dir, "hosts/alpha")
	if !strings.HasPrefix(second, strings.ReplaceAll(first, "RSA PUBLIC", "OLD PUBLIC")+"\n-----BEGIN RSA PUBLIC KEY-----\n") {
		t.Errorf("hosts/alpha: %q", second)
	}
	private := read(t, dir, "rsa_key.priv")
	if strings.Count(private, "BEGIN OLD PRIVATE") != 3 || strings.Count(private, "BEGIN RSA PRIVATE") != 1 {
		t.Errorf("rsa_key.priv: %s", private)
	}
	tincd("-K", "1024", "-o", "Name=beta").must(t)
	if got := read(t, dir, "hosts/beta"); !strings.Contains(got, "BEGIN RSA PUBLIC KEY") {
		t.Errorf("hosts/beta: %q", got)
	}
}
