package daemon

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenTCP opens the TCP socket for one address. An IPv6 socket takes IPv6 only.
func listenTCP(a listenAddr, mark int, dev string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
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
	}}
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), a.network, a.addr.String())
}

// marked gives sockets a mark, 0: none.
func marked(mark int) func(_, _ string, c syscall.RawConn) error {
	if mark == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) (err error) {
		if ctl := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) }); ctl != nil {
			return ctl
		}
		return err
	}
}
