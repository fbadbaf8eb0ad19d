//go:build linux

package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/fixture"
)

// TestTincdSendsSignalsAsTinc10 follows what tincd 1.0.36 did with -k.
func TestTincdSendsSignalsAsTinc10(t *testing.T) {
	dir, caught := t.TempDir(), make(chan os.Signal, 1)
	pidFile := filepath.Join(dir, "tincd.pid")
	tincd := func(args ...string) outcome {
		return run(t, "", "tincd", append([]string{"-n", "dnet", "--pidfile", pidFile}, args...)...)
	}
	tincd("-k").refused(t, "No other tincd is running for net `dnet'.\n")
	for _, bad := range []string{"-kFOO", "-k0", "--kill=-9", "-k1x", "-k99"} {
		tincd(bad).refused(t, "Invalid argument `", "Try `tincd --help' for more information.\n")
	}
	for _, text := range []string{"", "x\n", "0\n", "-1\n", "99999999999\n"} {
		fixture.Put(t, pidFile, text)
		tincd("-k").refused(t, "No other tincd is running for net `dnet'.\n")
	}

	if signal.Ignored(syscall.SIGHUP) { // under nohup, say: a shell cannot trap what it began with ignoring
		signal.Notify(caught, syscall.SIGHUP)
	}
	// A process that writes down which signals it gets, with the pid file of tinc 1.0.
	log := filepath.Join(dir, "log")
	trap := exec.Command("sh", "-c", `for s in HUP USR1 USR2 WINCH INT ALRM; do trap "echo $s >> `+log+`" $s; done; echo ready >> `+log+`; while :; do sleep 0.02; done`)
	if err := trap.Start(); err != nil {
		t.Fatal(err)
	}
	defer trap.Process.Kill()
	got := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			data, _ := os.ReadFile(log)
			if strings.HasSuffix(string(data), want+"\n") {
				os.WriteFile(log, nil, 0o644)
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s did not come, but %q", want, data)
			}
		}
	}
	got("ready")
	fixture.Put(t, pidFile, fmt.Sprintf("%d\n9\n", trap.Process.Pid))
	// No signal comes twice in a row: a shell may lose one while it handles the same one.
	for _, c := range []struct{ args, want string }{
		{"-kHUP", "HUP"}, {"--kill=USR1", "USR1"}, {"-k HUP", "HUP"}, {"--kill usr2", "USR2"},
		{"-kwinch", "WINCH"}, {"-k 14", "ALRM"}, {"-kint", "INT"}, {"-D -d5 -k1", "HUP"},
	} {
		if o := tincd(strings.Fields(c.args)...).must(t); o.out+o.err != "" {
			t.Errorf("%s said %+v", c.args, o)
		}
		got(c.want)
	}
	tincd("-k").must(t)
	if err := trap.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("-k alone ended the process with %v", err)
	}

	// It is gone now: 1.0 says so, removes the file and exits with 0.
	if o := tincd("-k").must(t); o.err != "The tincd for net `dnet' is no longer running. Removing stale lock file.\n" {
		t.Errorf("said %q", o.err)
	}
	tincd("-k").refused(t, "No other tincd is running for net `dnet'.\n")
}

// TestTincdKillsItsOwnKind is what Debian's unit does with -kHUP and -k.
func TestTincdKillsItsOwnKind(t *testing.T) {
	dir, _ := network(t)
	tincd := func(args ...string) outcome { return run(t, "", "tincd", append([]string{"-c", dir}, args...)...) }
	tincd("-d1", "--logfile="+dir+"/log").must(t)
	for deadline := time.Now().Add(10 * time.Second); run(t, "", "tinc", "-c", dir, "pid").status != 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the daemon did not come up")
		}
	}
	tincd("-kALRM").must(t)
	tincd("-kHUP").must(t)
	run(t, "", "tinc", "-c", dir, "pid").must(t)
	tincd("-k").must(t)
	for deadline := time.Now().Add(10 * time.Second); run(t, "", "tinc", "-c", dir, "pid").status == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the daemon did not stop")
		}
	}
}

func TestTincdOptionsWithoutEffectSaySo(t *testing.T) {
	dir, _ := network(t)
	if log := foreground(t, os.Interrupt, "-c", dir, "--bypass-security"); !strings.Contains(log, "--bypass-security has no effect") {
		t.Errorf("log:\n%s", log)
	}
}
