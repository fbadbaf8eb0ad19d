//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package confdir

import "sync"

var processLock sync.Mutex

// LockDir only keeps the goroutines of this process apart: there is no lock on
// directories here.
func LockDir(string) (unlock func(), err error) {
	processLock.Lock()
	return processLock.Unlock, nil
}
