package daemon

import (
	"runtime"
	"slices"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/dataplane"
	"tincan/internal/keys"
	"tincan/internal/mask"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/route"
	"tincan/internal/subnet"
)

// meshConfig translates what the files say into what the protocol core needs.
func (d *Daemon) meshConfig(n *confdir.Network) mesh.Config {
	s := n.Settings
	c := mesh.Config{
		Name: n.Name, Key: d.id.Key, RSAKey: d.id.RSAKey, Suite: s.Suite, Policy: s.Policy, Compression: s.Compression, Subnets: s.Subnets,
		Hosts:     make(map[node.Name]mesh.Host, len(n.Hosts)),
		ConnectTo: s.ConnectTo, AutoConnect: s.AutoConnect, Broadcast: s.Broadcast == route.Tree,
		Indirect: s.IndirectData, TCPOnly: s.TCPOnly,
		NoPMTUDiscovery: !s.PMTUDiscovery, NoClamp: !s.ClampMSS,
		StrictSubnets: s.StrictSubnets, TunnelServer: s.TunnelServer,
		NoUDPDiscovery: !s.UDPDiscovery, NoLocalDiscovery: !s.LocalDiscovery,
		Hybrid: true, PostQuantum: s.PostQuantum, Cipher: s.SessionCipher,
		Echoes: true, RosterExchange: true, NoRelay: !s.Relay || s.Forwarding == route.Off, DirectOnly: s.DirectOnly,
		Punch: d.socks.punches && s.Proxy.Kind == config.NoProxy,
		PMTU:  s.PMTU, Weight: s.Weight, ReplayWindow: s.ReplayWindow,
		BroadcastSubnets: broadcastSubnets(s), MACExpire: s.MACExpire,
		PingInterval: s.PingInterval, PingTimeout: s.PingTimeout,
		MaxTimeout: s.MaxTimeout, MinTimeout: min(s.MinTimeout, s.MaxTimeout), KeyExpire: s.KeyExpire,
		UDPDiscoveryInterval:  s.UDPDiscoveryInterval,
		UDPDiscoveryKeepalive: s.UDPDiscoveryKeepaliveInterval,
		UDPDiscoveryTimeout:   s.UDPDiscoveryTimeout,
		UDPInfoInterval:       s.UDPInfoInterval, MTUInfoInterval: s.MTUInfoInterval,
	}
	if s.CarrierKinds.Has(config.CarrierMasked) && d.id.Key != nil {
		key := maskKey(d.id.Key)
		c.Mask = &key
	}
	switch {
	case !s.CarrierKinds.Has(config.CarrierUDP):
		c.Unmasked = mesh.UnmaskedNever
	case s.CarrierKinds.Prefers(config.CarrierUDP, config.CarrierMasked):
		c.Unmasked = mesh.UnmaskedFirst
	}
	switch kinds := s.CarrierKinds; {
	case !kinds.Has(config.CarrierTLS):
		c.Connecting = mesh.OnlyTCP
	case !kinds.Has(config.CarrierTCP):
		c.Connecting, c.Punch = mesh.OnlyTLS, false
	case kinds.Prefers(config.CarrierTLS, config.CarrierTCP):
		c.Connecting = mesh.TLSFirst
	}
	c.Roster = d.membership.now()
	for _, sock := range d.socks.paths {
		c.Sockets = append(c.Sockets, sock.Local())
	}
	c.Port = d.socks.port(s)
	if c.ReplayWindow == 0 { // none, which the protocol core writes as a negative number
		c.ReplayWindow = -1
	}
	var dropped []node.Name // host files that have gone since n was read
	if d.distribution != nil {
		c.Learned, c.Removed = map[node.Name]mesh.Learned{}, map[node.Name]bool{}
		fresh, gone, err := d.distribution.store.Survey()
		dropped = gone
		if err != nil {
			d.log.printf(0, mesh.Warning, "looking through the host files: %v", err)
		}
		if d.distribution.monitor != nil {
			for _, name := range fresh {
				d.distribution.monitor.Vouch(name)
			}
		}
		for _, r := range d.distribution.store.Removed() {
			c.Removed[r.Node] = true
		}
		for _, l := range d.distribution.store.Learned() {
			c.Learned[l.Node] = mesh.Learned{Key: l.Key, By: l.By, Cached: cached(d.opts.Layout, l.Node)}
		}
	}
	for name, h := range n.Hosts {
		if slices.Contains(dropped, name) {
			continue
		}
		mh := meshHost(h)
		mh.Cached, mh.Told = cached(d.opts.Layout, name), d.told(name)
		c.Hosts[name] = mh
	}
	return c
}

// maskKey is the key of the mask of the node that has a private key. It is the same after a restart, so that what others send, who
// have not noticed, is understood as being of an earlier session.
func maskKey(k *keys.PrivateKey) mask.Key {
	secret := k.Secret("mask of datagrams")
	return mask.Key(secret[:mask.KeySize])
}

// ownMask shows the datagrams that others hide from whoever does not know the key. What this node does itself, the configuration
// decides.
func ownMask(k *keys.PrivateKey) *mask.Mask {
	if k == nil {
		return nil
	}
	return mask.New(maskKey(k))
}

func meshHost(h config.Host) mesh.Host {
	m := mesh.Host{
		Key: h.Key, RSAKey: h.RSAKey, Policy: h.Policy, Subnets: h.Subnets, Weight: h.Weight,
		Indirect: h.IndirectData, TCPOnly: h.TCPOnly, ClampMSS: h.ClampMSS, PMTU: h.PMTU,
		PostQuantum: h.PostQuantum, Cipher: h.SessionCipher,
	}
	for _, a := range h.Addresses {
		m.Addresses = append(m.Addresses, mesh.Endpoint{Host: a.Host, Port: a.Port})
	}
	for _, c := range h.Carriers {
		m.Carriers = append(m.Carriers, mesh.Endpoint{Host: c.Host, Port: c.Port, Carrier: c.URL()})
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
	o := dataplane.Options{DecrementTTL: s.DecrementTTL, DirectOnly: s.DirectOnly, TCPOnly: s.TCPOnly, NoClamp: !s.ClampMSS, MACExpire: s.MACExpire, Priority: s.PriorityInheritance, AnySource: !s.SourceCheck, Forwarding: s.Forwarding, Broadcast: s.Broadcast}
	if s.TunnelServer {
		o.Broadcast = route.None
	}
	return o
}

// workers is how many goroutines of the data plane seal and open under load if the configuration says configured,
// -1: nothing. One processor remains for each direction; with fewer than four there would be nothing to share.
func workers(configured int) int {
	const most = 8 // more than one sender can send of
	switch processors := runtime.GOMAXPROCS(0); {
	case configured >= 0:
		return configured
	case processors < 4:
		return 0
	default:
		return min(processors-2, most)
	}
}
