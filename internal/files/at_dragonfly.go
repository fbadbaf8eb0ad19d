package files

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readlinkat(2), for which golang.org/x/sys has no function on this system.
func readlinkat(dir int, name string) (string, error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return "", err
	}
	buf := make([]byte, unix.PathMax)
	n, _, errno := syscall.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
	if errno != 0 {
		return "", errno
	}
	return string(buf[:n]), nil
}

func linkat(dir int, name string, toDir int, to string) error {
	return unix.Linkat(dir, name, toDir, to, 0)
}
