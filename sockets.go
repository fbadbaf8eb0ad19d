package tincan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tincan/internal/daemon"
	"tincan/internal/device"
	"tincan/internal/netstack"
)

// Sockets in the VPN: of a TCP/IP stack in this process, see [Options.Sockets].

// ErrNoSockets says that a node was not started with [Options.Sockets].
var ErrNoSockets = errors.New("the node has no sockets in the VPN: Options.Sockets is not set")

const (
	// After the start it takes a moment until others are known. So long after it, Dial waits for them.
	meetingTime = 10 * time.Second
	lookAgain   = 20 * time.Millisecond
)

// sockets makes the stack of a node, and the device by which that exchanges packets with it.
func (n *Node) sockets(a daemon.Attachment) (device.Device, error) {
	s, err := netstack.New(netstack.Config{Addresses: a.Addresses})
	if err != nil {
		return nil, err
	}
	n.stack = s
	return s.Device(), nil
}

// Dial connects to an address in the VPN. network is "tcp" or "udp", or one of these with a 4 or a 6 at its end. address is
// HOST:PORT; the host is an address, or the name of a node, with or without the domain of the network: "bob:80",
// "bob.vpn.internal:80", "10.7.0.2:80", "[fd07::2]:80". An empty host is this node.
//
// In the first ten seconds of this node it waits for a node that is not known yet, or cannot be reached. Later such an error comes at
// once. Waiting and connecting end with ctx.
//
// The connection belongs to the caller. It works as one of package net: connections of TCP have the methods CloseRead and CloseWrite, too. When
// the node ends, reading and writing return [net.ErrClosed]. There can be 4096 sockets at once.
//
// It fits the DialContext of a [net/http.Transport].
func (n *Node) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := n.dial(ctx, network, address)
	if err == nil {
		return c, nil
	}
	if op := (*net.OpError)(nil); !errors.As(err, &op) {
		err = &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return nil, err
}

func (n *Node) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if n.stack == nil {
		return nil, ErrNoSockets
	}
	host, port, err := splitAddress(ctx, network, address)
	if err != nil {
		return nil, err
	}
	addrs, err := n.meet(ctx, network, host)
	if err != nil {
		return nil, err
	}
	var first error
	for _, a := range addrs {
		c, err := n.stack.DialContext(ctx, network, netip.AddrPortFrom(a, port))
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// meet finds the addresses of a host. In the first seconds it waits until one can be reached.
func (n *Node) meet(ctx context.Context, network, host string) ([]netip.Addr, error) {
	known := daemon.DirectoryOf(n.d)
	reaches := func(a netip.Addr) bool {
		_, leaves := known.LeavesBy(a)
		return leaves || known.Reachable(a)
	}
	until := time.NewTimer(time.Until(n.started.Add(meetingTime)))
	defer until.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		addrs, err := n.lookup(network, host)
		if errors.Is(err, errFamily) || slices.ContainsFunc(addrs, reaches) {
			return addrs, err
		}
		select {
		case <-again.C:
			continue
		case <-n.ended:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %.255s: %w", host, ctx.Err())
		case <-until.C:
		}
		return addrs, err
	}
}

var errFamily = errors.New("the host has no address of this family")

// lookup finds the addresses of a host that are of the family of a network.
func (n *Node) lookup(network, host string) (list []netip.Addr, err error) {
	if a, err := netip.ParseAddr(host); err == nil {
		list = []netip.Addr{a.Unmap()}
	} else if host == "" {
		for _, p := range n.Addresses() {
			list = append(list, p.Addr())
		}
	} else if list = daemon.DirectoryOf(n.d).Lookup(host); len(list) == 0 {
		return nil, &net.DNSError{Err: "no such node in the network", Name: host, IsNotFound: true}
	}
	list = slices.DeleteFunc(slices.Clone(list), func(a netip.Addr) bool {
		return strings.HasSuffix(network, "4") && !a.Is4() || strings.HasSuffix(network, "6") && !a.Is6()
	})
	if len(list) == 0 {
		return nil, fmt.Errorf("%.255s: %w", host, errFamily)
	}
	return list, nil
}

// splitAddress splits HOST:PORT. The port may be the name of a service.
func splitAddress(ctx context.Context, network, address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, network, text)
	return host, uint16(number), err
}

// Listen listens for TCP in the VPN; network is "tcp", "tcp4" or "tcp6". address is HOST:PORT, where the host is an address of this node, or
// its name; empty, it is all addresses. Port 0 is a free one, which Addr of the listener tells.
//
// Whom the access policy of the network does not let in cannot connect. The others are who [Node.Owner] says.
//
// The listener belongs to the caller. When the node ends, Accept returns [net.ErrClosed].
func (n *Node) Listen(network, address string) (net.Listener, error) {
	at, err := n.own(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return n.stack.Listen(network, at)
}

// ListenPacket opens a socket for UDP in the VPN; network is "udp", "udp4" or "udp6", and address is as with [Node.Listen]. The addresses
// that it takes and returns are of the type [*net.UDPAddr].
func (n *Node) ListenPacket(network, address string) (net.PacketConn, error) {
	at, err := n.own(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return n.stack.ListenPacket(network, at)
}

// own is where to listen.
func (n *Node) own(network, address string) (netip.AddrPort, error) {
	if n.stack == nil {
		return netip.AddrPort{}, ErrNoSockets
	}
	host, port, err := splitAddress(context.Background(), network, address)
	if err != nil || host == "" {
		return netip.AddrPortFrom(netip.Addr{}, port), err
	}
	list, err := n.lookup(network, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(list[0], port), nil
}

// Addresses are those of this node in the VPN, with the length of the network's prefix.
func (n *Node) Addresses() []netip.Prefix { return slices.Clone(daemon.DirectoryOf(n.d).Own()) }

// Owner is the name of the node that has an address in the VPN, "" if none has. With the setting SourceCheck, which is on by default, what comes
// from an address comes from this node, so a server can tell by it who its client is.
func (n *Node) Owner(a netip.Addr) string {
	name, _ := daemon.DirectoryOf(n.d).Owner(a.Unmap())
	return name
}
