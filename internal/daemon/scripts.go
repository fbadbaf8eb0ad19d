package daemon

import (
	"net/netip"
	"strconv"

	"tincan/internal/config"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/script"
	"tincan/internal/subnet"
)

func (d *Daemon) scriptConfig(s config.Settings) script.Config {
	return script.Config{Dir: d.opts.Layout.ConfBase, Interpreter: s.ScriptsInterpreter, Extension: s.ScriptsExtension}
}

// env is the environment of a script about a node; about is "" for one about ourselves.
func (d *Daemon) env(about node.Name, addr netip.AddrPort) script.Env {
	e := script.Env{
		NetName: d.opts.Layout.NetName, Name: string(d.network().Name),
		Device: d.network().Settings.Device, Interface: d.face.name, Debug: strconv.Itoa(d.log.level()),
		Node: string(about),
	}
	if addr.IsValid() {
		e.RemoteAddress, e.RemotePort = addr.Addr().String(), strconv.Itoa(int(addr.Port()))
	}
	return e
}

func (d *Daemon) subnetUp(e mesh.SubnetUp) {
	d.script.Queue(script.SubnetUp, d.subnetEnv(e.Owner, e.Subnet, e.Addr))
	if e.Owner != d.network().Name {
		d.face.add(e.Owner, e.Subnet, d.brain.Underlay)
		d.clash(e.Owner, e.Subnet)
	}
}

func (d *Daemon) subnetDown(e mesh.SubnetDown) {
	d.script.Queue(script.SubnetDown, d.subnetEnv(e.Owner, e.Subnet, e.Addr))
	if e.Owner != d.network().Name {
		d.face.remove(e.Owner, e.Subnet)
	}
}

func (d *Daemon) subnetEnv(owner node.Name, s subnet.Subnet, addr netip.AddrPort) script.Env {
	env := d.env(owner, addr)
	env.Weight = s.Weight
	s.Weight = subnet.DefaultWeight
	env.Subnet = s.String()
	return env
}
