package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"tincan/internal/bootnode"
	"tincan/internal/cli/launch"
	"tincan/internal/command"
	"tincan/internal/confdir"
)

// A token that "up --boot" makes is good for a day and a hundred machines.
const (
	upTokenLife = 24 * time.Hour
	upTokenUses = 100
)

// bootstrap does what --boot and --join ask for before the node is started. The
// service is nil without --boot, and in the process that only starts another one.
func (a *app) bootstrap(f upFlags) (_ *command.Service, err error) {
	if f.boot == "" && len(f.join) == 0 {
		return nil, nil
	}
	l, err := a.layout()
	if err != nil {
		return nil, err
	}
	if f.boot != "" { // before anything is made
		if f.gen.BootPort, err = command.BindingPort(f.boot); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(l.TincConf()); err == nil {
		if !launch.Detached() && len(f.join) > 0 {
			a.say("this machine is already a node (%s); to join another network, name it with -n", l.ConfBase)
		}
	} else if err := a.generate(f); err != nil {
		return nil, err
	}
	if f.boot == "" {
		return nil, nil
	}
	return a.openBoot(f, l)
}

// bootNetwork gives a network that --boot or --join make its name, unless there is one.
func (a *app) bootNetwork() {
	if a.place.Net == "" && a.place.Conf == "" {
		a.place.Net = command.DefaultNetwork
	}
}

// generate makes the node.
func (a *app) generate(f upFlags) error {
	g := f.gen
	g.Place, g.URLs, g.Standalone = a.place, f.join, len(f.join) == 0
	g.Engine, g.Protocol = command.Embedded, string(bootnode.Current)
	ctx, stop := command.Interruptible()
	defer stop()
	m, err := g.Run(ctx, a.Streams)
	if err != nil {
		return err
	}
	a.say("created node %s in %s, with the address %s", m.Name, m.Layout.ConfBase, m.VPN)
	if !f.service && (a.place.Conf == "" || !bySystemd()) {
		a.say("to start it at boot, too: %s service install", a.self())
	}
	return nil
}

func (a *app) openBoot(f upFlags, l confdir.Layout) (*command.Service, error) {
	first := !launch.Detached()
	// The system journal is read by more people than may know a token.
	s := command.Serve{Layout: l, Binding: f.boot, TLSSelf: f.tlsSelf, Generate: first && !f.managed && os.Getenv("JOURNAL_STREAM") == ""}
	s.Limits = bootnode.Limits{Label: "up --boot", Uses: bootnode.Unlimited}
	if len(f.join) == 0 && first {
		s.Token = f.gen.Token
	}
	if _, err := s.Token.Secret(a.Streams); errors.Is(err, command.ErrNoToken) {
		s.Limits.Uses, s.Limits.Expires = upTokenUses, time.Now().Add(upTokenLife)
	}
	v, err := s.Open(a.Streams)
	if err != nil {
		return nil, err
	}
	if (f.detach || f.service) && first {
		a.tellNext(v)
		return nil, nil // another process serves
	}
	// So that nobody sends newcomers to a service that is not there.
	if err := v.Listen(); err != nil {
		return nil, err
	}
	if first && !f.managed {
		a.tellNext(v)
	}
	return v, nil
}

// tellNext prints the command for the next machine.
func (a *app) tellNext(v *command.Service) {
	self := "sudo tincan"
	if a.place.Net != "" && a.place.Net != command.DefaultNetwork {
		self += " -n " + command.Quote(a.place.Net)
	}
	switch {
	case v.Generated:
		a.say("on the next machine (within %d hours, at most %d machines):", int(upTokenLife.Hours()), upTokenUses)
		fmt.Fprintf(a.Out, "%s up --join %s --token %s\n", self, command.Quote(v.URL), v.Secret.Reveal())
	case v.HasSecret:
		a.say("on the next machine: %s up --join %s --token TOKEN", self, command.Quote(v.URL))
	default:
		a.say("admitting new nodes at %s; make a token for them with: %s token new", v.URL, a.self())
	}
}

// beside is what runs beside the node itself: the service of a boot node, and the report of what has become
// of a newcomer's first attempts to connect.
func beside(v *command.Service, l confdir.Layout) func(context.Context, func(string)) error {
	newcomer := !launch.Detached() && command.IsNewcomer(l) // whoever has started it in the background reports
	if v == nil && !newcomer {
		return nil
	}
	return func(ctx context.Context, log func(string)) error {
		var report sync.WaitGroup
		defer report.Wait()
		if newcomer {
			report.Go(func() {
				for _, text := range command.ContactLines(ctx, l) {
					log(text)
				}
			})
		}
		if v == nil {
			return nil
		}
		return v.Run(ctx, log)
	}
}
