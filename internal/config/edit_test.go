package config

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const messy = "Name = alpha\r\n  Mode = switch\n\tMode = no\nMode=hub\n#Mode = x\nMode\nmode router\n-----BEGIN X-----\nabc\n-----END X-----\nX=1"

func TestEditing(t *testing.T) {
	for _, c := range []struct {
		name, text string
		change     func([]byte) []byte
		want       string
	}{
		{"set replaces the first and removes the rest", messy,
			func(b []byte) []byte { out, _ := Set(b, "Mode", "switch"); return out },
			"Name = alpha\r\n  Mode = switch\n\tMode = no\nMode = switch\n#Mode = x\nMode\n-----BEGIN X-----\nabc\n-----END X-----\nX=1\n"},
		{"set appends what is missing", "A = 1", func(b []byte) []byte { out, _ := Set(b, "B", "2"); return out }, "A = 1\nB = 2\n"},
		{"set in an empty file", "", func(b []byte) []byte { out, _ := Set(b, "B", "2"); return out }, "B = 2\n"},
		{"add", "A = 1\nB = 2", func(b []byte) []byte { out, _ := Add(b, "A", "3"); return out }, "A = 1\nB = 2\nA = 3\n"},
		{"add what is there, in other case", "a = X", func(b []byte) []byte { out, _ := Add(b, "A", "x"); return out }, "a = X"},
		{"delete all", messy, func(b []byte) []byte { out, _ := Delete(b, "MODE", ""); return out },
			"Name = alpha\r\n  Mode = switch\n\tMode = no\n#Mode = x\nMode\n-----BEGIN X-----\nabc\n-----END X-----\nX=1\n"},
		{"delete one value", "A = 1\na = x\nA = 2\n", func(b []byte) []byte { out, _ := Delete(b, "A", "X"); return out }, "A = 1\nA = 2\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(c.change([]byte(c.text))); got != c.want {
				t.Errorf("got\n%q, want\n%q", got, c.want)
			}
		})
	}
	if got := Values([]byte(messy), "mode"); !slices.Equal(got, []string{"hub", "router"}) {
		t.Errorf("values %q", got)
	}
	if _, removed := Set([]byte(messy), "Mode", "HUB"); !slices.Equal(removed, []string{"router"}) {
		t.Errorf("removed %q", removed)
	}
}

func TestWriteFileKeepsModeAndLinks(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	put(t, target, "old")
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
	put(t, path, "old")
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
	if !strings.HasPrefix(string(got), "\n#") || !slices.Equal(Values(got, "Ed25519PublicKey"), []string{key}) {
		t.Errorf("got %q", got)
	}
	if err := AppendHostKey(path, other); err == nil {
		t.Error("a second key was accepted")
	}
	put(t, path, "Port = 1")
	if err := AppendHostKey(path, key); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.HasPrefix(got, []byte("Port = 1\n\n#")) {
		t.Errorf("got %q", got)
	}
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte(messy), "Mode", "hub")
	f.Fuzz(func(t *testing.T, data []byte, name, value string) {
		if name == "" || value == "" || strings.ContainsAny(name+value, " \t=\r\n\x00#") || len(name)+len(value) > 1000 {
			t.Skip()
		}
		set, _ := Set(data, name, value)
		if got := Values(set, name); len(got) != 1 || got[0] != value {
			t.Fatalf("after set: %q", got)
		}
		if del, _ := Delete(set, name, ""); len(Values(del, name)) != 0 {
			t.Fatal("still there after delete")
		}
		add, _ := Add(data, name, value)
		if again, added := Add(add, name, value); added || !bytes.Equal(add, again) {
			t.Fatal("added twice")
		}
	})
}
