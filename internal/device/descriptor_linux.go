package device

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// OpenDescriptor opens what another program has prepared (see [OpenFD]). which is
// the number of an inherited descriptor, or the path of a UNIX socket ("@name": an abstract one) that hands one over. The error is an
// [*OpenError].
func OpenDescriptor(which string) (Device, error) {
	if which == "" {
		return nil, &OpenError{Text: "Could not read device from the configuration: Device is not set", Tip: handoverTip}
	}
	if fd, err := strconv.Atoi(which); err == nil {
		if fd <= 2 {
			return nil, &OpenError{Text: "Could not open descriptor " + which + ": it is not one for packets",
				Tip: "write Device = NUMBER with the number of the descriptor that was handed over"}
		}
		return OpenFD(fd)
	}
	fd, err := receiveFD(which)
	if err != nil {
		return nil, &OpenError{Text: "Receiving fd from Unix socket at " + strconv.Quote(which) + ": " + err.Error(), Err: err, Tip: handoverTip}
	}
	return OpenFD(fd)
}

const handoverTip = "write Device = NUMBER, or the path of a UNIX socket that sends a descriptor to whoever connects"

// handoverTimeout is how long the other side may take.
const handoverTimeout = 5 * time.Second

func receiveFD(path string) (int, error) {
	if len(path) > 107 {
		return -1, tincError(nil, "Unix socket path too long: %d bytes, where 107 are possible", len(path))
	}
	if strings.ContainsRune(path, 0) {
		return -1, errors.New("a socket cannot have this name")
	}
	conn, err := net.DialTimeout("unix", path, handoverTimeout)
	if err != nil {
		return -1, tincError(err, "Could not connect to Unix socket")
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(handoverTimeout))
	control := make([]byte, unix.CmsgSpace(4*4))
	_, n, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		return -1, tincError(err, "Could not read from unix socket")
	}
	var fds []int
	if list, err := unix.ParseSocketControlMessage(control[:n]); err == nil {
		for i := range list {
			got, _ := unix.ParseUnixRights(&list[i])
			fds = append(fds, got...)
		}
	}
	if len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return -1, errors.New("it did not hand over one descriptor")
	}
	return fds[0], nil
}
