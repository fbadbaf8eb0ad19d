package daemon

import (
	"slices"

	"tincan/internal/netif"
)

// underlay asks the protocol core where the VPN's own packets go.
func (d *Daemon) underlay() []netif.NodeAddress {
	var list []netif.NodeAddress
	d.call(func() {
		for addr, name := range d.core.Underlay() {
			list = append(list, netif.NodeAddress{Addr: addr, Node: name})
		}
	})
	slices.SortFunc(list, func(a, b netif.NodeAddress) int { return a.Addr.Compare(b.Addr) })
	return list
}
