package config

import "tincan/internal/compress"

// table lists every variable that any tinc reads, and our own. Scope, flags and
// defaults are those of tinc 1.1 (protocol 17.7), except that Reload and Effect say
// what this program does.
var table = []Variable{
	// ------------------------------------------------ the node as a whole

	{Name: "AddressFamily", Flags: Server | Safe, Kind: Word, Words: words("any", "ipv4", "ipv6"), Default: "any", Since: "1.0 / pre1"},
	{Name: "AutoConnect", Flags: Server | Safe | Reload, Kind: Bool, Default: "yes", Since: "- / pre4"},
	{Name: "BindToAddress", Flags: Server | Multiple, Kind: Endpoint, Since: "1.0 / pre1"},
	{Name: "BindToInterface", Flags: Server, Kind: NetInterface, Since: "1.0 / pre1"},
	{Name: "Broadcast", Flags: Server | Safe | Reload, Kind: Word, Words: words("mst", "no", "direct", "yes"), Default: "mst", Since: "1.0.17 / pre3"},
	{Name: "BroadcastSubnet", Flags: Server | Multiple | Safe | Reload, Kind: Net, Since: "- / pre11"},
	{Name: "ConnectTo", Flags: Server | Multiple | Safe | Reload, Kind: NodeName, Since: "1.0 / pre1"},
	{Name: "DecrementTTL", Flags: Server | Safe | Reload, Kind: Bool, Default: "no", Since: "1.0.17 / pre3"},
	{Name: "Device", Flags: Server, Kind: Path, Default: "/dev/net/tun", Since: "1.0 / pre1"},
	{Name: "DeviceStandby", Flags: Server, Kind: Bool, Default: "no", Since: "- / pre11"},
	{Name: "DeviceType", Flags: Server, Kind: Word, Words: words("tun", "tap", "dummy", "fd", "raw_socket", "multicast"), Foreign: words("uml", "vde"), Instead: "User Mode Linux and VDE switches can be reached through a tap interface in a bridge, or a raw_socket", Default: "tun", Since: "1.0.3 / pre1"},
	{Name: "DirectOnly", Flags: Server | Safe | Reload, Kind: Bool, Default: "no", Since: "1.0.13 / pre1"},
	{Name: "Ed25519PrivateKeyFile", Flags: Server, Kind: Path, Default: "ed25519_key.priv", Since: "- / pre11"},
	{Name: "ExperimentalProtocol", Flags: Server, Kind: Bool, Since: "- / pre2"},
	{Name: "Forwarding", Flags: Server | Reload, Kind: Word, Words: words("internal", "off", "kernel"), Default: "internal", Since: "1.0.13 / pre1"},
	{Name: "FWMark", Flags: Server, Kind: Int, Default: "0", Since: "- / pre16"},
	{Name: "GraphDumpFile", Flags: Server | Obsolete, Kind: Text, Since: "1.0.5 / -"},
	{Name: "Hostnames", Flags: Server | Reload, Kind: Bool, Default: "no", Since: "1.0 / pre1"},
	{Name: "IffOneQueue", Flags: Server, Kind: Bool, Default: "no", Since: "1.0.14 / pre1", Effect: Never, Why: "today's kernels ignore it"},
	{Name: "Interface", Flags: Server, Kind: NetInterface, Since: "1.0 / pre1"},
	{Name: "InvitationExpire", Flags: Server | Reload, Kind: Seconds, Min: 1, Default: "604800", Since: "- / pre15"},
	{Name: "KeyExpire", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "3600", Since: "1.0 / pre1"},
	{Name: "ListenAddress", Flags: Server | Multiple, Kind: Endpoint, Since: "- / pre10"},
	{Name: "LocalDiscovery", Flags: Server | Safe | Reload, Kind: Bool, Default: "yes", Since: "1.0.17 / pre3"},
	{Name: "LogLevel", Flags: Server | Reload, Kind: Int, Default: "0", Since: "- / pre15"},
	{Name: "MACExpire", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "600", Since: "1.0 / pre1"},
	{Name: "MaxConnectionBurst", Flags: Server | Safe, Kind: Int, Min: 1, Default: "10", Since: "- / pre8"},
	{Name: "MaxOutputBufferSize", Flags: Server | Safe, Kind: Bytes, Default: "15180", Since: "1.0.5 / pre1"},
	{Name: "MaxTimeout", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "900", Since: "1.0 / pre1"},
	{Name: "Mode", Flags: Server | Safe, Kind: Word, Words: words("router", "switch", "hub"), Default: "router", Since: "1.0 / pre1"},
	{Name: "MTUInfoInterval", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "5", Since: "- / pre12"},
	{Name: "Name", Flags: Server, Kind: SelfName, Since: "1.0 / pre1"},
	{Name: "PingInterval", Flags: Server | Safe | Reload, Kind: Seconds, Min: minInt, Default: "60", Since: "1.0.5 / pre1"},
	{Name: "PingTimeout", Flags: Server | Safe | Reload, Kind: Seconds, Min: minInt, Default: "5", Since: "1.0 / pre1"},
	{Name: "PriorityInheritance", Flags: Server | Reload, Kind: Bool, Default: "no", Since: "1.0 / pre1"},
	{Name: "PrivateKey", Flags: Server | Obsolete, Kind: Text, Since: "1.0 / pre1"},
	{Name: "PrivateKeyFile", Flags: Server, Kind: Path, Default: "rsa_key.priv", Since: "1.0 / pre1"},
	{Name: "ProcessPriority", Flags: Server, Kind: Word, Words: words("low", "normal", "high"), Since: "1.0.10 / pre1"},
	{Name: "Proxy", Flags: Server | Reload, Kind: ProxyUse, Default: "none", Since: "1.0.19 / pre3"},
	{Name: "ReplayWindow", Flags: Server | Safe, Kind: Int, Max: 65536, Cut: true, Default: "512", Since: "1.0.14 / pre1"},
	{Name: "Sandbox", Flags: Server, Kind: Word, Words: words("off", "normal", "high"), Default: "off", Since: "- / pre18"},
	{Name: "ScriptsExtension", Flags: Server | Reload, Kind: Text, Since: "- / pre3"},
	{Name: "ScriptsInterpreter", Flags: Server | Reload, Kind: Text, Since: "1.0.20 / pre3"},
	{Name: "StrictSubnets", Flags: Server | Safe, Kind: Bool, Default: "no", Since: "1.0.13 / pre1"},
	{Name: "TunnelServer", Flags: Server | Safe, Kind: Bool, Default: "no", Since: "1.0.3 / pre1"},
	{Name: "UDPDiscovery", Flags: Server | Safe | Reload, Kind: Bool, Default: "yes", Since: "- / pre12"},
	{Name: "UDPDiscoveryInterval", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "2", Since: "- / pre12"},
	{Name: "UDPDiscoveryKeepaliveInterval", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "10", Since: "- / pre12"},
	{Name: "UDPDiscoveryTimeout", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "30", Since: "- / pre12"},
	{Name: "UDPInfoInterval", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "5", Since: "- / pre12"},
	{Name: "UDPRcvBuf", Flags: Server, Kind: Bytes, Default: "7340032", Since: "1.0.14 / pre1"},
	{Name: "UDPSndBuf", Flags: Server, Kind: Bytes, Default: "7340032", Since: "1.0.14 / pre1"},
	{Name: "UPnP", Flags: Server, Kind: Word, Words: words("no", "yes", "udponly"), Default: "no", Since: "- / pre12"},
	{Name: "UPnPDiscoverWait", Flags: Server, Kind: Seconds, Default: "5", Since: "- / pre12"},
	{Name: "UPnPRefreshPeriod", Flags: Server, Kind: Seconds, Default: "60", Since: "- / pre12"},
	{Name: "VDEGroup", Flags: Server, Kind: Text, Since: "1.0.14 / pre1", Effect: Never, Why: "switches of VDE are not supported; see DeviceType"},
	{Name: "VDEPort", Flags: Server, Kind: Int, Default: "0", Since: "1.0.14 / pre1", Effect: Never, Why: "switches of VDE are not supported; see DeviceType"},

	// ------------------------------------------------ one host

	{Name: "Address", Flags: HostFile | Multiple, Kind: Endpoint, Since: "1.0 / pre1"},
	{Name: "Cipher", Flags: Server | HostFile, Kind: CipherName, Default: "aes-256-cbc", Since: "1.0 / pre1"},
	{Name: "ClampMSS", Flags: Server | HostFile | Safe | Reload, Kind: Bool, Default: "yes", Since: "1.0.12 / pre1"},
	{Name: "Compression", Flags: Server | HostFile | Safe, Kind: Int, Max: compress.MaxLevel, Default: "0", Since: "1.0 / pre1"},
	{Name: "Digest", Flags: Server | HostFile, Kind: DigestName, Default: "sha256", Since: "1.0 / pre1"},
	{Name: "Ed25519PublicKey", Flags: HostFile, Kind: PublicKey, Since: "- / pre11"},
	{Name: "Ed25519PublicKeyFile", Flags: Server | HostFile, Kind: Path, Since: "- / pre11"},
	{Name: "IndirectData", Flags: Server | HostFile | Safe | Reload, Kind: Bool, Default: "no", Since: "1.0 / pre1"},
	{Name: "MACLength", Flags: Server | HostFile, Kind: Int, Default: "16", Since: "1.0 / pre1"},
	{Name: "PMTU", Flags: Server | HostFile, Kind: Int, Default: "1518", Since: "1.0.3 / pre1"},
	{Name: "PMTUDiscovery", Flags: Server | HostFile, Kind: Bool, Default: "yes", Since: "1.0.3 / pre1"},
	{Name: "Port", Flags: HostFile, Kind: Port, Default: "655", Since: "1.0 / pre1"},
	{Name: "PublicKey", Flags: HostFile | Obsolete, Kind: Text, Since: "1.0 / pre1"},
	{Name: "PublicKeyFile", Flags: Server | HostFile | Obsolete, Kind: Path, Since: "1.0 / pre1"},
	{Name: "Subnet", Flags: HostFile | Multiple | Safe | Reload, Kind: Net, Since: "1.0 / pre1"},
	{Name: "TCPOnly", Flags: Server | HostFile | Safe | Reload, Kind: Bool, Default: "no", Since: "1.0 / pre1"},
	{Name: "Weight", Flags: HostFile | Safe, Kind: Int, Min: minInt, Since: "1.0.3 / pre1"},

	// ------------------------------------------------ ours: the VPN interface when there is no tinc-up

	{Name: "AutoAddress", Flags: Server | Reload, Kind: Bool, Default: "no", Since: "tincan"},
	{Name: "ControlGroup", Flags: Server, Kind: Text, Since: "tincan"},
	{Name: "Ifconfig", Flags: Server | Multiple | Reload, Kind: InterfaceAddress, Since: "tincan"},
	{Name: "Route", Flags: Server | Multiple | Reload, Kind: NetRoute, Since: "tincan"},

	// ------------------------------------------------ ours: ways out of the mesh

	{Name: "Exit", Flags: Server, Kind: Word, Words: words("no", "yes", "private"), Default: "no", Since: "tincan"},
	{Name: "ExitConnections", Flags: Server, Kind: Int, Min: 1, Max: 1000000, Default: "4096", Since: "tincan"},
	{Name: "ExitDNS", Flags: Server, Kind: Text, Since: "tincan"},
	{Name: "ExitRate", Flags: Server, Kind: Bytes, Default: "0", Since: "tincan"},
	{Name: "KillSwitch", Flags: Server | Reload, Kind: Bool, Default: "no", Since: "tincan"},
	{Name: "Via", Flags: Server | Multiple | Reload, Kind: ViaRoute, Since: "tincan"},

	{Name: "Metrics", Flags: Server, Kind: Endpoint, Since: "tincan"},
	{Name: "Webhook", Flags: Server, Kind: Text, Since: "tincan"},
	{Name: "WebhookSecretFile", Flags: Server, Kind: Path, Since: "tincan"},
	{Name: "UI", Flags: Server, Kind: Bool, Default: "no", Since: "tincan"},

	// ------------------------------------------------ ours: meta connections inside of WebSockets

	{Name: "Carrier", Flags: HostFile | Multiple | Reload, Kind: CarrierUse, Since: "tincan"},
	{Name: "CarrierCertificate", Flags: Server, Kind: Path, Since: "tincan"},
	{Name: "CarrierKey", Flags: Server, Kind: Path, Since: "tincan"},
	{Name: "CarrierListen", Flags: Server | Multiple, Kind: CarrierPlace, Since: "tincan"},
	{Name: "CarrierSite", Flags: Server, Kind: SiteUse, Since: "tincan"},

	// ------------------------------------------------ ours: devices that have WireGuard

	{Name: "Door", Flags: Server, Kind: Bool, Default: "no", Since: "tincan"},
	{Name: "DoorPort", Flags: Server, Kind: Int, Min: 1, Max: 65535, Default: "51820", Since: "tincan"},

	// ------------------------------------------------ ours: names of nodes in DNS

	{Name: "Alias", Flags: Server | Multiple | Reload, Kind: AliasName, Since: "tincan"},
	{Name: "Domain", Flags: Server, Kind: DomainName, Since: "tincan"},
	{Name: "Names", Flags: Server, Kind: Word, Words: words("no", "auto", "hosts"), Default: "no", Since: "tincan"},
	{Name: "NamesPort", Flags: Server, Kind: Int, Min: 1, Max: 65535, Default: "9653", Since: "tincan"},
	{Name: "Service", Flags: Server | Multiple | Reload, Kind: ServiceName, Since: "tincan"},

	// ------------------------------------------------ ours: which paths packets take

	{Name: "Carriers", Flags: Server | Reload, Kind: CarrierList, Words: words("masked", "udp", "tcp", "tls"), Default: "masked, udp, tcp, tls", Since: "tincan"},
	{Name: "Relay", Flags: Server | Reload, Kind: Bool, Default: "yes", Since: "tincan"},
	{Name: "SourceCheck", Flags: Server | Reload, Kind: Bool, Default: "yes", Since: "tincan"},

	{Name: "Workers", Flags: Server, Kind: Int, Max: 64, Since: "tincan"},

	// ------------------------------------------------ ours: what protects packets between two tincans

	{Name: "PostQuantum", Flags: Server | HostFile | Reload, Kind: Word, Words: words("no", "yes", "require"), Default: "yes", Since: "tincan"},
	{Name: "SessionCipher", Flags: Server | HostFile | Reload, Kind: Word, Words: words("auto", "chacha20-poly1305", "aes-256-gcm"), Default: "auto", Since: "tincan"},

	// ------------------------------------------------ ours: what is allowed with nodes of tinc 1.0

	{Name: "ShortRSAKeys", Flags: Server | HostFile | Reload, Kind: Bool, Default: "no", Since: "tincan"},

	// ------------------------------------------------ ours: host files that spread by themselves

	{Name: "KeyDistribution", Flags: Server, Kind: Word, Words: words("yes", "no", "compat"), Default: "yes", Since: "tincan"},
	{Name: "KeyDistributionPort", Flags: Server, Kind: Int, Min: 1, Max: 65535, Default: "1655", Since: "tincan"},

	// ------------------------------------------------ ours: who belongs to the network

	{Name: "NetworkID", Flags: Server | Reload, Kind: Text, Since: "tincan"},
	{Name: "Roster", Flags: Server | Reload, Kind: Word, Words: words("signed", "warn", "open"), Default: "signed", Since: "tincan"},

	// ------------------------------------------------ not in tinc's own table

	{Name: "DisableBuggyPeers", Flags: Server | Unlisted, Kind: Bool, Default: "no", Since: "- / pre18", Effect: Never, Why: "there is no known buggy peer to work around"},
	{Name: "ECDSAPrivateKeyFile", Flags: Server | Unlisted, Kind: Path, Since: "- / pre2 to pre10", Effect: Never, Why: "that protocol existed only in pre-releases"},
	{Name: "ECDSAPublicKey", Flags: HostFile | Unlisted, Kind: Text, Since: "- / pre2 to pre10", Effect: Never, Why: "that protocol existed only in pre-releases"},
	{Name: "LocalDiscoveryAddress", Flags: Server | Unlisted, Kind: Text, Since: "- / pre8 to pre10", Effect: Never, Why: "local discovery finds its addresses by itself"},
	{Name: "MinTimeout", Flags: Server | Unlisted | Reload, Kind: Seconds, Default: "0", Since: "1.0.25 / -"},
	{Name: "Version", Flags: HostFile | Unlisted, Kind: Text, Since: "tinc-boot", Effect: Never, Why: "it is a note of tinc-boot to itself"},
}

const minInt = -1 << 31

func words(w ...string) []string { return w }
