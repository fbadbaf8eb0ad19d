package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"tincan/internal/device"
	"tincan/internal/names"
	"tincan/internal/route"
)

// A node whose packets go elsewhere than to an interface of this machine: into a network namespace, or into a network stack of this
// process. Whoever made that asks here for what the node knows: names, and who has an address.

// Attachment is what the configuration says about the interface that [Options.Attach] is to make.
type Attachment struct {
	Interface string         // its name; "" if that does not matter
	Addresses []netip.Prefix // of this node, with the lengths of the network's prefixes
	Domain    string         // in which the names of nodes are; "" if there is none
}

// attach opens what Options.Attach makes.
func attach(d *Daemon) (device.Device, error) {
	s := d.network().Settings
	if s.Mode != route.ByAddress {
		return nil, &Hinted{errors.New("without an interface of this machine nodes can only exchange IP packets, and not Ethernet frames"), "a node with Mode = switch or hub needs root: tincan up"}
	}
	if len(s.Ifconfig) == 0 {
		return nil, &Hinted{errors.New("the configuration does not say which address this node has in the VPN"), "add a line Ifconfig = ADDRESS/LENGTH to tinc.conf: tincan add Ifconfig 10.7.0.5/16"}
	}
	domain, _ := s.NamesDomain(d.opts.Layout.NetName)
	dev, err := d.opts.Attach(Attachment{Interface: interfaceName(s, d.opts.Layout.NetName), Addresses: s.Ifconfig, Domain: domain})
	if err != nil {
		return nil, err
	}
	return d.showPackets(dev, "the device"), nil
}

// interfaceHere is the name of the interface of this machine, "" if the node has none.
func interfaceHere(d *Daemon) string {
	if d.opts.Attach != nil {
		return "" // another one may have its name
	}
	return d.dev.Name()
}

// Directory is what a node knows of names and addresses. Its methods may be called from any goroutine, from Ready on, and also after the end.
type Directory struct{ d *Daemon }

// DirectoryOf is that of a node. It knows names if the node has [Options.Attach].
func DirectoryOf(d *Daemon) Directory { return Directory{d} }

// Serve answers queries of DNS until ctx ends, and closes the sockets. Only those may ask who are in the VPN, or in 127.0.0.0/8.
func (n Directory) Serve(ctx context.Context, packets net.PacketConn, streams net.Listener) {
	if n.d.naming.zone == nil {
		packets.Close()
		streams.Close()
		return
	}
	names.NewServer(names.Config{Zone: n.d.naming.zone, May: n.d.naming.may}).Serve(ctx, packets, streams)
}

// Lookup finds the addresses of a node by its name, with or without the domain of the network; none if there is no such node.
func (n Directory) Lookup(host string) []netip.Addr {
	if n.d.naming.zone == nil {
		return nil
	}
	return n.d.naming.zone.Addrs(host)
}

// Owner is the node to which packets for an address go, and whether that is this node; "" if nobody has it.
func (n Directory) Owner(a netip.Addr) (name string, self bool) {
	owner, _ := n.d.plane.Owner(a)
	return string(owner), owner == n.d.network().Name
}

// Reachable tells whether packets for an address would find the node that has it.
func (n Directory) Reachable(a netip.Addr) bool {
	_, reachable := n.d.plane.Owner(a)
	return reachable
}

// LeavesBy is the exit node by which packets of this node for an address leave the mesh, "" if none works now. ok is false if they
// do not leave it.
func (n Directory) LeavesBy(a netip.Addr) (exit string, ok bool) {
	_, by, ok := n.d.plane.Outside.LeavesBy(a)
	return string(by), ok
}

// Own are the addresses of this node in the VPN, with the lengths of the network's prefixes.
func (n Directory) Own() []netip.Prefix { return n.d.network().Settings.Ifconfig }
