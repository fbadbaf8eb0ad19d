package metaconn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const canPunch = true

// share lets a socket have the same local address as others of ours that are shared. A
// listener that is shared after its port was bound keeps out sockets that are not.
func share(raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}
	}); e != nil {
		return e
	}
	return err
}
