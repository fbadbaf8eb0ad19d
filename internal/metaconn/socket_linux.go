package metaconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	lowDelay = 0x10 // IP_TOS
	// notSentLimit is how many bytes that cannot be sent yet the kernel takes.
	// What it takes more would be delay that nobody can drop.
	notSentLimit = 128 << 10
	// maxSegment is the largest TCP segment in bytes, for us and for the other end: what a path with
	// the least MTU of IPv6 (1280, RFC 8200) takes. On many paths larger packets vanish without
	// ICMP, and by default the kernel sends them again and again.
	maxSegment = 1220
)

// limitSegments sets that before the connection is made. It is not vital.
func limitSegments(fd uintptr) {
	unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, maxSegment)
}

// incoming prepares a listener for what it will accept.
func incoming(l net.Listener) {
	if tcp, ok := l.(*net.TCPListener); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			raw.Control(limitSegments)
		}
	}
}

// tune sets the options of a connection that stands. None of them is vital.
func (t *Table) tune(s stream) {
	tcp := tcpOf(s)
	if tcp == nil {
		return
	}
	_, hidden := s.(*carried)
	tcp.SetNoDelay(true)
	tcp.SetKeepAliveConfig(keepAlive)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(p uintptr) {
		fd := int(p)
		if !hidden { // web browsers set no type of service
			// On an IPv6 socket with an IPv4 peer the first counts, else the second.
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, lowDelay)
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, lowDelay)
		}
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(t.cfg.UserTimeout.Milliseconds()))
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLimit)
	})
}

// outgoing prepares a socket before it connects.
func (t *Table) outgoing(_ context.Context, network, _ string, raw syscall.RawConn) error {
	return t.prepare(raw, network, false)
}

// outgoingHidden prepares a socket for a carrier, which must not differ from that of a web browser.
func (t *Table) outgoingHidden(_ context.Context, network, _ string, raw syscall.RawConn) error {
	return t.prepare(raw, network, true)
}

func (t *Table) prepare(raw syscall.RawConn, network string, hidden bool) (err error) {
	failed := raw.Control(func(p uintptr) {
		if !hidden {
			limitSegments(p)
			if strings.HasSuffix(network, "6") {
				unix.SetsockoptInt(int(p), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, lowDelay)
			} else {
				unix.SetsockoptInt(int(p), unix.IPPROTO_IP, unix.IP_TOS, lowDelay)
			}
		}
		err = t.bind(int(p))
	})
	if failed != nil {
		return failed
	}
	return err
}

// bind gives a socket the mark and the interface of the configuration.
func (t *Table) bind(fd int) error {
	if t.cfg.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, t.cfg.Mark); err != nil {
			return fmt.Errorf("set mark %d: %w", t.cfg.Mark, err)
		}
	}
	if t.cfg.BindToDevice != "" {
		if err := unix.BindToDevice(fd, t.cfg.BindToDevice); err != nil {
			return fmt.Errorf("bind to interface %s: %w", t.cfg.BindToDevice, err)
		}
	}
	return nil
}

// hungUp tells whether the peer has ended its side already.
func hungUp(tcp *net.TCPConn) bool {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	raw.Control(func(p uintptr) {
		fds := []unix.PollFd{{Fd: int32(p), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return gone
}

// write hands b to the kernel and notes when that does not take it.
func (c *conn) write(b []byte) error {
	if s, ok := c.tcp.(*carried); ok {
		return c.writeCarried(s, b)
	}
	return writeRaw(c.tcp, b, c.refused, c.took)
}

// writeRaw hands b to the kernel. It calls refused when that does not take it, and took with the number of bytes that it
// has taken.
func writeRaw(s stream, b []byte, refused func(), took func(int)) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	for len(b) > 0 {
		var n int
		var err error
		wait := raw.Write(func(fd uintptr) bool {
			for {
				n, err = unix.Write(int(fd), b)
				if !errors.Is(err, unix.EINTR) {
					break
				}
			}
			if errors.Is(err, unix.EAGAIN) {
				refused()
				return false
			}
			return true
		})
		if wait != nil {
			return wait
		}
		if err != nil {
			return err
		}
		b = b[n:]
		took(n)
	}
	return nil
}
