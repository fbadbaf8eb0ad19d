package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/metaconn"
	"tincan/internal/udp"
)

func now() time.Time { return time.Now() }

// maxSockets is tinc's limit of listening addresses.
const maxSockets = 8

// openDevice opens the virtual interface.
func (d *Daemon) openDevice() (device.Device, error) {
	s := d.network().Settings
	if strings.EqualFold(s.DeviceType, "dummy") {
		return device.NewDummy(), nil
	}
	name := s.Interface
	if name == "" {
		name = d.opts.Layout.NetName
	}
	dev, err := device.OpenTUN(name, device.Options{Path: s.Device})
	if err != nil {
		return nil, err
	}
	d.log.printf(0, mesh.Info, "the network interface is %s", dev.Name())
	return dev, nil
}

// listen opens a TCP and a UDP socket with the same port at each address. It is
// enough if one address works, as in tinc.
func (d *Daemon) listen() error {
	s := d.network().Settings
	addrs, err := listenAddrs(s)
	if err != nil {
		return fmt.Errorf("working out where to listen: %w", err)
	}
	if len(addrs) > maxSockets {
		return fmt.Errorf("%d addresses to listen at are more than %d", len(addrs), maxSockets)
	}
	var first error
	for _, a := range addrs {
		if a.addr.Port() == 0 && len(d.tcp) > 0 { // the same dynamic port for all families
			a.addr = netip.AddrPortFrom(a.addr.Addr(), d.tcpAddr().Port())
		}
		if err := d.listenAt(a); err != nil {
			d.log.printf(1, mesh.Warning, "%v", err)
			if first == nil || !errors.Is(err, syscall.EAFNOSUPPORT) {
				first = err
			}
			continue
		}
	}
	if len(d.socks) > 0 {
		d.paths = d.socks
		return nil
	}
	if errors.Is(first, syscall.EADDRINUSE) {
		return &Hinted{first, "another program (perhaps tincd) uses this port; stop it, or choose another with: tincan set Port N"}
	}
	if errors.Is(first, syscall.EACCES) || errors.Is(first, syscall.EPERM) {
		return &Hinted{first, "ports below 1024 need root; run this with sudo, or choose a higher one with: tincan set Port N"}
	}
	return first
}

func (d *Daemon) listenAt(a listenAddr) error {
	s := d.network().Settings
	l, err := listenTCP(a, s.FWMark, s.BindToInterface)
	if err != nil {
		return fmt.Errorf("cannot listen at %s (TCP): %w", a.addr, cause(err))
	}
	at := netip.AddrPortFrom(a.addr.Addr(), uint16(l.Addr().(*net.TCPAddr).Port))
	u, err := udp.Listen(at, udp.Options{
		RcvBuf: buffer(s.UDPRcvBuf), SndBuf: buffer(s.UDPSndBuf), Mark: s.FWMark, BindToDevice: s.BindToInterface,
		Fragment: !s.PMTUDiscovery,
	})
	if err != nil {
		l.Close()
		return fmt.Errorf("cannot listen at %s (UDP): %w", at, cause(err))
	}
	d.tcp = append(d.tcp, l)
	d.socks = append(d.socks, u)
	d.log.printf(1, mesh.Info, "listening at %s", at)
	return nil
}

// buffer translates the size of a socket buffer: 0 leaves it to the system.
func buffer(size int) int {
	if size == 0 {
		return -1
	}
	return size
}

// cause is the system's own error behind one of package net, which would repeat the address.
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

// port is the port that we announce, in decimal.
func (d *Daemon) port() string { return strconv.Itoa(int(d.tcpAddr().Port())) }

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
func family(s string) metaconn.Family {
	switch s {
	case "ipv4":
		return metaconn.IPv4
	case "ipv6":
		return metaconn.IPv6
	}
	return metaconn.AnyFamily
}
