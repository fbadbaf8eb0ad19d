package udp

import (
	"errors"
	"net/netip"
)

// DefaultBuffer is the size of the kernel's socket buffers, in bytes, when
// [Options] do not say otherwise. It holds some milliseconds at 10 Gbit/s.
const DefaultBuffer = 7 << 20

// Options of a socket. The zero value is what a node uses.
type Options struct {
	RcvBuf, SndBuf int    // bytes; 0 is DefaultBuffer, negative leaves the system's default
	Mark           int    // SO_MARK, 0 for none; Linux only
	BindToDevice   string // send and receive on this interface only; Linux only
	ReusePort      bool   // several sockets share the port, flows are spread over them; Linux only
	Fragment       bool   // let routers fragment, instead of reporting what is too long
	// Notice, if set, is called with a sentence about a missing system feature that reduces throughput. It is called
	// from Send and Recv, at most once for each direction.
	Notice    func(string)
	NoOffload bool // neither segmentation (GSO) nor merging (GRO) in the kernel
}

var (
	errFamily = errors.New("the socket does not support the destination's address family")
	errRun    = errors.New("run has too many segments or bytes, or none")
)

// check refuses runs that no socket could send.
func (r *Run) check() error {
	if len(r.Buf) > MaxRun || r.Size <= 0 || len(r.Buf) > r.Size*MaxSegments {
		return errRun
	}
	return nil
}

// whole reports whether the run is a single datagram.
func (r *Run) whole() bool { return len(r.Buf) <= r.Size }

// plainAddr is a with IPv4-mapped addresses as IPv4.
func plainAddr(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// ipOverhead is the length of IP and UDP headers.
func ipOverhead(is4 bool) int {
	if is4 {
		return 28
	}
	return 48
}
