// Package udp sends and receives datagrams in batches.
//
// It knows addresses and sizes, nothing of what the datagrams carry.
package udp

import "net/netip"

// MaxRun is the largest number of bytes in one run.
const MaxRun = 65507

// MaxSegments is the largest number of datagrams in one run.
const MaxSegments = 44

// Run is one or more datagrams for one destination, all of Size bytes but the
// last, which may be shorter. They are contiguous in Buf.
type Run struct {
	To   netip.AddrPort
	Buf  []byte
	Size int // bytes per datagram; len(Buf) or more means a single one
	// TOS is the type of service or traffic class of the datagrams, 0: that of the
	// socket. Only Linux supports it.
	TOS uint8
	// TTL is the time to live or hop limit of the datagrams, 0: that of the socket. TOS is
	// ignored then. What cannot be sent with it is not sent.
	TTL uint8
}

// Arrival is what one receive returned: datagrams of Size bytes from one source,
// one after the other in Buf (the last may be shorter). Buf belongs to the
// socket and is valid until its next Recv.
type Arrival struct {
	From netip.AddrPort // IPv4-mapped IPv6 addresses are given as IPv4
	Buf  []byte
	Size int
}

// Socket is a UDP socket. One goroutine may receive; sending is safe from
// several goroutines at once.
type Socket interface {
	// Local is the bound address.
	Local() netip.AddrPort
	// Recv waits for datagrams and returns them. The slice and the buffers
	// it points into belong to the socket and are valid until the next Recv.
	Recv() ([]Arrival, error)
	// Send sends the runs in order. It returns the first error; a [*TooLong]
	// carries which run was refused, and the runs after it are still tried.
	// What cannot be sent now is dropped, as by a congested network: Send waits at most
	// some milliseconds for room in the socket's buffer. It keeps neither runs
	// nor their buffers.
	Send(runs []Run) error
	// CanGSO reports whether the kernel segments a run (GSO). If not, runs of several
	// datagrams work as well, at the cost of sending each singly.
	CanGSO() bool
	// Dropped counts the datagrams that Send could not send, for any reason.
	Dropped() uint64
	// PathMTU asks the kernel for the MTU of the route to addr, in bytes of IP
	// packet; 0 if unknown.
	PathMTU(addr netip.Addr) int
	Close() error
}

// Keeper is a socket whose arrivals can be kept for longer than until the next Recv.
type Keeper interface {
	Socket
	// Keep makes what the last Recv returned valid until it is released. Only the receiving
	// goroutine may call it; Release, once, any.
	Keep() Kept
}

// Kept is the memory of arrivals that were kept.
type Kept interface{ Release() }

// TooLong is returned when a datagram exceeds the MTU of its route (EMSGSIZE).
type TooLong struct {
	To   netip.AddrPort
	Size int // bytes of UDP payload that were refused
}

func (e *TooLong) Error() string { return "datagram to " + e.To.String() + " is too long for its path" }
