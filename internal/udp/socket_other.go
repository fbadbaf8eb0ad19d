//go:build !linux

package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// Listen binds a socket to addr. Port 0 takes any free port. An IPv6 socket
// speaks IPv6 only; a node that wants both opens two.
func Listen(addr netip.AddrPort, opts Options) (Socket, error) {
	addr = plainAddr(addr)
	if opts.Mark != 0 || opts.BindToDevice != "" || opts.ReusePort {
		return nil, fmt.Errorf("listen on UDP %s: marks, binding to an interface and shared ports: %w", addr, errors.ErrUnsupported)
	}
	network := "udp6"
	if addr.Addr().Is4() {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("listen on UDP %s: %w", addr, err)
	}
	setBuffer(conn.SetReadBuffer, opts.RcvBuf)
	setBuffer(conn.SetWriteBuffer, opts.SndBuf)
	s := &socket{conn: conn, is4: addr.Addr().Is4(), buf: make([]byte, 64<<10)}
	s.local = netip.AddrPortFrom(addr.Addr(), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	return s, nil
}

// setBuffer halves the wish until the system accepts it.
func setBuffer(set func(int) error, size int) {
	if size == 0 {
		size = DefaultBuffer
	}
	for ; size >= 64<<10; size /= 2 {
		if set(size) == nil {
			return
		}
	}
}

// socket moves one datagram per system call.
type socket struct {
	conn    *net.UDPConn
	local   netip.AddrPort
	is4     bool
	buf     []byte
	arrival [1]Arrival
	dropped atomic.Uint64
}

func (s *socket) Local() netip.AddrPort { return s.local }
func (s *socket) CanGSO() bool          { return false }
func (s *socket) Dropped() uint64       { return s.dropped.Load() }
func (s *socket) Close() error          { return s.conn.Close() }

// PathMTU is not known on this system.
func (s *socket) PathMTU(netip.Addr) int { return 0 }

func (s *socket) Recv() ([]Arrival, error) {
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(s.buf)
		if errors.Is(err, net.ErrClosed) {
			return nil, net.ErrClosed
		}
		if n > 0 && err == nil {
			s.arrival[0] = Arrival{From: plainAddr(from), Buf: s.buf[:n], Size: n}
			return s.arrival[:], nil
		}
		var errno syscall.Errno
		if err != nil && !errors.As(err, &errno) {
			return nil, err
		}
		// Windows reports here that something sent earlier was refused.
	}
}

func (s *socket) Send(runs []Run) (failed error) {
	for i := range runs {
		r := &runs[i]
		err := r.check()
		if err == nil && r.To.Addr().Unmap().Is4() != s.is4 {
			err = errFamily
		}
		if err != nil {
			s.dropped.Add(1)
			if failed == nil {
				failed = err
			}
			continue
		}
		to := plainAddr(r.To)
		for b := r.Buf; len(b) > 0; {
			n := min(r.Size, len(b))
			if _, err := s.conn.WriteToUDPAddrPort(b[:n], to); err != nil {
				s.dropped.Add(1)
				if isTooLong(err) {
					err = &TooLong{To: to, Size: n}
				}
				if failed == nil {
					failed = err
				}
			}
			b = b[n:]
		}
	}
	return failed
}

// isTooLong knows EMSGSIZE and what Windows calls it (WSAEMSGSIZE).
func isTooLong(err error) bool {
	return errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.Errno(10040))
}
