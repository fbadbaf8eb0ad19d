package daemon

import (
	"context"
	"time"

	"tincan/internal/config"
	"tincan/internal/mesh"
	"tincan/internal/netwatch"
	"tincan/internal/portmap"
)

// watchNetwork tells the protocol core when this machine has moved to another network. The router
// is another one there, too.
func (d *Daemon) watchNetwork(ctx context.Context) {
	netwatch.Run(ctx, netwatch.Config{
		Ignore: func(name string) bool { return name == d.netif.Name() },
		Changed: func(reason string) {
			d.core.event(mesh.NetworkChanged{Reason: reason, Worked: d.places.worked()})
			if d.ports != nil {
				d.ports.Kick()
			}
		},
		Touched: func() {
			d.netif.Look() // routes are judged by what is around
			poke(d.distribution.addresses)
			poke(d.naming.touched)
			poke(d.exit.touched)
			poke(d.outside.touched)
		},
		Moved:  d.where.moved,
		Failed: func(err error) { d.log.failed(1, mesh.Warning, err) },
	})
}

// newPorts returns what has the router let others in, nil if that is not wanted.
func (d *Daemon) newPorts() *portmap.Client {
	s := d.network().Settings
	if s.UPnP == config.UPnPOff || len(d.socks.tcp) == 0 {
		return nil
	}
	own := d.socks.addr().Port()
	return portmap.New(portmap.Config{
		Port: own, UDPOnly: s.UPnP == config.UPnPForUDP,
		Wait: s.UPnPDiscoverWait, Refresh: s.UPnPRefreshPeriod,
		Name: "tincan " + string(d.network().Name),
		Changed: func(list []portmap.Mapping) {
			var port uint16
			for _, m := range list {
				if m.Protocol == portmap.TCP && m.External.Addr().Is4() && m.External.Port() != own {
					port = m.External.Port()
				}
			}
			d.mapped.Store(&list)
			d.core.event(mesh.PortMapped{Port: port})
		},
		Log: func(level int, format string, args ...any) { d.log.printf(level, mesh.Info, format, args...) },
	})
}

// mapTime is how long the first connections wait for the router: a connection tells the other
// end once, at its beginning, which port of the router leads to us. A router that speaks PCP or
// NAT-PMP answers in milliseconds.
const mapTime = time.Second

// mapPorts asks the router to let others in, if that is wanted, and returns what ends that. It
// begins to ask, and waits a moment for the answer.
func (d *Daemon) mapPorts(ctx context.Context) (end func()) {
	if d.ports == nil {
		return func() {}
	}
	end = inBackground(d.ports.Run)
	select {
	case <-d.ports.Asked():
	case <-time.After(mapTime):
	case <-ctx.Done():
	}
	return end
}
