//go:build !linux

package metaconn

import (
	"errors"
	"syscall"
)

const canPunch = false

// share is refused: elsewhere a port that is shared is shared with everybody.
func share(syscall.RawConn) error {
	return errors.New("connecting from the port that is listened at is not supported on this system")
}
