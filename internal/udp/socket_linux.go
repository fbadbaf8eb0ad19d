package udp

import (
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a UDP socket of Linux that moves many datagrams per system call:
// recv_linux.go and send_linux.go. It does not block and waits in the runtime's
// poller, so RawSyscall is safe here and saves the scheduler's bookkeeping.
type socket struct {
	file    *os.File
	conn    syscall.RawConn
	local   netip.AddrPort
	is4     bool
	opts    Options
	gso     atomic.Bool
	dropped atomic.Uint64
	// Set when the system has no recvmmsg or sendmmsg, or a system call filter denies them: then
	// there is one system call for each message.
	recvSingly, sendSingle atomic.Bool

	rx receiver
	_  [64]byte // the two directions do not share a cache line
	tx sender
}

// mmsghdr is struct mmsghdr of sys/socket.h.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received or sent
}

func (s *socket) Local() netip.AddrPort { return s.local }
func (s *socket) CanGSO() bool          { return s.gso.Load() }
func (s *socket) Dropped() uint64       { return s.dropped.Load() }

// notice tells once that a system call is missing.
func (s *socket) notice(call string, err error) {
	if s.opts.Notice != nil {
		s.opts.Notice("this system does not let us use " + call + " (" + err.Error() + "): going on with one system call for each datagram, which is slower")
	}
}

func (s *socket) Close() error {
	if err := s.file.Close(); err != nil {
		return net.ErrClosed
	}
	return nil
}
