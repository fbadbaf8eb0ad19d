package userns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage is longer than what the processes tell each other, in bytes.
const maxMessage = 64 << 10

// socketKinds are the sockets that the child opens, by the byte that asks for them.
var socketKinds = map[byte][2]int{
	't': {unix.AF_INET, unix.SOCK_STREAM}, 'T': {unix.AF_INET6, unix.SOCK_STREAM},
	'u': {unix.AF_INET, unix.SOCK_DGRAM}, 'U': {unix.AF_INET6, unix.SOCK_DGRAM},
}

// backlog is how many connections a listener keeps that nobody has accepted.
const backlog = 1024

// socket gets a socket from the child, which does not block.
func (n *Namespace) socket(network string, addr netip.Addr) (int, error) {
	kind := map[string]byte{"tcp false": 't', "tcp true": 'T', "udp false": 'u', "udp true": 'U'}[fmt.Sprint(network, " ", addr.Is6())]
	if kind == 0 {
		return -1, net.UnknownNetworkError(network)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sock == nil {
		return -1, net.ErrClosed
	}
	if _, err := unix.Write(int(n.sock.Fd()), []byte{kind}); err != nil {
		return -1, fmt.Errorf("asking for a socket in the namespace: %w", err)
	}
	var answer [8]byte
	size, fds, err := receive(int(n.sock.Fd()), answer[:])
	switch {
	case err != nil:
		return -1, fmt.Errorf("waiting for a socket in the namespace: %w", err)
	case size == 0:
		return -1, fmt.Errorf("the namespace has ended: %w", net.ErrClosed)
	case len(fds) != 1:
		for _, fd := range fds {
			unix.Close(fd)
		}
		return -1, os.NewSyscallError("socket", unix.Errno(answer[0]))
	}
	return fds[0], nil
}

// DialContext connects to an address from within the namespace. network is "tcp" or "udp".
func (n *Namespace) DialContext(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	c, err := n.dial(ctx, network, netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return c, nil
}

func (n *Namespace) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	fd, err := n.socket(network, to.Addr())
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), network)
	defer f.Close() // net.FileConn has its own
	err = unix.Connect(fd, sockaddr(to))
	if errors.Is(err, unix.EINPROGRESS) {
		err = connected(ctx, f)
	}
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}

// connected waits until a socket is connected, or cannot be.
func connected(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if end, ok := ctx.Deadline(); ok {
		_ = f.SetWriteDeadline(end)
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })()
	var result error
	err = raw.Write(func(fd uintptr) bool {
		// Before the socket is connected there is no peer, and no error either.
		code, e := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if e == nil && code != 0 {
			e = unix.Errno(code)
		}
		if e == nil {
			if _, p := unix.Getpeername(int(fd)); p != nil {
				return false
			}
		}
		result = e
		return true
	})
	if err == nil {
		return result
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Listen listens for TCP at an address of the namespace. The zero address, with a port, is all of IPv4.
func (n *Namespace) Listen(network string, at netip.AddrPort) (net.Listener, error) {
	fd, err := n.bound(network, at)
	if err == nil {
		if err = unix.Listen(fd, backlog); err != nil {
			unix.Close(fd)
			err = os.NewSyscallError("listen", err)
		}
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.TCPAddrFromAddrPort(at), Err: err}
	}
	return listener(fd)
}

// ListenPacket opens a socket for UDP at an address of the namespace.
func (n *Namespace) ListenPacket(network string, at netip.AddrPort) (net.PacketConn, error) {
	fd, err := n.bound(network, at)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.UDPAddrFromAddrPort(at), Err: err}
	}
	return packetConn(fd)
}

func (n *Namespace) bound(network string, at netip.AddrPort) (int, error) {
	if !at.Addr().IsValid() {
		at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
	}
	fd, err := n.socket(network, at.Addr())
	if err != nil {
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, sockaddr(at)); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// listener and packetConn take over a descriptor, also if they fail.
func listener(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	return net.FileListener(f)
}

func packetConn(fd int) (net.PacketConn, error) {
	f := os.NewFile(uintptr(fd), "udp")
	defer f.Close()
	return net.FilePacketConn(f)
}

// receive takes one message and the descriptors that come with it. size is 0 if the other process has gone.
func receive(sock int, buf []byte) (size int, fds []int, err error) {
	control := make([]byte, unix.CmsgSpace(4*4))
	var n int
	for {
		if size, n, _, _, err = unix.Recvmsg(sock, buf, control, unix.MSG_CMSG_CLOEXEC); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return 0, nil, err
	}
	list, err := unix.ParseSocketControlMessage(control[:n])
	for i := range list {
		if got, e := unix.ParseUnixRights(&list[i]); e == nil {
			fds = append(fds, got...)
		}
	}
	return size, fds, err
}

// send sends one message with descriptors, which stay open here.
func send(sock int, text []byte, fds ...int) error {
	return unix.Sendmsg(sock, text, unix.UnixRights(fds...), nil, 0)
}
