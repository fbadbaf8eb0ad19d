package device

import (
	"os"
	"testing"

	"tincan/internal/fixture"
)

// inNamespace runs f on a thread with a network namespace of its own, in which there is no interface but the loopback one.
func inNamespace(t testing.TB, f func()) {
	t.Helper()
	if _, err := os.Stat(defaultPath); err != nil {
		t.Skip("needs " + defaultPath)
	}
	fixture.InNamespace(t, f)
}
