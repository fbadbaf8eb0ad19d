//go:build unix

package daemon

import (
	"os"
	"os/signal"
	"syscall"

	"tincan/internal/mesh"
)

// hookSignals makes SIGHUP reload the configuration and SIGALRM dial at once.
// The signals that end the process are the caller's: they cancel its context.
func (d *Daemon) hookSignals() (unhook func()) {
	ch := make(chan os.Signal, 4)
	quit := make(chan struct{})
	signal.Notify(ch, syscall.SIGHUP, syscall.SIGALRM)
	go func() {
		for {
			select {
			case s := <-ch:
				if s == syscall.SIGHUP {
					d.log.printf(0, mesh.Notice, "got the signal HUP")
					_ = d.reload() // it has been logged
				} else {
					(&backend{d}).Retry()
				}
			case <-quit:
				return
			}
		}
	}()
	return func() { signal.Stop(ch); close(quit) }
}
