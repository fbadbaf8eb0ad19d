package device

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs f on a thread with a fresh network namespace. The thread
// dies with f, and the namespace with the last descriptor that f leaves.
func inNamespace(t testing.TB, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	if _, err := os.Stat(defaultPath); err != nil {
		t.Skip("needs " + defaultPath)
	}
	done := make(chan error, 1)
	ran := false
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime throws the thread away
		defer close(done)
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		ran = true
		f()
	}()
	if err := <-done; err != nil {
		t.Skip("no network namespace: ", err)
	}
	if !ran {
		t.FailNow()
	}
}
