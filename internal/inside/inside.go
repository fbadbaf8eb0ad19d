// Package inside listens at the addresses of the VPN so that only those get in who are inside: nodes of the VPN, through its interface,
// and programs of this machine.
package inside

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Addresses lists the global addresses of a network interface, IPv4 first.
func Addresses(name string) ([]netip.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("the interface %s: %w", name, err)
	}
	list, err := i.Addrs()
	if err != nil {
		return nil, fmt.Errorf("the addresses of %s: %w", name, err)
	}
	var v4, v6 []netip.Addr
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		switch addr := p.Addr().Unmap(); {
		case err != nil || !addr.IsGlobalUnicast():
		case addr.Is4():
			v4 = append(v4, addr)
		default:
			v6 = append(v6, addr)
		}
	}
	return append(v4, v6...), nil
}

// Listen listens for TCP at an address of the VPN, where only what comes through its interface gets in, or from this machine
// itself. Where that cannot be had, one listener takes all that comes, and the caller has to look at where it is from.
func Listen(ctx context.Context, at netip.AddrPort, device string) ([]net.Listener, error) {
	return listen(device, func(lc net.ListenConfig) (net.Listener, error) { return lc.Listen(ctx, "tcp", at.String()) })
}

// ListenPacket is [Listen] for UDP.
func ListenPacket(ctx context.Context, at netip.AddrPort, device string) ([]net.PacketConn, error) {
	return listen(device, func(lc net.ListenConfig) (net.PacketConn, error) { return lc.ListenPacket(ctx, "udp", at.String()) })
}

func listen[T interface{ Close() error }](device string, open func(net.ListenConfig) (T, error)) (list []T, err error) {
	for _, name := range []string{device, loopback} {
		bind := Through(name)
		if bind == nil {
			break
		}
		l, err := open(net.ListenConfig{Control: bind})
		if err != nil {
			break
		}
		list = append(list, l)
	}
	if len(list) == 2 {
		return list, nil
	}
	for _, l := range list {
		l.Close()
	}
	l, err := open(net.ListenConfig{})
	if err != nil {
		return nil, err
	}
	return []T{l}, nil
}
