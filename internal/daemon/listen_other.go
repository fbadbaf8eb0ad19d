//go:build !linux

package daemon

import (
	"net"
	"syscall"
)

// listenTCP opens the TCP socket for one address. An IPv6 socket takes IPv6 only.
func listenTCP(a listenAddr, _ int, _ string) (net.Listener, error) {
	return net.Listen(a.network, a.addr.String())
}

// marked does nothing: there are no marks, and sockets are not bound to interfaces.
func marked(int, string) func(_, _ string, c syscall.RawConn) error { return nil }
