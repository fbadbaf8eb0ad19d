package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/netdiag"
	"tincan/internal/netwatch"
	"tincan/internal/node"
	"tincan/internal/policy"
	"tincan/internal/route"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// Why is what the control socket asks (control.Explainer).
func (b *backend) Why(name node.Name, to *policy.Target) control.WhyReport {
	d := b.d
	f := mesh.Found{Command: d.command()}
	var w mesh.Why
	d.core.call(func(m *mesh.Mesh) { w = m.Why(name, f) })
	if w.Unclear() {
		b.lookAround(name, &f)
		d.core.call(func(m *mesh.Mesh) { w = m.Why(name, f) })
	}
	r := control.WhyReport{Node: w.Node, Good: w.Good, Encryption: w.Encryption, Change: w.Change, Reasons: []control.WhyReason{}}
	for _, reason := range w.Reasons {
		r.Reasons = append(r.Reasons, control.WhyReason(reason))
	}
	for _, s := range w.Carriers {
		r.Carriers = append(r.Carriers, control.CarrierState{Carrier: s.Carrier.String(), State: s.State, Text: s.Text})
	}
	b.whyRoster(name, &r)
	b.whyPolicy(name, to, &r)
	b.whyRefused(name, &r)
	return r
}

const (
	// maxObservers nodes are asked from where they hear us.
	maxObservers = 8
	// maxFailures are told of.
	maxFailures = 5
	// maxAsked of them are asked whether they hear a third node.
	maxAsked = 4
	// Each question is asked twice: the first may only have opened the path.
	firstPause, secondPause = 600 * time.Millisecond, 900 * time.Millisecond
)

// lookAround finds out who answers by UDP, this node and the one called name.
func (b *backend) lookAround(name node.Name, f *mesh.Found) {
	var nodes []mesh.NodeInfo
	b.d.core.call(func(m *mesh.Mesh) { nodes = m.Nodes() })
	seen, heard := b.seenBy(observers(nodes))
	f.Heard = heard
	f.NAT = isBehindNAT(seen, b.d.ownAddresses())
	for _, s := range seen {
		if a, err := netip.ParseAddrPort(s.Address); err == nil {
			f.Seen = append(f.Seen, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
		}
	}
	var relays []control.EchoRequest
	for _, s := range seen {
		if s.By != name && len(relays) < maxAsked {
			relays = append(relays, control.EchoRequest{Node: name, Transport: control.EchoUDP, Via: s.By})
		}
	}
	f.Relays = len(relays)
	byUDP := func(a control.EchoAnswer) bool { return a.Error == "" && !a.There.TCP && !a.Back.TCP }
	for _, a := range b.askTwice(relays, byUDP) {
		if byUDP(a) {
			f.Through++
		}
	}
}

// askTwice sends echoes, all at a time, and those again whose answer is not good.
func (b *backend) askTwice(list []control.EchoRequest, good func(control.EchoAnswer) bool) []control.EchoAnswer {
	out := make([]control.EchoAnswer, len(list))
	var all sync.WaitGroup
	for i, r := range list {
		all.Go(func() {
			r.Timeout = firstPause
			if out[i] = b.Echo(r); !good(out[i]) {
				r.Timeout = secondPause
				out[i] = b.Echo(r)
			}
		})
	}
	all.Wait()
	return out
}

// observers are nodes that can tell from where they hear us.
func observers(nodes []mesh.NodeInfo) (list []node.Name) {
	for _, n := range nodes {
		if !n.Self && n.Reachable && n.Confirmed && n.Options.Has(wire.Echoes) && len(list) < maxObservers {
			list = append(list, n.Name)
		}
	}
	return list
}

// command is how the program is called for this network.
func (d *Daemon) command() string {
	if net := d.opts.Layout.NetName; net != "" {
		return "tincan -n " + net
	}
	return "tincan"
}

// Problems finds what is wrong with our interface and its addresses (control.Diagnoser).
func (b *backend) Problems() (list []control.Problem) {
	d := b.d
	if p := b.notLetIn(); p != nil {
		list = append(list, *p)
	}
	if !d.hasInterface() || d.standby != nil && !d.standby.wanted.Load() {
		return list
	}
	q := netdiag.Question{Interface: d.netif.Name(), Command: d.command()}
	if d.netif.Configured() {
		q.Own = d.network().Settings.Ifconfig
	}
	if d.network().Settings.Mode != route.ByAddress && len(q.Own) == 0 {
		return list // it may be part of a bridge
	}
	for _, f := range netdiag.Look(q) {
		list = append(list, control.Problem(f))
	}
	return list
}

// NetCheck says what this network lets through, as far as the mesh can tell.
func (b *backend) NetCheck() control.NetReport {
	d := b.d
	r := control.NetReport{
		Port: int(d.socks.port(d.network().Settings)), Listening: []string{}, Addresses: []control.NetAddress{}, Seen: []control.SeenFrom{},
		IPv4: netwatch.Towards(someIPv4).IsValid(), IPv6: netwatch.Towards(someIPv6).IsValid(),
	}
	for _, s := range d.socks.paths {
		r.Listening = append(r.Listening, s.Local().String())
	}
	local := d.ownAddresses()
	r.Addresses = append(r.Addresses, local...)

	var nodes []mesh.NodeInfo
	var conns []mesh.ConnInfo
	var carriers []mesh.CarrierSum
	d.core.call(func(m *mesh.Mesh) { nodes, conns, carriers = m.Nodes(), m.Conns(), m.Carriers(maxFailures) })
	for _, c := range carriers {
		n := control.NetCarrier{Carrier: c.Carrier.String(), Off: c.Off, InUse: c.InUse, Failed: c.Failures}
		for _, f := range c.Failed {
			n.Failures = append(n.Failures, control.NetFailure{Node: f.Node, Problem: f.Text})
		}
		r.Carriers = append(r.Carriers, n)
	}
	for _, c := range conns {
		switch {
		case !c.Active:
		case c.Outgoing:
			r.Outgoing++
		default:
			r.Incoming++
		}
	}
	var heard map[node.Name]bool
	r.Seen, heard = b.seenBy(observers(nodes))
	for _, n := range nodes {
		if n.Problem != "" && r.Incoming+r.Outgoing == 0 && len(r.Failures) < maxFailures {
			r.Failures = append(r.Failures, control.NetFailure{Node: n.Name, Problem: n.Problem})
		}
		if n.Self || !n.Reachable {
			continue
		}
		if answers, asked := heard[n.Name]; asked && !answers { // not any more
			n.Confirmed = false
		}
		if _, asked := heard[n.Name]; asked || n.Confirmed || n.ValidKey && !n.Idle {
			r.Tried++
		}
		if n.Confirmed {
			r.Answered++
			if n.Addr.Addr().Unmap().Is6() {
				r.ByIPv6++
			}
		}
	}
	if list := d.mapped.Load(); list != nil {
		for _, m := range *list {
			r.Mappings = append(r.Mappings, m.String())
		}
	}
	switch s := d.network().Settings; {
	case len(r.Mappings) > 0:
	case s.UPnP == config.UPnPOff:
		r.MapProblem = "not requested (UPnP = no)"
	default:
		r.MapProblem = "no router has created one"
	}
	if p := d.network().Settings.Proxy; p.Kind != config.NoProxy {
		r.Proxy = p.Kind.String()
	}
	r.NAT = natKind(r.Seen, local, false)
	r.NAT6 = natKind(r.Seen, local, true)
	r.Verdict = verdict(r)
	for _, p := range b.Problems() {
		r.Problems = append(r.Problems, p)
		r.Verdict = append(r.Verdict, netdiag.Finding(p).String()+".")
	}
	return r
}

// Addresses of documentation stand for the internet: nothing is sent to them.
var (
	someIPv4 = netip.MustParseAddr("192.0.2.1")
	someIPv6 = netip.MustParseAddr("2001:db8::1")
)

// ownAddresses are the addresses of this machine that others might reach, without the VPN's.
func (d *Daemon) ownAddresses() (out []control.NetAddress) {
	for i, p := range netwatch.Addresses() {
		ip := p.Addr().Unmap()
		if i.Flags&net.FlagUp == 0 || i.Name == d.netif.Name() || !ip.IsGlobalUnicast() {
			continue
		}
		out = append(out, control.NetAddress{Interface: i.Name, Address: ip.String(), Public: !subnet.Private(netip.PrefixFrom(ip, ip.BitLen()))})
	}
	return out
}

// seenBy asks nodes from where they hear us, all at a time. heard tells who answered.
func (b *backend) seenBy(nodes []node.Name) (seen []control.SeenFrom, heard map[node.Name]bool) {
	var list []control.EchoRequest
	for _, name := range nodes {
		list = append(list, control.EchoRequest{Node: name, Transport: control.EchoUDP, Size: wire.SeenEcho})
	}
	seen, heard = []control.SeenFrom{}, map[node.Name]bool{}
	for i, a := range b.askTwice(list, func(a control.EchoAnswer) bool { return a.Seen != "" }) {
		heard[nodes[i]] = a.Error == ""
		if a.Seen != "" {
			seen = append(seen, control.SeenFrom{By: nodes[i], Address: a.Seen})
		}
	}
	return seen, heard
}

// isBehindNAT tells whether somebody sees us at another address than our own.
func isBehindNAT(seen []control.SeenFrom, local []control.NetAddress) bool {
	return !slices.Contains([]control.NATKind{control.NATNone, control.NATUnknown}, natKind(seen, local, false))
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
		return control.NATEndpointIndependent
	}
	return control.NATSymmetric
}

// verdict sums the report up in sentences.
func verdict(r control.NetReport) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case r.Incoming+r.Outgoing == 0:
		add("This node has no connection with any other, so connectivity cannot be checked.")
		for _, f := range r.Failures {
			add("The last attempt to connect with %s failed: %s.", f.Node, f.Problem)
		}
		if len(r.Failures) == 0 {
			add("If this machine is online, check that the nodes in ConnectTo have an Address and that TCP to it is allowed.")
		}
	case r.Tried == 0:
		add("There has been no traffic with another node yet, so nothing is known about UDP. Ping one and ask again.")
	case r.Answered == 0:
		add("No node answers by UDP: this network seems to block it. The mesh works over TCP, which is slower. Allow UDP to and from port %d.", r.Port)
	case r.NAT == control.NATSymmetric:
		add("UDP works, through a symmetric NAT. A direct path to nodes behind the same kind of NAT is not possible; others can be reached. A forwarded port %d on the router, or UPnP = yes, would fix that.", r.Port)
	case r.NAT == control.NATEndpointIndependent:
		add("UDP works, through a NAT that allows direct paths.")
	case r.NAT == control.NATOne:
		add("UDP works, through a NAT. Whether it allows direct paths will be known when two nodes answer by UDP.")
	default:
		add("UDP works.")
	}
	if r.Incoming+r.Outgoing > 0 && r.Incoming == 0 {
		add("No node has connected to this one: either none needs to, or TCP port %d is not reachable from outside. That is fine as long as it can connect to others.", r.Port)
	}
	if r.IPv6 && r.Answered > 0 && r.ByIPv6 == 0 {
		add("This machine has IPv6, but no other node is reached by it.")
	}
	return out
}
