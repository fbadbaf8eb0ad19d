package netstack

import (
	"errors"
	"net"
	"os"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"

	"tincan/internal/oserr"
)

// errorOf is an error of gVisor as sockets of the system return it.
func errorOf(err tcpip.Error) error {
	switch err.(type) {
	case nil:
		return nil
	case *tcpip.ErrConnectionRefused:
		return oserr.Refused
	case *tcpip.ErrConnectionReset:
		return oserr.Reset
	case *tcpip.ErrClosedForSend:
		return oserr.Broken
	case *tcpip.ErrTimeout:
		return oserr.TimedOut
	case *tcpip.ErrPortInUse:
		return oserr.AddressInUse
	case *tcpip.ErrBadLocalAddress:
		return oserr.NoAddress
	case *tcpip.ErrAddressFamilyNotSupported:
		return oserr.NoFamily
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown, *tcpip.ErrNoNet:
		return oserr.HostUnreachable
	case *tcpip.ErrNetworkUnreachable:
		return oserr.NetUnreachable
	case *tcpip.ErrMessageTooLong:
		return oserr.TooLong
	case *tcpip.ErrNotPermitted:
		return syscall.EPERM
	case *tcpip.ErrNoBufferSpace:
		return syscall.ENOBUFS
	case *tcpip.ErrAborted, *tcpip.ErrConnectionAborted, *tcpip.ErrInvalidEndpointState, *tcpip.ErrNotConnected:
		return net.ErrClosed
	}
	return errors.New(err.String())
}

// called is errorOf, with the name of what has failed if the error is one of the system.
func called(name string, err tcpip.Error) error {
	e := errorOf(err)
	var number syscall.Errno
	if errors.As(e, &number) {
		return os.NewSyscallError(name, number)
	}
	return e
}
