//go:build unix

package packages

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The flake names the hash of the modules that tincan needs, which changes with go.mod. Nix is not needed to know it:
// it is that of "go mod vendor", as an archive of Nix.
func TestFlakeKnowsTheModules(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vendor")
	run(t, root, nil, "go", "mod", "vendor", "-o", dir)
	sum := sha256.New()
	narString(sum, "nix-archive-1")
	nar(t, sum, dir)
	want := "sha256-" + base64.StdEncoding.EncodeToString(sum.Sum(nil))
	text, err := os.ReadFile(filepath.Join(root, "flake.nix"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `vendorHash = "`+want+`";`) {
		t.Errorf("go.mod has changed: flake.nix needs vendorHash = %q", want)
	}
}

// nar writes a file or directory in the form of Nix's archives: names and contents, and whether a file can be executed.
func nar(t *testing.T, w hash.Hash, path string) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	narString(w, "(", "type")
	if info.IsDir() {
		narString(w, "directory")
		entries, err := os.ReadDir(path) // in the order of names
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			narString(w, "entry", "(", "name", e.Name(), "node")
			nar(t, w, filepath.Join(path, e.Name()))
			narString(w, ")")
		}
	} else {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		narString(w, "regular")
		if info.Mode()&0o100 != 0 {
			narString(w, "executable", "")
		}
		narString(w, "contents", string(data))
	}
	narString(w, ")")
}

// narString writes texts: each with its length, and filled up to 8 bytes.
func narString(w hash.Hash, texts ...string) {
	for _, s := range texts {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		w.Write(n[:])
		w.Write([]byte(s))
		w.Write(make([]byte, (8-len(s)%8)%8))
	}
}

// An empty directory has the hash that Nix gives it.
func TestArchivesOfNix(t *testing.T) {
	dir := t.TempDir()
	hashOf := func(path string) string {
		sum := sha256.New()
		narString(sum, "nix-archive-1")
		nar(t, sum, path)
		return base64.StdEncoding.EncodeToString(sum.Sum(nil))
	}
	if got, want := hashOf(dir), "pQpattmS9VmO3ZIQUFn66az8GSmB4IvYhTTCFn6SUmo="; got != want {
		t.Errorf("an empty directory: %s, want %s", got, want)
	}
}
