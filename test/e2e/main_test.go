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

// The variables that name the programs to test.
const (
	binaryVar = "TINCAN"
	demoVar   = "TINCAN_DEMO"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == probeName {
		if err := probe(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	lab.Main(m.Run, "E2E_MAY_SKIP", build)
}

// build builds the tincan that is tested, unless one is given, and the demo.
func build() (cleanUp func(), err error) {
	dir, err := os.MkdirTemp("", "tincan-e2e")
	if err != nil {
		return func() {}, err
	}
	cleanUp = func() { _ = os.RemoveAll(dir) }
	if err := buildOne("tincan/cmd/demo", filepath.Join(dir, "demo"), demoVar); err != nil {
		return cleanUp, err
	}
	if path := os.Getenv(binaryVar); path != "" {
		if path, err = filepath.Abs(path); err == nil {
			err = os.Setenv(binaryVar, path)
		}
		return cleanUp, err
	}
	return cleanUp, buildOne("tincan/cmd/tincan", filepath.Join(dir, "tincan"), binaryVar)
}

func buildOne(pkg, path, variable string) error {
	args := []string{"build", "-tags", "netstack", "-o", path} // as it is shipped
	if os.Getenv("E2E_RACE") != "" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	if os.Getenv("E2E_RACE") == "" {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the same
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return os.Setenv(variable, path)
}
