package udp

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// recvBatch is how many super-packets one system call may bring. More than
	// a few do not fit the CPU's cache, fewer cost calls when datagrams of many
	// senders cannot be merged.
	recvBatch = 16
	// recvStride is the distance of the buffers. The kernel merges up to 64 KiB
	// only if the buffer has room for it. The additional 9 cache lines keep the beginnings of
	// the buffers out of the same cache set.
	recvStride = 64<<10 + 9*64
)

// receiver belongs to the receiving goroutine. Memory of its buffers that no
// datagram has reached yet is never touched, so no page is allocated for it: an
// idle node stays small.
type receiver struct {
	*arrivals
	zones zones
	used  int // messages to prepare before the next call
	err   syscall.Errno
	fn    func(fd uintptr) bool
	spare chan *arrivals // released ones
}

// maxSpare is how many released buffers a socket keeps. Those that are kept are limited by who keeps them.
const maxSpare = 8

// arrivals is what one Recv returns, and the memory that the kernel writes it to.
type arrivals struct {
	buf      []byte
	msgs     [recvBatch]mmsghdr
	iovs     [recvBatch]unix.Iovec
	names    [recvBatch]sockaddr
	controls [recvBatch][4]uint64 // room for the cmsg of UDP_GRO, aligned
	list     [recvBatch]Arrival
	home     chan *arrivals
}

func (s *socket) initReceiver() {
	s.rx.spare = make(chan *arrivals, maxSpare)
	s.rx.fn = s.recvOnce
	s.takeArrivals()
}

// takeArrivals makes the next Recv use memory that nobody has kept.
func (s *socket) takeArrivals() {
	select {
	case s.rx.arrivals = <-s.rx.spare:
	default:
		s.rx.arrivals = newArrivals(s.rx.spare)
	}
	s.rx.used = recvBatch
}

func newArrivals(home chan *arrivals) *arrivals {
	a := &arrivals{buf: make([]byte, recvBatch*recvStride), home: home}
	for i := range a.msgs {
		a.iovs[i].Base = &a.buf[i*recvStride]
		a.iovs[i].SetLen(64 << 10)
		h := &a.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&a.names[i]))
		h.Iov = &a.iovs[i]
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&a.controls[i]))
	}
	return a
}

// Release gives the memory back to the socket.
func (a *arrivals) Release() {
	select {
	case a.home <- a:
	default:
	}
}

func (s *socket) Keep() Kept {
	kept := s.rx.arrivals
	s.takeArrivals()
	return kept
}

func (s *socket) Recv() ([]Arrival, error) {
	rx := &s.rx
	for {
		for i := range rx.msgs[:rx.used] {
			h := &rx.msgs[i].hdr
			h.Namelen = unix.SizeofSockaddrInet6
			h.SetControllen(int(unsafe.Sizeof(rx.controls[i])))
		}
		rx.used = 0
		if s.conn.Read(rx.fn) != nil { // without deadlines there is one cause
			return nil, net.ErrClosed
		}
		switch rx.err {
		case 0:
		case unix.ENOSYS, unix.EPERM:
			if s.recvSingly.Swap(true) {
				return nil, os.NewSyscallError("recvmsg", rx.err)
			}
			s.notice("recvmmsg", rx.err)
			continue
		case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EMSGSIZE:
			continue // an error about an earlier datagram; reading it clears it
		default:
			return nil, os.NewSyscallError("recvmmsg", rx.err)
		}
		n := 0
		for i := range rx.msgs[:rx.used] {
			if s.arrival(&rx.list[n], i) {
				n++
			}
		}
		if n > 0 {
			return rx.list[:n], nil
		}
	}
}

func (s *socket) recvOnce(fd uintptr) bool {
	for {
		n, errno := uintptr(0), syscall.Errno(0)
		if s.recvSingly.Load() {
			m := &s.rx.msgs[0]
			n, _, errno = unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&m.hdr)), unix.MSG_DONTWAIT)
			m.n, n = uint32(n), 1
		} else {
			n, _, errno = unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&s.rx.msgs[0])),
				recvBatch, unix.MSG_DONTWAIT, 0, 0)
		}
		if errno == unix.EINTR {
			continue
		}
		s.rx.err = errno
		if errno == 0 {
			s.rx.used = int(n)
		}
		return errno != unix.EAGAIN
	}
}

// arrival fills a from message i; it returns false for an empty or truncated message.
func (s *socket) arrival(a *Arrival, i int) bool {
	m := &s.rx.msgs[i]
	from, scope := parseSockaddr(&s.rx.names[i])
	if m.n == 0 || m.hdr.Flags&unix.MSG_TRUNC != 0 || !from.IsValid() {
		return false
	}
	if scope != 0 {
		from = netip.AddrPortFrom(from.Addr().WithZone(s.rx.zones.name(scope)), from.Port())
	}
	start := i * recvStride
	a.From = from
	a.Buf = s.rx.buf[start : start+int(m.n) : start+64<<10]
	a.Size = int(m.n)
	if m.hdr.Controllen >= unix.SizeofCmsghdr+4 {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&s.rx.controls[i]))
		if c.Level == unix.SOL_UDP && c.Type == unix.UDP_GRO {
			data := unsafe.Add(unsafe.Pointer(c), unix.CmsgLen(0))
			if size := int(*(*int32)(data)); size > 0 && size < a.Size {
				a.Size = size
			}
		}
	}
	return true
}
