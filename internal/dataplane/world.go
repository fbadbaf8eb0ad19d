package dataplane

import (
	"net/netip"

	"tincan/internal/node"
	"tincan/internal/route"
	"tincan/internal/wire"
)

// Options is what a reload may change. The zero value is tinc's default.
type Options struct {
	Forwarding   route.Forwarding
	Broadcast    route.Broadcast // None also with TunnelServer
	DirectOnly   bool            // refuse packets that would need a relay
	DecrementTTL bool            // count ourselves as a hop between peers
	TCPOnly      bool            // never send data by UDP
	NoClamp      bool            // leave the MSS of TCP connections alone
}

// SetOptions replaces the options.
func (p *Plane) SetOptions(o Options) {
	p.routing.Lock()
	defer p.routing.Unlock()
	p.options.Store(&o)
	p.router = route.New(route.Config{
		Self:         p.cfg.Self,
		Mode:         route.ByAddress,
		Forwarding:   o.Forwarding,
		Broadcast:    o.Broadcast,
		DirectOnly:   o.DirectOnly,
		DecrementTTL: o.DecrementTTL,
		NoClamp:      o.NoClamp,
		LocalAddr:    p.cfg.LocalAddr,
	})
}

// world shows one snapshot of peers and routes to the router.
type world struct {
	p      *Plane
	dir    *directory
	routes *routes
}

func (w *world) Lookup(addr netip.Addr) (route.Match, bool) {
	owner, reachable := w.routes.lookup(addr)
	if owner == nil {
		return route.Match{}, false
	}
	return route.Match{Owner: owner.name, Reachable: reachable}, true
}

// LookupMAC finds nothing: there are no MAC subnets in router mode.
func (w *world) LookupMAC([6]byte) (route.Match, bool) { return route.Match{}, false }

func (w *world) Node(name node.Name) (route.Node, bool) {
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
		Reachable: s.Reachable,
		NextHop:   s.NextHop,
		Via:       via,
		MTU:       s.MTU,
		ClampMSS:  wire.Options(s.Options).Has(wire.ClampMSS),
	}, true
}

func (w *world) Tree() []node.Name { return w.routes.tree }

func (w *world) Directs() (names []node.Name) {
	for name, pr := range w.dir.byName {
		if s := pr.state.Load(); s != nil && s.Reachable && (s.Adjacent || s.via == pr && !s.ViaSelf) {
			names = append(names, name)
		}
	}
	return names
}
