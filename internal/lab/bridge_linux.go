package lab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Bridge is an Ethernet switch inside of a host.
type Bridge struct {
	host *Host
	name string
}

// Bridge makes a bridge called name on the host. The host itself has no address on it.
func (h *Host) Bridge(name string) (*Bridge, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := h.nl.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("making bridge %s on %s: %w", name, h.name, err)
	}
	if err := h.nl.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("bringing up bridge %s on %s: %w", name, h.name, err)
	}
	return &Bridge{host: h, name: name}, nil
}

// Plug connects another host to the bridge by a cable. The host's interface is
// called eth0, eth1, ... and has the given addresses, each with its prefix length.
func (b *Bridge) Plug(h *Host, prefixes ...string) error {
	h.mu.Lock()
	name := fmt.Sprintf("eth%d", h.links)
	h.links++
	h.mu.Unlock()
	if err := b.plug(h, name, prefixes); err != nil {
		return fmt.Errorf("plugging %s into %s of %s: %w", h.name, b.name, b.host.name, err)
	}
	return nil
}

func (b *Bridge) plug(h *Host, name string, prefixes []string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = h.name
	err := b.host.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(h.ns)})
	if err != nil {
		return err
	}
	bridge, err := b.host.nl.LinkByName(b.name)
	if err != nil {
		return err
	}
	port, err := b.host.nl.LinkByName(h.name)
	if err != nil {
		return err
	}
	if err := b.host.nl.LinkSetMaster(port, bridge); err != nil {
		return err
	}
	cable := &Link{host: h, router: b.host, hostName: name, routerName: h.name}
	if err := cable.Up(); err != nil {
		return err
	}
	for _, s := range prefixes {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return err
		}
		if err := addAddr(h, name, prefix); err != nil {
			return err
		}
		h.mu.Lock()
		h.addrs = append(h.addrs, prefix.Addr())
		h.mu.Unlock()
	}
	return nil
}
