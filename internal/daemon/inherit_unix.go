//go:build unix

package daemon

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inherited returns the listening sockets that a service manager has handed to
// this process (systemd's socket activation), nil if there are none. It takes the
// variables that tell of them out of the environment.
func Inherited() ([]net.Listener, error) {
	const first = 3
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(v)
	}
	n, err := strconv.Atoi(count)
	if err == nil && n > maxSockets {
		return nil, fmt.Errorf("LISTEN_FDS is %d: Too many listening sockets, at most %d can be used", n, maxSockets)
	}
	if err != nil || n < 1 {
		return nil, fmt.Errorf("LISTEN_FDS is %.20q, which should be a number from 1 to %d", count, maxSockets)
	}
	var list []net.Listener
	for fd := first; fd < first+n; fd++ {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "inherited socket")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			for _, l := range list {
				l.Close()
			}
			return nil, fmt.Errorf("descriptor %d, which was handed over: %w", fd, err)
		}
		list = append(list, l)
	}
	return list, nil
}

// takesIPv4 tells whether a listener for IPv6 takes connections of IPv4, too.
func takesIPv4(l *net.TCPListener) (ok bool) {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		only, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		ok = err == nil && only == 0
	})
	return ok
}
