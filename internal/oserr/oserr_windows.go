package oserr

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// Privileged completes the advice "run it …".
const Privileged = "as an administrator"

const (
	Refused         = syscall.Errno(windows.WSAECONNREFUSED)
	Reset           = syscall.Errno(windows.WSAECONNRESET)
	Broken          = syscall.Errno(windows.WSAECONNABORTED)
	TimedOut        = syscall.Errno(windows.WSAETIMEDOUT)
	AddressInUse    = syscall.Errno(windows.WSAEADDRINUSE)
	NoAddress       = syscall.Errno(windows.WSAEADDRNOTAVAIL) // this machine does not have that address
	NoFamily        = syscall.Errno(windows.WSAEAFNOSUPPORT)  // no IPv6, for example
	HostUnreachable = syscall.Errno(windows.WSAEHOSTUNREACH)
	NetUnreachable  = syscall.Errno(windows.WSAENETUNREACH)
	TooLong         = syscall.Errno(windows.WSAEMSGSIZE) // for a datagram
)
