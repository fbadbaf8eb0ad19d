package launch

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/terminal"
)

// manager is what a service manager hears.
type manager struct {
	*testing.T
	c *net.UnixConn
}

func listen(t *testing.T, name string) manager {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return manager{t, c}
}

// hears returns the next message, "" if there is none within a moment.
func (m manager) hears(within time.Duration) string {
	m.Helper()
	buf := make([]byte, 512)
	m.c.SetReadDeadline(time.Now().Add(within))
	n, err := m.c.Read(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func TestTheServiceManagerIsTold(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "s"), fmt.Sprintf("@tincan-launch-test-%d", os.Getpid())} {
		m := listen(t, name)
		notify("READY=1")
		if got := m.hears(time.Second); got != "READY=1" {
			t.Errorf("%s: %q", name, got)
		}
		done := reloading()
		if got := m.hears(time.Second); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") || strings.HasSuffix(got, "=0") {
			t.Errorf("%s: %q", name, got)
		}
		done()
		if got := m.hears(time.Second); got != "READY=1" {
			t.Errorf("%s: %q", name, got)
		}
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	notify("READY=1") // and nothing happens
}

func TestTheServiceManagerIsToldBelowANewRootDirectory(t *testing.T) {
	dir := t.TempDir()
	m := listen(t, filepath.Join(dir, "s"))
	callManager()
	if err := os.Rename(filepath.Join(dir, "s"), filepath.Join(dir, "elsewhere")); err != nil { // the path leads nowhere
		t.Fatal(err)
	}
	notify("READY=1")
	if got := m.hears(time.Second); got != "READY=1" {
		t.Errorf("heard %q", got)
	}
	// One that was restarted is found where it was.
	m.c.Close()
	m = listen(t, filepath.Join(dir, "s"))
	notify("WATCHDOG=1")
	if got := m.hears(time.Second); got != "WATCHDOG=1" {
		t.Errorf("heard %q", got)
	}
}

func TestTheWatchdogIsFedOnlyByANodeThatAnswers(t *testing.T) {
	m := listen(t, filepath.Join(t.TempDir(), "s"))
	t.Setenv("WATCHDOG_USEC", "40000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	answers := make(chan bool)
	ended := make(chan struct{})
	go func() { defer close(ended); watchdog(func() bool { return <-answers }) }()
	for range 3 {
		answers <- true
		if got := m.hears(time.Second); got != "WATCHDOG=1" {
			t.Fatalf("heard %q", got)
		}
	}
	if got := m.hears(200 * time.Millisecond); got != "" {
		t.Errorf("heard %q from a node that does not answer", got)
	}
	answers <- false
	<-ended

	for _, c := range []struct{ name, usec, pid string }{{"not wanted", "", ""}, {"for another process", "40000", "1"}, {"nonsense", "soon", ""}} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		watchdog(func() bool { t.Errorf("%s: the node was asked", c.name); return false })
	}
}

func TestTheJournalGetsPriorities(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	info, err := w.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	record := control.LogRecord{Time: time.Now(), Priority: mesh.Error, Text: "first\nsecond"}
	for _, c := range []struct{ stream, want string }{
		{fmt.Sprintf("%d:%d", st.Dev, st.Ino), "<3>first second\n"},
		{"8:1", "first second\n"}, // our standard error has been led elsewhere
		{"", "first second\n"},
	} {
		t.Setenv("JOURNAL_STREAM", c.stream)
		log, err := Options{Style: Tinc10}.open(terminal.Streams{Err: w}, false)
		if err != nil {
			t.Fatal(err)
		}
		log.log(record)
		buf := make([]byte, 100)
		n, _ := r.Read(buf)
		if string(buf[:n]) != c.want {
			t.Errorf("JOURNAL_STREAM=%s: %q", c.stream, buf[:n])
		}
	}
	for p, want := range map[mesh.Priority]string{mesh.Warning: "<4>x", mesh.Notice: "<5>x", mesh.Info: "<6>x", mesh.Debug: "<7>x"} {
		if got := (&stderrSink{style: journal}).format(control.LogRecord{Priority: p, Text: "x"}); got != want {
			t.Errorf("priority %v: %q", p, got)
		}
	}
}

func TestALogFileThatWasMovedAway(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	log, err := Options{LogFile: path, Layout: confdir.Layout{NetName: "home"}}.open(terminal.Streams{Err: &bytes.Buffer{}}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer log.close()
	say := func(text string) { log.log(control.LogRecord{Time: time.Now(), Text: text}) }
	say("before")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	say("between")
	if err := log.reopen(); err != nil {
		t.Fatal(err)
	}
	say("after")
	os.Remove(path)
	os.Mkdir(path, 0o755)
	if err := log.reopen(); err == nil {
		t.Error("a directory was opened as a log file")
	}
	say("still") // goes where it went before
	old, err := os.ReadFile(path + ".1")
	if err != nil || strings.Count(string(old), "\n") != 2 || !strings.Contains(string(old), fmt.Sprintf(" tinc.home[%d]: between\n", os.Getpid())) {
		t.Errorf("the old file: %q, %v", old, err)
	}
}

func TestALogFileInTheNewRootDirectory(t *testing.T) {
	// What a new root directory makes of the paths, without being root: the old ones
	// are gone, and the file is elsewhere.
	dir := t.TempDir()
	base, now := filepath.Join(dir, "home"), filepath.Join(dir, "now")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(base, "log"), 0o755))
	path := filepath.Join(base, "log", "tinc")
	for _, c := range []struct {
		name, path string
		chroot     bool
		want       string
	}{
		{"in the directory", path, true, "/log/tinc"},
		{"elsewhere", filepath.Join(dir, "tinc"), true, ""},
		{"no new root directory", path, false, ""},
	} {
		log, err := Options{LogFile: c.path, Chroot: c.chroot, Layout: confdir.Layout{ConfBase: base}}.open(terminal.Streams{Err: &bytes.Buffer{}}, false)
		must(err)
		if got := log.(*fileSink).inside; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		log.close()
	}
	log, err := openFile(path, "tinc", base)
	must(err)
	defer log.close()
	log.(*fileSink).inside = filepath.Join(now, "log", "tinc")
	must(os.Rename(base, now))
	must(os.Rename(filepath.Join(now, "log", "tinc"), filepath.Join(now, "log", "tinc.1")))
	must(log.reopen())
	log.log(control.LogRecord{Time: time.Now(), Text: "after"})
	if text, err := os.ReadFile(filepath.Join(now, "log", "tinc")); err != nil || !strings.Contains(string(text), "after") {
		t.Errorf("the new file: %q, %v", text, err)
	}
}
