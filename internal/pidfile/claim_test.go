package pidfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"tincan/internal/fixture"
)

func TestPidFileText(t *testing.T) {
	var v struct{ PidFile string }
	b, err := os.ReadFile(filepath.Join("..", "control", "testdata", "control-transcript.json"))
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(v.PidFile)
	if err != nil {
		t.Fatal(err)
	}
	if p.PID != 4913 || p.Host != "127.0.0.1" || p.Port != "655" || len(p.Cookie) != 64 {
		t.Errorf("%+v", p)
	}
	if p.text() != v.PidFile {
		t.Errorf("%q, want %q", p.text(), v.PidFile)
	}
	for name, text := range map[string]string{
		"empty":                  "",
		"tinc 1.0":               "4913\n",
		"a tinc 1.0 file's tail": "49\n13\n",
		"no port word":           "1 C 127.0.0.1 Port 655",
		"no number":              "x C 127.0.0.1 port 655",
		"negative":               "-1 C 127.0.0.1 port 655",
		"long cookie":            "1 " + strings.Repeat("C", 65) + " 127.0.0.1 port 655",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s: %q was accepted", name, text)
		}
	}
}

func TestSocketPath(t *testing.T) {
	for pid, want := range map[string]string{
		"/run/tinc.vpn.pid": "/run/tinc.vpn.socket",
		"/etc/tinc/vpn/pid": "/etc/tinc/vpn/pid.socket",
		"x.pid.old":         "x.pid.old.socket",
	} {
		if got := SocketPath(pid); got != want {
			t.Errorf("%s: %s, want %s", pid, got, want)
		}
	}
}

func TestClaimPublishesAPrivatePidFileAndSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tinc.pid")
	// A longer line of a dead daemon must leave no tail.
	os.WriteFile(path, []byte(strings.Repeat("9", 300)+"\n"), 0o600)
	c, err := NewClaim(path)
	if err != nil {
		t.Fatal(err)
	}
	for listen, want := range map[string]string{
		"0.0.0.0:655":        "127.0.0.1 port 655",
		"[::]:65500":         "::1 port 65500",
		"192.0.2.1:1":        "192.0.2.1 port 1",
		"[::ffff:0.0.0.0]:7": "127.0.0.1 port 7",
	} {
		if err := c.Publish(netip.MustParseAddrPort(listen)); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(path)
		if got, want := string(b), fmt.Sprintf("%d %s %s\n", os.Getpid(), c.Cookie(), want); got != want {
			t.Errorf("%s: %q, want %q", listen, got, want)
		}
	}
	if len(c.Cookie()) != 64 || strings.ToUpper(c.Cookie()) != c.Cookie() {
		t.Errorf("cookie of %d characters", len(c.Cookie()))
	}
	for file, want := range map[string]os.FileMode{path: 0o600, SocketPath(path): 0o700} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v), want %v", file, info.Mode().Perm(), err, want)
		}
	}
	if err := c.Release(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSecondDaemonRefusesAndDoesNotHarmTheFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tinc.pid")
	first, err := NewClaim(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	first.Publish(netip.MustParseAddrPort("127.0.0.1:655"))
	before, _ := os.ReadFile(path)

	_, err = NewClaim(path)
	var running *RunningError
	if !errors.As(err, &running) || running.PID != os.Getpid() {
		t.Fatalf("error %v", err)
	}
	after, _ := os.ReadFile(path)
	if string(after) != string(before) {
		t.Errorf("the pid file changed to %q", after)
	}
	if _, err := net.Dial("unix", SocketPath(path)); err != nil {
		t.Errorf("the first daemon's socket: %v", err)
	}
}

func TestDaemonWithoutLockIsFoundByItsSocket(t *testing.T) {
	// tincd does not lock its pid file.
	path := filepath.Join(t.TempDir(), "tinc.pid")
	l, err := net.Listen("unix", SocketPath(path))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	text := "77 COOKIE 127.0.0.1 port 655\n"
	os.WriteFile(path, []byte(text), 0o600)
	_, err = NewClaim(path)
	var running *RunningError
	if !errors.As(err, &running) || running.PID != 77 {
		t.Fatalf("error %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != text {
		t.Errorf("the pid file changed to %q", b)
	}
}

// deadSocket leaves a socket behind that nobody listens on.
func deadSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// tinc 1.0 writes only its number, and holds neither a lock nor a socket.
func TestTincdOf10IsFoundByItsNumber(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere there is no telling whose number it is")
	}
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	tincd := filepath.Join(dir, "tincd")
	if err := os.Symlink(sleep, tincd); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.pid")
	for program, want := range map[string]bool{tincd: true, sleep: false} {
		cmd := exec.Command(program, "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%d\n", cmd.Process.Pid)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := NewClaim(path)
		var running *RunningError
		if got := errors.As(err, &running); got != want {
			t.Errorf("%s: %v", program, err)
		}
		if after, _ := os.ReadFile(path); want && string(after) != text {
			t.Errorf("the pid file of the other daemon is now %q", after)
		}
		if c != nil {
			c.Release()
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func TestFilesOfADeadDaemonAreReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tinc.pid")
	deadSocket(t, SocketPath(path))
	os.WriteFile(path, []byte("77 COOKIE 127.0.0.1 port 655\n"), 0o600)
	c, err := NewClaim(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if b, _ := os.ReadFile(path); len(b) > 0 {
		t.Errorf("before Publish the pid file says %q", b)
	}
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tinc.pid")
	os.WriteFile(SocketPath(path), []byte("precious"), 0o600)
	if c, err := NewClaim(path); err == nil {
		c.Release()
		t.Fatal("it was replaced")
	}
	if b, _ := os.ReadFile(SocketPath(path)); string(b) != "precious" {
		t.Errorf("now %q", b)
	}
}

// TestSomethingElseInPlaceOfThePidFile: each ends the start at once, with a word about
// what is there, and nothing of it is touched.
func TestSomethingElseInPlaceOfThePidFile(t *testing.T) {
	for name, c := range map[string]struct {
		make func(path, dir string) error
		want string
	}{
		"a link to a file":    {func(p, d string) error { return os.Symlink(filepath.Join(d, "victim"), p) }, "a symbolic link"},
		"a link to nothing":   {func(p, d string) error { return os.Symlink(filepath.Join(d, "new"), p) }, "a symbolic link"},
		"a link to itself":    {func(p, _ string) error { return os.Symlink(p, p) }, "a symbolic link"},
		"a directory":         {func(p, _ string) error { return os.Mkdir(p, 0o755) }, "a directory"},
		"a named pipe":        {func(p, _ string) error { return mkfifo(p) }, "a named pipe"},
		"a socket":            {func(p, _ string) error { return leaveSocket(p) }, "a socket"},
		"another name (link)": {func(p, d string) error { return os.Link(filepath.Join(d, "victim"), p) }, "hard links"},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("such files are made by unprivileged users on other systems")
			}
			dir := t.TempDir()
			path, victim := filepath.Join(dir, "tinc.pid"), filepath.Join(dir, "victim")
			if err := errors.Join(os.WriteFile(victim, []byte("ours"), 0o600), c.make(path, dir)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				claim, err := NewClaim(path)
				if err == nil {
					claim.Release()
				}
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("the error is %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("still trying")
			}
			if got, _ := os.ReadFile(victim); string(got) != "ours" {
				t.Errorf("our file is now %q", got)
			}
			if _, err := os.Lstat(filepath.Join(dir, "new")); err == nil {
				t.Error("a file was made")
			}
			// A client does not wait for the other end of a pipe either.
			go func() {
				_, err := Read(path)
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil {
					t.Error("a client reads it")
				}
			case <-time.After(20 * time.Second):
				t.Fatal("a client waits")
			}
		})
	}
}

func leaveSocket(path string) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return l.Close()
}

func TestSocketPathOf108BytesIsRefusedOnBothSides(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("x", 100)+".pid")
	if c, err := NewClaim(path); err == nil {
		c.Release()
		t.Error("the daemon took it")
	}
	os.WriteFile(path, []byte("1 C 127.0.0.1 port 655\n"), 0o600)
	if _, err := Dial(t.Context(), path, File{PID: 1}); err == nil || !strings.Contains(err.Error(), "longer than 107") {
		t.Errorf("the client says %v", err)
	}
}

func TestReleaseLeavesASuccessorAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tinc.pid")
	old, err := NewClaim(path)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody deleted the files, and a new daemon started.
	os.Remove(path)
	os.Remove(SocketPath(path))
	successor, err := NewClaim(path)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Release()
	old.Release()
	for _, f := range []string{path, SocketPath(path)} {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("%v", err)
		}
	}
}

func TestClientDeletesOnlyWhatIsSurelyDead(t *testing.T) {
	dead := fixture.DeadPID(t)
	line := func(pid int) []byte {
		return []byte(File{PID: pid, Cookie: "C", Host: "127.0.0.1", Port: "655"}.text())
	}
	for name, x := range map[string]struct {
		setUp func(t *testing.T, path string)
		keep  bool
	}{
		"process gone, socket refused": {func(t *testing.T, path string) {
			os.WriteFile(path, line(dead), 0o600)
			deadSocket(t, SocketPath(path))
		}, false},
		"process alive, socket refused": {func(t *testing.T, path string) {
			os.WriteFile(path, line(os.Getpid()), 0o600)
			deadSocket(t, SocketPath(path))
		}, true},
		"process in another pid namespace, socket answers": {func(t *testing.T, path string) {
			os.WriteFile(path, line(dead), 0o600)
			l, err := net.Listen("unix", SocketPath(path))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				if c, err := l.Accept(); err == nil {
					c.Close()
				}
			}()
		}, true},
		"process gone, but a new daemon holds the lock": {func(t *testing.T, path string) {
			os.WriteFile(path, line(dead), 0o600)
			deadSocket(t, SocketPath(path))
			f, err := lockPidFile(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tinc.pid")
			x.setUp(t, path)
			f, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if c, err := Dial(t.Context(), path, f); err == nil {
				c.Close()
			} else if !x.keep && !errors.Is(err, ErrGone) {
				t.Errorf("%v", err)
			}
			for _, f := range []string{path, SocketPath(path)} {
				if _, err := os.Stat(f); (err == nil) != x.keep {
					t.Errorf("%s: %v, keep %v", filepath.Base(f), err, x.keep)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("4913 C 127.0.0.1 port 655\n")
	f.Add("4913\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(p.text()); err != nil || again != p {
			t.Errorf("%q is read as %+v, then as %+v (%v)", text, p, again, err)
		}
	})
}
