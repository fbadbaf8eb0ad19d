package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tincan/internal/exits"
	"tincan/internal/hybrid"
	"tincan/internal/legacy"
	"tincan/internal/node"
	"tincan/internal/route"
	"tincan/internal/subnet"
	"tincan/internal/zone"
)

// Settings are the values in effect of everything that concerns the node as a
// whole. Sizes are in bytes.
type Settings struct {
	AddressFamily   Family
	Port            string // decimal or a service name; "0" means any free port
	BindToAddress   []Address
	ListenAddress   []Address
	BindToInterface string
	FWMark          int
	UDPRcvBuf       int // 0: leave it to the system
	UDPSndBuf       int

	ConnectTo   []node.Name
	AutoConnect bool
	Proxy       Proxy // of outgoing meta connections

	OwnCarriers        []Carrier  // the lines Carrier of our host file; what Carriers says is in CarrierKinds
	CarrierListen      []Listener // where they are taken
	CarrierCertificate string
	CarrierKey         string
	CarrierSite        string // an absolute directory, a URL, or ""

	UPnP              UPnP
	UPnPDiscoverWait  time.Duration
	UPnPRefreshPeriod time.Duration

	DeviceType    DeviceType
	DeviceStandby bool // the interface is up only while another node can be reached
	Device        string
	Interface     string         // "": NetName, else the kernel's choice
	Ifconfig      []netip.Prefix // addresses of the interface, host bits set
	Routes        []Route
	// AutoAddress: Ifconfig was chosen by an inviter and may be replaced if
	// another node turns out to have the same address.
	AutoAddress bool

	KeyDistribution     KeyDistribution
	KeyDistributionPort int

	Roster    Roster
	NetworkID string // as it was written, "" if it was not

	Mode             route.Mode
	Forwarding       route.Forwarding
	Broadcast        route.Broadcast
	BroadcastSubnets []subnet.Subnet
	MACExpire        time.Duration
	// PriorityInheritance: datagrams have the TOS or traffic class of what is in them.
	PriorityInheritance bool
	Subnets             []subnet.Subnet // our own
	DecrementTTL        bool
	DirectOnly          bool
	Relay               bool // others may choose us as a relay
	ClampMSS            bool
	StrictSubnets       bool
	SourceCheck         bool
	Exit                Exit
	ExitConnections     int           // of one address at a time
	ExitRate            int           // bytes a second of one address, in each direction; 0: no limit
	ExitDNS             string        // an address; "": the machine's own
	Vias                []exits.Via   // files with the path of the configuration's directory
	KillSwitch          bool          // what is to leave by Vias leaves by nothing else while this node is not running
	Metrics             Address       // where Prometheus is answered; no Host: nowhere
	Webhook             string        // a URL that events are posted to; "": none
	WebhookSecretFile   string        // "": none
	UI                  bool          // members see the page at our addresses in the VPN
	Door                bool          // devices with WireGuard come in here
	DoorPort            int           // at this UDP port
	Names               Names         // whether nodes are found by their names in DNS
	Domain              string        // of these names; "": that of the network's name
	NamesPort           int           // where queries for them are answered
	Records             []zone.Record // further names
	Workers             int           // goroutines that seal and open under load; -1: by the number of processors
	TunnelServer        bool
	Apart               bool // packets of this machine never come here: no variable, whoever runs the node sets it

	IndirectData   bool
	TCPOnly        bool
	PMTUDiscovery  bool
	PMTU           int  // largest path MTU, as tinc counts (with the Ethernet header)
	Weight         *int // nil: measured
	LocalDiscovery bool
	UDPDiscovery   bool

	UDPDiscoveryInterval          time.Duration
	UDPDiscoveryKeepaliveInterval time.Duration
	UDPDiscoveryTimeout           time.Duration
	UDPInfoInterval               time.Duration
	MTUInfoInterval               time.Duration
	PingInterval                  time.Duration
	PingTimeout                   time.Duration
	MaxTimeout                    time.Duration
	MinTimeout                    time.Duration
	KeyExpire                     time.Duration
	InvitationExpire              time.Duration

	ReplayWindow        int // in packets; 0: none
	MaxConnectionBurst  int
	MaxOutputBufferSize int
	LogLevel            int

	ProcessPriority Priority
	Sandbox         Sandbox
	Hostnames       bool   // names in place of addresses in the log
	ControlGroup    string // a group of this machine that may look at the node; "": none
	GraphDumpFile   string // a file, or a command after a bar; "": none

	ScriptsInterpreter string
	ScriptsExtension   string
	PrivateKeyFile     string // Ed25519
	RSAPrivateKeyFile  string

	// Suite and Policy are for nodes that speak the protocol of tinc 1.0: what they
	// should use towards us, and which weak choices are allowed with all of them.
	Suite  legacy.Suite
	Policy legacy.Policy
	// Compression is the level (package compress) that nodes of tinc 1.1 should use towards us.
	Compression int
	// PostQuantum and SessionCipher are for sessions and connections with nodes that know the second key exchange. 0:
	// the quickest cipher.
	PostQuantum   hybrid.Mode
	SessionCipher hybrid.Cipher
	CarrierKinds  CarrierKinds // the value of Carriers; with neither form of UDP, TCPOnly is set
	// Protocol is what ExperimentalProtocol says about the protocol of tinc 1.1.
	Protocol Protocol
}

// Protocol says whether this node speaks the protocol of tinc 1.1.
type Protocol uint8

const (
	WithKey  Protocol = iota // if there is an Ed25519 key
	Required                 // it must
	Disabled                 // only that of tinc 1.0
)

// Route is a network that is reached through the VPN interface.
type Route struct {
	To  netip.Prefix
	Via netip.Addr // zero: directly
}

// ReadSettings takes everything out of a pool. self is the name of this node, dir the configuration directory. The
// warnings are of what is not taken as it stands although its form is right.
func ReadSettings(pool *Pool, self node.Name, dir string) (Settings, []Warning) {
	r := &Reader{Pool: pool}
	s := Settings{
		AddressFamily:   Family(r.choice("AddressFamily")),
		Port:            r.port(),
		BindToAddress:   List(r, "BindToAddress", ParseAddress),
		ListenAddress:   List(r, "ListenAddress", ParseAddress),
		BindToInterface: r.String("BindToInterface"),
		FWMark:          r.Int("FWMark"),
		UDPRcvBuf:       r.Int("UDPRcvBuf"),
		UDPSndBuf:       r.Int("UDPSndBuf"),

		ConnectTo:   List(r, "ConnectTo", parsePeer(self)),
		AutoConnect: r.Bool("AutoConnect"),
		Proxy:       r.proxy(),

		OwnCarriers:        List(r, "Carrier", ParseCarrier),
		CarrierListen:      List(r, "CarrierListen", ParseListener),
		CarrierCertificate: r.Path("CarrierCertificate", dir),
		CarrierKey:         r.Path("CarrierKey", dir),
		CarrierSite:        r.site(dir),

		UPnP:              UPnP(r.choice("UPnP")),
		UPnPDiscoverWait:  r.Duration("UPnPDiscoverWait"),
		UPnPRefreshPeriod: r.Duration("UPnPRefreshPeriod"),

		DeviceType:    DeviceType(r.choice("DeviceType")),
		DeviceStandby: r.Bool("DeviceStandby"),
		Interface:     r.String("Interface"),
		Ifconfig:      List(r, "Ifconfig", parseIfconfig),
		Routes:        List(r, "Route", parseRoute),

		AutoAddress: r.Bool("AutoAddress"),

		KeyDistribution:     KeyDistribution(r.choice("KeyDistribution")),
		KeyDistributionPort: r.Int("KeyDistributionPort"),

		PostQuantum:   r.postQuantum(),
		SessionCipher: r.sessionCipher(),
		CarrierKinds:  r.carriers(),

		Roster:    Roster(r.choice("Roster")),
		NetworkID: r.String("NetworkID"),

		Mode:       route.Mode(r.choice("Mode")),
		Forwarding: route.Forwarding(r.choice("Forwarding")),
		Broadcast:  []route.Broadcast{route.Tree, route.None, route.Direct, route.Tree}[r.choice("Broadcast")],
		MACExpire:  r.Duration("MACExpire"),

		PriorityInheritance: r.Bool("PriorityInheritance"),

		BroadcastSubnets:  List(r, "BroadcastSubnet", subnet.ParseLocal),
		Subnets:           List(r, "Subnet", subnet.ParseLocal),
		DecrementTTL:      r.Bool("DecrementTTL"),
		DirectOnly:        r.Bool("DirectOnly"),
		Relay:             r.Bool("Relay"),
		ClampMSS:          r.Bool("ClampMSS"),
		TunnelServer:      r.Bool("TunnelServer"),
		StrictSubnets:     r.Bool("StrictSubnets"),
		SourceCheck:       r.Bool("SourceCheck"),
		Workers:           r.IntOr("Workers", -1),
		Exit:              Exit(r.choice("Exit")),
		ExitConnections:   r.Int("ExitConnections"),
		ExitRate:          r.Int("ExitRate"),
		ExitDNS:           r.String("ExitDNS"),
		Vias:              r.vias(self, dir),
		KillSwitch:        r.Bool("KillSwitch"),
		Metrics:           r.address("Metrics"),
		Webhook:           r.String("Webhook"),
		WebhookSecretFile: r.Path("WebhookSecretFile", dir),
		UI:                r.Bool("UI"),
		Door:              r.Bool("Door"),
		DoorPort:          r.Int("DoorPort"),
		Names:             Names(r.choice("Names")),
		Domain:            r.String("Domain"),
		NamesPort:         r.Int("NamesPort"),
		Records:           append(List(r, "Alias", zone.ParseAlias), List(r, "Service", zone.ParseService)...),

		IndirectData:   r.Bool("IndirectData"),
		TCPOnly:        r.Bool("TCPOnly"),
		PMTU:           r.Int("PMTU"),
		LocalDiscovery: r.Bool("LocalDiscovery"),
		UDPDiscovery:   r.Bool("UDPDiscovery"),

		UDPDiscoveryInterval:          r.Duration("UDPDiscoveryInterval"),
		UDPDiscoveryKeepaliveInterval: r.Duration("UDPDiscoveryKeepaliveInterval"),
		UDPDiscoveryTimeout:           r.Duration("UDPDiscoveryTimeout"),
		UDPInfoInterval:               r.Duration("UDPInfoInterval"),
		MTUInfoInterval:               r.Duration("MTUInfoInterval"),
		PingInterval:                  r.Duration("PingInterval"),
		PingTimeout:                   r.Duration("PingTimeout"),
		MaxTimeout:                    r.Duration("MaxTimeout"),
		MinTimeout:                    r.Duration("MinTimeout"),
		KeyExpire:                     r.Duration("KeyExpire"),
		InvitationExpire:              r.Duration("InvitationExpire"),

		ReplayWindow:        8 * r.Int("ReplayWindow"),
		MaxConnectionBurst:  r.Int("MaxConnectionBurst"),
		MaxOutputBufferSize: r.Int("MaxOutputBufferSize"),
		LogLevel:            r.Int("LogLevel"),

		ProcessPriority: Priority(r.choice("ProcessPriority") + 1),
		Sandbox:         Sandbox(r.choice("Sandbox")),
		Hostnames:       r.Bool("Hostnames"),
		ControlGroup:    r.String("ControlGroup"),
		GraphDumpFile:   r.graphDump(dir),

		ScriptsInterpreter: r.String("ScriptsInterpreter"),
		ScriptsExtension:   r.String("ScriptsExtension"),
		PrivateKeyFile:     r.Path("Ed25519PrivateKeyFile", dir),
		RSAPrivateKeyFile:  r.Path("PrivateKeyFile", dir),

		Compression: r.Int("Compression"),
		Policy:      r.policy(),
	}
	s.Suite = r.suite(s.Compression)
	switch wanted := r.boolIfSet("ExperimentalProtocol"); {
	case wanted == nil:
	case *wanted:
		s.Protocol = Required
	default:
		s.Protocol = Disabled
	}
	if _, _, ok := r.value("Weight"); ok {
		w := r.Int("Weight")
		s.Weight = &w
	}
	if _, set := r.Pool.Lookup("DeviceType"); !set && s.Mode != route.ByAddress {
		s.DeviceType = DeviceTAP
	}
	s.Device = r.device(s.DeviceType, dir)
	s.TCPOnly = s.TCPOnly || !s.CarrierKinds.Has(CarrierUDP) && !s.CarrierKinds.Has(CarrierMasked)
	// What tinc does with values that make no sense together.
	s.IndirectData = s.IndirectData || s.TCPOnly
	s.PMTUDiscovery = r.BoolOr("PMTUDiscovery", !s.TCPOnly)
	s.StrictSubnets = s.StrictSubnets || s.TunnelServer
	for name, instead := range map[string]string{"PingInterval": "once a day", "PingTimeout": "PingInterval"} {
		if v, e, ok := r.value(name); ok && r.Duration(name) < time.Second {
			r.warn(v, e, "less than one second; %s is taken, as in tinc", instead)
		}
	}
	if s.PingInterval < time.Second {
		s.PingInterval = 86400 * time.Second
	}
	if s.PingTimeout < time.Second || s.PingTimeout > s.PingInterval {
		s.PingTimeout = s.PingInterval
	}
	return s, r.Warnings()
}

// device returns what Device says. It is a file for some types only.
func (r *Reader) device(typ DeviceType, dir string) string {
	switch value, set := r.Pool.Lookup("Device"); {
	case typ == DeviceTUN || typ == DeviceTAP || typ == DeviceDummy:
		return r.Path("Device", dir)
	case set:
		return value.Value
	}
	return ""
}

// graphDump is where the map goes: an absolute path, or a command after a bar.
func (r *Reader) graphDump(dir string) string {
	s := r.String("GraphDumpFile")
	if s == "" || strings.HasPrefix(s, "|") || filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(dir, s)
}

// site is what CarrierSite names: a URL as it stands, or an absolute directory.
func (r *Reader) site(dir string) string {
	if s := r.String("CarrierSite"); IsSiteURL(s) {
		return s
	}
	return r.Path("CarrierSite", dir)
}

// port returns the port to listen on.
func (r *Reader) port() string {
	v, e, ok := r.value("Port")
	if !ok {
		return v.Default
	}
	port, _ := ParsePort(e.Value)
	return port
}

// parseIfconfig reads ADDRESS[/LENGTH], an address of the VPN interface.
func parseIfconfig(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil && !p.Addr().Is4In6() {
		return p, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch strings.ToLower(s) {
	case "dhcp", "dhcp6", "slaac":
		return netip.Prefix{}, errors.New("an address that comes from elsewhere needs a tinc-up script")
	}
	return netip.Prefix{}, errors.New("write an address with its prefix length, such as 10.1.0.1/16")
}

// parseRoute reads NETWORK [GATEWAY].
func parseRoute(s string) (Route, error) {
	words := strings.Fields(s)
	if len(words) == 0 || len(words) > 2 {
		return Route{}, errors.New("write NETWORK or NETWORK GATEWAY")
	}
	to, err := parseIfconfig(words[0])
	if err != nil {
		return Route{}, fmt.Errorf("%.60q is not a network such as 10.1.0.0/16", words[0])
	}
	if to != to.Masked() {
		return Route{}, fmt.Errorf("%v has host bits set; did you mean %v?", to, to.Masked())
	}
	if err := Routable(to); err != nil {
		return Route{}, fmt.Errorf("%v cannot be routed into the VPN: %w", to, err)
	}
	route := Route{To: to}
	if len(words) == 2 {
		via, err := netip.ParseAddr(words[1])
		if err != nil || via.Is4() != to.Addr().Is4() {
			return Route{}, fmt.Errorf("%.60q is not an address of a gateway for %v", words[1], to)
		}
		route.Via = via
	}
	return route, nil
}

// vias are the lines Via, as they count for this node.
func (r *Reader) vias(self node.Name, dir string) []exits.Via {
	var list []exits.Via
	for _, v := range List(r, "Via", exits.ParseVia) {
		list = append(list, v.For(self, dir))
	}
	return list
}

// ViaDefault tells whether all that is for nobody in the mesh leaves by another node.
func (s *Settings) ViaDefault() bool {
	return slices.ContainsFunc(s.Vias, func(v exits.Via) bool { return v.Default })
}

// Mark is that of the VPN's own datagrams and connections: FWMark, or one of ours if the machine's other packets may go into
// the VPN; 0: none.
func (s *Settings) Mark() int {
	if s.FWMark == 0 && len(s.Vias) > 0 && !s.Apart {
		return viaMark
	}
	return s.FWMark
}

// viaMark is the same in all networks: what one of them sends is not to go through another.
const viaMark = 0x74696e63

// Routable tells why a network may not be routed into the VPN, nil if it may.
func Routable(p netip.Prefix) error {
	switch a := p.Addr(); {
	case !p.IsValid() || a.Is4In6():
		return errors.New("it is no prefix")
	case a.Is4() && p.Bits() <= 1, a.Is6() && p.Bits() <= 3:
		return errors.New("it is half of the internet or all of it, the packets of the VPN itself included; a subnet-up script can do this with care")
	case a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.IsUnspecified():
		return errors.New("it has addresses that never leave a machine or link")
	}
	return nil
}

// address is the value of a variable for one address; the zero value if it is not set.
func (r *Reader) address(name string) Address {
	text := r.String(name)
	if text == "" {
		return Address{}
	}
	a, _ := ParseAddress(text) // checked by its kind
	return a
}

// NamesDomain is the domain in which the names of nodes are, in lower case; network is the name of the network, which may be "".
func (s *Settings) NamesDomain(network string) (string, error) {
	domain := strings.ToLower(s.Domain)
	if domain == "" {
		domain = strings.ToLower(cmp.Or(network, "vpn")) + ".internal"
	}
	if err := zone.CheckDomain(domain); err != nil {
		return "", fmt.Errorf("%.60q cannot be a domain: %w", domain, err)
	}
	return domain, nil
}
