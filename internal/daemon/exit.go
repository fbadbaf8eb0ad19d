package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"tincan/internal/config"
	"tincan/internal/dataplane"
	"tincan/internal/gateway"
	"tincan/internal/mesh"
	"tincan/internal/route"
)

// exitNode lets other nodes leave the mesh by this machine, if Exit asks for that.
type exitNode struct {
	d       *Daemon
	gateway *gateway.Gateway // nil: this is no exit node
	dns     netip.Addr       // who answers the queries of others; zero: whom this machine asks
	touched chan struct{}    // room for one: something has changed at the interfaces
	failure string           // as the log has it

	mu      sync.Mutex
	uplinks gateway.Uplinks // for status
	known   bool
}

// exitEvery is how often an exit node looks for its uplink without being told that something has changed: whether the router answers is
// not reported.
const exitEvery = 5 * time.Second

func newExitNode(d *Daemon) *exitNode { return &exitNode{d: d, touched: make(chan struct{}, 1)} }

// begin makes this machine an exit node. The protocol core does not run yet.
func (x *exitNode) begin() error {
	d := x.d
	s := d.network().Settings
	if s.Exit == config.ExitOff {
		return nil
	}
	if !d.hasInterface() || s.Mode != route.ByAddress {
		return &Hinted{errors.New("an exit node (Exit) needs Mode = router and an interface"), "set Exit = no"}
	}
	if s.ExitDNS != "" {
		if a, ok := gateway.ResolverAt(s.ExitDNS); ok {
			x.dns = a
		} else {
			d.log.printf(0, mesh.Warning, "ExitDNS = %.60s is no address of another machine; that of this machine's configuration is taken", s.ExitDNS)
		}
	}
	cfg := gateway.Config{
		Interface: d.netif.Name(), Private: s.Exit == config.ExitPrivate,
		Connections: s.ExitConnections, Rate: s.ExitRate, Resolvers: x.resolvers(),
	}
	for _, p := range s.Ifconfig {
		cfg.Own = append(cfg.Own, p.Masked())
	}
	for _, n := range s.Subnets {
		if p := n.Prefix(); p.IsValid() && p.Bits() > 0 {
			cfg.Own = append(cfg.Own, p.Masked())
		}
	}
	g, notes, err := gateway.Up(cfg)
	if err != nil {
		return fmt.Errorf("this machine cannot be an exit node: %w", err)
	}
	for _, n := range notes {
		d.log.printf(0, mesh.Notice, "exit node: %s", n)
	}
	if len(cfg.Resolvers) == 0 {
		d.log.failed(0, mesh.Warning, &Hinted{errors.New("exit node: no DNS server is known that others could ask through this machine: those who leave by it need public ones"), "set ExitDNS"})
	}
	x.gateway = g
	mode := dataplane.ExitPublic
	if cfg.Private {
		mode = dataplane.ExitPrivate
	}
	d.plane.Outside.SetExit(mode)
	return nil
}

// resolvers are who answers the DNS queries of others.
func (x *exitNode) resolvers() []netip.Addr {
	if x.dns.IsValid() {
		return []netip.Addr{x.dns}
	}
	return gateway.FindResolvers()
}

// run keeps the others informed whether there is a way out, until ctx ends.
func (x *exitNode) run(ctx context.Context) {
	if x.gateway == nil {
		return
	}
	tick := time.NewTicker(exitEvery)
	defer tick.Stop()
	for {
		x.look()
		select {
		case <-x.touched:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (x *exitNode) look() {
	d := x.d
	now := gateway.FindUplinks(d.netif.Name())
	granted := mayBeExit(d, d.network().Name)
	if !granted {
		now = gateway.Uplinks{}
	}
	x.mu.Lock()
	same := x.known && now == x.uplinks
	x.known, x.uplinks = true, now
	x.mu.Unlock()
	if !same {
		d.core.event(mesh.ExitWorks{IPv4: now.IPv4, IPv6: now.IPv6})
		if !granted {
			d.log.failed(0, mesh.Warning, &Hinted{errors.New("exit node: the owners of the network have not made this node one, so others do not leave by it"),
				"let an owner run: " + d.command() + " admit " + string(d.network().Name) + " --exit"})
		} else if now == (gateway.Uplinks{}) {
			d.log.printf(0, mesh.Warning, "exit node: there is no default route, or its router does not answer; other nodes leave by others")
		} else {
			d.log.printf(0, mesh.Notice, "exit node: other nodes can leave the mesh by this machine, with %s", familiesOf(now.IPv4, now.IPv6))
		}
	}
	failure := ""
	if err := x.gateway.SetResolvers(x.resolvers()); err != nil {
		if failure = err.Error(); failure != x.failure {
			d.log.failed(0, mesh.Warning, fmt.Errorf("exit node: %w", err))
		}
	}
	x.failure = failure
}

// end undoes begin.
func (x *exitNode) end() {
	if x.gateway == nil {
		return
	}
	if err := x.gateway.Close(); err != nil {
		x.d.log.failed(0, mesh.Warning, fmt.Errorf("exit node: %w", err))
	}
}

// familiesOf names families of addresses.
func familiesOf(v4, v6 bool) string {
	switch {
	case v4 && v6:
		return "IPv4 and IPv6"
	case v4:
		return "IPv4, and no IPv6"
	case v6:
		return "IPv6, and no IPv4"
	}
	return "neither IPv4 nor IPv6"
}
