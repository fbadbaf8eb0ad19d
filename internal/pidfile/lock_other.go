//go:build !(windows || linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package pidfile

import (
	"errors"
	"os"
)

var errLocked = errors.New("locked by another process")

// lock does nothing here; the socket alone keeps a second daemon away.
func lock(*os.File) error { return nil }

// alive cannot be told here; true is the careful answer.
func alive(pid int) bool { return pid > 0 }

// Terminate ends the process.
func Terminate(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}
