package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/mesh"
	"tincan/internal/metaconn"
	"tincan/internal/oserr"
	"tincan/internal/udp"
)

func now() time.Time { return time.Now() }

// maxSockets is tinc's limit of listening addresses.
const maxSockets = 8

// sockets are those that the node listens at.
type sockets struct {
	log        *logger
	handedOver bool // tcp are sockets that somebody else has opened
	tcp        []net.Listener
	udp        []udp.Socket // to be closed here; nil once the data plane has them
	paths      []udp.Socket // the same, for asking about routes
	punches    bool         // connections can be dialled from the port of tcp
	said       sync.Map     // what warnOnce has said
}

// listen opens a TCP and a UDP socket with the same port at each address. It is
// enough if one address works, as in tinc. share: connections are to be dialled from the port, if that is possible.
func (k *sockets) listen(s config.Settings, share bool) error {
	if k.handedOver {
		return k.listenBeside(s)
	}
	addrs, err := listenAddrs(s)
	if err != nil {
		return fmt.Errorf("working out where to listen: %w", err)
	}
	if len(addrs) > maxSockets {
		return fmt.Errorf("%d addresses to listen at are more than %d", len(addrs), maxSockets)
	}
	var failed, notable []error
	for _, a := range addrs {
		if a.addr.Port() == 0 && len(k.tcp) > 0 { // the same dynamic port for all families
			a.addr = netip.AddrPortFrom(a.addr.Addr(), k.addr().Port())
		}
		if err := k.listenAt(a, s); err != nil {
			failed = append(failed, err)
			if !oneFamily(err) || !a.addr.Addr().IsUnspecified() {
				notable = append(notable, err)
			}
		}
	}
	k.paths = k.udp
	if len(k.udp) == 0 {
		failed = append(notable, append(failed, errors.New("there is no address to listen at; see AddressFamily"))...)
		return adviseListen(&noSocketError{failed[:max(len(notable), 1)]})
	}
	for _, err := range notable { // not that the machine has no IPv6: it is meant to be like that
		k.log.failed(0, mesh.Warning, adviseListen(err))
	}
	k.punches = share && k.sharePort()
	return nil
}

// sharePort prepares the TCP sockets for connections that are dialled from their port, and
// tells whether that is possible. The kernel allows it only to the user who has opened them.
func (k *sockets) sharePort() bool {
	if !metaconn.CanPunch {
		return false
	}
	for _, l := range k.tcp {
		if err := metaconn.Share(l.(*net.TCPListener)); err != nil {
			k.log.printf(1, mesh.Info, "Connections cannot be dialled from port %d: %v", k.addr().Port(), err)
			return false
		}
	}
	return true
}

// bindError says, in the words that readers of tinc's log look for, where a socket
// could not be opened.
type bindError struct {
	at   netip.AddrPort
	kind string
	why  error
}

func (e *bindError) Error() string {
	return fmt.Sprintf("Can't bind to %s port %d (%s): %v", e.at.Addr(), e.at.Port(), e.kind, e.why)
}

func (e *bindError) Unwrap() error { return e.why }

// noSocketError says that no socket at all could be opened.
type noSocketError struct{ why []error }

func (e *noSocketError) Error() string {
	var all []string
	for _, err := range e.why {
		all = append(all, err.Error())
	}
	return "Unable to create any listening socket: " + strings.Join(all, "; ")
}

func (e *noSocketError) Unwrap() []error { return e.why }

// oneFamily tells whether err may only say that the machine has no IPv6, or no IPv4.
func oneFamily(err error) bool {
	return errors.Is(err, oserr.NoFamily) || errors.Is(err, oserr.NoAddress)
}

// dynamicTries is how often another free TCP port is asked for whose number is
// free for UDP, too.
const dynamicTries = 20

func (k *sockets) listenAt(a listenAddr, s config.Settings) (err error) {
	for range dynamicTries {
		var l net.Listener
		if l, err = listenTCP(a, s.Mark(), s.BindToInterface); err != nil {
			return &bindError{a.addr, "TCP", cause(err)}
		}
		if err = k.listenUDP(l.Addr().(*net.TCPAddr).AddrPort(), s); err == nil {
			k.tcp = append(k.tcp, l)
			return nil
		}
		l.Close()
		if a.addr.Port() != 0 || !errors.Is(err, oserr.AddressInUse) {
			break
		}
	}
	return err
}

// listenBeside uses TCP sockets that somebody else has opened. One at [::] may serve IPv4, too (as systemd's
// do by default), where one for UDP never does: then there are two of those.
func (k *sockets) listenBeside(s config.Settings) error {
	for _, l := range k.tcp {
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return fmt.Errorf("the socket %s that was handed over does not listen on TCP", l.Addr())
		}
		at := tcp.Addr().(*net.TCPAddr).AddrPort()
		if err := k.listenUDP(at, s); err != nil {
			return adviseListen(err)
		}
		if at.Addr() != netip.IPv6Unspecified() || !takesIPv4(tcp) || s.AddressFamily == config.OnlyIPv6 {
			continue
		}
		if err := k.listenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()), s); err != nil {
			k.log.failed(0, mesh.Warning, adviseListen(err))
		}
	}
	k.paths = k.udp
	return nil
}

// listenUDP opens the UDP socket that belongs to a TCP socket at an address.
func (k *sockets) listenUDP(at netip.AddrPort, s config.Settings) error {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	u, err := udp.Listen(at, udp.Options{
		RcvBuf: buffer(s.UDPRcvBuf), SndBuf: buffer(s.UDPSndBuf), Mark: s.Mark(), BindToDevice: s.BindToInterface,
		Fragment: !s.PMTUDiscovery, Notice: k.warnOnce,
	})
	if err != nil {
		return &bindError{at, "UDP", cause(err)}
	}
	k.udp = append(k.udp, u)
	k.log.printf(1, mesh.Info, "Listening on %s port %d", at.Addr(), at.Port())
	return nil
}

// warnOnce logs a warning that several sockets may have.
func (k *sockets) warnOnce(text string) {
	if _, said := k.said.LoadOrStore(text, true); !said {
		k.log.printf(0, mesh.Warning, "%s", text)
	}
}

// socketFailed logs that a UDP socket is out of order.
func (d *Daemon) socketFailed(local netip.AddrPort, err error) {
	d.log.printf(0, mesh.Error, "receiving by UDP at %s fails: %v; packets for this node use another socket or TCP", local, err)
}

// buffer translates the size of a socket buffer: 0 leaves it to the system.
func buffer(size int) int {
	if size == 0 {
		return -1
	}
	return size
}

// cause is the system's own error inside one of package net, which would repeat the address.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// addr is the first address that we listen at.
func (k *sockets) addr() netip.AddrPort {
	if len(k.tcp) == 0 {
		return netip.AddrPort{}
	}
	a := k.tcp[0].Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// port is the port that we announce: the one that we listen at, unless the
// sockets were handed over, which may be behind something that has another.
func (k *sockets) port(s config.Settings) uint16 {
	if p, err := lookupPort(s.Port); err == nil && p != 0 && k.handedOver {
		return p
	}
	return k.addr().Port()
}

// routeMTU asks the kernel about the route to an address, through a socket of its family.
func (k *sockets) routeMTU(to netip.Addr) int {
	for _, u := range k.paths {
		if u.Local().Addr().Unmap().Is4() == to.Unmap().Is4() {
			return u.PathMTU(to)
		}
	}
	return 0
}

// bindAddrs are the addresses that outgoing connections come from: for each
// family the one of BindToAddress, if there is exactly one.
func bindAddrs(s config.Settings) []netip.Addr {
	var v4, v6, out []netip.Addr
	for _, a := range s.BindToAddress {
		if ip, err := netip.ParseAddr(a.Host); err == nil && ip.Is4() {
			v4 = append(v4, ip)
		} else if err == nil {
			v6 = append(v6, ip)
		}
	}
	for _, list := range [][]netip.Addr{v4, v6} {
		if len(list) == 1 {
			out = append(out, list[0])
		}
	}
	return out
}

// family translates AddressFamily for dialling.
func family(f config.Family) metaconn.Family {
	switch f {
	case config.OnlyIPv4:
		return metaconn.IPv4
	case config.OnlyIPv6:
		return metaconn.IPv6
	}
	return metaconn.AnyFamily
}

// knownAddresses are those at which nodes have been reached before: whoever connects from
// has been here before.
func knownAddresses(l confdir.Layout, n *confdir.Network) (out []netip.Addr) {
	for name, h := range n.Hosts {
		for _, a := range cached(l, name) {
			out = append(out, a.Addr())
		}
		for _, a := range h.Addresses {
			if ip, err := netip.ParseAddr(a.Host); err == nil {
				out = append(out, ip)
			}
		}
	}
	return out
}

// refused tells about connections for which there was no room.
func (d *Daemon) refused(from netip.Addr, count int) {
	d.log.printf(0, mesh.Warning, "refused %d connections that came too fast, the last one from %s; other addresses are not affected (MaxConnectionBurst = %d)",
		count, from, d.network().Settings.MaxConnectionBurst)
}
