package device

import (
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tun is a tun or tap device of Linux, or a descriptor that carries bare packets.
//
// The path of a packet in: one readv puts the virtio header into rx.hdr and the
// packet, up to 64 KiB, into the caller's buffer. Out: the header is written
// just before the packet and both leave in one write. The descriptor does not
// block and waits in the runtime's poller, so RawSyscall is safe here and saves
// the scheduler's bookkeeping; the closures are made once, so that no packet
// costs an allocation.
type tun struct {
	file       *os.File
	conn       syscall.RawConn
	name       string
	vnet       bool            // packets carry a virtio header
	segments   [GSOUDP + 1]int // see MaxSegments
	tap        bool            // packets are Ethernet frames
	auxiliary  bool            // a packet socket: VLAN tags come beside the frame
	resetOnEnd bool            // turn offloads off when closing, for the next owner

	rx struct { // belongs to the reading goroutine
		hdr  [vnetHdrLen]byte
		iov  [2]unix.Iovec
		msg  unix.Msghdr // if auxiliary
		aux  [6]uint64   // its control message
		wait bool
		n    int
		err  syscall.Errno
		fn   func(fd uintptr) bool
	}
	_  [64]byte // the two goroutines do not share a cache line
	tx struct { // belongs to the writing goroutine
		buf   []byte
		err   syscall.Errno
		stuck bool // the last packet was not taken in time
		limit bool // a deadline is set
		fn    func(fd uintptr) bool
	}
}

// maxWait is how long a packet waits for whoever reads at the other end of a socket. Who has been
// that late once loses packets until it reads again: the whole node would wait with them.
const maxWait = 50 * time.Millisecond

// newTun takes over fd, which must be non-blocking.
func newTun(fd int, name, path string, vnet bool) (*tun, error) {
	t := &tun{file: os.NewFile(uintptr(fd), path), name: name, vnet: vnet}
	var err error
	if t.conn, err = t.file.SyscallConn(); err != nil {
		t.file.Close()
		return nil, err
	}
	t.rx.iov[0].Base = &t.rx.hdr[0]
	t.rx.iov[0].SetLen(vnetHdrLen)
	t.rx.fn, t.tx.fn = t.readOnce, t.writeOnce
	return t, nil
}

func (t *tun) Name() string { return t.name }

func (t *tun) MaxSegments(g GSOType) int {
	if int(g) >= len(t.segments) {
		return 0
	}
	return t.segments[g]
}

func (t *tun) Read(buf []byte) (int, Offload, error) {
	t.rx.wait = true
	return t.read(buf)
}

func (t *tun) TryRead(buf []byte) (int, Offload, error) {
	t.rx.wait = false
	return t.read(buf)
}

func (t *tun) read(buf []byte) (int, Offload, error) {
	if len(buf) < MaxPacket {
		return 0, Offload{}, errShortBuffer
	}
	t.rx.iov[1].Base = &buf[0]
	t.rx.iov[1].SetLen(MaxPacket)
	for {
		if t.conn.Read(t.rx.fn) != nil { // without deadlines there is one cause
			return 0, Offload{}, os.ErrClosed
		}
		switch t.rx.err {
		case 0:
		case unix.EAGAIN:
			return 0, Offload{}, ErrAgain
		case unix.EBADFD:
			return 0, Offload{}, errGone
		default:
			return 0, Offload{}, os.NewSyscallError("read "+t.name, t.rx.err)
		}
		if !t.vnet {
			if t.rx.n == 0 { // the other end of a socket went away
				return 0, Offload{}, errGone
			}
			return t.rx.n, Offload{}, nil
		}
		n := t.rx.n - vnetHdrLen
		if n <= 0 {
			continue
		}
		off, err := parseVnetHdr(t.rx.hdr[:], buf[:n])
		if err != nil {
			continue // cannot be cut or finished, so it is of no use to anybody
		}
		if t.auxiliary {
			n = t.restoreTag(buf, n, &off)
		}
		return n, off, nil
	}
}

// readOnce is one try; it returns false if the poller is to wait.
func (t *tun) readOnce(fd uintptr) bool {
	iov, cnt := &t.rx.iov[0], uintptr(2)
	if !t.vnet {
		iov, cnt = &t.rx.iov[1], 1
	}
	for {
		var n uintptr
		var errno syscall.Errno
		if t.auxiliary {
			t.rx.msg.SetControllen(int(unsafe.Sizeof(t.rx.aux)))
			n, _, errno = unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&t.rx.msg)), 0)
		} else {
			n, _, errno = unix.RawSyscall(unix.SYS_READV, fd, uintptr(unsafe.Pointer(iov)), cnt)
		}
		if errno == unix.EINTR {
			continue
		}
		t.rx.n, t.rx.err = int(n), errno
		return errno != unix.EAGAIN || !t.rx.wait
	}
}

func (t *tun) Write(buf []byte, start int, off Offload) error {
	if start < Headroom || start >= len(buf) {
		return errNoHeadroom
	}
	if off.GSO != GSONone && t.MaxSegments(off.GSO) == 0 {
		return ErrRefused
	}
	if t.vnet {
		start -= vnetHdrLen
		putVnetHdr(buf[start:], off)
	} else if off.NeedsCsum {
		finishChecksum(buf[start:], off)
	}
	t.tx.buf = buf[start:]
	err := t.conn.Write(t.tx.fn)
	if t.tx.limit {
		t.tx.limit = false
		t.file.SetWriteDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.tx.stuck = true
		return errLate
	} else if err != nil {
		return os.ErrClosed
	}
	switch t.tx.err {
	case 0:
		t.tx.stuck = false
		return nil
	case unix.EAGAIN:
		return errLate
	case unix.EBADFD:
		return errGone
	case unix.EINVAL, unix.EMSGSIZE:
		// Besides what is wrong with any kernel, those of 2024 refuse TCP with a short last
		// segment (a check of virtio headers that was taken back soon after).
		if off.GSO != GSONone {
			return ErrRefused
		}
	}
	return t.tx.err // a small errno as an error costs no allocation
}

func (t *tun) writeOnce(fd uintptr) bool {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&t.tx.buf[0])), uintptr(len(t.tx.buf)))
		if errno == unix.EINTR {
			continue
		}
		t.tx.err = errno
		if errno != unix.EAGAIN || t.tx.stuck {
			return true
		}
		if !t.tx.limit {
			t.tx.limit = true
			t.file.SetWriteDeadline(time.Now().Add(maxWait))
		}
		return false
	}
}

func (t *tun) Close() error {
	if t.resetOnEnd {
		// A persistent interface outlives us, and so would its offloads: its
		// next owner may not know what to do with super-packets.
		t.conn.Control(func(fd uintptr) { unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, 0) })
	}
	return t.file.Close()
}

var (
	errLate        = errors.New("nobody takes packets at the other end of the device")
	errGone        = errors.New("the interface was removed")
	errShortBuffer = errors.New("buffer is smaller than the largest packet")
)
