package device

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// OpenMulticast makes a UDP multicast group an Ethernet segment: each datagram is a
// frame. All members of the group are on the segment, for example QEMU. spec is "GROUP PORT [TTL]";
// datagrams live for one hop if TTL is not given. The error is an [*OpenError].
func OpenMulticast(spec string) (Device, error) {
	fail := func(err error) (Device, error) {
		return nil, &OpenError{Text: err.Error(), Err: err,
			Tip: "write Device = GROUP PORT or GROUP PORT TTL, such as 239.1.2.3 7000"}
	}
	group, ttl, err := parseGroup(spec)
	if err != nil {
		return fail(err)
	}
	network, local := "udp6", ":0"
	if group.Addr().Is4() {
		network = "udp4"
	}
	in, err := joinGroup(group)
	if err != nil {
		return fail(tincError(err, "Can't bind to %s %d", group.Addr(), group.Port()))
	}
	// Other programs on this machine may use the same address and port. Our frames are sent from
	// another port, so that they are recognised when they come back.
	out, err := net.ListenPacket(network, local)
	if err != nil {
		in.Close()
		return fail(err)
	}
	m := &multicast{in: in, out: out.(*net.UDPConn), group: group, name: group.String(), local: localAddrs{look: net.InterfaceAddrs}}
	m.port = m.out.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	if err := m.setTTL(ttl); err != nil {
		m.Close()
		return fail(err)
	}
	in.SetReadBuffer(1 << 20)
	return m, nil
}

// joinGroup opens a socket for what is sent to the group, and nothing else: package net would
// bind it to all addresses, so that frames of other groups with the same port
// and unicast datagrams to that port would arrive on the segment.
func joinGroup(group netip.AddrPort) (*net.UDPConn, error) {
	addr, zone := group.Addr(), 0
	if addr.Zone() != "" {
		link, err := net.InterfaceByName(addr.Zone())
		if err != nil {
			return nil, err
		}
		zone = link.Index
	}
	domain := unix.AF_INET6
	if addr.Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "multicast group")
	defer f.Close() // the connection has a copy
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	var local unix.Sockaddr
	if addr.Is4() {
		local = &unix.SockaddrInet4{Port: int(group.Port()), Addr: addr.As4()}
		err = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: addr.As4()})
	} else {
		at := &unix.SockaddrInet6{Port: int(group.Port()), ZoneId: uint32(zone)}
		if zone != 0 || !addr.IsLinkLocalMulticast() { // the kernel takes such a group only with an interface
			at.Addr = addr.As16()
		}
		local = at
		err = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: addr.As16(), Interface: uint32(zone)})
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, local); err != nil {
		return nil, err
	}
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

func parseGroup(spec string) (group netip.AddrPort, ttl int, err error) {
	words := strings.Fields(spec)
	switch len(words) {
	case 0:
		return group, 0, tincError(nil, "Device variable required for multicast socket")
	case 1:
		return group, 0, tincError(nil, "Port number required for multicast socket")
	case 2, 3:
	default:
		return group, 0, fmt.Errorf("Device = %.60q is more than a group, a port and a number of hops", spec)
	}
	addr, err := netip.ParseAddr(words[0])
	if err != nil || !addr.IsMulticast() || addr.Is4In6() {
		return group, 0, fmt.Errorf("%.60q is not a multicast address", words[0])
	}
	port, err := strconv.ParseUint(words[1], 10, 16)
	if err != nil || port == 0 {
		return group, 0, fmt.Errorf("%.60q is not a port", words[1])
	}
	ttl = 1
	if len(words) == 3 {
		if ttl, err = strconv.Atoi(words[2]); err != nil || ttl < 0 || ttl > 255 {
			return group, 0, fmt.Errorf("%.60q is not a number of hops", words[2])
		}
	}
	return netip.AddrPortFrom(addr, uint16(port)), ttl, nil
}

// multicast is a segment of UDP datagrams.
type multicast struct {
	in, out *net.UDPConn
	group   netip.AddrPort
	port    uint16 // where our own datagrams come from
	name    string
	local   localAddrs // for Read
}

func (m *multicast) setTTL(ttl int) error {
	conn, err := m.out.SyscallConn()
	if err != nil {
		return err
	}
	level, name := unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS
	if m.group.Addr().Is4() {
		level, name = unix.IPPROTO_IP, unix.IP_MULTICAST_TTL
	}
	var set error
	if err := conn.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, name, ttl) }); err != nil {
		return err
	}
	return set
}

func (m *multicast) Name() string { return "" }

func (m *multicast) frames() bool { return true }

func (m *multicast) MaxSegments(g GSOType) int {
	if g != GSONone {
		return 0
	}
	return 1
}

func (m *multicast) Read(buf []byte) (int, Offload, error) {
	for {
		n, from, err := m.in.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return 0, Offload{}, os.ErrClosed
		}
		if err != nil {
			return 0, Offload{}, err
		}
		if n > 0 && !(from.Port() == m.port && m.local.has(from.Addr().Unmap(), time.Now())) {
			return n, Offload{}, nil
		}
	}
}

// localAddrs caches the addresses of this machine. Each frame that we send is received again,
// and listing all addresses costs more than handling the frame. One goroutine uses it.
type localAddrs struct {
	look func() ([]net.Addr, error)
	list []netip.Addr
	at   time.Time // when the system was asked
}

// ownAddrsAge is how long an address is assumed to be still ours. A frame of another machine
// that has taken over our address and happens to send from our port would be lost for so long.
const ownAddrsAge = time.Second

// has reports whether addr is one of this machine's, which is asked only about datagrams from our
// own port. For an unknown address the system is always asked: it may be new, and a frame of ours that
// is taken for another machine's would loop.
func (o *localAddrs) has(addr netip.Addr, now time.Time) bool {
	addr = addr.WithZone("")
	if now.Sub(o.at) < ownAddrsAge && slices.Contains(o.list, addr) {
		return true
	}
	list, err := o.look()
	if err != nil {
		return true
	}
	o.list, o.at = o.list[:0], now
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			o.list = append(o.list, p.Addr().Unmap())
		}
	}
	return slices.Contains(o.list, addr)
}

// TryRead always reports ErrAgain: what waits is found by Read.
func (m *multicast) TryRead([]byte) (int, Offload, error) { return 0, Offload{}, ErrAgain }

func (m *multicast) Write(buf []byte, start int, off Offload) error {
	if err := complete(buf, start, off); err != nil {
		return err
	}
	_, err := m.out.WriteToUDPAddrPort(buf[start:], m.group)
	return err
}

func (m *multicast) Close() error { return errors.Join(m.in.Close(), m.out.Close()) }
