//go:build !windows

package oserr

import "syscall"

// Privileged completes the advice "run it …".
const Privileged = "as root"

const (
	Refused         = syscall.ECONNREFUSED
	Reset           = syscall.ECONNRESET
	Broken          = syscall.EPIPE
	TimedOut        = syscall.ETIMEDOUT
	AddressInUse    = syscall.EADDRINUSE
	NoAddress       = syscall.EADDRNOTAVAIL // this machine does not have that address
	NoFamily        = syscall.EAFNOSUPPORT  // no IPv6, for example
	HostUnreachable = syscall.EHOSTUNREACH
	NetUnreachable  = syscall.ENETUNREACH
	TooLong         = syscall.EMSGSIZE // for a datagram
)
