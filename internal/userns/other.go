//go:build !linux

package userns

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"

	"tincan/internal/device"
)

// Namespace does not exist on this system.
type Namespace struct{}

// errOther is what all there is says.
var errOther = &Error{Err: errors.New("only Linux has network namespaces"), Tip: "run the node as an administrator: tincan up"}

// IsChild tells whether this process was started to be in a namespace.
func IsChild() bool { return false }

// Main is the life of the child.
func Main() int { return 1 }

// Start fails.
func Start(Config, io.Reader, io.Writer, io.Writer) (*Namespace, error) { return nil, errOther }

// Device is the interface of the namespace.
func (n *Namespace) Device() device.Device { return nil }

// Queries are the sockets where programs in the namespace ask for names.
func (n *Namespace) Queries() (net.PacketConn, net.Listener) { return nil, nil }

// Exec lets the child become the program.
func (n *Namespace) Exec() error { return errOther }

// Ended is closed when the child has ended.
func (n *Namespace) Ended() <-chan struct{} { return nil }

// Status is the exit status of the child.
func (n *Namespace) Status() int { return 1 }

// Signal sends a signal to the child.
func (n *Namespace) Signal(os.Signal) {}

// Close ends the child.
func (n *Namespace) Close() {}

// DialContext connects from within the namespace.
func (n *Namespace) DialContext(context.Context, string, netip.AddrPort) (net.Conn, error) {
	return nil, errOther
}

// Listen listens in the namespace.
func (n *Namespace) Listen(string, netip.AddrPort) (net.Listener, error) { return nil, errOther }

// ListenPacket opens a socket for UDP in the namespace.
func (n *Namespace) ListenPacket(string, netip.AddrPort) (net.PacketConn, error) {
	return nil, errOther
}
