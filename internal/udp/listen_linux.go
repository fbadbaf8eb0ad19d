package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Listen binds a socket to addr. Port 0 takes any free port. An IPv6 socket
// is for IPv6 only; a node that uses both opens two. The socket belongs to the
// network namespace of the calling thread.
func Listen(addr netip.AddrPort, opts Options) (Socket, error) {
	addr = plainAddr(addr)
	fail := func(err error) (Socket, error) {
		return nil, fmt.Errorf("listen on UDP %s: %w", addr, err)
	}
	if !addr.IsValid() {
		return fail(errors.New("not an address"))
	}
	fd, err := newSocket(addr.Addr(), opts)
	if err != nil {
		return fail(err)
	}
	s := &socket{is4: addr.Addr().Is4(), opts: opts}
	if s.local, err = setUp(fd, addr, opts); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	if !opts.NoOffload {
		// Either fails on a kernel without it: merging since 5.0, segmentation since 4.18.
		unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1)
		_, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT)
		s.gso.Store(err == nil)
	}
	s.file = os.NewFile(uintptr(fd), "udp")
	if s.conn, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return fail(err)
	}
	s.initReceiver()
	s.initSender()
	return s, nil
}

// newSocket makes an unbound socket with the mark and interface of the options, which select its routes.
func newSocket(addr netip.Addr, opts Options) (int, error) {
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if opts.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, opts.Mark); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("set mark %d: %w", opts.Mark, err)
		}
	}
	if opts.BindToDevice != "" {
		if err := unix.BindToDevice(fd, opts.BindToDevice); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("bind to interface %s: %w", opts.BindToDevice, err)
		}
	}
	return fd, nil
}

func setUp(fd int, addr netip.AddrPort, opts Options) (local netip.AddrPort, err error) {
	var zone zones
	is4 := addr.Addr().Is4()
	if !is4 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return local, err
		}
	}
	if opts.ReusePort {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return local, err
		}
	}
	// The remaining options are optional.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	growBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, opts.RcvBuf)
	growBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, opts.SndBuf)
	if !opts.Fragment {
		// DO, as tinc: never fragment, keep the path MTU that routers report, and
		// refuse longer datagrams with EMSGSIZE.
		if is4 {
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		} else {
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		}
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: v4bytes(addr.Addr())}
	if !is4 {
		sa = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zone.number(addr.Addr().Zone())}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return local, err
	}
	sa, err = unix.Getsockname(fd)
	if err != nil {
		return local, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(addr.Addr(), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(addr.Addr(), uint16(sa.Port)), nil
	}
	return addr, nil
}

func v4bytes(a netip.Addr) (b [4]byte) {
	if a.Is4() {
		b = a.As4()
	}
	return b
}

// growBuffer sets the size of a socket buffer past the system's limit if we are
// allowed to, and up to it if not.
func growBuffer(fd, force, plain, size int) {
	if size < 0 {
		return
	}
	if size == 0 {
		size = DefaultBuffer
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
	}
}

// PathMTU connects a socket, which sends nothing, and reads its IP_MTU.
func (s *socket) PathMTU(addr netip.Addr) int {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.Is4() != s.is4 {
		return 0
	}
	fd, err := newSocket(addr, s.opts)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	level, name := unix.IPPROTO_IPV6, unix.IPV6_MTU
	var sa unix.Sockaddr
	if addr.Is4() {
		level, name = unix.IPPROTO_IP, unix.IP_MTU
		sa = &unix.SockaddrInet4{Port: 9, Addr: addr.As4()}
	} else {
		var zone zones
		sa = &unix.SockaddrInet6{Port: 9, Addr: addr.As16(), ZoneId: zone.number(addr.Zone())}
	}
	if unix.Connect(fd, sa) != nil {
		return 0
	}
	mtu, err := unix.GetsockoptInt(fd, level, name)
	if err != nil {
		return 0
	}
	return mtu
}
