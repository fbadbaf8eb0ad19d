// Package netstack is a TCP/IP stack in this process: gVisor's, for nodes that have no network interface. The node exchanges packets with
// it as with a device ([Stack.Device]), and this process opens sockets in it. It needs no rights and works on every system.
//
// Which packets a node lets in and out is not decided here, and neither names nor routes of the VPN are known: all packets go to the node.
package netstack

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"tincan/internal/device"
)

// Config is what a stack is to have.
type Config struct {
	Addresses []netip.Prefix // of it; at least one
	MTU       int            // in bytes of IP packet; 0: 1500
	// MaxSockets is how many sockets there are at once, listening ones included; 0: 4096. More are refused, also those that others
	// want to connect to.
	MaxSockets int
}

const (
	usualMTU        = 1500
	usualMaxSockets = 4096
	// backlog is how many connections a listener keeps that nobody has accepted. Beyond, SYN cookies are sent.
	backlog = 1024

	// The buffers of a socket grow up to largestBuffer, in each direction. With many sockets they grow less: together, those of TCP
	// take about bufferBudget, and each has at least smallestBuffer.
	largestBuffer  = 4 << 20
	smallestBuffer = 64 << 10
	bufferBudget   = 512 << 20

	// The connection of a peer that has vanished ends after three minutes, also if nothing is sent. The probes keep no path busy.
	keepAliveIdle     = time.Minute
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 8
	// Of connections that were closed little is kept, for a minute at most.
	timeWait = 15 * time.Second
	finWait  = 30 * time.Second
)

// ErrTooManySockets says that MaxSockets are open.
var ErrTooManySockets = errors.New("too many sockets are open in the VPN")

// nic is the number of the only interface of the stack.
const nic tcpip.NICID = 1

// Stack is a TCP/IP stack. Its methods may be called from any goroutine.
type Stack struct {
	stack   *stack.Stack
	link    *link
	most    int64
	sockets atomic.Int64
	done    chan struct{} // closed when the stack is
}

// New makes a stack. Whoever uses its device closes that; then the stack ends.
func New(c Config) (*Stack, error) {
	if len(c.Addresses) == 0 {
		return nil, errors.New("a network stack needs an address")
	}
	if c.MTU == 0 {
		c.MTU = usualMTU
	}
	if c.MaxSockets == 0 {
		c.MaxSockets = usualMaxSockets
	}
	s := &Stack{most: int64(c.MaxSockets), done: make(chan struct{})}
	s.link = newLink(c.MTU, s.end)
	s.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		HandleLocal:        true, // a connection of this process to itself does not reach the node
	})
	if err := s.configure(c); err != nil {
		s.link.Close()
		return nil, err
	}
	return s, nil
}

// configure gives the stack its interface.
func (s *Stack) configure(c Config) error {
	linger, wait := tcpip.TCPLingerTimeoutOption(finWait), tcpip.TCPTimeWaitTimeoutOption(timeWait)
	for _, o := range []tcpip.SettableTransportProtocolOption{&linger, &wait} {
		if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("setting up the network stack: %w", errorOf(err))
		}
	}
	s.fitBuffers()
	if err := s.stack.CreateNIC(nic, s.link.endpoint); err != nil {
		return fmt.Errorf("setting up the network stack: %w", errorOf(err))
	}
	for _, p := range c.Addresses {
		a := tcpip.ProtocolAddress{
			Protocol: family(p.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{
				Address: address(p.Addr()), PrefixLen: p.Bits(),
			},
		}
		if err := s.stack.AddProtocolAddress(nic, a, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("the address %s: %w", p, errorOf(err))
		}
	}
	s.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	return nil
}

// Device is where the node reads and writes the packets of the stack. Closing it ends the stack: sockets return [net.ErrClosed], and no
// goroutine is left.
func (s *Stack) Device() device.Device { return s.link }

// end closes all that there is, and waits for it.
func (s *Stack) end() {
	close(s.done)
	s.stack.Destroy()
}

// take counts a socket, and reports whether there may be one more.
func (s *Stack) take() bool {
	if s.sockets.Add(1) > s.most || s.orphans() > s.most {
		s.sockets.Add(-1)
		return false
	}
	s.fitBuffers()
	return true
}

// give: a socket was closed.
func (s *Stack) give() {
	s.sockets.Add(-1)
	s.fitBuffers()
}

// orphans are connections that were closed here and still have something to send, and those that nobody has accepted.
func (s *Stack) orphans() int64 {
	return int64(s.stack.Stats().TCP.CurrentConnected.Value()) - s.sockets.Load()
}

// fitBuffers has buffers grow less if there are many sockets.
func (s *Stack) fitBuffers() {
	const directions = 2
	most := int(min(largestBuffer, max(smallestBuffer, bufferBudget/directions/max(1, s.sockets.Load()))))
	most = 1 << (bits.Len(uint(most)) - 1) // so that it changes seldom
	if s.link.buffers.Swap(int64(most)) == int64(most) {
		return
	}
	usual := min(most, tcp.DefaultReceiveBufferSize)
	in := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: usual, Max: most}
	out := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: usual, Max: most}
	_ = s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &in) // it fails for limits that contradict each other only
	_ = s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &out)
}

// family is the protocol of an address.
func family(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// address is a as gVisor has it.
func address(a netip.Addr) tcpip.Address {
	if !a.IsValid() {
		return tcpip.Address{}
	}
	return tcpip.AddrFromSlice(a.AsSlice())
}

// full is an address and a port as gVisor has them. The zero address is any.
func full(a netip.AddrPort) tcpip.FullAddress {
	f := tcpip.FullAddress{Port: a.Port()}
	if !a.Addr().IsUnspecified() {
		f.Addr = address(a.Addr())
	}
	return f
}

// addrPort is the reverse of full.
func addrPort(f tcpip.FullAddress) netip.AddrPort {
	a, ok := netip.AddrFromSlice(f.Addr.AsSlice())
	if !ok {
		a = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(a.Unmap(), f.Port)
}
