//go:build !linux

package udp

import "net/netip"

type socket = plainSocket

// Listen binds a socket to addr. Port 0 takes any free port. An IPv6 socket
// is for IPv6 only; a node that uses both opens two.
func Listen(addr netip.AddrPort, opts Options) (Socket, error) {
	s, err := listenPlain(addr, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}
