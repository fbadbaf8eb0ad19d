package ui

import (
	"net"

	"github.com/vishvananda/netlink"
)

// tellsUser: userOf finds out more than [anyone].
const tellsUser = true

// userOf is the user whose process has the other end of a connection within this machine, [anyone] if that cannot be found out.
func userOf(c net.Conn) int {
	at, ok1 := c.LocalAddr().(*net.TCPAddr)
	from, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return anyone
	}
	s, err := netlink.SocketGet(from, at) // the other end's view
	if err != nil || s == nil || !s.ID.Source.Equal(from.IP) || !s.ID.Destination.Equal(at.IP) {
		return anyone
	}
	return int(s.UID)
}
