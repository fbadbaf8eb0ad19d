package udp

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// sendBatch is how many runs leave in one system call.
	sendBatch = 32
	// sendTimeout is how long Send waits for room in the socket's buffer. The
	// kernel empties that buffer at the speed of the network card, so what does
	// not fit after this time meets congestion and is dropped.
	sendTimeout = 20 * time.Millisecond
)

// sender holds what one call of Send needs; the lock makes Send safe for several
// goroutines and costs nothing if there is only one.
type sender struct {
	mu       sync.Mutex
	msgs     [sendBatch]mmsghdr
	iovs     [sendBatch]unix.Iovec
	names    [sendBatch]sockaddr
	controls [sendBatch][6]uint64 // cmsghdr and the segment size, cmsghdr and the TOS or TTL
	runs     [sendBatch]Run
	n        int // messages prepared
	zones    zones
	deadline time.Time // when this Send gives up waiting; zero if it has not waited yet
	failed   error     // the first error of this Send

	first, end int // messages of the next system call
	wait       bool
	sent       int
	err        syscall.Errno
	fn         func(fd uintptr) bool
}

func (s *socket) initSender() {
	tx := &s.tx
	for i := range tx.msgs {
		h := &tx.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&tx.names[i]))
		h.Iov = &tx.iovs[i]
		h.SetIovlen(1)
		c := (*unix.Cmsghdr)(unsafe.Pointer(&tx.controls[i]))
		c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
		c = (*unix.Cmsghdr)(unsafe.Add(unsafe.Pointer(c), unix.CmsgSpace(2)))
		c.SetLen(unix.CmsgLen(4))
	}
	tx.fn = s.sendOnce
}

func (s *socket) Send(runs []Run) error {
	tx := &s.tx
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.failed, tx.deadline = nil, time.Time{}
	for i := range runs {
		r := &runs[i]
		if err := r.check(); err != nil {
			s.countDropped(r, err)
			continue
		}
		if r.To.Addr().Unmap().Is4() != s.is4 {
			s.countDropped(r, errFamily)
			continue
		}
		if r.whole() || s.gso.Load() {
			s.queue(*r)
		} else {
			s.queueSingly(*r)
		}
	}
	s.flush()
	return tx.failed
}

// queue prepares a message, and sends what is queued if there is no more room.
func (s *socket) queue(r Run) {
	tx := &s.tx
	i := tx.n
	tx.runs[i] = r
	h := &tx.msgs[i].hdr
	h.Namelen = putSockaddr(&tx.names[i], r.To, tx.zones.number(r.To.Addr().Zone()))
	tx.iovs[i].Base = unsafe.SliceData(r.Buf)
	tx.iovs[i].SetLen(len(r.Buf))
	s.control(i, !r.whole())
	if tx.n++; tx.n == sendBatch {
		s.flush()
	}
}

// control attaches the control messages of its run to message i; cut: the segment
// size too.
func (s *socket) control(i int, cut bool) {
	r, h := &s.tx.runs[i], &s.tx.msgs[i].hdr
	h.Control = nil
	h.SetControllen(0)
	first, length := unsafe.Pointer(&s.tx.controls[i]), 0
	second := unsafe.Add(first, unix.CmsgSpace(2))
	if cut {
		*(*uint16)(unsafe.Add(first, unix.CmsgLen(0))) = uint16(r.Size)
		length = unix.CmsgSpace(2)
	} else {
		first = second
	}
	if value := max(r.TTL, r.TOS); value != 0 { // one of the two
		c := (*unix.Cmsghdr)(second)
		switch {
		case r.TTL != 0 && s.is4:
			value, c.Level, c.Type = r.TTL, unix.SOL_IP, unix.IP_TTL
		case r.TTL != 0:
			value, c.Level, c.Type = r.TTL, unix.SOL_IPV6, unix.IPV6_HOPLIMIT
		case s.is4:
			c.Level, c.Type = unix.SOL_IP, unix.IP_TOS
		default:
			c.Level, c.Type = unix.SOL_IPV6, unix.IPV6_TCLASS
		}
		*(*int32)(unsafe.Add(second, unix.CmsgLen(0))) = int32(value)
		length += unix.CmsgSpace(4)
	}
	if length > 0 {
		h.Control = (*byte)(first)
		h.SetControllen(length)
	}
}

func (s *socket) queueSingly(r Run) {
	for b := r.Buf; len(b) > 0; {
		n := min(r.Size, len(b))
		s.queue(Run{To: r.To, Buf: b[:n], Size: n, TOS: r.TOS, TTL: r.TTL})
		b = b[n:]
	}
}

// flush sends what is queued. A message that the kernel refuses does not keep
// back those after it.
func (s *socket) flush() {
	tx := &s.tx
	n := tx.n
	for i := 0; i < n; {
		sent, errno := s.sendmmsg(i, n)
		if errno == 0 {
			i += sent
			continue
		}
		if errno == unix.EAGAIN {
			for ; i < n; i++ {
				s.countDropped(&tx.runs[i], errno)
			}
			break
		}
		s.refused(i, errno)
		i++
	}
	clear(tx.runs[:n]) // keep nothing of the caller's
	for i := range tx.iovs[:n] {
		tx.iovs[i].Base = nil
	}
	tx.n = 0
}

// refused handles message i, which the kernel refused.
func (s *socket) refused(i int, errno syscall.Errno) {
	r := &s.tx.runs[i]
	tooLong := errno == unix.EMSGSIZE
	if !r.whole() && (errno == unix.EINVAL || errno == unix.EIO) {
		// Before 6.13 the kernel says EINVAL also for segments that are too long.
		mtu := s.PathMTU(r.To.Addr())
		tooLong = mtu > 0 && r.Size+ipOverhead(s.is4) > mtu
		if !tooLong {
			// The outgoing interface has no checksum offload, or lacks something else that GSO needs.
			s.gso.Store(false)
		}
	}
	switch {
	case tooLong && (!s.opts.Fragment || r.whole()):
		s.countDropped(r, &TooLong{To: plainAddr(r.To), Size: r.Size})
	case r.whole() || !tooLong && s.gso.Load():
		s.countDropped(r, errno)
	default:
		s.sendSingly(i)
	}
}

// sendSingly sends the datagrams of message i one by one.
func (s *socket) sendSingly(i int) {
	tx := &s.tx
	r := tx.runs[i]
	s.control(i, false)
	for b := r.Buf; len(b) > 0; {
		n := min(r.Size, len(b))
		one := Run{To: r.To, Buf: b[:n], Size: n}
		tx.iovs[i].Base = &b[0]
		tx.iovs[i].SetLen(n)
		switch _, errno := s.sendmmsg(i, i+1); errno {
		case 0:
		case unix.EMSGSIZE:
			s.countDropped(&one, &TooLong{To: plainAddr(r.To), Size: n})
		default:
			s.countDropped(&one, errno)
		}
		b = b[n:]
	}
}

// countDropped counts what was not sent and remembers the first cause.
func (s *socket) countDropped(r *Run, err error) {
	n := 1
	if r.Size > 0 {
		n = (len(r.Buf) + r.Size - 1) / r.Size
	}
	s.dropped.Add(uint64(n))
	if s.tx.failed == nil {
		if err == unix.EBADF {
			err = net.ErrClosed
		} else if errno, ok := err.(syscall.Errno); ok {
			err = &net.OpError{Op: "send", Net: "udp", Addr: net.UDPAddrFromAddrPort(plainAddr(r.To)), Err: errno}
		}
		s.tx.failed = err
	}
}

// sendmmsg sends messages from to to-1. Either some were sent, or the error is
// that of the first. EAGAIN comes only when this Send has waited for sendTimeout.
func (s *socket) sendmmsg(from, to int) (sent int, errno syscall.Errno) {
	tx := &s.tx
	tx.first, tx.end, tx.wait = from, to, false
	if s.conn.Write(tx.fn) != nil {
		return 0, unix.EBADF
	}
	if tx.err != unix.EAGAIN {
		return tx.sent, tx.err
	}
	if tx.deadline.IsZero() {
		tx.deadline = time.Now().Add(sendTimeout)
	}
	s.file.SetWriteDeadline(tx.deadline)
	defer s.file.SetWriteDeadline(time.Time{})
	tx.wait = true
	switch err := s.conn.Write(tx.fn); {
	case err == nil:
		return tx.sent, tx.err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, unix.EAGAIN
	default:
		return 0, unix.EBADF
	}
}

func (s *socket) sendOnce(fd uintptr) bool {
	tx := &s.tx
	for {
		n, errno := uintptr(0), syscall.Errno(0)
		if s.sendSingle.Load() {
			_, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&tx.msgs[tx.first].hdr)), unix.MSG_DONTWAIT)
			n = 1
		} else {
			n, _, errno = unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&tx.msgs[tx.first])),
				uintptr(tx.end-tx.first), unix.MSG_DONTWAIT, 0, 0)
		}
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.ENOSYS && !s.sendSingle.Swap(true) {
			s.notice("sendmmsg", errno)
			continue
		}
		if errno == unix.EPERM && !s.sendSingle.Load() {
			// Either a filter for system calls that does not know this one, or a firewall that
			// drops the message. A single call tells which.
			_, _, single := unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&tx.msgs[tx.first].hdr)), unix.MSG_DONTWAIT)
			if single == 0 {
				if !s.sendSingle.Swap(true) {
					s.notice("sendmmsg", errno)
				}
				n, errno = 1, 0
			}
		}
		tx.sent, tx.err = int(n), errno
		return errno != unix.EAGAIN || !tx.wait
	}
}
