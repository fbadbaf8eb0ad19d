package pidfile

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// privateSocket gives the socket mode 0700 from the moment it has a name. On
// Linux the mode set before bind is kept, so no umask of the whole process has
// to be changed.
func privateSocket(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o700) }); e != nil {
		return e
	}
	return err
}

// TellsUsers: [CheckUser] tells users apart.
const TellsUsers = true

// CheckUser returns an error for a client that is neither the own user nor root.
func CheckUser(c net.Conn) error {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return e
	}
	if err != nil {
		return err
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d may not control this daemon", cred.Uid)
	}
	return nil
}
