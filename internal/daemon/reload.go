package daemon

import (
	"errors"
	"fmt"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/mesh"
)

var errStopping = errors.New("this node is stopping")

// reload reads the files again. When they cannot be used everything stays as it
// was. What needs a restart is named in the log.
func (d *Daemon) reload() error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.opts.Reloading != nil {
		defer d.opts.Reloading()()
	}
	n, warnings, err := confdir.Load(d.opts.Layout, d.opts.Overrides)
	for _, w := range warnings {
		d.log.printf(0, mesh.Warning, "%s", w)
	}
	old := d.network()
	if err == nil && n.Name != old.Name {
		err = config.Problem{Where: d.opts.Layout.TincConf(), Text: "the Name has changed; that needs a restart"}
	}
	if err == nil {
		err = checkSandbox(n.Settings)
	}
	if err != nil {
		d.log.printf(0, mesh.Error, "the configuration was not reloaded, the old one is kept: %v", err)
		return err
	}
	n.Settings.Apart = old.Settings.Apart
	late := NeedRestart(old.Settings, n.Settings)
	keepWhole(old.Settings, &n.Settings)
	cfg, plane, scripts := d.meshConfig(n), planeOptions(n.Settings), d.scriptConfig(n.Settings)
	if n.Settings.InvitationExpire != old.Settings.InvitationExpire {
		d.invite.Store(d.invitations(n.Settings))
	}
	if !d.core.call(func(m *mesh.Mesh) {
		d.current.Store(n)
		d.log.names.on.Store(n.Settings.Hostnames)
		if d.opts.Debug == 0 && n.Settings.LogLevel != old.Settings.LogLevel { // else what was said over the control socket stays
			d.log.setLevel(n.Settings.LogLevel)
		}
		d.script.Configure(scripts)
		d.plane.SetOptions(plane)
		d.conns.SetProxy(n.Settings.Proxy)
		m.Handle(now(), mesh.Reconfigured{Config: cfg})
		for _, k := range m.Subnets() { // an address that is new to us may be old to others
			if k.Reachable && k.Owner != n.Name {
				d.conflicts.note(k.Owner, k.Subnet)
			}
		}
	}) {
		return errStopping
	}
	d.carriers.reload(n.Settings)
	if len(late) > 0 {
		d.log.printf(0, mesh.Warning, "changed, but not in effect before a restart: %s", strings.Join(late, ", "))
	}
	if err := d.membership.reload(n); err != nil {
		d.log.failed(0, mesh.Error, err)
		return err
	}
	d.naming.records()
	d.netif.Through(gateways(n.Settings))
	if err := d.netif.Configure(n.Settings.Ifconfig, destinations(n.Settings)); err != nil {
		d.log.failed(0, mesh.Error, err)
		return err
	}
	if err := d.outside.reload(n.Settings); err != nil {
		d.log.failed(0, mesh.Error, err)
		return err
	}
	d.log.printf(0, mesh.Notice, "configuration reloaded")
	return nil
}

// keepWhole keeps the old values of those variables that need a restart and that several parts
// of the node look at: half of them would go by the new value, and that is worse than
// none. Broadcasts, say, would run in circles without TunnelServer in a mesh that has no tree because of it.
func keepWhole(old config.Settings, s *config.Settings) {
	s.Mode, s.DeviceType, s.Device = old.Mode, old.DeviceType, old.Device
	s.TunnelServer, s.PMTUDiscovery = old.TunnelServer, old.PMTUDiscovery
}

// NeedRestart names the variables that differ and that a reload does not apply.
func NeedRestart(old, new config.Settings) (names []string) {
	for _, v := range []struct {
		name     string
		old, new any
	}{
		{"AddressFamily", old.AddressFamily, new.AddressFamily},
		{"Port", old.Port, new.Port},
		{"UPnP", old.UPnP, new.UPnP},
		{"UPnPDiscoverWait", old.UPnPDiscoverWait, new.UPnPDiscoverWait},
		{"UPnPRefreshPeriod", old.UPnPRefreshPeriod, new.UPnPRefreshPeriod},
		{"BindToAddress", old.BindToAddress, new.BindToAddress},
		{"ListenAddress", old.ListenAddress, new.ListenAddress},
		{"BindToInterface", old.BindToInterface, new.BindToInterface},
		{"CarrierListen", old.CarrierListen, new.CarrierListen},
		{"CarrierCertificate", old.CarrierCertificate, new.CarrierCertificate},
		{"CarrierKey", old.CarrierKey, new.CarrierKey},
		{"CarrierSite", old.CarrierSite, new.CarrierSite},
		{"FWMark", old.FWMark, new.FWMark},
		{"Exit", old.Exit, new.Exit},
		{"ExitConnections", old.ExitConnections, new.ExitConnections},
		{"ExitDNS", old.ExitDNS, new.ExitDNS},
		{"ExitRate", old.ExitRate, new.ExitRate},
		{"Via", len(old.Vias) > 0, len(new.Vias) > 0},
		{"UDPRcvBuf", old.UDPRcvBuf, new.UDPRcvBuf},
		{"UDPSndBuf", old.UDPSndBuf, new.UDPSndBuf},
		{"Workers", old.Workers, new.Workers},
		{"Metrics", old.Metrics, new.Metrics},
		{"UI", old.UI, new.UI},
		{"Webhook", old.Webhook, new.Webhook},
		{"WebhookSecretFile", old.WebhookSecretFile, new.WebhookSecretFile},
		{"Door", old.Door, new.Door},
		{"DoorPort", old.DoorPort, new.DoorPort},
		{"Names", old.Names, new.Names},
		{"NamesPort", old.NamesPort, new.NamesPort},
		{"Domain", old.Domain, new.Domain},
		{"Mode", old.Mode, new.Mode},
		{"DeviceStandby", old.DeviceStandby, new.DeviceStandby},
		{"DeviceType", old.DeviceType, new.DeviceType},
		{"Device", old.Device, new.Device},
		{"Interface", old.Interface, new.Interface},
		{"Compression", old.Compression, new.Compression},
		{"StrictSubnets", old.StrictSubnets, new.StrictSubnets},
		{"TunnelServer", old.TunnelServer, new.TunnelServer},
		{"PMTUDiscovery", old.PMTUDiscovery, new.PMTUDiscovery},
		{"MaxConnectionBurst", old.MaxConnectionBurst, new.MaxConnectionBurst},
		{"MaxOutputBufferSize", old.MaxOutputBufferSize, new.MaxOutputBufferSize},
		{"ProcessPriority", old.ProcessPriority, new.ProcessPriority},
		{"Sandbox", old.Sandbox, new.Sandbox},
		{"ControlGroup", old.ControlGroup, new.ControlGroup},
		{"GraphDumpFile", old.GraphDumpFile, new.GraphDumpFile},
		{"KeyDistribution", old.KeyDistribution, new.KeyDistribution},
		{"KeyDistributionPort", old.KeyDistributionPort, new.KeyDistributionPort},
		{"ExperimentalProtocol", old.Protocol, new.Protocol},
		{"Ed25519PrivateKeyFile", old.PrivateKeyFile, new.PrivateKeyFile},
		{"PrivateKeyFile", old.RSAPrivateKeyFile, new.RSAPrivateKeyFile},
	} {
		if fmt.Sprint(v.old) != fmt.Sprint(v.new) {
			names = append(names, v.name)
		}
	}
	return names
}
