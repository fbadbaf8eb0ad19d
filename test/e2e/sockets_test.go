//go:build linux

package e2e

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/device"
	"tincan/internal/lab"
)

// outThrough makes what conn sends to a group leave by the given interface.
func outThrough(conn *net.UDPConn, iface *net.Interface, group netip.Addr) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		switch {
		case group.Is6():
			set = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_MULTICAST_IF, iface.Index)
		case group.IsMulticast():
			set = unix.SetsockoptIPMreqn(int(fd), unix.SOL_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(iface.Index)})
		default:
			if set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1); set == nil {
				set = unix.BindToDevice(int(fd), iface.Name)
			}
		}
	})
	if err == nil {
		err = set
	}
	return err
}

// subscriber is a program that has joined the group 239.1.2.3 7000 on a host.
type subscriber struct {
	in  *net.UDPConn
	out net.Conn
}

func groupMember(w *world, h *lab.Host) *subscriber {
	w.Helper()
	m := &subscriber{}
	w.must(h.Do(func() (err error) {
		group := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("239.1.2.3:7000"))
		if m.in, err = net.ListenMulticastUDP("udp4", nil, group); err != nil {
			return err
		}
		m.out, err = net.DialUDP("udp4", nil, group)
		return err
	}))
	w.Cleanup(func() { m.in.Close(); m.out.Close() })
	return m
}

// hears tells whether the frame comes within a moment.
func (m *subscriber) hears(frame []byte) bool {
	var buf [2000]byte
	_ = m.in.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	for {
		n, err := m.in.Read(buf[:])
		if err != nil {
			return false
		}
		if bytes.Equal(buf[:n], frame) {
			return true
		}
	}
}

// rawOn is a packet socket on an interface of a node, which is up by then: else the socket would begin with an error.
func rawOn(w *world, n *node, iface string) (d device.Device) {
	w.Helper()
	w.eventually(iface+" of "+n.Name()+" is up", patience, func() (up bool) {
		w.must(n.Do(func() error {
			i, err := net.InterfaceByName(iface)
			up = err == nil && i.Flags&net.FlagUp != 0
			return nil
		}))
		return up
	})
	w.must(n.Do(func() (err error) { d, err = device.OpenRaw(iface); return err }))
	w.Cleanup(func() { d.Close() })
	return d
}

// giveTun makes a tun interface on a node and hands its descriptor to whoever
// connects to an abstract UNIX socket.
func giveTun(w *world, n *node, socket, iface string) {
	w.Helper()
	var fd int
	var ln net.Listener
	w.must(n.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq(iface)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			return err
		}
		ln, err = net.Listen("unix", socket)
		return err
	}))
	w.Cleanup(func() { ln.Close(); unix.Close(fd) })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.(*net.UnixConn).WriteMsgUnix([]byte{0}, unix.UnixRights(fd), nil)
			conn.Close()
		}
	}()
}
