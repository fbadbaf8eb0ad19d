package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"tincan/internal/netwatch"
	"tincan/internal/oserr"
)

// listenPlain binds a socket to addr that uses only what every system has.
func listenPlain(addr netip.AddrPort, opts Options) (*plainSocket, error) {
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
	s := &plainSocket{conn: conn, is4: addr.Addr().Is4(), buf: make([]byte, 64<<10)}
	s.local = netip.AddrPortFrom(addr.Addr(), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	if s.raw, err = conn.SyscallConn(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("listen on UDP %s: %w", addr, err)
	}
	if !opts.Fragment && !s.neverFragments() {
		s.fits.mtu = s.PathMTU
	}
	return s, nil
}

// neverFragments asks the system to set DF on all that is sent, and tells whether it does.
func (s *plainSocket) neverFragments() bool {
	level, option := optionDontFragment(s.is4)
	return option != 0 && s.control(func(fd uintptr) error { return setOption(fd, level, option, dontFragment) }) == nil
}

// control runs f on the descriptor.
func (s *plainSocket) control(f func(fd uintptr) error) (err error) {
	if failed := s.raw.Control(func(fd uintptr) { err = f(fd) }); failed != nil {
		return failed
	}
	return err
}

// setBuffer halves size until the system accepts it.
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

// plainSocket moves one datagram per system call.
type plainSocket struct {
	conn    *net.UDPConn
	raw     syscall.RawConn
	fits    fits
	ttl     sync.RWMutex // held for writing while the socket has another TTL than its own
	local   netip.AddrPort
	is4     bool
	buf     []byte
	arrival [1]Arrival
	dropped atomic.Uint64
}

func (s *plainSocket) Local() netip.AddrPort { return s.local }
func (s *plainSocket) CanGSO() bool          { return false }
func (s *plainSocket) Dropped() uint64       { return s.dropped.Load() }
func (s *plainSocket) Close() error          { return s.conn.Close() }

// PathMTU is the MTU of the interface towards addr: the system does not tell the path MTU that it has learned.
func (s *plainSocket) PathMTU(addr netip.Addr) int {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.Is4() != s.is4 {
		return 0
	}
	own := netwatch.Towards(addr).WithZone("")
	for i, p := range netwatch.Addresses() {
		if p.Addr().Unmap().WithZone("") == own {
			return i.MTU
		}
	}
	return 0
}

func (s *plainSocket) Recv() ([]Arrival, error) {
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
		// Windows reports here that an earlier datagram was refused.
	}
}

func (s *plainSocket) Send(runs []Run) (failed error) {
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
			if err := s.write(b[:n], to, r.TTL); err != nil {
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

// write sends a datagram. One without its own TTL waits only for a datagram that has one.
func (s *plainSocket) write(b []byte, to netip.AddrPort, ttl uint8) error {
	if s.fits.refuses(to.Addr(), len(b)+ipOverhead(s.is4)) {
		return oserr.TooLong
	}
	if ttl == 0 {
		s.ttl.RLock()
		defer s.ttl.RUnlock()
		_, err := s.conn.WriteToUDPAddrPort(b, to)
		return err
	}
	s.ttl.Lock()
	defer s.ttl.Unlock()
	level, option := optionTTL(s.is4)
	var usual int
	err := s.control(func(fd uintptr) (err error) {
		if usual, err = getOption(fd, level, option); err != nil {
			return err
		}
		return setOption(fd, level, option, int(ttl))
	})
	if err != nil {
		return fmt.Errorf("set the time to live: %w", err)
	}
	_, err = s.conn.WriteToUDPAddrPort(b, to)
	return errors.Join(err, s.control(func(fd uintptr) error { return setOption(fd, level, option, usual) }))
}

// isTooLong recognises EMSGSIZE and, on Windows, WSAEMSGSIZE.
func isTooLong(err error) bool {
	return errors.Is(err, oserr.TooLong)
}
