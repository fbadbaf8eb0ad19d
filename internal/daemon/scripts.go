package daemon

import (
	"net/netip"
	"strconv"

	"tincan/internal/config"
	"tincan/internal/node"
	"tincan/internal/script"
	"tincan/internal/subnet"
)

func (d *Daemon) scriptConfig(s config.Settings) script.Config {
	return script.Config{
		Dir: d.opts.Layout.ConfBase, Interpreter: s.ScriptsInterpreter, Extension: s.ScriptsExtension,
		Stdin: d.null, Forbidden: d.noScripts(),
	}
}

// device is the device file, as scripts know it.
func (d *Daemon) device() string {
	if s := d.network().Settings; s.DeviceType != config.DeviceDummy {
		return s.Device
	}
	return "dummy"
}

// env is the environment of a script about a node; about is "" for one about ourselves.
func (d *Daemon) env(about node.Name, addr netip.AddrPort) script.Env {
	e := script.Env{
		NetName: d.opts.Layout.NetName, Name: string(d.network().Name),
		Device: d.device(), Interface: d.netif.Name(), Debug: strconv.Itoa(d.log.level()),
		Node: string(about),
	}
	if addr.IsValid() {
		e.RemoteAddress, e.RemotePort = addr.Addr().String(), strconv.Itoa(int(addr.Port()))
	}
	return e
}

func (d *Daemon) subnetEnv(owner node.Name, s subnet.Subnet, addr netip.AddrPort) script.Env {
	env := d.env(owner, addr)
	env.Weight = s.Weight
	s.Weight = subnet.DefaultWeight
	env.Subnet = s.String()
	return env
}
