//go:build !unix

package daemon

// hookSignals does nothing: this system has no signals for reloading.
func (d *Daemon) hookSignals() (unhook func()) { return func() {} }
