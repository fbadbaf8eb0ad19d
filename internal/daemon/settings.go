package daemon

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"tincan/internal/config"
	"tincan/internal/dataplane"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/route"
	"tincan/internal/subnet"
)

// meshConfig translates what the files say into what the brain needs.
func (d *Daemon) meshConfig(n *config.Network) mesh.Config {
	s := n.Settings
	c := mesh.Config{
		Name: n.Name, Key: d.key, Subnets: s.Subnets,
		Hosts:     make(map[node.Name]mesh.Host, len(n.Hosts)),
		ConnectTo: s.ConnectTo, AutoConnect: s.AutoConnect, Broadcast: s.Broadcast,
		Indirect: s.IndirectData, TCPOnly: s.TCPOnly,
		NoPMTUDiscovery: !s.PMTUDiscovery, NoClamp: !s.ClampMSS,
		StrictSubnets: s.StrictSubnets, TunnelServer: s.TunnelServer,
		NoUDPDiscovery: !s.UDPDiscovery, NoLocalDiscovery: !s.LocalDiscovery,
		PMTU: s.PMTU, Weight: s.Weight, ReplayWindow: s.ReplayWindow,
		BroadcastSubnets: broadcastSubnets(s),
		PingInterval:     s.PingInterval, PingTimeout: s.PingTimeout,
		MaxTimeout: s.MaxTimeout, KeyExpire: s.KeyExpire,
		UDPDiscoveryInterval:  s.UDPDiscoveryInterval,
		UDPDiscoveryKeepalive: s.UDPDiscoveryKeepaliveInterval,
		UDPDiscoveryTimeout:   s.UDPDiscoveryTimeout,
		UDPInfoInterval:       s.UDPInfoInterval, MTUInfoInterval: s.MTUInfoInterval,
	}
	for _, sock := range d.paths {
		c.Sockets = append(c.Sockets, sock.Local())
	}
	c.Port = d.tcpAddr().Port()
	if c.ReplayWindow == 0 { // none, which the brain writes as a negative number
		c.ReplayWindow = -1
	}
	for name, h := range n.Hosts {
		mh := meshHost(h)
		mh.Cached = cached(d.opts.Layout, name)
		c.Hosts[name] = mh
	}
	return c
}

func meshHost(h config.Host) mesh.Host {
	m := mesh.Host{
		Key: h.Key, Subnets: h.Subnets, Weight: h.Weight,
		Indirect: h.IndirectData, TCPOnly: h.TCPOnly, ClampMSS: h.ClampMSS, PMTU: h.PMTU,
	}
	for _, a := range h.Addresses {
		m.Addresses = append(m.Addresses, mesh.Endpoint{Host: a.Host, Port: a.Port})
	}
	return m
}

// alwaysBroadcast are the broadcast subnets that tinc has built in.
var alwaysBroadcast = []string{"ff:ff:ff:ff:ff:ff", "255.255.255.255", "224.0.0.0/4", "ff00::/8"}

func broadcastSubnets(s config.Settings) []subnet.Subnet {
	var out []subnet.Subnet
	for _, text := range alwaysBroadcast {
		b, err := subnet.Parse(text)
		if err != nil {
			panic(err)
		}
		out = append(out, b)
	}
	return append(out, s.BroadcastSubnets...)
}

func planeOptions(s config.Settings) dataplane.Options {
	o := dataplane.Options{DecrementTTL: s.DecrementTTL, DirectOnly: s.DirectOnly, TCPOnly: s.TCPOnly, NoClamp: !s.ClampMSS}
	if s.Forwarding == "off" {
		o.Forwarding = route.Off
	}
	o.Broadcast = route.Tree
	if !s.Broadcast || s.TunnelServer {
		o.Broadcast = route.None
	}
	return o
}

// routeMTU asks the kernel about the route to an address, through a socket of its family.
func (d *Daemon) routeMTU(to netip.Addr) int {
	for _, s := range d.paths {
		if s.Local().Addr().Unmap().Is4() == to.Unmap().Is4() {
			return s.PathMTU(to)
		}
	}
	return 0
}

// reload reads the files again. When they cannot be used everything stays as it was.
func (d *Daemon) reload() error {
	n, warnings, err := config.Load(d.opts.Layout, d.opts.Overrides)
	for _, w := range warnings {
		d.log.printf(0, mesh.Warning, "%s", w)
	}
	if err == nil && n.Name != d.network().Name {
		err = &config.Problem{Where: d.opts.Layout.TincConf(), Text: "the Name has changed; that needs a restart"}
	}
	if err != nil {
		d.log.printf(0, mesh.Error, "the configuration was not reloaded, the old one stays: %v", err)
		return err
	}
	d.ask(func() {
		d.current.Store(n)
		d.plane.SetOptions(planeOptions(n.Settings))
		d.brain.Handle(now(), mesh.Reconfigured{Config: d.meshConfig(n)})
	})
	d.log.printf(0, mesh.Notice, "configuration reloaded")
	return nil
}

// listenAddr is one place to listen at.
type listenAddr struct {
	network string // tcp4, tcp6
	addr    netip.AddrPort
}

// listenAddrs works out where to listen, as tinc does: at ListenAddress and
// BindToAddress if there are any, else at every address of the wanted families.
func listenAddrs(s config.Settings) ([]listenAddr, error) {
	port, err := lookupPort(s.Port)
	if err != nil {
		return nil, err
	}
	given := slices.Concat(s.BindToAddress, s.ListenAddress)
	if len(given) == 0 {
		given = []config.Address{{Host: "*"}}
	}
	var out []listenAddr
	for _, g := range given {
		p := port
		if g.Port != "" {
			if p, err = lookupPort(g.Port); err != nil {
				return nil, err
			}
		}
		var ips []netip.Addr
		if g.Host == "*" {
			ips = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
		} else if ips, err = lookupHost(g.Host); err != nil {
			return nil, err
		}
		for _, ip := range ips {
			network := "tcp4"
			if ip.Is6() {
				network = "tcp6"
			}
			if s.AddressFamily == "ipv4" && ip.Is6() || s.AddressFamily == "ipv6" && ip.Is4() {
				continue
			}
			a := listenAddr{network, netip.AddrPortFrom(ip, p)}
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

func lookupPort(s string) (uint16, error) {
	if n, err := strconv.ParseUint(s, 10, 16); err == nil {
		return uint16(n), nil
	}
	n, err := net.LookupPort("tcp", s)
	return uint16(n), err
}

func lookupHost(s string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	list, err := net.LookupIP(s)
	if err != nil {
		return nil, err
	}
	set := map[netip.Addr]bool{}
	for _, ip := range list {
		if a, ok := netip.AddrFromSlice(ip); ok {
			set[a.Unmap()] = true
		}
	}
	return slices.SortedFunc(maps.Keys(set), netip.Addr.Compare), nil
}
