package config

// table lists every variable that any tinc reads, and our own. Scope, flags and
// defaults are those of tinc 1.1 (protocol 17.7), except that Reload and Effect say
// what this program does.
var table = []Variable{
	// ------------------------------------------------ the node as a whole

	{Name: "AddressFamily", Flags: Server | Safe, Kind: Word, Words: words("any", "ipv4", "ipv6"), Default: "any", Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "AutoConnect", Flags: Server | Safe | Reload, Kind: Bool, Default: "yes", Bad: Logged, Since: "- / pre4"},
	{Name: "BindToAddress", Flags: Server | Multiple, Kind: Endpoint, Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "BindToInterface", Flags: Server, Kind: Text, Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "Broadcast", Flags: Server | Safe | Reload, Kind: Word, Words: words("mst", "no", "direct", "yes"), Default: "mst", Bad: Fatal, Since: "1.0.17 / pre3"},
	{Name: "BroadcastSubnet", Flags: Server | Multiple | Safe | Reload, Kind: Net, Bad: Logged, Since: "- / pre11"},
	{Name: "ConnectTo", Flags: Server | Multiple | Safe | Reload, Kind: NodeName, Bad: Logged, Since: "1.0 / pre1"},
	{Name: "DecrementTTL", Flags: Server | Safe | Reload, Kind: Bool, Default: "no", Bad: Logged, Since: "1.0.17 / pre3"},
	{Name: "Device", Flags: Server, Kind: Path, Default: "/dev/net/tun", Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "DeviceStandby", Flags: Server, Kind: Bool, Default: "no", Bad: Logged, Since: "- / pre11"},
	{Name: "DeviceType", Flags: Server, Kind: Word, Words: words("tun", "tap", "dummy", "fd", "raw_socket", "multicast"), Foreign: words("uml", "vde"), Instead: "User Mode Linux and VDE switches can be reached through a tap interface in a bridge, or a raw_socket", Default: "tun", Bad: Fatal, Since: "1.0.3 / pre1"},
	{Name: "DirectOnly", Flags: Server | Safe | Reload, Kind: Bool, Default: "no", Bad: Logged, Since: "1.0.13 / pre1"},
	{Name: "Ed25519PrivateKeyFile", Flags: Server, Kind: Path, Default: "ed25519_key.priv", Bad: Fatal, Since: "- / pre11"},
	{Name: "ExperimentalProtocol", Flags: Server, Kind: Bool, Bad: Logged, Since: "- / pre2"},
	{Name: "Forwarding", Flags: Server | Reload, Kind: Word, Words: words("internal", "off", "kernel"), Default: "internal", Bad: Fatal, Since: "1.0.13 / pre1"},
	{Name: "FWMark", Flags: Server, Kind: Int, Default: "0", Bad: Logged, Since: "- / pre16"},
	{Name: "GraphDumpFile", Flags: Server | Obsolete, Kind: Text, Since: "1.0.5 / -"},
	{Name: "Hostnames", Flags: Server | Reload, Kind: Bool, Default: "no", Bad: Logged, Since: "1.0 / pre1"},
	{Name: "IffOneQueue", Flags: Server, Kind: Bool, Default: "no", Bad: Logged, Since: "1.0.14 / pre1", Effect: Never, Why: "today's kernels ignore it"},
	{Name: "Interface", Flags: Server, Kind: Text, Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "InvitationExpire", Flags: Server | Reload, Kind: Seconds, Default: "604800", Bad: Logged, Since: "- / pre15"},
	{Name: "KeyExpire", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "3600", Bad: Logged, Since: "1.0 / pre1"},
	{Name: "ListenAddress", Flags: Server | Multiple, Kind: Endpoint, Bad: Fatal, Since: "- / pre10"},
	{Name: "LocalDiscovery", Flags: Server | Safe | Reload, Kind: Bool, Default: "yes", Bad: Logged, Since: "1.0.17 / pre3"},
	{Name: "LogLevel", Flags: Server | Reload, Kind: Int, Default: "0", Bad: Logged, Since: "- / pre15"},
	{Name: "MACExpire", Flags: Server | Safe | Reload, Kind: Seconds, Default: "600", Bad: Logged, Since: "1.0 / pre1"},
	{Name: "MaxConnectionBurst", Flags: Server | Safe, Kind: Int, Min: 1, Default: "10", Bad: Fatal, Since: "- / pre8"},
	{Name: "MaxOutputBufferSize", Flags: Server | Safe, Kind: Int, Default: "15180", Bad: Logged, Since: "1.0.5 / pre1"},
	{Name: "MaxTimeout", Flags: Server | Safe | Reload, Kind: Seconds, Min: 1, Default: "900", Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "Mode", Flags: Server | Safe, Kind: Word, Words: words("router", "switch", "hub"), Default: "router", Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "MTUInfoInterval", Flags: Server | Safe | Reload, Kind: Seconds, Default: "5", Bad: Logged, Since: "- / pre12"},
	{Name: "Name", Flags: Server, Kind: NodeName, Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "PingInterval", Flags: Server | Safe | Reload, Kind: Seconds, Min: minInt, Default: "60", Bad: Logged, Since: "1.0.5 / pre1"},
	{Name: "PingTimeout", Flags: Server | Safe | Reload, Kind: Seconds, Min: minInt, Default: "5", Bad: Logged, Since: "1.0 / pre1"},
	{Name: "PriorityInheritance", Flags: Server | Reload, Kind: Bool, Default: "no", Bad: Logged, Since: "1.0 / pre1"},
	{Name: "PrivateKey", Flags: Server | Obsolete, Kind: Text, Since: "1.0 / pre1"},
	{Name: "PrivateKeyFile", Flags: Server, Kind: Path, Default: "rsa_key.priv", Since: "1.0 / pre1"},
	{Name: "ProcessPriority", Flags: Server, Kind: Word, Words: words("low", "normal", "high"), Bad: Fatal, Since: "1.0.10 / pre1"},
	{Name: "Proxy", Flags: Server | Reload, Kind: Text, Default: "none", Bad: Fatal, Since: "1.0.19 / pre3"},
	{Name: "ReplayWindow", Flags: Server | Safe, Kind: Int, Max: 65536, Default: "512", Bad: Fatal, Since: "1.0.14 / pre1"},
	{Name: "Sandbox", Flags: Server, Kind: Word, Words: words("off", "normal", "high"), Default: "off", Bad: Fatal, Since: "- / pre18"},
	{Name: "ScriptsExtension", Flags: Server | Reload, Kind: Text, Since: "- / pre3"},
	{Name: "ScriptsInterpreter", Flags: Server | Reload, Kind: Text, Since: "1.0.20 / pre3"},
	{Name: "StrictSubnets", Flags: Server | Safe, Kind: Bool, Default: "no", Bad: Logged, Since: "1.0.13 / pre1"},
	{Name: "TunnelServer", Flags: Server | Safe, Kind: Bool, Default: "no", Bad: Logged, Since: "1.0.3 / pre1"},
	{Name: "UDPDiscovery", Flags: Server | Safe | Reload, Kind: Bool, Default: "yes", Bad: Logged, Since: "- / pre12"},
	{Name: "UDPDiscoveryInterval", Flags: Server | Safe | Reload, Kind: Seconds, Default: "2", Bad: Logged, Since: "- / pre12"},
	{Name: "UDPDiscoveryKeepaliveInterval", Flags: Server | Safe | Reload, Kind: Seconds, Default: "10", Bad: Logged, Since: "- / pre12"},
	{Name: "UDPDiscoveryTimeout", Flags: Server | Safe | Reload, Kind: Seconds, Default: "30", Bad: Logged, Since: "- / pre12"},
	{Name: "UDPInfoInterval", Flags: Server | Safe | Reload, Kind: Seconds, Default: "5", Bad: Logged, Since: "- / pre12"},
	{Name: "UDPRcvBuf", Flags: Server, Kind: Int, Default: "7340032", Bad: Fatal, Since: "1.0.14 / pre1"},
	{Name: "UDPSndBuf", Flags: Server, Kind: Int, Default: "7340032", Bad: Fatal, Since: "1.0.14 / pre1"},
	{Name: "UPnP", Flags: Server, Kind: Word, Words: words("no", "yes", "udponly"), Default: "no", Since: "- / pre12"},
	{Name: "UPnPDiscoverWait", Flags: Server, Kind: Seconds, Default: "5", Bad: Logged, Since: "- / pre12"},
	{Name: "UPnPRefreshPeriod", Flags: Server, Kind: Seconds, Default: "60", Bad: Logged, Since: "- / pre12"},
	{Name: "VDEGroup", Flags: Server, Kind: Text, Since: "1.0.14 / pre1", Effect: Never, Why: "switches of VDE are not supported; see DeviceType"},
	{Name: "VDEPort", Flags: Server, Kind: Int, Default: "0", Bad: Logged, Since: "1.0.14 / pre1", Effect: Never, Why: "switches of VDE are not supported; see DeviceType"},

	// ------------------------------------------------ one host

	{Name: "Address", Flags: HostFile | Multiple, Kind: Endpoint, Bad: Logged, Since: "1.0 / pre1"},
	{Name: "Cipher", Flags: Server | HostFile, Kind: Text, Default: "aes-256-cbc", Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "ClampMSS", Flags: Server | HostFile | Safe | Reload, Kind: Bool, Default: "yes", Bad: Logged, Since: "1.0.12 / pre1"},
	{Name: "Compression", Flags: Server | HostFile | Safe, Kind: Int, Default: "0", Bad: Logged, Since: "1.0 / pre1"},
	{Name: "Digest", Flags: Server | HostFile, Kind: Text, Default: "sha256", Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "Ed25519PublicKey", Flags: HostFile, Kind: Text, Bad: Logged, Since: "- / pre11"},
	{Name: "Ed25519PublicKeyFile", Flags: Server | HostFile, Kind: Path, Bad: Logged, Since: "- / pre11"},
	{Name: "IndirectData", Flags: Server | HostFile | Safe | Reload, Kind: Bool, Default: "no", Bad: Logged, Since: "1.0 / pre1"},
	{Name: "MACLength", Flags: Server | HostFile, Kind: Int, Default: "16", Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "PMTU", Flags: Server | HostFile, Kind: Int, Default: "1518", Bad: Logged, Since: "1.0.3 / pre1"},
	{Name: "PMTUDiscovery", Flags: Server | HostFile, Kind: Bool, Default: "yes", Bad: Logged, Since: "1.0.3 / pre1"},
	{Name: "Port", Flags: HostFile, Kind: Text, Default: "655", Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "PublicKey", Flags: HostFile | Obsolete, Kind: Text, Since: "1.0 / pre1"},
	{Name: "PublicKeyFile", Flags: Server | HostFile | Obsolete, Kind: Path, Since: "1.0 / pre1"},
	{Name: "Subnet", Flags: HostFile | Multiple | Safe | Reload, Kind: Net, Bad: Fatal, Since: "1.0 / pre1"},
	{Name: "TCPOnly", Flags: Server | HostFile | Safe | Reload, Kind: Bool, Default: "no", Bad: Logged, Since: "1.0 / pre1"},
	{Name: "Weight", Flags: HostFile | Safe, Kind: Int, Min: minInt, Bad: Logged, Since: "1.0.3 / pre1"},

	// ------------------------------------------------ ours: the VPN interface when there is no tinc-up

	{Name: "AutoAddress", Flags: Server | Reload, Kind: Bool, Default: "no", Bad: Logged, Since: "tincan"},
	{Name: "Ifconfig", Flags: Server | Multiple | Reload, Kind: Text, Bad: Fatal, Since: "tincan"},
	{Name: "Route", Flags: Server | Multiple | Reload, Kind: Text, Bad: Fatal, Since: "tincan"},

	// ------------------------------------------------ ours: which way packets go

	{Name: "Relay", Flags: Server | Reload, Kind: Bool, Default: "yes", Bad: Logged, Since: "tincan"},

	// ------------------------------------------------ ours: what is allowed with nodes of tinc 1.0

	{Name: "ShortRSAKeys", Flags: Server | HostFile | Reload, Kind: Bool, Default: "no", Bad: Logged, Since: "tincan"},

	// ------------------------------------------------ ours: host files that spread by themselves

	{Name: "KeyDistribution", Flags: Server, Kind: Word, Words: words("yes", "no", "compat"), Default: "yes", Bad: Fatal, Since: "tincan"},
	{Name: "KeyDistributionPort", Flags: Server, Kind: Int, Min: 1, Default: "1655", Bad: Fatal, Since: "tincan"},

	// ------------------------------------------------ not in tinc's own table

	{Name: "DisableBuggyPeers", Flags: Server | Unlisted, Kind: Bool, Default: "no", Bad: Logged, Since: "- / pre18", Effect: Never, Why: "there is no known buggy peer to work around"},
	{Name: "ECDSAPrivateKeyFile", Flags: Server | Unlisted, Kind: Path, Since: "- / pre2 to pre10", Effect: Never, Why: "that protocol existed only in pre-releases"},
	{Name: "ECDSAPublicKey", Flags: HostFile | Unlisted, Kind: Text, Since: "- / pre2 to pre10", Effect: Never, Why: "that protocol existed only in pre-releases"},
	{Name: "LocalDiscoveryAddress", Flags: Server | Unlisted, Kind: Text, Since: "- / pre8 to pre10", Effect: Never, Why: "local discovery finds its addresses by itself"},
	{Name: "MinTimeout", Flags: Server | Unlisted | Reload, Kind: Seconds, Default: "0", Bad: Logged, Since: "1.0.25 / -"},
	{Name: "Version", Flags: HostFile | Unlisted, Kind: Text, Since: "tinc-boot", Effect: Never, Why: "it is a note of tinc-boot to itself"},
}

const minInt = -1 << 31

func words(w ...string) []string { return w }
