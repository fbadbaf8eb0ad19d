package dataplane

import (
	"encoding/binary"
	"net/netip"
	"time"

	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
	"tincan/internal/wire"
)

// Options is what a reload may change. The zero value is tinc's default.
type Options struct {
	Forwarding   route.Forwarding
	Broadcast    route.Broadcast // None also with TunnelServer
	DirectOnly   bool            // refuse packets that would need a relay
	DecrementTTL bool            // this node counts as a hop between peers
	TCPOnly      bool            // never send data by UDP
	NoClamp      bool            // leave the MSS of TCP connections alone
	Priority     bool            // datagrams have the TOS of the packets in them
	MACExpire    time.Duration   // how long the protocol core remembers a MAC address; 0: 600 s
	AnySource    bool            // packets may have any source address
}

// SetOptions replaces the options.
func (p *Plane) SetOptions(o Options) { p.options.Store(&o) }

// currentRouter is the router that the options ask for. The caller holds p.routing.
func (p *Plane) currentRouter() *route.Router {
	o := p.options.Load()
	if o != p.routerOf {
		p.routerOf = o
		p.router = route.New(route.Config{
			Self:         p.cfg.Self,
			Mode:         p.cfg.Mode,
			Forwarding:   o.Forwarding,
			Broadcast:    o.Broadcast,
			DirectOnly:   o.DirectOnly,
			DecrementTTL: o.DecrementTTL,
			NoClamp:      o.NoClamp,
			LocalAddr:    p.cfg.LocalAddr,
		})
	}
	return p.router
}

// tos is the type of service of a datagram that carries the IP packet p. The ECN bits are not
// copied: the receiver does not propagate them to the inner packet (RFC 6040).
func (o *Options) tos(p []byte) uint8 {
	if !o.Priority {
		return 0
	}
	return packet.TrafficClass(p) &^ 3
}

// tosOfFrame is tos for a frame.
func (o *Options) tosOfFrame(frame []byte) uint8 {
	if !o.Priority {
		return 0
	}
	n := l2Len(frame)
	if typ := binary.BigEndian.Uint16(frame[n-2:]); typ != packet.TypeIPv4 && typ != packet.TypeIPv6 {
		return 0
	}
	return o.tos(frame[n:])
}

// routerView is one snapshot of peers and routes as the router sees it.
type routerView struct {
	p      *Plane
	dir    *directory
	routes *routes
	// inbound: the packet came from a peer. query: it is one for a DNS server, and this is an exit node.
	inbound, query bool
}

func (w *routerView) Lookup(addr netip.Addr) (route.Match, bool) {
	owner, reachable := w.lookup(addr)
	if owner == nil {
		return route.Match{}, false
	}
	return route.Match{Owner: owner.name, Reachable: reachable}, true
}

// lookup finds the owner of an address, or by whom packets for it leave the mesh.
func (w *routerView) lookup(addr netip.Addr) (owner *peer, reachable bool) {
	if !w.inbound {
		return w.routes.outbound(addr)
	}
	if owner, reachable = w.routes.inbound(addr, w.p.self); owner == nil && w.query && isPrivate(addr) {
		return w.p.self, true
	}
	return owner, reachable
}

func (w *routerView) LookupMAC(mac [6]byte) (route.Match, bool) {
	e, ok := w.routes.table.LookupMAC(mac)
	if !ok {
		return route.Match{}, false
	}
	return route.Match{Owner: e.Owner.name, Reachable: e.Reachable}, true
}

func (w *routerView) Node(name node.Name) (route.Node, bool) {
	if name == w.p.cfg.Self {
		return route.Node{Reachable: true, NextHop: name, Via: name, MTU: maxData, ClampMSS: !w.p.options.Load().NoClamp}, true
	}
	pr := w.dir.byName[name]
	if pr == nil {
		return route.Node{}, false
	}
	s := pr.state.Load()
	if s == nil {
		return route.Node{}, false
	}
	via := s.Via
	if s.relay != nil {
		via = s.Relay
	}
	return route.Node{
		Reachable:  s.Reachable,
		NextHop:    s.NextHop,
		Via:        via,
		MTU:        s.MTU,
		ClampMSS:   wire.Options(s.Options).Has(wire.ClampMSS),
		RelayAbove: s.relayAbove(w.p.options.Load().TCPOnly),
	}, true
}

// relayAbove is [route.Node.RelayAbove].
func (s *state) relayAbove(noUDP bool) int {
	switch {
	case s.Adjacent:
		return 0 // at least by TCP
	case s.Legacy != nil && !noUDP && !s.tcpOnly() && s.Confirmed, s.fwd.TakesUDP(0) && !noUDP:
		return max(s.MinMTU, 1)
	}
	return 1
}

// directWait is the delay before an ICMP error tells the sender that there is no direct path: one may be found.
const directWait = 800 * time.Millisecond

// reportNotDirect requests the direct path that a frame needs, and returns whether to answer its sender
// with an error. The caller holds p.routing.
func (p *Plane) reportNotDirect(w *routerView, frame []byte, now time.Duration) bool {
	var to *peer
	if dst, ok := packet.Dst(frame[ethernetLen:]); ok && !p.bridging {
		to, _ = w.lookup(dst)
	} else if e, ok := w.routes.table.LookupMAC([6]byte(frame)); ok {
		to = e.Owner
	}
	if to == nil || to == p.self || to == p.broadcast {
		return true
	}
	p.traffic(to, now)
	if s := to.state.Load(); s == nil || s.via != to {
		return true // by its own announcement it is reached through another node
	}
	if r := &to.notDirect; r.last == 0 || now-r.last > 10*directWait {
		r.first = now
	}
	to.notDirect.last = now
	return now-to.notDirect.first >= directWait
}

func (w *routerView) Tree() []node.Name { return w.routes.tree }

func (w *routerView) Directs() (names []node.Name) {
	for name, pr := range w.dir.byName {
		if s := pr.state.Load(); s != nil && s.Reachable && (s.Adjacent || s.via == pr && !s.ViaSelf) {
			names = append(names, name)
		}
	}
	return names
}
