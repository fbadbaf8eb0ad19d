//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package confdir

import (
	"os"

	"golang.org/x/sys/unix"
)

// LockDir locks a directory against everybody else who does the same. The lock
// ends with the process.
func LockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
