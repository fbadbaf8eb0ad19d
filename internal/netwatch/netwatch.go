// Package netwatch reads the machine's addresses, interfaces and default routes, and reports
// when they change.
//
// It does not act on changes.
package netwatch

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// quietPeriod is how long nothing more must happen before a change is reported, and
	// atMost how long a series of changes can put that off.
	quietPeriod = 100 * time.Millisecond
	atMost      = 500 * time.Millisecond
)

// Config says what is watched.
type Config struct {
	// Ignore reports whether the interface with that name does not matter: our own.
	Ignore func(name string) bool
	// Changed is called with the reason, in a few words.
	Changed func(reason string)
	// Touched is called when something has happened to any interface, also an ignored one, or to a
	// route that leads through that or nowhere. It may be nil.
	Touched func()
	// Moved is called at once when anything has happened to an interface, an address or a route, so that where an
	// address leads may have changed. told is false when the system does not report such things, or not any more;
	// it is true at first, if it does. It may be nil.
	Moved func(told bool)
	// Failed is called when the system does not report changes, so that the package polls
	// instead. It may be nil.
	Failed func(error)
}

// Run watches until ctx ends.
func Run(ctx context.Context, cfg Config) {
	last := look(cfg.Ignore)
	hints := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() { defer close(done); notify(ctx, hints, cfg) }()
	defer func() { <-done }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hints:
		}
		if !calm(ctx, hints) {
			return
		}
		if cfg.Touched != nil {
			cfg.Touched()
		}
		now := look(cfg.Ignore)
		if reason := now.since(last); reason != "" {
			last = now
			cfg.Changed(reason)
		}
	}
}

// calm waits until no more hints come. It reports false when ctx has ended.
func calm(ctx context.Context, hints <-chan struct{}) bool {
	limit := time.After(atMost)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-limit:
			return true
		case <-time.After(quietPeriod):
			return true
		case <-hints:
		}
	}
}

func (cfg *Config) moved(told bool) {
	if cfg.Moved != nil {
		cfg.Moved(told)
	}
}

// hint signals that something may have changed.
func hint(hints chan<- struct{}) {
	select {
	case hints <- struct{}{}:
	default:
	}
}

// poll gives a hint at intervals, until ctx ends.
func poll(ctx context.Context, hints chan<- struct{}, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			hint(hints)
		}
	}
}

// view is the part of the machine's network configuration that is watched, sorted.
type view struct {
	addrs  []addr
	routes []string // default routes, in words
}

// addr is an address by which others may be reached, on an interface that works.
type addr struct {
	netip.Addr
	dev string
}

func (a addr) String() string { return fmt.Sprintf("%v on %s", a.Addr, a.dev) }

// look takes a view. What cannot be seen is missing.
func look(ignore func(string) bool) view {
	v := view{routes: defaultRoutes(ignore)}
	for dev, p := range Addresses() {
		if dev.Flags&net.FlagUp == 0 || dev.Flags&net.FlagRunning == 0 || dev.Flags&net.FlagLoopback != 0 || ignore(dev.Name) {
			continue
		}
		if ip := p.Addr().Unmap(); ip.IsGlobalUnicast() {
			v.addrs = append(v.addrs, addr{ip, dev.Name})
		}
	}
	slices.SortFunc(v.addrs, func(a, b addr) int { return cmp.Or(a.Compare(b.Addr), strings.Compare(a.dev, b.dev)) })
	slices.Sort(v.routes)
	return v
}

// since describes the difference from an earlier view; "" for none.
func (v view) since(before view) string {
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	for _, a := range v.addrs {
		if !slices.Contains(before.addrs, a) {
			say("there is now %v", a)
		}
	}
	for _, a := range before.addrs {
		if !slices.Contains(v.addrs, a) {
			say("%v is gone", a)
		}
	}
	if !slices.Equal(v.routes, before.routes) {
		say("the default route has changed")
	}
	const most = 3
	if len(said) > most {
		said = append(said[:most], "and more")
	}
	return strings.Join(said, ", ")
}
