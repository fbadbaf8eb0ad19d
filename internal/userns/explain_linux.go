package userns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tincan/internal/device"
)

// explain says why the child could not be started.
func explain(err error) error {
	if !forbids(err) {
		return fmt.Errorf("starting a process in namespaces of its own: %w", err)
	}
	why, tip := obstacle(readSystem)
	return &Error{Err: fmt.Errorf("%s (%w)", why, cause(err)), Tip: tip}
}

// refusal is the report of an error in the child.
func refusal(err error) report {
	r := report{Err: err.Error()}
	var open *device.OpenError
	if errors.As(err, &open) && !errors.Is(open.Err, fs.ErrPermission) || errors.As(err, &open) && open.Path == tunPath && cannotOpen(tunPath) {
		r.Tip = "a container has to be given the device (docker run --device " + tunPath + "); on a machine of your own: sudo chmod 0666 " + tunPath + " (as systemd does)"
		return r
	}
	if forbids(err) {
		why, tip := obstacle(readSystem)
		r.Err, r.Tip = why+" ("+err.Error()+")", tip
	}
	return r
}

const tunPath = "/dev/net/tun"

func cannotOpen(path string) bool {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err != nil
}

// forbids tells whether an error says that the system does not permit something, or does not have it.
func forbids(err error) bool {
	for _, e := range []error{fs.ErrPermission, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS, fs.ErrNotExist, unix.ENODEV} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// cause is the error of the system without what the library says around it.
func cause(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

func readSystem(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// obstacle finds out what keeps a user of this machine from making namespaces. read returns what a file has, "" if there is none.
func obstacle(read func(path string) string) (why, tip string) {
	switch {
	case read("/proc/sys/user/max_user_namespaces") == "0":
		return "user namespaces are switched off on this machine: user.max_user_namespaces is 0",
			"as root: sysctl -w user.max_user_namespaces=10000"
	case read("/proc/sys/user/max_net_namespaces") == "0":
		return "network namespaces are switched off on this machine: user.max_net_namespaces is 0",
			"as root: sysctl -w user.max_net_namespaces=10000"
	case read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
		return "this kernel makes user namespaces for root only: kernel.unprivileged_userns_clone is 0",
			"as root: sysctl -w kernel.unprivileged_userns_clone=1"
	case read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "AppArmor lets only programs that it knows make user namespaces: kernel.apparmor_restrict_unprivileged_userns is 1",
			"as root, give tincan a profile (docs/without-root.md has it), or: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	case strings.Contains(read("/proc/self/status"), "\nSeccomp:\t2"):
		return "a filter of system calls (seccomp) forbids namespaces, as that of Docker and Kubernetes does",
			"start the container with --cap-add NET_ADMIN --device /dev/net/tun and use tincan up, or with --security-opt seccomp=PROFILE (docs/without-root.md)"
	}
	return "this system does not let this user make namespaces", "see docs/without-root.md for what may be in the way"
}
