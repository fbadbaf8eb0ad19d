//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tincan/internal/lab"
)

const binaryVar = "TINCAN"

func TestMain(m *testing.M) { lab.Main(m.Run, "E2E_MAY_SKIP", build) }

// build builds the tincan that is tested, unless one is given.
func build() (cleanUp func(), err error) {
	cleanUp = func() {}
	if path := os.Getenv(binaryVar); path != "" {
		if path, err = filepath.Abs(path); err == nil {
			err = os.Setenv(binaryVar, path)
		}
		return cleanUp, err
	}
	dir, err := os.MkdirTemp("", "tincan-e2e")
	if err != nil {
		return cleanUp, err
	}
	cleanUp = func() { _ = os.RemoveAll(dir) }
	path := filepath.Join(dir, "tincan")
	args := []string{"build", "-o", path}
	if os.Getenv("E2E_RACE") != "" {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "tincan/cmd/tincan")...).CombinedOutput()
	if err != nil {
		return cleanUp, fmt.Errorf("building tincan: %w\n%s", err, out)
	}
	return cleanUp, os.Setenv(binaryVar, path)
}
