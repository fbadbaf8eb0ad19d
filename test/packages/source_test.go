//go:build unix

package packages

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/report"
)

// run runs a command in a directory, with the caches of the go command and none of the user's settings.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(clean(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// clean is the environment without settings of the user's for git, make and the go command, but with the latter's caches.
func clean() []string {
	env := append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GOFLAGS=", "MAKEFLAGS=", "MFLAGS=", "SOURCE_DATE_EPOCH=", "SITE=")
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		if out, err := exec.Command("go", "env", name).Output(); err == nil {
			env = append(env, name+"="+strings.TrimSpace(string(out)))
		}
	}
	return env
}

// trusting makes git look into checkouts of other users. It is not part of clean: make has to build without it.
var trusting = []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}

// head is the last commit of this source. Without git there is none, and nothing to test here.
func head(t *testing.T) string {
	t.Helper()
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("git", "-c", "safe.directory="+abs, "rev-parse", "HEAD")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skip("NOT TESTED: git knows nothing of this source:", err)
	}
	return strings.TrimSpace(string(out))
}

// checkout is a clone of the last commit at another place, which belongs to somebody else if this is root.
func checkout(t *testing.T, dir string) {
	t.Helper()
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	run(t, "/", trusting, "git", "clone", "-q", "--no-hardlinks", abs, dir)
	if os.Getuid() != 0 {
		return
	}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 12345, 12345)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func versionOf(t *testing.T, program string) (v report.Version) {
	t.Helper()
	if err := json.Unmarshal([]byte(run(t, "/", nil, program, "version", "--json")), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Root may build in a checkout of another user, as after "git clone" and "sudo make", and the program knows its commit.
func TestCheckoutOfAnotherUser(t *testing.T) {
	t.Parallel()
	commit := head(t)
	dir := filepath.Join(t.TempDir(), "tincan")
	checkout(t, dir)
	run(t, dir, nil, "make", "build")
	v := versionOf(t, filepath.Join(dir, "bin/tincan"))
	if v.Commit != commit || v.Modified || v.CommitTime == nil || !strings.Contains(v.Version, "g"+commit[:9]) && strings.Contains(v.Version, "dev") {
		t.Errorf("commit %s became %+v", commit, v)
	}
}

// An archive made by git has no history, and tells its commit all the same.
func TestArchiveKnowsItsVersion(t *testing.T) {
	t.Parallel()
	commit := head(t)
	clone, dir := filepath.Join(t.TempDir(), "clone"), filepath.Join(t.TempDir(), "tincan-1.0")
	checkout(t, clone)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, clone, trusting, "git", "archive", "-o", dir+".tar", "HEAD")
	run(t, dir, nil, "tar", "-xf", dir+".tar")
	run(t, dir, nil, "make", "build")
	v := versionOf(t, filepath.Join(dir, "bin/tincan"))
	if v.Commit != commit || v.Modified || v.CommitTime == nil {
		t.Errorf("commit %s became %+v", commit, v)
	}
}
