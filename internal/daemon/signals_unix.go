//go:build unix

package daemon

import (
	"os"
	"syscall"
)

var (
	acted   = []os.Signal{syscall.SIGHUP, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH}
	ignored = []os.Signal{syscall.SIGPIPE}
)

// act does what a signal means, as in tinc: HUP reloads, ALRM dials at once;
// USR1 and USR2 (tinc 1.0) log connections, and everything else that is known;
// WINCH (tinc 1.0, too) forgets nodes that are gone.
func act(d *Daemon, sig os.Signal) {
	switch sig {
	case syscall.SIGHUP:
		_ = d.reload() // it has been logged
	case syscall.SIGALRM:
		(&backend{d}).Retry()
	case syscall.SIGUSR1:
		(&backend{d}).logConnections()
	case syscall.SIGUSR2:
		(&backend{d}).logEverything()
	case syscall.SIGWINCH:
		(&backend{d}).Purge()
	}
}
