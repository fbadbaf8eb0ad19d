package rootless

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"tincan/internal/control"
	"tincan/internal/daemon"
	"tincan/internal/mesh"
	"tincan/internal/proxyserver"
	"tincan/internal/terminal"
)

// ProxyOptions say what a proxy serves. At least one thing must be asked for.
type ProxyOptions struct {
	SOCKS, HTTP []string                 // addresses of this machine, HOST:PORT
	In          []proxyserver.Forwarding // from this machine into the network (-L)
	Out         []proxyserver.Forwarding // from the network to this machine and beyond (-R)
	Login       string                   // USER:PASSWORD for SOCKS and HTTP; "" for none
	Userspace   bool                     // use the TCP/IP stack of this program also where a namespace could be had
	// Ready is told where something is served, as text for people.
	Ready func(lines []string)
}

// errNothing is the error of a proxy that is to serve nothing.
var errNothing = errors.New("nothing is to be served: give at least one of --socks, --http, -L and -R")

// Check finds what is wrong with the options before anything is started.
func (p *ProxyOptions) Check() error {
	if len(p.SOCKS)+len(p.HTTP)+len(p.In)+len(p.Out) == 0 {
		return errNothing
	}
	for _, at := range append(append([]string{}, p.SOCKS...), p.HTTP...) {
		host, _, err := net.SplitHostPort(at)
		if err != nil {
			return fmt.Errorf("%.100q is no address to listen at: HOST:PORT is expected", at)
		}
		a, err := netip.ParseAddr(host)
		if local := host == "localhost" || err == nil && a.IsLoopback(); !local && p.Login == "" {
			return terminal.Hint(fmt.Errorf("other machines could use a proxy at %.100s", at), "listen at 127.0.0.1, or have users log in: --password-file FILE")
		}
	}
	return nil
}

// Proxy runs a node and serves proxies for its network until ctx ends, or a signal does.
func Proxy(ctx context.Context, o Options, p ProxyOptions) error {
	if err := p.Check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// What is taken of this machine comes first: an address that is in use is told at once.
	var open listeners
	defer open.close()
	socks, err := open.listen(p.SOCKS)
	if err != nil {
		return err
	}
	https, err := open.listen(p.HTTP)
	if err != nil {
		return err
	}
	in := make([]net.Listener, len(p.In))
	for i, f := range p.In {
		bind := f.Bind
		if bind == "" {
			bind = "127.0.0.1"
		}
		list, err := open.listen([]string{net.JoinHostPort(bind, fmt.Sprint(f.Port))})
		if err != nil {
			return err
		}
		in[i] = list[0]
	}

	r, err := start(ctx, o, func(a daemon.Attachment) (attachment, error) { return attach(a, p.Userspace) })
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	inside := r.inside
	defer inside.close()
	if !o.others(ctx, r) && ctx.Err() == nil {
		o.noOthers()
	}
	known := daemon.DirectoryOf(r.node)
	s := &proxyserver.Server{Network: inner{inside, known}, Login: p.Login, Log: func(text string) {
		o.Log(control.LogRecord{Time: time.Now(), Priority: mesh.Info, Text: text})
	}}
	var serving sync.WaitGroup
	ctx, end := context.WithCancel(ctx)
	defer serving.Wait()
	defer end()
	failed := make(chan error, 1)
	run := func(f func() error) {
		serving.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	var lines []string
	if inside.instead != "" {
		lines = append(lines, inside.instead)
	}
	for _, l := range socks {
		lines = append(lines, fmt.Sprintf("SOCKS 5 at %s", l.Addr()))
		run(func() error { return s.SOCKS(ctx, l) })
	}
	for _, l := range https {
		lines = append(lines, fmt.Sprintf("HTTP proxy at http://%s", l.Addr()))
		run(func() error { return s.HTTP(ctx, l) })
	}
	for i, f := range p.In {
		lines = append(lines, fmt.Sprintf("%s leads to %s in the network", in[i].Addr(), net.JoinHostPort(f.Host, fmt.Sprint(f.To))))
		run(func() error { return s.Forward(ctx, in[i], f.String(), s.Dial(f.Host, f.To)) })
	}
	for _, f := range p.Out {
		list, err := outward(inside, known, f)
		if err != nil {
			return errors.Join(fmt.Errorf("forwarding port %d of the network: %w", f.Port, err), r.end())
		}
		to := net.JoinHostPort(f.Host, fmt.Sprint(f.To))
		for _, l := range list {
			open.all = append(open.all, l)
			lines = append(lines, fmt.Sprintf("%s in the network leads to %s", l.Addr(), to))
			run(func() error {
				return s.Forward(ctx, l, f.String(), func(ctx context.Context) (net.Conn, error) {
					var d net.Dialer
					return d.DialContext(ctx, "tcp", to)
				})
			})
		}
	}
	if p.Ready != nil && ctx.Err() == nil {
		p.Ready(lines)
	}
	select {
	case <-ctx.Done():
		return r.end()
	case err := <-failed:
		return errors.Join(err, r.end())
	case err := <-r.ended:
		return err
	}
}

// listeners are sockets of this machine.
type listeners struct{ all []net.Listener }

func (l *listeners) listen(at []string) (list []net.Listener, err error) {
	for _, a := range at {
		one, err := net.Listen("tcp", a)
		if err != nil {
			return nil, err
		}
		l.all, list = append(l.all, one), append(list, one)
	}
	return list, nil
}

func (l *listeners) close() {
	for _, one := range l.all {
		one.Close()
	}
}

// outward listens in the network: at the address that a forwarding names, else at all of this node.
func outward(in network, known daemon.Directory, f proxyserver.Forwarding) (list []net.Listener, err error) {
	for _, p := range known.Own() {
		if f.Bind != "" && f.Bind != p.Addr().String() && f.Bind != "*" && f.Bind != "0.0.0.0" && f.Bind != "::" {
			continue
		}
		l, err := in.Listen("tcp", netip.AddrPortFrom(p.Addr(), f.Port))
		if err != nil {
			for _, l := range list {
				l.Close()
			}
			return nil, err
		}
		list = append(list, l)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%.50q is no address of this node in the VPN", f.Bind)
	}
	return list, nil
}

// inner is the network of a node as proxies use it: only what other nodes have can be reached, and what leaves the mesh by exit nodes.
type inner struct {
	network
	known directory
}

// directory is what proxies ask a node, see [daemon.Directory].
type directory interface {
	Lookup(host string) []netip.Addr
	Owner(netip.Addr) (name string, self bool)
	LeavesBy(netip.Addr) (exit string, ok bool)
}

// Resolve finds the addresses of a node by its name. An address must belong to another node.
func (n inner) Resolve(host string) ([]netip.Addr, error) {
	a, err := netip.ParseAddr(host)
	if err != nil {
		list := n.known.Lookup(host)
		if len(list) == 0 {
			return nil, fmt.Errorf("%.255q: %w in the network", host, proxyserver.ErrNoHost)
		}
		var may []netip.Addr
		for _, a := range list {
			if n.refuses(a) == "" {
				may = append(may, a)
			}
		}
		if len(may) == 0 {
			return nil, &proxyserver.Refusal{Host: host, Why: n.refuses(list[0])}
		}
		return may, nil
	}
	a = a.Unmap()
	if why := n.refuses(a); why != "" {
		return nil, &proxyserver.Refusal{Host: host, Why: why}
	}
	return []netip.Addr{a}, nil
}

// refuses says why no connection is made to an address, "" if one is.
func (n inner) refuses(a netip.Addr) string {
	switch {
	case a.IsLoopback() || a.IsUnspecified():
		return "this is an address of the machine itself"
	case a.IsLinkLocalUnicast() || a.IsMulticast() || a.Zone() != "":
		return "link-local and multicast addresses are not in the network"
	}
	owner, self := n.known.Owner(a)
	if exit, leaves := n.known.LeavesBy(a); leaves && !self {
		if exit == "" {
			return "none of the exit nodes for this address works"
		}
		return ""
	}
	switch {
	case owner == "":
		return "no node of the network has this address"
	case self:
		return "this is an address of the node itself"
	}
	return ""
}
