package netif

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// underlay is what a route into the VPN must not cover.
type underlay struct {
	own    []netip.Prefix // addresses of the VPN interface
	onLink []netip.Prefix // networks of the other interfaces
	nodes  []NodeAddress  // where the VPN's own packets go, sorted by address
	// shared: another interface has the network of own, too. others are then the
	// addresses in use there, with their interfaces.
	shared bool
	others map[netip.Addr]string
}

// NodeAddress is a node with a real address of it.
type NodeAddress struct {
	Addr netip.Addr
	Node node.Name
}

// maxLearned bounds the routes that other nodes can give us.
const maxLearned = 4096

// refuses tells why a subnet that another node announces may not get a route here,
// "" if it may. Any member can announce anything, so only private networks do that
// do not overlap with what this machine is connected to or with where the VPN's
// own packets go; others need a line Route = NETWORK.
func (s *underlay) refuses(p netip.Prefix) (why string) {
	inside := s.shared && covered(p, s.own) // what would lead there anyhow, were it not for the other interface
	if !subnet.Private(p) && !inside {
		return "it is not a private network"
	}
	if dev, ok := s.others[p.Addr()]; ok && inside && p.IsSingleIP() {
		return fmt.Sprintf("a machine on %s has that address", dev)
	}
	if i := slices.IndexFunc(s.onLink, p.Overlaps); i >= 0 && !(inside && p.IsSingleIP()) {
		return fmt.Sprintf("it overlaps with %s of this machine", s.onLink[i])
	}
	i := sort.Search(len(s.nodes), func(i int) bool { return s.nodes[i].Addr.Compare(p.Addr()) >= 0 })
	if i < len(s.nodes) && p.Contains(s.nodes[i].Addr) {
		return fmt.Sprintf("it contains the real address %s of %s", s.nodes[i].Addr, s.nodes[i].Node)
	}
	return ""
}

// covered tells whether the interface's own addresses lead to all of p.
func covered(p netip.Prefix, own []netip.Prefix) bool {
	return slices.ContainsFunc(own, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Masked().Contains(p.Addr()) })
}
