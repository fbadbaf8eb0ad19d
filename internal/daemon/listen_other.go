//go:build !linux

package daemon

import "net"

// listenTCP opens the TCP socket for one address. An IPv6 socket takes IPv6 only.
func listenTCP(a listenAddr, _ int, _ string) (net.Listener, error) {
	return net.Listen(a.network, a.addr.String())
}
