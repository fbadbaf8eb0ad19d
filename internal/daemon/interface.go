package daemon

import (
	"context"
	"errors"
	"net/netip"

	"tincan/internal/config"
	"tincan/internal/mesh"
	"tincan/internal/netconf"
	"tincan/internal/route"
	"tincan/internal/script"
)

// What becomes of the network interface at start and end: tinc-up and tinc-down, or netif.

// hasInterface tells whether there is an interface, and it is ours.
func (d *Daemon) hasInterface() bool {
	return d.netif.Name() != "" && d.network().Settings.DeviceType.HasInterface()
}

// interfaceUp runs tinc-up, or gives the interface what Ifconfig and Route say.
func (d *Daemon) interfaceUp(ctx context.Context) error {
	s := d.network().Settings
	if d.hasScript(script.TincUp) {
		// its failure has been logged, and is not ours to judge
		_ = d.script.Do(ctx, script.TincUp, d.env("", netip.AddrPort{}))
		return nil
	}
	if !d.hasInterface() {
		return nil
	}
	if len(s.Ifconfig) == 0 && s.Mode == route.ByAddress { // else it may be for a bridge
		d.log.printf(0, mesh.Warning, "the interface %s gets no address: there is neither a tinc-up script nor a line Ifconfig = ADDRESS/LENGTH in tinc.conf", d.netif.Name())
	}
	d.netif.Through(gateways(s))
	err := d.netif.Up(s.Ifconfig, destinations(s))
	if errors.Is(err, netconf.ErrNotSupported) {
		d.log.failed(0, mesh.Warning, err)
		return nil
	}
	return err
}

// interfaceDown waits for the scripts that are still to run, runs tinc-down after
// them and undoes interfaceUp.
func (d *Daemon) interfaceDown() {
	_ = d.script.Do(context.Background(), script.TincDown, d.env("", netip.AddrPort{}))
	d.netif.Down()
}

// gateways are those of the Route lines, if there is an Ethernet behind the interface. They
// mean nothing where packets are routed by the nodes.
func gateways(s config.Settings) map[netip.Prefix]netip.Addr {
	if s.Mode == route.ByAddress {
		return nil
	}
	list := map[netip.Prefix]netip.Addr{}
	for _, r := range s.Routes {
		if r.Via.IsValid() {
			list[r.To] = r.Via
		}
	}
	return list
}

// destinations are the networks of the Route lines.
func destinations(s config.Settings) (list []netip.Prefix) {
	for _, r := range s.Routes {
		list = append(list, r.To)
	}
	return list
}

// hasScript tells whether a script is there, and may be run.
func (d *Daemon) hasScript(name string) bool {
	if !d.opts.Scripts {
		return false
	}
	path, err := d.scriptConfig(d.network().Settings).Path(name)
	return path != "" || err != nil
}
