package poll

import (
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller waits until one of its descriptors can be read. One goroutine may wait at a time.
//
// The descriptors are in an epoll instance of their own, inner. The goroutine waits for that one by another, outer, which
// the runtime's poller watches. While nobody waits inner is not enabled in outer, and nobody is woken.
type Poller struct {
	inner, outer         *os.File
	innerConn, outerConn syscall.RawConn
	innerFD              int

	events [8]unix.EpollEvent
	millis int    // how long look may wait
	ready  uint64 // result of look
	parked bool   // outer is enabled
	event  unix.EpollEvent
	look   func(fd uintptr) // the three are made once, so that waiting allocates nothing
	park   func(fd uintptr) bool
	unpark func(fd uintptr)
}

// New returns a poller for these descriptors, which stay the caller's. They may be closed before the poller.
func New(fds ...int) (*Poller, error) {
	if len(fds) > MaxDescriptors {
		return nil, errors.ErrUnsupported
	}
	p := &Poller{}
	p.look, p.park, p.unpark = p.lookOnce, p.parkOnce, p.disable
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p.innerFD = fd
	p.inner = os.NewFile(uintptr(fd), "epoll") // it blocks, so the runtime's poller does not get it
	for i, fd := range fds {
		if err := unix.EpollCtl(p.innerFD, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			p.inner.Close()
			return nil, os.NewSyscallError("epoll_ctl", err)
		}
	}
	fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = errors.Join(unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, p.innerFD, &unix.EpollEvent{}), unix.SetNonblock(fd, true))
		p.outer = os.NewFile(uintptr(fd), "epoll")
	}
	if err == nil {
		p.innerConn, err = p.inner.SyscallConn()
	}
	if err == nil {
		p.outerConn, err = p.outer.SyscallConn()
	}
	if err == nil {
		err = p.outer.SetReadDeadline(time.Time{}) // fails unless the runtime's poller has it
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Wait returns a set of descriptors that can be read, or have failed: bit i for the i-th of New. The error is
// [ErrInterrupted], or [os.ErrClosed].
//
// For up to briefly, in steps of a millisecond, it waits in the kernel without telling the scheduler. Nothing has to be
// handed over then, before and after: a packet that comes in this time wakes this thread and no other. In exchange one of
// the processors that Go was given is taken meanwhile. When the runtime wants to stop all goroutines it sends a signal,
// which ends the wait. So briefly should be a few milliseconds, and zero unless something is likely to come.
func (p *Poller) Wait(briefly time.Duration) (ready uint64, err error) {
	p.millis = int(briefly / time.Millisecond)
	for {
		if p.innerConn.Control(p.look) != nil {
			return 0, os.ErrClosed
		}
		p.millis = 0
		if p.ready != 0 {
			return p.ready, nil
		}
		err := p.outerConn.Read(p.park)
		if p.parked {
			p.parked = false
			p.outerConn.Control(p.unpark)
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.outer.SetReadDeadline(time.Time{})
			return 0, ErrInterrupted
		default:
			return 0, os.ErrClosed
		}
	}
}

// Interrupt ends the current Wait, or the next that would have to wait, with [ErrInterrupted].
func (p *Poller) Interrupt() { p.outer.SetReadDeadline(time.Unix(1, 0)) }

// Close ends a Wait with [os.ErrClosed].
func (p *Poller) Close() {
	if p.outer != nil {
		p.outer.Close()
	}
	p.inner.Close()
}

// lookOnce sets p.ready.
func (p *Poller) lookOnce(fd uintptr) {
	p.ready = 0
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(p.millis), 0, 0)
	if errno != 0 {
		return // EINTR
	}
	for _, e := range p.events[:n] {
		p.ready |= 1 << e.Fd
	}
}

// parkOnce lets the runtime's poller wait the first time, unless something has arrived meanwhile: of what was there before
// inner was enabled the kernel does not always tell. The second time inner is ready.
func (p *Poller) parkOnce(fd uintptr) bool {
	if p.parked {
		return true
	}
	p.parked = true
	p.event.Events = unix.EPOLLIN
	unix.EpollCtl(int(fd), unix.EPOLL_CTL_MOD, p.innerFD, &p.event)
	p.lookOnce(uintptr(p.innerFD))
	return p.ready != 0
}

func (p *Poller) disable(fd uintptr) {
	p.event.Events = 0
	unix.EpollCtl(int(fd), unix.EPOLL_CTL_MOD, p.innerFD, &p.event)
}

// File makes a file of a descriptor that does not block, and keeps the runtime's poller out of it: reads and writes by
// its RawConn must not ask to wait.
func File(fd int, name string) *os.File {
	unix.SetNonblock(fd, false)
	f := os.NewFile(uintptr(fd), name) // does not register what blocks
	unix.SetNonblock(fd, true)
	return f
}

// Writable waits until the descriptor can be written, at most for that long, and reports whether it can.
func Writable(fd int, atMost time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	end := time.Now().Add(atMost)
	for {
		left := time.Until(end)
		if left < 0 {
			return false
		}
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		if err != unix.EINTR {
			return err == nil && n > 0
		}
	}
}
