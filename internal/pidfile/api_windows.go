package pidfile

import (
	"errors"
	"net"
)

// listenAPI: sockets have no mode here that would keep other users out.
func (c *Claim) listenAPI(string) (net.Listener, error) { return nil, errors.ErrUnsupported }

// Open cannot let a group in.
func (s *APISocket) Open(int) error { return errors.ErrUnsupported }

// Remove closes the socket.
func (s *APISocket) Remove() { s.Close() }
