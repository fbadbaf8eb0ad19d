package daemon

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/netwatch"
	"tincan/internal/node"
)

// whereabouts knows where addresses lead on this machine. The protocol core asks often, so answers are kept: until
// the kernel reports a change, if it does, else for a moment. It is safe for concurrent use.
type whereabouts struct {
	route func(netip.Addr) (here bool, dev string)
	own   string // our own interface, "" if there is none

	mu    sync.Mutex
	told  bool // changes are reported
	since time.Time
	known map[netip.Addr]mesh.Location
}

const (
	// askedEvery is how long answers are kept where changes are not reported, and toldEvery where they are: rules by
	// which a route is chosen are changed without a report.
	askedEvery     = 2 * time.Second
	toldEvery      = time.Minute
	maxWhereabouts = 4096
)

func newWhereabouts(own string, mark int) *whereabouts {
	return &whereabouts{own: own, route: func(a netip.Addr) (bool, string) { return netwatch.RouteTo(a, mark) }}
}

// moved forgets all answers. told tells whether the next change will be reported, too.
func (w *whereabouts) moved(told bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told, w.known = told, nil
}

// locate tells where a leads.
func (w *whereabouts) locate(a netip.Addr) mesh.Location {
	w.mu.Lock()
	defer w.mu.Unlock()
	keep := askedEvery
	if w.told {
		keep = toldEvery
	}
	if now := time.Now(); w.known == nil || now.Sub(w.since) > keep || len(w.known) >= maxWhereabouts {
		w.since, w.known = now, map[netip.Addr]mesh.Location{}
	}
	l, ok := w.known[a]
	if ok {
		return l
	}
	switch here, dev := w.route(a); {
	case here:
		l = mesh.Here
	case dev != "" && dev == w.own:
		l = mesh.Inside
	}
	w.known[a] = l
	return l
}

// told tells whether the host file of a node says what others have told us.
func (d *Daemon) told(name node.Name) bool {
	return d.distribution != nil && d.distribution.store.Wrote(name)
}

// mayDialName tells why an address that a name stands for is not dialled: whoever writes the name into a
// host file also decides what it stands for.
func (d *Daemon) mayDialName(a netip.Addr) error {
	switch {
	case a.IsLoopback() || a.IsUnspecified() || d.where.locate(a) == mesh.Here:
		return errors.New("that is this machine itself")
	case a.IsMulticast() || a.Is4() && a.IsLinkLocalUnicast():
		return errors.New("that is no address of another machine")
	case d.where.locate(a) == mesh.Inside:
		return errors.New("the route to it leads into the VPN")
	}
	return nil
}
