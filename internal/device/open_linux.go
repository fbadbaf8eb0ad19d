package device

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const defaultPath = "/dev/net/tun"

// From linux/if_tun.h; x/sys has no names for the last two.
const (
	tunFCsum = 0x01
	tunFTSO4 = 0x02
	tunFTSO6 = 0x04
	tunFUSO4 = 0x20
	tunFUSO6 = 0x40
)

// offloadSteps are tried in order until the kernel accepts one. Kernels before
// 6.2 do not know USO.
var offloadSteps = []int{
	tunFCsum | tunFTSO4 | tunFTSO6 | tunFUSO4 | tunFUSO6,
	tunFCsum | tunFTSO4 | tunFTSO6,
	tunFCsum,
}

// OpenTUN makes the interface name, or takes over a persistent one of the same
// kind that is not in use; that one survives Close. The name is truncated to the 15
// characters that the kernel allows, as in tinc. "%d" in it becomes the first
// free number; "" lets the kernel choose. Neither link state, addresses nor MTU
// are touched. The error is an [*OpenError].
//
// The interface belongs to the network namespace of the calling thread.
func OpenTUN(name string, opts Options) (Device, error) {
	path := opts.Path
	if path == "" {
		path = defaultPath
	}
	fd, name, err := open(name, path, opts.TAP)
	if err != nil {
		return nil, err
	}
	t, err := negotiate(fd, name, path, opts)
	if err != nil {
		return nil, attachFailed(fd, name, path, opts.TAP, err)
	}
	return t, nil
}

// open opens the device file and gives it the interface name, as [OpenTUN] does. actual is the name that the interface has got.
func open(name, path string, tap bool) (fd int, actual string, err error) {
	if len(name) > unix.IFNAMSIZ-1 {
		name = name[:unix.IFNAMSIZ-1]
	}
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", openFailed(name, path, err)
	}
	if actual, err = create(fd, name, tap); err != nil {
		return -1, "", attachFailed(fd, name, path, tap, err)
	}
	return fd, actual, nil
}

// create gives fd the interface of that name, and returns the name that it has got.
func create(fd int, name string, tap bool) (string, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return "", unix.EINVAL
	}
	var flags uint16 = unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN
	if tap {
		flags = unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TAP
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return "", err
	}
	return ifr.Name(), nil
}

// negotiate turns on what the kernel can do for the interface that fd has. It needs no privileges, and leaves fd open if it fails.
func negotiate(fd int, name, path string, opts Options) (*tun, error) {
	// A persistent interface may have a longer header set by its last owner.
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, vnetHdrLen); err != nil {
		return nil, err
	}
	accepted := 0
	if !opts.NoOffload {
		for _, set := range offloadSteps {
			if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, set) == nil {
				accepted = set
				break
			}
		}
	}
	if accepted == 0 {
		// Fails only on kernels without offloads, where there is nothing to turn off.
		unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0)
	}
	// Only now: the poller refuses a tun descriptor that is not attached.
	t, err := newTun(fd, name, path, true)
	if err != nil {
		return nil, err
	}
	t.segments[GSONone] = 1
	if accepted&tunFTSO4 != 0 {
		t.segments[GSOTCPv4] = anySegments
	}
	if accepted&tunFTSO6 != 0 {
		t.segments[GSOTCPv6] = anySegments
	}
	if accepted&tunFUSO4 != 0 {
		t.segments[GSOUDP] = maxUDPSegments(kernelRelease())
	}
	t.resetOnEnd = accepted != 0
	t.tap = opts.TAP
	return t, nil
}

// MakeTUN makes a tun interface in the network namespace of the calling thread, for another process: the descriptor is to be sent
// there, and given to [TakeTUN]. The caller owns it. name is as for [OpenTUN]; actual is the name that the interface has got. The
// error is an [*OpenError].
func MakeTUN(name string) (fd int, actual string, err error) { return open(name, defaultPath, false) }

// TakeTUN is the other half of [MakeTUN]. It can do all that a device of [OpenTUN] can. The descriptor belongs to it, also when it fails.
func TakeTUN(fd int, name string) (Device, error) {
	t, err := negotiate(fd, name, "descriptor", Options{})
	if err != nil {
		unix.Close(fd)
		return nil, &OpenError{Name: name, Path: "the descriptor of another process", Why: err.Error(), Err: err}
	}
	return t, nil
}

// maxUDPSegments is the kernel's UDP_MAX_SEGMENTS. A super-packet of more is refused since 6.7, and by
// older kernels with fixes of that time; what is refused is lost, and counted as a frame error.
func maxUDPSegments(release string) int {
	var major, minor int
	fmt.Sscanf(release, "%d.%d", &major, &minor) // an unknown format counts as old
	if major > 6 || major == 6 && minor >= 9 {
		return 128
	}
	return 64
}

func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// OpenFD takes over a descriptor that another program made: an attached tun or tap
// descriptor without packet information header, or anything that keeps packet
// borders (a packet socket, a SEQPACKET or DGRAM socket pair) and carries bare
// IP packets. It belongs to the device, also when OpenFD fails.
func OpenFD(fd int) (Device, error) {
	fail := func(why string, err error) (Device, error) {
		unix.Close(fd)
		return nil, &OpenError{Path: "the inherited descriptor", Why: why, Err: err,
			Tip: "the program that starts this one has to hand over a tun descriptor or a packet socket"}
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return fail("it is not open", err)
	}
	name, vnet, tap := "", false, false
	if ifr, err := unix.NewIfreq(""); err == nil && unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr) == nil {
		flags := ifr.Uint16()
		if flags&unix.IFF_NO_PI == 0 {
			return fail("it puts a packet information header before each packet", nil)
		}
		name, vnet, tap = ifr.Name(), flags&unix.IFF_VNET_HDR != 0, flags&unix.IFF_TAP != 0
		if vnet {
			if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, vnetHdrLen); err != nil {
				return fail("its header length cannot be set", err)
			}
		}
	}
	t, err := newTun(fd, name, "descriptor", vnet)
	if err != nil {
		return fail("it cannot be polled", err)
	}
	// Reading handles whatever offloads the creator has turned on; which ones
	// it accepts is not known, so only finished packets are written.
	t.segments[GSONone] = 1
	t.tap = tap
	return t, nil
}

func openFailed(name, path string, err error) error {
	e := &OpenError{Name: name, Path: path, Why: err.Error(), Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Why = "there is no such device file"
		e.Tip = "load the driver with \"modprobe tun\"; a container has to be given " + defaultPath
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		e.Why = "the kernel has no tun driver"
		e.Tip = "load the driver with \"modprobe tun\""
	case errors.Is(err, fs.ErrPermission):
		e.Why = "permission denied"
		e.Tip = "run as root; in a container " + defaultPath + " must be allowed"
	}
	return e
}

// attachFailed explains err and closes fd.
func attachFailed(fd int, name, path string, tap bool, err error) error {
	defer unix.Close(fd)
	kind, other := "tun", "tap"
	if tap {
		kind, other = other, kind
	}
	e := &OpenError{Name: name, Path: path, Why: err.Error(), Err: err}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Why = "not permitted"
		e.Tip = "run as root or with CAP_NET_ADMIN, or make a persistent interface for this user: ip tuntap add dev NAME mode " + kind + " user USER"
	case errors.Is(err, unix.EBUSY):
		e.Why = "it is in use by another program"
		e.Tip = "stop the other program, or choose another name with Interface"
	case errors.Is(err, unix.ENOTTY):
		e.Why = "this is not a tun device file"
		e.Tip = "remove Device, or set it to " + defaultPath
	case errors.Is(err, unix.EINVAL):
		driver, bus := driverOf(name)
		switch {
		case driver == "tun" && bus == other:
			e.Why = "it exists and is a " + other + " interface, wanted is " + kind
			e.Tip = "remove it with \"ip link delete " + name + "\", or choose another name with Interface"
		case driver == "tun":
			e.Why = "it exists with other properties (several queues)"
			e.Tip = "remove it with \"ip link delete " + name + "\", or choose another name with Interface"
		case driver != "":
			e.Why = "it exists and is not a " + kind + " interface"
			e.Tip = "choose another name with Interface"
		case strings.ContainsAny(name, "/: \t\n") || name == "." || name == ".." || strings.Count(name, "%") > 0:
			e.Why = "an interface cannot have this name"
			e.Tip = "choose another name with Interface: no spaces, '/' or ':', and no '%' but one \"%d\""
		}
	}
	return e
}

// driverOf asks which driver an interface has; for tun and tap interfaces bus
// tells them apart. Both are "" if there is none of that name; driver is "?" if
// it exists and its driver is not known.
func driverOf(name string) (driver, bus string) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil || name == "" {
		return "", ""
	}
	defer unix.Close(s)
	info, err := unix.IoctlGetEthtoolDrvinfo(s, name)
	if errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EINVAL) {
		return "", ""
	}
	if err != nil {
		return "?", ""
	}
	return unix.ByteSliceToString(info.Driver[:]), unix.ByteSliceToString(info.Bus_info[:])
}
