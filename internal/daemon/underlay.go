package daemon

import (
	"slices"

	"tincan/internal/mesh"
	"tincan/internal/netif"
)

// underlay asks the protocol core where the VPN's own packets go.
func (d *Daemon) underlay() []netif.NodeAddress {
	var list []netif.NodeAddress
	d.core.call(func(m *mesh.Mesh) {
		for addr, name := range m.Underlay() {
			list = append(list, netif.NodeAddress{Addr: addr, Node: name})
		}
	})
	slices.SortFunc(list, func(a, b netif.NodeAddress) int { return a.Addr.Compare(b.Addr) })
	return list
}
