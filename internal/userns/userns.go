// Package userns makes a network namespace for the VPN without root: a child process in new user, network and mount namespaces has the
// interface, and hands its descriptor to this process, where the node runs. What is in the namespace reaches the VPN by the
// kernel's own TCP and nothing else; the rest of the machine is as it was.
//
// The child either becomes a program ([Namespace.Exec]), or opens sockets in the namespace for this process ([Namespace.DialContext],
// [Namespace.Listen], [Namespace.ListenPacket]). It is this very program, started again: main calls [Main] if [IsChild].
//
// It exists on Linux only. Which nodes there are, and what their names are, is not known here.
package userns

import "net/netip"

// Config is what the namespace is to have.
type Config struct {
	Interface string         // name of the network interface; "" lets the kernel choose
	Addresses []netip.Prefix // of it; all other addresses of their families are reached through it
	// Domain is searched for names without dots. The name server of the namespace is [Namespace.Queries].
	Domain string
	// Command is the program that the child becomes, with its arguments; none: the child opens sockets.
	Command []string
}

// Error says that there can be no namespace.
type Error struct {
	Err error
	Tip string // what the user can do; may be ""
}

func (e *Error) Error() string {
	return "making a network namespace without root: " + e.Err.Error()
}

// Hint is what the user can do about it, or "".
func (e *Error) Hint() string { return e.Tip }

func (e *Error) Unwrap() error { return e.Err }
