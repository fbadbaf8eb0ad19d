package daemon

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// Why is what the control socket asks (control.Explainer).
func (b *backend) Why(name node.Name) control.WhyReport {
	var w mesh.Why
	b.d.ask(func() { w = b.d.brain.Why(name) })
	r := control.WhyReport{Node: w.Node, Good: w.Good, Change: w.Change, Reasons: []control.WhyReason{}}
	for _, reason := range w.Reasons {
		r.Reasons = append(r.Reasons, control.WhyReason(reason))
	}
	return r
}

const (
	// maxObservers nodes are asked from where they hear us.
	maxObservers = 8
	observePause = 1500 * time.Millisecond
)

// NetCheck says what this network lets through, as far as the mesh can tell.
func (b *backend) NetCheck() control.NetReport {
	d := b.d
	r := control.NetReport{
		Port: int(d.port()), Listening: []string{}, Addresses: []control.NetAddress{}, Seen: []control.SeenFrom{},
		IPv4: localAddrTowards(someIPv4).IsValid(), IPv6: localAddrTowards(someIPv6).IsValid(),
	}
	for _, s := range d.paths {
		r.Listening = append(r.Listening, s.Local().String())
	}
	local := d.ownAddresses()
	r.Addresses = append(r.Addresses, local...)

	var nodes []mesh.NodeInfo
	var conns []mesh.ConnInfo
	d.ask(func() { nodes, conns = d.brain.Nodes(), d.brain.Conns() })
	for _, c := range conns {
		switch {
		case !c.Active:
		case c.Outgoing:
			r.Outgoing++
		default:
			r.Incoming++
		}
	}
	var observers []node.Name
	for _, n := range nodes {
		if n.Self || !n.Reachable {
			continue
		}
		if n.Confirmed || n.ValidKey && !n.Resting {
			r.Tried++
		}
		if n.Confirmed {
			r.Answered++
			if n.Addr.Addr().Unmap().Is6() {
				r.ByIPv6++
			}
			if n.Options.Has(wire.Echoes) && len(observers) < maxObservers {
				observers = append(observers, n.Name)
			}
		}
	}
	r.Seen = b.seenBy(observers)
	if list := d.mapped.Load(); list != nil {
		for _, m := range *list {
			r.Mappings = append(r.Mappings, m.String())
		}
	}
	switch s := d.network().Settings; {
	case len(r.Mappings) > 0:
	case s.UPnP == "no":
		r.MapProblem = "not asked for (UPnP = no)"
	default:
		r.MapProblem = "no router opens one"
	}
	if p := d.network().Settings.Proxy; p.Kind != config.NoProxy {
		r.Proxy = p.Kind.String()
	}
	r.NAT = natKind(r.Seen, local, false)
	r.NAT6 = natKind(r.Seen, local, true)
	r.Verdict = verdict(r)
	return r
}

// Addresses of documentation stand for the internet: nothing is sent to them.
var (
	someIPv4 = netip.MustParseAddr("192.0.2.1")
	someIPv6 = netip.MustParseAddr("2001:db8::1")
)

// ownAddresses are the addresses of this machine that others might reach, without the VPN's.
func (d *Daemon) ownAddresses() []control.NetAddress {
	var out []control.NetAddress
	list, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range list {
		if i.Flags&net.FlagUp == 0 || i.Name == d.face.name {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			ip := p.Addr().Unmap()
			if ip.IsLoopback() || ip.IsLinkLocalUnicast() || !ip.IsGlobalUnicast() {
				continue
			}
			out = append(out, control.NetAddress{Interface: i.Name, Address: ip.String(), Public: !ip.IsPrivate() && !shared.Contains(ip)})
		}
	}
	return out
}

// shared are the addresses that providers use behind their own NAT (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// seenBy asks nodes from where they hear us, all at a time.
func (b *backend) seenBy(observers []node.Name) []control.SeenFrom {
	out := []control.SeenFrom{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, name := range observers {
		all.Go(func() {
			a := b.Echo(control.EchoRequest{Node: name, Way: control.EchoUDP, Size: wire.SeenEcho, Timeout: observePause})
			if a.Seen != "" {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, control.SeenFrom{By: name, Address: a.Seen})
			}
		})
	}
	all.Wait()
	slices.SortFunc(out, func(x, y control.SeenFrom) int { return cmp.Compare(x.By, y.By) })
	return out
}

// natKind tells what kind of NAT makes others see us as they do.
func natKind(seen []control.SeenFrom, local []control.NetAddress, v6 bool) control.NATKind {
	outer, total, own := map[netip.AddrPort]bool{}, 0, false
	for _, s := range seen {
		a, err := netip.ParseAddrPort(s.Address)
		if err != nil || a.Addr().Unmap().Is6() != v6 {
			continue
		}
		if a.Addr().Unmap().IsLoopback() || slices.ContainsFunc(local, func(l control.NetAddress) bool { return l.Address == a.Addr().Unmap().String() }) {
			own = true // by a neighbour in the same network, perhaps, or on this machine
			continue
		}
		outer[a] = true
		total++
	}
	switch {
	case total == 0 && own:
		return control.NATNone
	case total == 0:
		return control.NATUnknown
	case total == 1:
		return control.NATOne
	case len(outer) == 1:
		return control.NATSteady
	}
	return control.NATFickle
}

// verdict sums the report up in sentences.
func verdict(r control.NetReport) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case r.Incoming+r.Outgoing == 0:
		add("This node has no connection with any other, so it cannot tell what the network lets through. If this machine is online, check that the nodes in ConnectTo have an Address and that TCP to it is allowed.")
	case r.Tried == 0:
		add("There has been no traffic with another node yet, so nothing is known about UDP. Ping one and ask again.")
	case r.Answered == 0:
		add("No node answers by UDP: this network seems to block it. The mesh works over TCP, which is slower. Allow UDP to and from port %d.", r.Port)
	case r.NAT == control.NATFickle:
		add("UDP works, through a symmetric NAT. A direct path to nodes behind the same kind of NAT is not possible; others can be reached. A forwarded port %d on the router, or UPnP = yes, would mend that.", r.Port)
	case r.NAT == control.NATSteady || r.NAT == control.NATOne:
		add("UDP works, through a NAT that lets direct paths be made.")
	default:
		add("UDP works.")
	}
	if r.Incoming+r.Outgoing > 0 && r.Incoming == 0 {
		add("Nobody has connected to this node: either nobody wants to, or TCP port %d is not reachable from outside. That is no trouble as long as it can connect to others.", r.Port)
	}
	if r.IPv6 && r.Answered > 0 && r.ByIPv6 == 0 {
		add("This machine has IPv6, but no other node is reached by it.")
	}
	return out
}
