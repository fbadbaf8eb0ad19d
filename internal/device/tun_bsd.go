//go:build netbsd || dragonfly

package device

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tunNumbers is how many interfaces are tried for a free one.
const tunNumbers = 256

// OpenTUN opens the tun interface tunN, or the first free one if another name is wanted. The error is an [*OpenError].
func OpenTUN(name string, opts Options) (Device, error) {
	fail := func(path, why string, err error) (Device, error) {
		return nil, &OpenError{Name: name, Path: path, Why: why, Err: err,
			Tip: "run as root, and see that there is such a file: ifconfig tun0 create; cd /dev && sh MAKEDEV tun0"}
	}
	if opts.TAP {
		return fail("the tun driver", "tap interfaces are supported on Linux only", nil)
	}
	name = systemName(name)
	f, name, err := openTunFile(name)
	if err != nil {
		return fail("/dev/"+name, err.Error(), err)
	}
	fd := int(f.Fd())
	// Of packets of both families, and with a network around the address rather than one other end.
	if err := errors.Join(
		unix.IoctlSetPointerInt(fd, tunMode, unix.IFF_BROADCAST|unix.IFF_MULTICAST),
		unix.IoctlSetPointerInt(fd, tunFamily, 1),
		unix.SetNonblock(fd, true), // Fd has made it wait
	); err != nil {
		f.Close()
		return fail("/dev/"+name, err.Error(), err)
	}
	return &prefixed{rw: f, name: name, inet6: unix.AF_INET6}, nil
}

// openTunFile opens one interface, or with "tun" the first that nobody uses.
func openTunFile(name string) (f *os.File, opened string, err error) {
	if name != "tun" {
		f, err = os.OpenFile("/dev/"+name, os.O_RDWR, 0)
		return f, name, err
	}
	for n := range tunNumbers {
		name = fmt.Sprintf("tun%d", n)
		if f, err = os.OpenFile("/dev/"+name, os.O_RDWR, 0); err == nil || !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return f, name, err
}
