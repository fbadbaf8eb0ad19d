package rootless

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"tincan/internal/daemon"
	"tincan/internal/device"
	"tincan/internal/terminal"
	"tincan/internal/userns"
)

// network is where sockets of this process are in the VPN: a network namespace, or a TCP/IP stack of this program.
type network interface {
	DialContext(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
	Listen(network string, at netip.AddrPort) (net.Listener, error)
	ListenPacket(network string, at netip.AddrPort) (net.PacketConn, error)
}

// attachment is a network, and the device by which a node exchanges packets with it.
type attachment struct {
	network
	device device.Device
	end    func() // after the node has closed the device; nil: nothing is to be done
	// instead says why it is not a namespace, although that was to be one; "" if it is, or was not to be one.
	instead string
}

func inNamespace(n *userns.Namespace) attachment {
	return attachment{network: n, device: n.Device(), end: n.Close}
}

func (a attachment) close() {
	if a.end != nil {
		a.end()
	}
}

// attach makes the network of a proxy: a namespace, or where the system does not permit that, or if userspace, the stack of this program.
func attach(a daemon.Attachment, userspace bool) (attachment, error) {
	if userspace {
		return newStack(a)
	}
	space, err := userns.Start(userns.Config{Interface: a.Interface, Addresses: a.Addresses}, nil, nil, nil)
	if err == nil {
		packets, streams := space.Queries() // nobody is there who could ask
		packets.Close()
		streams.Close()
		return inNamespace(space), nil
	}
	stack, none := newStack(a)
	if none != nil {
		return stack, err // what is in the way of the other one can be changed
	}
	if cause := (*userns.Error)(nil); errors.As(err, &cause) {
		err = cause.Err
	}
	stack.instead = fmt.Sprintf("connections are those of tincan's own TCP/IP stack, without a network namespace: %v", err)
	return stack, nil
}

// orProxy adds to the advice of an error about namespaces that proxies need none.
func orProxy(err error) error {
	var none *userns.Error
	if !hasStack || !errors.As(err, &none) {
		return err
	}
	return terminal.Hint(err, "%s; or use tincan proxy, which needs no namespace", none.Tip)
}
