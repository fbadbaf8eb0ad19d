package userns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tincan/internal/device"
)

// parentFD is the socket to the process that has made the namespace.
const parentFD = 3

// IsChild tells whether this process was started to be in a namespace.
func IsChild() bool { return os.Args[0] == childName }

// Main is the life of the child. It returns the exit status, unless the process has become another program.
func Main() int {
	// The rights that are given up before the program begins are those of one thread.
	runtime.LockOSThread()
	unix.CloseOnExec(parentFD)
	debug.SetGCPercent(20)
	buf := make([]byte, maxMessage)
	size, err := unix.Read(parentFD, buf)
	var c Config
	if err != nil || json.Unmarshal(buf[:size], &c) != nil {
		fmt.Fprintf(os.Stderr, "%s is a part of tincan, which starts it by itself\n", childName)
		return 1
	}
	r, fds := enter(c)
	text, err := json.Marshal(r)
	if err == nil {
		err = send(parentFD, text, fds...)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	if err != nil || r.Err != "" {
		return 1 // the parent says why
	}
	for {
		size, err := unix.Read(parentFD, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || size != 1:
			return 0 // the parent has gone, or does not need us any more
		case buf[0] == startProgram:
			return become(os.Args[1:])
		}
		if err := answer(buf[0]); err != nil {
			return 0
		}
	}
}

// answer opens the socket that the parent asks for.
func answer(what byte) error {
	kind, ok := socketKinds[what]
	if !ok {
		return send(parentFD, []byte{byte(unix.EINVAL)})
	}
	fd, err := unix.Socket(kind[0], kind[1]|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		var number unix.Errno
		errors.As(err, &number)
		return send(parentFD, []byte{byte(number)})
	}
	defer unix.Close(fd)
	return send(parentFD, []byte{0}, fd)
}

// enter sets up the namespace, and returns what the parent is to get: the interface, and the sockets for queries.
func enter(c Config) (report, []int) {
	fd, name, err := device.MakeTUN(c.Interface)
	if err != nil {
		return refusal(err), nil
	}
	fail := func(err error) (report, []int) {
		unix.Close(fd)
		return refusal(err), nil
	}
	// The kernel is not to ask for routers.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/addr_gen_mode", []byte("1"), 0)
	// Where these cannot be written there are no ports below 1024, and ping wants rights.
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
	_ = os.WriteFile("/proc/sys/net/ipv4/ping_group_range", fmt.Appendf(nil, "%d %d", os.Getegid(), os.Getegid()), 0)
	if err := configure(name, c); err != nil {
		return fail(err)
	}
	packets, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53})
	if err != nil {
		return fail(err)
	}
	defer packets.Close()
	streams, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53})
	if err != nil {
		return fail(err)
	}
	defer streams.Close()
	if len(c.Command) > 0 {
		if err := ownResolver(c.Domain); err != nil {
			return fail(err)
		}
	}
	fds := []int{fd}
	for _, s := range []interface{ File() (*os.File, error) }{packets, streams} {
		f, err := s.File()
		if err != nil {
			return fail(err)
		}
		fds = append(fds, int(f.Fd()))
		runtime.SetFinalizer(f, nil) // Main closes it
	}
	return report{Interface: name}, fds
}

// configure gives the interface its addresses, and all other addresses a route to it.
func configure(name string, c Config) error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bringing up the loopback interface: %w", err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding the interface %s: %w", name, err)
	}
	defaults := map[string]bool{}
	for _, p := range c.Addresses {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		to := "0.0.0.0/0"
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
			to = "::/0"
		}
		if err := netlink.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("giving %s the address %v: %w", name, p, err)
		}
		defaults[to] = true
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing up %s: %w", name, err)
	}
	for to := range defaults {
		_, all, _ := net.ParseCIDR(to)
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: all}); err != nil {
			return fmt.Errorf("adding the route to %s: %w", to, err)
		}
	}
	return nil
}

// Where programs ask for names by other means than the network. They would be told what the machine knows, not the VPN.
var resolverSockets = []string{"/run/systemd/resolve", "/run/nscd", "/var/run/nscd"}

// ownResolver makes programs of this mount namespace ask the sockets for queries.
func ownResolver(domain string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("detaching the mount table: %w", err)
	}
	conf, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if errors.Is(err, fs.ErrNotExist) {
		// Also a link that leads nowhere. There is nothing that could be mounted over; glibc asks 127.0.0.1 then, which is us.
		conf = ""
	} else if err != nil {
		return err
	}
	hidden := false
	for _, dir := range resolverSockets {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64k"); err != nil {
			return fmt.Errorf("mounting a tmpfs on %s: %w", dir, err)
		}
		hidden = hidden || strings.HasPrefix(conf, dir+"/")
	}
	text := []byte("# Made by tincan for this program only.\nnameserver 127.0.0.1\n")
	if domain != "" {
		text = append(text, "search "+domain+"\n"...)
	}
	switch {
	case conf == "":
		return nil
	case hidden:
		return os.WriteFile(conf, text, 0o644)
	}
	// The file is made on a tmpfs of its own, which nobody sees any more once the file is mounted where it belongs. It is there
	// for a moment in place of the one directory that is certain to exist and not to hold resolv.conf.
	const staging = "/proc"
	if err := unix.Mount("tmpfs", staging, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64k"); err != nil {
		return fmt.Errorf("mounting a tmpfs: %w", err)
	}
	err = os.WriteFile(staging+"/resolv.conf", text, 0o644)
	if err == nil {
		err = unix.Mount(staging+"/resolv.conf", conf, "", unix.MS_BIND, "")
	}
	if err != nil {
		err = fmt.Errorf("mounting a file over %s: %w", conf, err)
	}
	return errors.Join(err, unix.Unmount(staging, unix.MNT_DETACH))
}

// become replaces this process by a program, which has no rights in the namespace that its user would not have elsewhere.
func become(command []string) int {
	path, err := exec.LookPath(command[0])
	if errors.Is(err, exec.ErrDot) {
		err = nil
	}
	status := 127
	if err == nil {
		if err = giveUpRights(); err == nil {
			err = syscall.Exec(path, command, os.Environ())
		}
		status = 126
	}
	var named *exec.Error
	if errors.As(err, &named) {
		err = named.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		status = 126
	}
	fmt.Fprintf(os.Stderr, "tincan: starting %s: %v\n", command[0], err)
	return status
}

// giveUpRights gives up those capabilities of this thread that only this package needs. Root keeps his.
func giveUpRights() error {
	if os.Geteuid() == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&head, &none[0]); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	return nil
}
