package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"tincan/internal/dbus"
)

// What systemd-resolved is told stays with the interface: when that goes, so does all of it, also if this process was killed. See
// org.freedesktop.resolve1(5).
const (
	resolvedName  = "org.freedesktop.resolve1"
	resolvedPath  = "/org/freedesktop/resolve1"
	resolvedIface = "org.freedesktop.resolve1.Manager"
	linkIface     = "org.freedesktop.resolve1.Link"

	// of Linux, where systemd is
	familyIPv4 = 2
	familyIPv6 = 10
)

// Link says where programs of this machine find the names of a network.
type Link struct {
	Interface string
	Server    netip.AddrPort
	Domain    string
	Reverse   []string // domains of addresses
}

// Resolved is systemd-resolved.
type Resolved struct{ bus *dbus.Conn }

// ErrNoResolved says that systemd-resolved does not run.
var ErrNoResolved = errors.New("systemd-resolved does not run")

// ErrNotAllowed says that this user may not tell systemd-resolved anything.
var ErrNotAllowed = errors.New("systemd-resolved takes nothing from this user")

// FindResolved connects to the bus on which systemd-resolved is, or will be. The bus takes what comes over the connection for the word of the user
// that this process has now.
func FindResolved(ctx context.Context) (*Resolved, error) {
	bus, err := dbus.System(ctx)
	if err != nil {
		return nil, err
	}
	if err := bus.Watch(resolvedName); err != nil {
		bus.Close()
		return nil, err
	}
	return &Resolved{bus}, nil
}

// Close leaves the bus. What was set stays set.
func (r *Resolved) Close() { r.bus.Close() }

// Comes tells when systemd-resolved begins to run, or ends. It is closed when the bus has gone.
func (r *Resolved) Comes() <-chan dbus.Owner { return r.bus.Owners() }

// Set has programs of this machine ask l.Server for names in l.Domain and l.Reverse, and for no others.
func (r *Resolved) Set(l Link) error {
	index, err := indexOf(l.Interface)
	if err != nil {
		return err
	}
	if err := r.setServer(index, l.Server); err != nil {
		return explain(err)
	}
	var w dbus.Writer
	w.Uint32(index)
	w.Array(func() {
		for i, domain := range append([]string{l.Domain}, l.Reverse...) {
			w.Struct()
			w.String(domain)
			// The first one is also put behind names without dots: "ping bob" is enough.
			w.Uint32(uint32(min(i, 1)))
		}
	})
	if err := r.call("SetLinkDomains", "ia(sb)", w); err != nil {
		return explain(err)
	}
	w = dbus.Writer{}
	w.Uint32(index)
	w.Uint32(0)
	if err := r.call("SetLinkDefaultRoute", "ib", w); err != nil {
		return explain(err)
	}
	// Our answers are not signed, and not encrypted but by the VPN. Who demands either for all others would get none of them.
	for _, member := range []string{"SetLinkDNSSEC", "SetLinkDNSOverTLS"} {
		w = dbus.Writer{}
		w.Uint32(index)
		w.String("no")
		_ = r.call(member, "is", w)
	}
	return nil
}

// setServer says whom to ask.
func (r *Resolved) setServer(index uint32, server netip.AddrPort) error {
	family := uint32(familyIPv4)
	if server.Addr().Is6() {
		family = familyIPv6
	}
	write := func(more func(*dbus.Writer)) (w dbus.Writer) {
		w.Uint32(index)
		w.Array(func() {
			w.Struct()
			w.Uint32(family)
			w.Bytes(server.Addr().AsSlice())
			more(&w)
		})
		return w
	}
	err := r.call("SetLinkDNSEx", "ia(iayqs)", write(func(w *dbus.Writer) {
		w.Uint16(server.Port())
		w.String("")
	}))
	if !dbus.Is(err, dbus.NoMethod) {
		return err
	}
	if server.Port() != 53 { // before systemd 246
		return &hinted{errors.New("this systemd-resolved can ask no other port than 53"), "NamesPort = 53 would do, if nothing else on this machine takes that port"}
	}
	return r.call("SetLinkDNS", "ia(iay)", write(func(*dbus.Writer) {}))
}

// Reset takes back all that was set for an interface.
func (r *Resolved) Reset(iface string) error {
	index, err := indexOf(iface)
	if err != nil {
		return nil // it went with the interface
	}
	var w dbus.Writer
	w.Uint32(index)
	if err := r.call("RevertLink", "i", w); err != nil {
		return explain(err)
	}
	return nil
}

// Has tells whether systemd-resolved has a domain set for an interface: an earlier process that was killed may have left it, if the interface
// outlives its processes.
func (r *Resolved) Has(iface, domain string) (bool, error) {
	index, err := indexOf(iface)
	if err != nil {
		return false, nil
	}
	var w dbus.Writer
	w.Uint32(index)
	m, err := r.bus.Call(resolvedName, resolvedPath, resolvedIface, "GetLink", "i", w)
	if err != nil {
		return false, explain(err)
	}
	link := m.Body.String()
	w = dbus.Writer{}
	w.String(linkIface)
	w.String("Domains")
	if m, err = r.bus.Call(resolvedName, link, "org.freedesktop.DBus.Properties", "Get", "ss", w); err != nil {
		return false, explain(err)
	}
	if sig := m.Body.Signature(); sig != "a(sb)" {
		return false, fmt.Errorf("systemd-resolved has domains of type %.20q", sig)
	}
	var list []string
	m.Body.Array(func() { list = append(list, m.Body.String()); m.Body.Uint32() })
	return slices.Contains(list, domain), m.Body.Err()
}

func (r *Resolved) call(member, signature string, w dbus.Writer) error {
	_, err := r.bus.Call(resolvedName, resolvedPath, resolvedIface, member, signature, w)
	return err
}

func indexOf(iface string) (uint32, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return 0, fmt.Errorf("the interface %s: %w", iface, err)
	}
	return uint32(i.Index), nil
}

// explain says in our words what is often the matter.
func explain(err error) error {
	switch {
	case dbus.NotRunning(err):
		return ErrNoResolved
	case dbus.Is(err, dbus.AccessDenied), dbus.Is(err, dbus.Authorization):
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	var known *hinted
	if errors.As(err, &known) {
		return err
	}
	return fmt.Errorf("systemd-resolved: %w", err)
}

// hinted is an error that knows what the user can do.
type hinted struct {
	error
	tip string
}

// Hint is one sentence of advice.
func (e *hinted) Hint() string { return e.tip }

func (e *hinted) Unwrap() error { return e.error }
