//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/fixture"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stranger is a user that this test is not.
const stranger = 12345

// foreign makes a directory that belongs to somebody else, and a file of ours that a
// link in it leads to: as a file, by a directory, and by a link to nothing.
func foreign(t *testing.T) (dir, victim string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can make files of another user")
	}
	top := t.TempDir()
	must(t, os.Chmod(top, 0o755))
	dir, victim = filepath.Join(top, "hosts"), filepath.Join(top, "etc", "victim")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Mkdir(filepath.Dir(victim), 0o755))
	fixture.Put(t, victim, "ours")
	must(t, os.Symlink(victim, filepath.Join(dir, "file")))
	must(t, os.Symlink(filepath.Dir(victim), filepath.Join(dir, "sub")))
	must(t, os.Symlink(filepath.Join(top, "etc", "new"), filepath.Join(dir, "nothing")))
	must(t, os.Lchown(dir, stranger, stranger))
	return dir, victim
}

func TestLinksInTheDirectoryOfAnotherUserAreNotFollowed(t *testing.T) {
	for _, theirs := range []bool{false, true} { // the link itself may be root's, moved there
		dir, victim := foreign(t)
		if theirs {
			for _, name := range []string{"file", "sub", "nothing"} {
				must(t, os.Lchown(filepath.Join(dir, name), stranger, stranger))
			}
		}
		open := func(how func(string, int, fs.FileMode) (*os.File, error), path string) error {
			f, err := how(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			if err == nil {
				f.WriteString("theirs")
				f.Close()
			}
			return err
		}
		for name, do := range map[string]func(path string) error{
			"Write":      func(p string) error { return Write(p, []byte("theirs"), 0o600) },
			"Read":       func(p string) error { _, err := Read(p, 100); return err },
			"Open":       func(p string) error { return open(Open, p) },
			"OpenLinked": func(p string) error { return open(OpenLinked, p) },
			"Chmod":      func(p string) error { return Chmod(p, 0o777) },
		} {
			for _, path := range []string{"file", "sub/victim", "nothing", "sub/new"} {
				err := do(filepath.Join(dir, path))
				var link *LinkError
				var kind *NotRegularError
				if !errors.As(err, &link) && !errors.As(err, &kind) {
					t.Errorf("%s of %s: %v", name, path, err)
				}
			}
		}
		for name, do := range map[string]func() error{
			"Create":           func() error { return Create(filepath.Join(dir, "sub/new"), []byte("theirs"), 0o600) },
			"MakeDir":          func() error { return MakeDir(filepath.Join(dir, "sub"), 0o700) },
			"a deeper MakeDir": func() error { return MakeDir(filepath.Join(dir, "sub/new"), 0o700) },
			"Remove":           func() error { return Remove(filepath.Join(dir, "sub/victim")) },
			"Rename":           func() error { return Rename(filepath.Join(dir, "sub/victim"), filepath.Join(dir, "mine")) },
			"Rename to": func() error {
				fixture.Put(t, filepath.Join(dir, "mine"), "theirs")
				return Rename(filepath.Join(dir, "mine"), filepath.Join(dir, "sub/victim"))
			},
		} {
			if err := do(); !errors.As(err, new(*LinkError)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got, err := os.ReadFile(victim); string(got) != "ours" {
			t.Errorf("our file is now %q, %v", got, err)
		}
		info, err := os.Stat(victim)
		must(t, err)
		parent, err := os.Stat(filepath.Dir(victim))
		must(t, err)
		if info.Mode().Perm() != 0o644 || parent.Mode().Perm() != 0o755 {
			t.Errorf("modes are now %v and %v", info.Mode(), parent.Mode())
		}
		if list, _ := os.ReadDir(filepath.Dir(victim)); len(list) != 1 {
			t.Errorf("made: %v", list)
		}
	}
}

// TestALinkThatIsExchangedAtTheLastMoment: the directory on the way is exchanged for a
// link all the time, as its owner can.
func TestALinkThatIsExchangedAtTheLastMoment(t *testing.T) {
	dir, victim := foreign(t)
	real, away := filepath.Join(dir, "d"), filepath.Join(dir, "away")
	must(t, os.Mkdir(real, 0o755))
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(filepath.Dir(victim), link))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			os.Rename(real, away)
			os.Rename(link, real)
			os.Rename(real, link)
			os.Rename(away, real)
		}
	}()
	wrote := 0
	for range 3000 {
		if Write(filepath.Join(real, "victim"), []byte("theirs"), 0o600) == nil {
			wrote++
		}
	}
	close(stop)
	<-done
	if got, _ := os.ReadFile(victim); string(got) != "ours" {
		t.Errorf("our file is now %q", got)
	}
	t.Logf("written %d times, where it should be", wrote)
}

// What was a directory or a file when it was looked at is a link when it is opened: the moment that the test before
// this one hardly ever meets.
func TestALinkInThePlaceOfWhatWasLookedAt(t *testing.T) {
	dir, _ := foreign(t)
	for _, name := range []string{"file", "sub", "nothing"} {
		p, err := locate(filepath.Join(dir, name), false)
		must(t, err)
		if f, err := p.open(os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); !errors.As(err, new(*NotRegularError)) {
			t.Errorf("%s is opened: %v", name, err)
			f.Close()
		}
		if err := p.enter(name); err == nil {
			t.Errorf("%s is entered", name)
		}
		p.close()
	}
}

func TestLinksOfRootAndOfTheCallerAreFollowed(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	must(t, os.Symlink("real", filepath.Join(dir, "dir")))
	must(t, os.Symlink("../dir/file", filepath.Join(dir, "real", "link")))
	path := filepath.Join(dir, "dir", "link")
	must(t, Write(path, []byte("new"), 0o600))
	if got, _ := os.ReadFile(filepath.Join(dir, "real", "file")); string(got) != "new" {
		t.Errorf("got %q", got)
	}
	if got, err := Read(path, 3); string(got) != "new" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := Read(path, 2); err == nil {
		t.Error("more than the limit is read")
	}
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	if err := Write(filepath.Join(dir, "loop"), nil, 0o600); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link to itself: %v", err)
	}
	if err := Write(filepath.Join(dir, "none", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if f, err := OpenLinked("/dev/stderr", os.O_WRONLY|os.O_APPEND, 0); err != nil {
		t.Errorf("a log to /dev/stderr: %v", err)
	} else {
		f.Close()
	}
}

func TestWhatIsNoFileIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(at("directory"), 0o755))
	must(t, unix.Mkfifo(at("pipe"), 0o600))
	must(t, os.Symlink("/dev/null", at("link")))
	must(t, os.Symlink("nothing", at("dangling")))
	paths := map[string]string{
		at("directory"): "a directory", at("pipe"): "a named pipe", at("link"): "a symbolic link",
		at("dangling"): "a symbolic link", "/dev/null": "a device",
	}
	for path, want := range paths {
		done := make(chan error, 1)
		go func() {
			_, err := Open(path, os.O_RDWR|os.O_CREATE, 0o600)
			done <- err
		}()
		select {
		case err := <-done:
			if !errors.As(err, new(*NotRegularError)) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", path, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: still waiting", path)
		}
	}
	if _, err := OpenLinked(at("pipe"), os.O_WRONLY|os.O_APPEND, 0); err == nil || !strings.Contains(err.Error(), "nobody reads") {
		t.Errorf("a log into a pipe: %v", err)
	}
	for _, path := range []string{at("pipe"), at("directory"), "/dev/zero"} {
		if _, err := Read(path, 10); !errors.As(err, new(*NotRegularError)) {
			t.Errorf("reading %s: %v", path, err)
		}
	}
}

// /dev/full takes the part of a full disk: the write fails after the file was opened.
func TestAFailedWriteLeavesTheOldFile(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	fixture.Put(t, path, "old")
	must(t, os.Symlink("/dev/full", path+".tmp"))
	err := write(path, []byte("new"), 0o600, func(p *place, _ fs.FileMode) (*os.File, string, error) {
		f, err := os.OpenFile(path+".tmp", os.O_WRONLY, 0)
		return f, "f.tmp", err
	})
	if err == nil {
		t.Fatal("writing to a full disk succeeded")
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("the old file became %q", got)
	}
	if _, err := os.Lstat(path + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary file stays: %v", err)
	}
}

// What is in the place of a file may belong to the system.
func TestNobodyIsToldToRemoveADevice(t *testing.T) {
	for path, want := range map[string]string{"/dev/null": "name a regular file", t.TempDir(): "move it away"} {
		_, err := Read(path, 10)
		var not *NotRegularError
		if !errors.As(err, &not) || !strings.Contains(not.Hint(), want) || strings.Contains(not.Hint(), "rm ") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
