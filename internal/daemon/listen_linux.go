package daemon

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenTCP opens the TCP socket for one address. An IPv6 socket takes IPv6 only.
func listenTCP(a listenAddr, mark int, dev string) (net.Listener, error) {
	lc := net.ListenConfig{Control: marked(mark, dev)}
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), a.network, a.addr.String())
}

// marked gives sockets a mark, 0: none, and binds them to an interface, "": to none.
func marked(mark int, dev string) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		ctl := c.Control(func(fd uintptr) {
			if mark != 0 {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark)
			}
			if err == nil && dev != "" {
				err = unix.BindToDevice(int(fd), dev)
			}
		})
		if ctl != nil {
			return ctl
		}
		return err
	}
}
