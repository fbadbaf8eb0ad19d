//go:build !unix

package daemon

import "net"

// Inherited returns nil: nobody hands over sockets on this system.
func Inherited() ([]net.Listener, error) { return nil, nil }

func takesIPv4(*net.TCPListener) bool { return false }
