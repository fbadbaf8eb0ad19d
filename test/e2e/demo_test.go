//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestTheDemo(t *testing.T) {
	t.Parallel()
	began := time.Now()
	out, err := exec.Command(os.Getenv(demoVar), os.Getenv(binaryVar)).CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "all is well") {
		t.Fatalf("%v\n%s", err, out)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

func TestTheDemoIsHonestAboutFailure(t *testing.T) {
	out, err := exec.Command(os.Getenv(demoVar), "/bin/false").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "FAILED") {
		t.Errorf("error %v after\n%s", err, out)
	}
}
