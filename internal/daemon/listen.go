package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tincan/internal/config"
	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/metaconn"
	"tincan/internal/oserr"
	"tincan/internal/route"
	"tincan/internal/udp"
)

func now() time.Time { return time.Now() }

// maxSockets is tinc's limit of listening addresses.
const maxSockets = 8

// openDevice opens the virtual interface.
func (d *Daemon) openDevice() (device.Device, error) {
	s := d.network().Settings
	if own := d.opts.Device; own != nil {
		return d.showPackets(device.FromStream(own, s.Mode != route.ByAddress), "the device"), nil
	}
	dev, err := d.deviceOf(s)
	if err != nil && s.Mode != route.ByAddress && s.DeviceType == config.DeviceFD {
		return nil, &noFramesError{err}
	} else if err != nil {
		return nil, err
	}
	if frames := device.CarriesFrames(dev); s.Mode == route.ByAddress && frames && s.DeviceType != config.DeviceTAP && dev.Name() == "" {
		d.log.failed(0, mesh.Warning, &Hinted{errors.New("in router mode nobody on an Ethernet without an interface of this machine takes the packets that come from the VPN"), "set Mode = switch"})
	} else if s.Mode != route.ByAddress && !frames && s.DeviceType == config.DeviceFD {
		dev.Close()
		return nil, &Hinted{&noFramesError{errors.New("it carries IP packets")}, "hand over the descriptor of a tap interface"}
	}
	name := dev.Name()
	switch s.DeviceType { // readers of tinc's log know these sentences
	case config.DeviceDummy:
		return dev, nil
	case config.DeviceFD:
		name = "fd/" + filepath.Base(s.Device)
		d.log.printf(0, mesh.Info, "%s adapter set up", name)
	case config.DeviceRawSocket:
		d.log.printf(0, mesh.Info, "%s is a raw_socket", cmp.Or(s.Device, name))
	case config.DeviceMulticast:
		name = "multicast socket"
		d.log.printf(0, mesh.Info, "%s is a multicast socket", s.Device)
	default:
		d.log.printf(0, mesh.Info, "the network interface is %s", name)
	}
	return d.showPackets(dev, name), nil
}

// noFramesError says, in tinc's words, that a descriptor is not what a switch needs.
type noFramesError struct{ why error }

func (e *noFramesError) Error() string {
	return "Switch mode not supported without the descriptor of a tap interface: " + e.why.Error()
}

func (e *noFramesError) Unwrap() error { return e.why }

// deviceOf opens a device of the type that is wanted.
func (d *Daemon) deviceOf(s config.Settings) (device.Device, error) {
	switch s.DeviceType {
	case config.DeviceDummy:
		return device.NewDummy(), nil
	case config.DeviceFD:
		return device.OpenDescriptor(s.Device)
	case config.DeviceRawSocket:
		return device.OpenRaw(cmp.Or(s.Interface, "eth0"))
	case config.DeviceMulticast:
		return device.OpenMulticast(s.Device)
	}
	name := cmp.Or(s.Interface, d.opts.Layout.NetName)
	return device.OpenTUN(name, device.Options{Path: s.Device, TAP: s.DeviceType == config.DeviceTAP})
}

// hardwareAddr is the MAC address of an interface, zero if it has none.
func hardwareAddr(iface string) (mac [6]byte) {
	if i, err := net.InterfaceByName(iface); err == nil {
		copy(mac[:], i.HardwareAddr)
	}
	return mac
}

// listen opens a TCP and a UDP socket with the same port at each address. It is
// enough if one address works, as in tinc.
func (d *Daemon) listen() error {
	if d.opts.Listeners != nil {
		return d.listenBeside(d.opts.Listeners)
	}
	addrs, err := listenAddrs(d.network().Settings)
	if err != nil {
		return fmt.Errorf("working out where to listen: %w", err)
	}
	if len(addrs) > maxSockets {
		return fmt.Errorf("%d addresses to listen at are more than %d", len(addrs), maxSockets)
	}
	var failed, notable []error
	for _, a := range addrs {
		if a.addr.Port() == 0 && len(d.tcp) > 0 { // the same dynamic port for all families
			a.addr = netip.AddrPortFrom(a.addr.Addr(), d.tcpAddr().Port())
		}
		if err := d.listenAt(a); err != nil {
			failed = append(failed, err)
			if !oneFamily(err) || !a.addr.Addr().IsUnspecified() {
				notable = append(notable, err)
			}
		}
	}
	d.paths = d.socks
	if len(d.socks) == 0 {
		failed = append(notable, append(failed, errors.New("there is no address to listen at; see AddressFamily"))...)
		return adviseListen(&noSocketError{failed[:max(len(notable), 1)]})
	}
	for _, err := range notable { // not that the machine has no IPv6: it is meant to be like that
		d.log.failed(0, mesh.Warning, adviseListen(err))
	}
	d.punches = d.sharePorts()
	return nil
}

// sharePorts prepares the TCP sockets for connections that are dialled from their port, and
// tells whether that is possible. The kernel allows it only to the user who has opened them.
func (d *Daemon) sharePorts() bool {
	if !metaconn.CanPunch || d.confined != nil && d.confined.account != nil {
		return false
	}
	for _, l := range d.tcp {
		if err := metaconn.Share(l.(*net.TCPListener)); err != nil {
			d.log.printf(1, mesh.Info, "Connections cannot be dialled from port %d: %v", d.port(), err)
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

func (d *Daemon) listenAt(a listenAddr) (err error) {
	s := d.network().Settings
	for range dynamicTries {
		var l net.Listener
		if l, err = listenTCP(a, s.FWMark, s.BindToInterface); err != nil {
			return &bindError{a.addr, "TCP", cause(err)}
		}
		if err = d.listenUDP(l.Addr().(*net.TCPAddr).AddrPort()); err == nil {
			d.tcp = append(d.tcp, l)
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
func (d *Daemon) listenBeside(ls []net.Listener) error {
	for _, l := range ls {
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return fmt.Errorf("the socket %s that was handed over does not listen on TCP", l.Addr())
		}
		at := tcp.Addr().(*net.TCPAddr).AddrPort()
		if err := d.listenUDP(at); err != nil {
			return adviseListen(err)
		}
		if at.Addr() != netip.IPv6Unspecified() || !takesIPv4(tcp) || d.network().Settings.AddressFamily == config.OnlyIPv6 {
			continue
		}
		if err := d.listenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())); err != nil {
			d.log.failed(0, mesh.Warning, adviseListen(err))
		}
	}
	d.paths = d.socks
	return nil
}

// listenUDP opens the UDP socket that belongs to a TCP socket at an address.
func (d *Daemon) listenUDP(at netip.AddrPort) error {
	s := d.network().Settings
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	u, err := udp.Listen(at, udp.Options{
		RcvBuf: buffer(s.UDPRcvBuf), SndBuf: buffer(s.UDPSndBuf), Mark: s.FWMark, BindToDevice: s.BindToInterface,
		Fragment: !s.PMTUDiscovery, Notice: d.warnOnce,
	})
	if err != nil {
		return &bindError{at, "UDP", cause(err)}
	}
	d.socks = append(d.socks, u)
	d.log.printf(1, mesh.Info, "Listening on %s port %d", at.Addr(), at.Port())
	return nil
}

// warnOnce logs a warning that several sockets may have.
func (d *Daemon) warnOnce(text string) {
	if _, said := d.said.LoadOrStore(text, true); !said {
		d.log.printf(0, mesh.Warning, "%s", text)
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

// tcpAddr is the first address that we listen at.
func (d *Daemon) tcpAddr() netip.AddrPort {
	if len(d.tcp) == 0 {
		return netip.AddrPort{}
	}
	a := d.tcp[0].Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// port is the port that we announce: the one that we listen at, unless the
// sockets were handed over, which may be behind something that has another.
func (d *Daemon) port() uint16 {
	if p, err := lookupPort(d.network().Settings.Port); err == nil && p != 0 && d.opts.Listeners != nil {
		return p
	}
	return d.tcpAddr().Port()
}

// bindAddrs are the addresses that outgoing connections come from: for each
// family the one of BindToAddress, if there is exactly one.
func (d *Daemon) bindAddrs() []netip.Addr {
	var v4, v6, out []netip.Addr
	for _, a := range d.network().Settings.BindToAddress {
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
func (d *Daemon) knownAddresses() (out []netip.Addr) {
	for name, h := range d.network().Hosts {
		for _, a := range cached(d.opts.Layout, name) {
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
