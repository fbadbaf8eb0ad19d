// Package newcomers is what a node that runs does for those that come: it serves nodes that know a token, if it is
// told to, and if it is new itself it says what has become of its first attempts to connect.
package newcomers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"tincan/internal/bootnode"
	"tincan/internal/cli/env"
	"tincan/internal/cli/launch"
	"tincan/internal/command"
	"tincan/internal/confdir"
)

// Options are how newcomers are admitted.
type Options struct {
	Binding   string        // the address where they are served; "" for nowhere
	TLSSelf   bool          // by HTTPS, with a self-signed certificate
	Token     command.Token // that is good for them; empty: those that were made before, or else a new one
	Store     bootnode.StoreURL
	Managed   bool // this process is a service of the system
	Elsewhere bool // another process will serve them
}

// Words are the options of a command line that mean o, for a service.
func (o Options) Words() []string {
	if o.Binding == "" {
		return nil
	}
	options := []string{"--boot=" + o.Binding}
	if o.TLSSelf {
		options = append(options, "--tls-self")
	}
	if at := o.Store.String(); at != "" {
		options = append(options, "--store="+at)
	}
	return options
}

// A token that "up --boot" makes is good for a day and a hundred machines.
const (
	upTokenLife = 24 * time.Hour
	upTokenUses = 100
)

// Open prepares what o asks for, and tells the person who has started the node what to type on the next machine.
// The result is nil if nobody is served in this process.
func Open(e *env.Env, o Options, l confdir.Layout) (*command.Service, error) {
	if o.Binding == "" {
		return nil, nil
	}
	first := !launch.Detached()
	// The system journal is read by more people than may know a token.
	s := command.Serve{Layout: l, Binding: o.Binding, TLSSelf: o.TLSSelf, Store: o.Store, Generate: first && !o.Managed && os.Getenv("JOURNAL_STREAM") == ""}
	s.Limits = bootnode.Limits{Label: "up --boot", Uses: bootnode.Unlimited}
	if first {
		s.Token = o.Token
	}
	if _, err := s.Token.Secret(e.Streams); errors.Is(err, command.ErrNoToken) {
		s.Limits.Uses, s.Limits.Expires = upTokenUses, time.Now().Add(upTokenLife)
	}
	v, err := s.Open(e.Streams)
	if err != nil {
		return nil, err
	}
	if o.Elsewhere && first {
		tellNext(e, v)
		return nil, nil // another process serves
	}
	// So that nobody sends newcomers to a service that is not there.
	if err := v.Listen(); err != nil {
		return nil, err
	}
	if first && !o.Managed {
		tellNext(e, v)
	}
	return v, nil
}

// tellNext prints the command for the next machine.
func tellNext(e *env.Env, v *command.Service) {
	self := "sudo tincan"
	if e.Place.Net != "" && e.Place.Net != command.DefaultNetwork {
		self += " -n " + command.Quote(e.Place.Net)
	}
	switch {
	case v.Generated:
		e.Say("on the next machine (within %d hours, at most %d machines):", int(upTokenLife.Hours()), upTokenUses)
		fmt.Fprintf(e.Out, "%s up --join %s --token %s\n", self, command.Quote(v.URL), v.Secret.Reveal())
		e.Say("to read the token out: %s", v.Secret.Groups())
	case v.HasSecret:
		e.Say("on the next machine: %s up --join %s --token TOKEN", self, command.Quote(v.URL))
	default:
		e.Say("admitting new nodes at %s; make a token for them with: %s token new", v.URL, e.Self())
	}
}

// Beside is what runs beside the node itself: the service of a boot node, and the report of what has become
// of a newcomer's first attempts to connect.
func Beside(v *command.Service, l confdir.Layout) func(context.Context, func(string)) error {
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

// SayContacts reports on a node that somebody else, such as a service manager, has just started.
func SayContacts(e *env.Env, l confdir.Layout) {
	for _, text := range command.ContactLines(context.Background(), l) {
		e.Say("%s", text)
	}
}
