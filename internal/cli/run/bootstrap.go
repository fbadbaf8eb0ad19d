package run

import (
	"os"

	"tincan/internal/bootnode"
	"tincan/internal/cli/env"
	"tincan/internal/cli/launch"
	"tincan/internal/cli/newcomers"
	"tincan/internal/cli/service"
	"tincan/internal/command"
	"tincan/internal/command/ownership"
)

// bootstrap does what --boot and --join ask for before the node is started. The
// service is nil without --boot, and in the process that only starts another one.
func bootstrap(e *env.Env, f upFlags) (_ *command.Service, err error) {
	if f.admit.Binding == "" && len(f.join) == 0 {
		return nil, nil
	}
	l, err := e.Layout()
	if err != nil {
		return nil, err
	}
	if f.admit.Binding != "" { // before anything is made
		if f.gen.BootPort, err = command.BindingPort(f.admit.Binding); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(l.TincConf()); err == nil {
		if !launch.Detached() && len(f.join) > 0 {
			e.Say("this machine is already a node (%s); to join another network, name it with -n", l.ConfBase)
		}
	} else if err := generate(e, f); err != nil {
		return nil, err
	}
	f.admit.Elsewhere = f.detach || f.service
	if len(f.join) == 0 { // otherwise the token is that of another boot node
		f.admit.Token = f.gen.Token
	}
	return newcomers.Open(e, f.admit, l)
}

// bootNetwork gives a network that --boot or --join make its name, unless there is one.
func bootNetwork(e *env.Env) {
	if e.Place.Net == "" && e.Place.Conf == "" {
		e.Place.Net = command.DefaultNetwork
	}
}

// generate makes the node.
func generate(e *env.Env, f upFlags) error {
	g := f.gen
	g.Place, g.URLs, g.Standalone = e.Place, f.join, len(f.join) == 0
	g.Engine, g.Protocol = command.Embedded, string(bootnode.Current)
	ctx, stop := command.Interruptible()
	defer stop()
	m, err := g.Run(ctx, e.Streams)
	if err != nil {
		return err
	}
	e.Say("created node %s in %s, with the address %s", m.Name, m.Layout.ConfBase, m.VPN)
	if g.Standalone && !f.open {
		if err := ownership.Found(m.Layout, e.Streams); err != nil {
			return err
		}
	}
	if !f.service && (e.Place.Conf == "" || !service.BySystemd()) {
		e.Say("to start it at boot, too: %s service install", e.Self())
	}
	return nil
}
