package netconf

import "net/netip"

// OutsideConfig says which packets of this machine, and of those that it forwards, go into the VPN although they are for nobody
// in it.
type OutsideConfig struct {
	Interface string       // that of the VPN
	Sources   []netip.Addr // our addresses in it, of which the first of each family is the source of packets
	// Mark is that of the VPN's own datagrams and connections, which go by the machine's other routes. Not 0.
	Mark int
	// Default: all packets but those for networks to which the main table has a route; and all queries for DNS servers, also
	// of those networks.
	Default  bool
	Prefixes []netip.Prefix // else those for these networks
	// Guard: while the interface is missing these packets go nowhere, instead of by the machine's other routes.
	Guard bool
}
