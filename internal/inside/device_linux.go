package inside

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// loopback is the interface by which this machine talks to itself.
const loopback = "lo"

// Through binds a socket to an interface before it connects or listens (Control of a [net.Dialer]). It is nil if name is "".
func Through(name string) func(network, address string, c syscall.RawConn) error {
	if name == "" {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var inner error
		if err := c.Control(func(fd uintptr) { inner = unix.BindToDevice(int(fd), name) }); err != nil {
			return err
		}
		return inner
	}
}
