package confdir

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tincan/internal/config"
	"tincan/internal/fixture"
)

func TestWriteFileKeepsModeAndLinks(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	fixture.Put(t, target, "old")
	if err := os.Chmod(target, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(link, []byte("new"), FileMode); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if info, _ := os.Stat(target); info.Mode().Perm() != 0o640 {
		t.Errorf("mode became %v", info.Mode())
	}
	if got, _ := os.ReadFile(target); string(got) != "new" {
		t.Errorf("got %q", got)
	}
	if list, _ := os.ReadDir(dir); len(list) != 2 {
		t.Errorf("left behind: %v", list)
	}
}

func TestSecretsBecomePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	fixture.Put(t, path, "old")
	if err := WriteFile(path, []byte("new"), SecretMode); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestWriteFileThroughALinkToNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "link"), []byte("x"), FileMode); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "real")); string(got) != "x" {
		t.Errorf("got %q", got)
	}
}

func TestCreateRefusesWhatExists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := Create(path, []byte("1"), FileMode); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, []byte("2"), FileMode); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second time: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "1" {
		t.Errorf("got %q", got)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
}

func TestMakeDirDoesNotLoosen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := MakeDir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o710); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ ask, want fs.FileMode }{{0o755, 0o710}, {0o700, 0o700}} {
		if err := MakeDir(dir, c.ask); err != nil {
			t.Fatal(err)
		}
		if info, _ := os.Stat(dir); info.Mode().Perm() != c.want {
			t.Errorf("asked for %v, got %v", c.ask, info.Mode())
		}
	}
}

func TestAppendHostKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beta")
	const key, other = "5E9PD5nFYM0+jKQpUtGCT3Q71rHiVVi7OgIXSqan2HM", "XFWD8pqwyIa74XhXaKbiHIyJntzqSHXK2kL9U4ektnL"
	for range 2 {
		if err := AppendHostKey(path, key); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := os.ReadFile(path)
	if !strings.HasPrefix(string(got), "\n#") || !slices.Equal(config.Values(got, "Ed25519PublicKey"), []string{key}) {
		t.Errorf("got %q", got)
	}
	if err := AppendHostKey(path, other); err == nil {
		t.Error("a second key was accepted")
	}
	fixture.Put(t, path, "Port = 1")
	if err := AppendHostKey(path, key); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.HasPrefix(got, []byte("Port = 1\n\n#")) {
		t.Errorf("got %q", got)
	}
}
