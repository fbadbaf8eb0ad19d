//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package invite

import "sync"

var processLock sync.Mutex

// lockDir only keeps the goroutines of this process apart: there is no lock on
// directories here.
func lockDir(string) (unlock func(), err error) {
	processLock.Lock()
	return processLock.Unlock, nil
}
