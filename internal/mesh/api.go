// Package mesh is the protocol core of a node: who is in the network, how they are
// connected, and which path a packet takes.
//
// It is a pure state machine. The caller feeds it events together with the
// time, and carries out the effects it returns. It has no sockets, files,
// clocks, goroutines or global randomness, so a conversation is a transcript
// and a thousand nodes run in one process.
//
// [Mesh] passes each event to the part that it concerns: topology, links, paths, sessions and others. Each is a
// type that has its own state and names the methods of the others that it calls (docs/architecture.md).
package mesh

import (
	"net"
	"net/netip"
	"time"

	"tincan/internal/forward"
	"tincan/internal/hybrid"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/mask"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// ConnID names a meta connection for as long as the process lives. The protocol core
// numbers the connections that it asks for with odd numbers, the caller those
// that it accepts with even ones.
type ConnID uint64

// Endpoint is a place to dial: a host name or address, and a port.
type Endpoint struct {
	Host string // a DNS name or an IP address without brackets
	Port string // decimal or a service name
	// Carrier is the whole value of a variable Carrier (see config.ParseCarrier) if this is the host of one. There is a
	// secret in it. "": TCP.
	Carrier string
}

// String is how an endpoint is called in logs.
func (e Endpoint) String() string {
	s := net.JoinHostPort(e.Host, e.Port)
	if e.Carrier != "" {
		return "wss://" + s
	}
	return s
}

// ---------------------------------------------------------------- events

// Event is something that happened outside of the protocol core.
type Event interface{ event() }

type (
	// Accepted: somebody connected to us.
	Accepted struct {
		Conn          ConnID
		Remote, Local netip.AddrPort
		Carrier       bool // inside of HTTPS, not plain TCP. Then the addresses may be invalid: a reverse proxy has not told them
	}
	// Dialed: the TCP connection asked for by [Dial] stands. To is which of its endpoints
	// has answered; zero: the first. Remote is not valid if only a proxy knows it.
	Dialed struct {
		Conn          ConnID
		To            Endpoint
		Remote, Local netip.AddrPort
	}
	// Line: a line of clear text came in, without its newline. Only the first
	// line of a connection is delivered like this.
	Line struct {
		Conn ConnID
		Text string
	}
	// Secured: the handshake asked for by [Secure] or [SecureLegacy] is complete,
	// the peer has proved who it is, and ACK may be sent.
	Secured struct {
		Conn       ConnID
		Protection Protection // with [Secure]
	}
	// Request: a request came in over the secured connection, without a trailing newline.
	Request struct {
		Conn ConnID
		Text string
	}
	// Closed: the connection is gone, or a dial failed. Err says why and is
	// nil after an orderly end. It is not sent for a connection the protocol core closed.
	Closed struct {
		Conn ConnID
		Err  error
	}

	// HostLoaded: the host file of a node was read (at start, at reload, or
	// because a Line from that node came in). Known is false if there is none.
	HostLoaded struct {
		Node  node.Name
		Known bool
		Host  Host
	}
	// Vouched: By, whose key is known, has let Node in with this key.
	Vouched struct {
		Node, By node.Name
		Key      keys.PublicKey
	}
	// Reconfigured: a reload succeeded.
	Reconfigured struct{ Config Config }

	// Traffic: the data plane was given packets for Node. It is sent at once
	// for the first packet and then at most every 250 ms.
	Traffic struct{ Node node.Name }
	// Silent: datagrams go directly to Node (for itself or to be passed on), and nothing
	// authentic has come from its address for so long. Said after 100 ms and at most every
	// 100 ms; Heard follows when it is heard again.
	Silent struct {
		Node node.Name
		For  time.Duration
	}
	// Heard: Node, of whose silence the protocol core was told, was heard again at its address.
	Heard struct{ Node node.Name }
	// Large: frames go directly to Node in datagrams that are as long as a probe of Size bytes, but no
	// longer. At most four times a second, and only if they are above 600 bytes. Sends is how often such were sent
	// since the last report; frames that leave together count as one.
	Large struct {
		Node  node.Name
		Size  int
		Sends int
	}
	// ProbeIn: a record of type 4 from Node was opened. Data is the whole
	// probe. Direct is true if the datagram had the all-zero destination id.
	// For a node that speaks the protocol of tinc 1.0: a frame with EtherType 0 came by UDP, which
	// is Data; Direct is true. What came over a meta connection is not reported.
	ProbeIn struct {
		Node   node.Name
		Addr   netip.AddrPort // source of the datagram
		Sock   int            // index of the socket it came in on
		Direct bool
		Masked bool // the datagram was hidden
		Data   []byte
	}
	// HeardFrom: a direct datagram of Node with a valid record (or, in the
	// protocol of tinc 1.0, a valid MAC) came from an address other than PeerState.Addr.
	HeardFrom struct {
		Node node.Name
		Addr netip.AddrPort
		Sock int
	}
	// CameIndirectly: a valid record from Node for us came through a relay, or
	// (TCP true) over a meta connection. At most one a second for each node.
	// Hop is the node that handed it to us.
	CameIndirectly struct {
		Node, Hop node.Name
		TCP       bool
	}
	// Relayed: we passed a record from From on to To. At most one a second
	// for each pair.
	Relayed struct{ From, To node.Name }
	// Undecodable: a record said to be from Node could not be opened, or a datagram in the
	// protocol of tinc 1.0 from its address. At most one a second for each node; Count says
	// how many since the last good one.
	Undecodable struct {
		Node  node.Name
		Count int
	}
	// TooLong: the kernel refused a datagram for Node (EMSGSIZE). Size is the
	// frame size as in [PeerState].MTU.
	TooLong struct {
		Node node.Name
		Size int
	}
	// EchoIn: a record of type 8 from Node was opened. Data is the whole echo.
	EchoIn struct {
		Node   node.Name
		Hop    node.Name      // who handed it to us; "" if that is not known
		TCP    bool           // over a meta connection
		Direct bool           // the datagram had the all-zero destination id
		Addr   netip.AddrPort // where the datagram came from, zero if it did not come as one
		Data   []byte
	}

	// LearnMAC: a frame with this source address came from our own device. The data plane
	// says it again every ten seconds or more often while there are such frames,
	// and bounds how many new addresses it reports.
	LearnMAC struct{ MAC [6]byte }

	// Echo: measure a path to Node, once. It is answered by one EchoResult with the same ID.
	Echo struct {
		ID      uint64
		Node    node.Name
		Path    EchoPath
		Via     node.Name // the relay to go through by UDP, "" if none; with EchoUDP only
		Size    int       // bytes of IP packet that it stands for; at least wire.MinEcho are sent
		Timeout time.Duration
	}

	// ExitWorks: packets of other nodes of these families can leave the mesh by this node now. Who sends us an echo is told.
	ExitWorks struct{ IPv4, IPv6 bool }
	// AskPaths: ask Node how it reaches the nodes whose ids come after one. It is answered by one PathsTold with the same ID.
	AskPaths struct {
		ID      uint64
		Node    node.Name
		After   node.ID
		Timeout time.Duration
	}
	// TellPaths answers a PathsAsked, by its Node, Number and Size. Data is the list.
	TellPaths struct {
		Node   node.Name
		Number uint64
		Size   int
		More   bool
		Data   []byte
	}

	// NetworkChanged: addresses, interfaces or routes of this machine have changed, or it
	// has slept. All paths are tried again at once. Reason is for the log.
	NetworkChanged struct {
		Reason string
		Worked map[node.Name]Worked // what has worked when this machine was last where it is now
	}
	// PortMapped: the router leads TCP connections that come to its port on to us, which is
	// what we announce to those beyond it. 0: it does not, or to the port that is ours anyway.
	PortMapped struct{ Port uint16 }
	// Retry: forget all waiting times and dial now (SIGALRM, control 10).
	Retry struct{}
	// Purge: forget edges and subnets of unreachable nodes (control 8).
	Purge struct{}
	// Disconnect closes the meta connections with Node (control 12).
	Disconnect struct{ Node node.Name }
	// ConnectNow dials Node once (control 11).
	ConnectNow struct{ Node node.Name }
	// Shutdown: close all connections; subnets and hosts go down.
	Shutdown struct{}
)

// ---------------------------------------------------------------- effects

// Effect is something the protocol core wants done. Effects are carried out in order.
type Effect interface{ effect() }

type (
	// Dial opens a TCP connection and answers Dialed or Closed. To and then the Others are
	// tried, each with a little head start before the next; the first that answers is
	// taken. A Host that is a name is resolved and every address is tried. The
	// attempt with one address takes at most Timeout.
	//
	// If From is not 0, To alone is dialled, directly and from that local port, while the other end
	// does the same: the two attempts become one connection. Refusals do not count until
	// Timeout is over.
	Dial struct {
		Conn    ConnID
		Node    node.Name
		To      Endpoint
		Others  []Endpoint
		Timeout time.Duration
		From    uint16
	}
	// SendLine sends one line of clear text (Text has no newline).
	SendLine struct {
		Conn ConnID
		Text string
	}
	// Secure starts SPTPS on the connection, after the lines sent so far.
	// Bytes received after the first Line belong to it.
	Secure struct {
		Conn      ConnID
		Initiator bool
		Node      node.Name
		PeerKey   keys.PublicKey
		Label     []byte
		Hybrid    *sptps.Hybrid // what to announce of the second key exchange, nil: nothing
	}
	// SecureLegacy starts the handshake of tinc 1.0, METAKEY to CHAL_REPLY, on the
	// connection, after the lines sent so far. It is answered by Secured or Closed.
	SecureLegacy struct {
		Conn      ConnID
		Initiator bool
		Node      node.Name
		PeerKey   keys.RSAPublicKey
		Policy    legacy.Policy // what is allowed with this node
	}
	// Send sends one request on a secured connection: as one SPTPS record, or
	// as a line of the encrypted stream of tinc 1.0 (Text has no newline).
	Send struct {
		Conn   ConnID
		Text   string
		Urgent bool // it goes before others that wait
	}
	// CloseConn ends the connection after what was sent has been flushed.
	// No Closed event follows. With Trap, the other end has dialled us and has not proved who it
	// is: it must not notice at once. With Spare nothing is wrong with it: there are enough others.
	CloseConn struct {
		Conn   ConnID
		Reason string
		Trap   bool
		Spare  bool
	}
	// Attach tells the I/O layer that the connection has been activated (ACK) and
	// belongs to Node, so that the data plane may use it.
	Attach struct {
		Conn ConnID
		Node node.Name
	}
	// HandOver gives a connection that began with "0 ?KEY" to the invitation server.
	HandOver struct {
		Conn ConnID
		Text string // the line that began it
	}

	// SendProbe seals and sends a record of type 4 directly to Addr. To a node that
	// speaks the protocol of tinc 1.0 it sends Data as a frame.
	SendProbe struct {
		Node node.Name
		Addr netip.AddrPort
		Sock int // index of the socket to use, -1: any of the right family
		// TTL is after how many routers the datagram dies, 0: those that the system allows. Where
		// it cannot be set, nothing is sent.
		TTL  uint8
		Mask *mask.Mask // with which it is hidden, that of Node; nil: it is not
		Data []byte
	}
	// SendEcho seals and sends a record of type 8 to Node, on the path that is named.
	SendEcho struct {
		Node node.Name
		Path EchoPath
		Via  node.Name // with EchoUDP: the relay, "" for none
		Data []byte
	}
	// EchoResult answers an Echo. Probed is true for a node that does not answer echoes: RTT is
	// then that of the last UDP probe.
	EchoResult struct {
		ID          uint64
		Node        node.Name
		Size        int // bytes of data of the echo
		RTT         time.Duration
		There, Back Leg
		Probed      bool
		Seen        netip.AddrPort // our address as the node sees it, where it went directly by UDP; else zero
		// Exit4 and Exit6: packets of that family can leave the mesh by the node, an exit node.
		Exit4, Exit6 bool
		Err          error // nil: it was answered
	}
	// PathsAsked: Node asks how we reach the nodes whose ids come after one. The answer, a TellPaths, has room for Room bytes of data.
	PathsAsked struct {
		Node   node.Name
		Number uint64
		After  node.ID
		Size   int // of the request
		Room   int
	}
	// PathsTold answers an AskPaths: Data is the list, see [wire.ParsePaths].
	PathsTold struct {
		ID   uint64
		Node node.Name
		More bool // there are more
		Data []byte
		Err  error // nil: it was answered
	}
	// TunnelledData is a node-to-node record that came inside a REQ_KEY
	// request; the data plane opens it or passes it on.
	TunnelledData struct {
		From, To node.Name
		Hop      node.Name // who handed it to us
		Record   []byte
	}
	// PublishPeers replaces the state of the named peers. A peer that is not
	// Known any more is forgotten.
	PublishPeers struct{ Peers []PeerState }
	// PublishRoutes replaces the table of subnets and the broadcast tree.
	PublishRoutes struct{ Routes Routes }
	// ChangeGrants changes which source addresses the roster grants to whom. Of Owned only Subnet and Owner count.
	ChangeGrants struct {
		Set, Gone []Owned
		Open      bool // there are no grants any more: a node may send from what it announces
	}
	// ChangeRoutes changes a few entries of the table that was published, and replaces the tree. Those of
	// Set are added, or take the place of those with the same subnet and owner; of Gone only subnet and owner
	// count.
	ChangeRoutes struct {
		Set, Gone []Owned
		Tree      []node.Name
	}

	// NodeUp and NodeDown: a node became reachable or unreachable.
	NodeUp struct {
		Node node.Name
		Addr netip.AddrPort
	}
	NodeDown struct {
		Node node.Name
		Addr netip.AddrPort
	}
	// SubnetUp and SubnetDown: a subnet of a reachable node (or our own)
	// appeared or disappeared.
	SubnetUp struct {
		Owner  node.Name
		Subnet subnet.Subnet
		Addr   netip.AddrPort // zero for our own
	}
	SubnetDown struct {
		Owner  node.Name
		Subnet subnet.Subnet
		Addr   netip.AddrPort
	}

	// SaveKey appends a key that came by a login with RSA keys to the host file of Node.
	SaveKey struct {
		Node node.Name
		Key  keys.PublicKey
	}
	// SaveLearned stores a key that was learned through the mesh, beside the host files. By is who
	// vouches for it, "" if nobody does. With Gone there is none any more.
	SaveLearned struct {
		Node node.Name
		Key  keys.PublicKey
		By   node.Name
		Gone bool
	}
	// KeyContested: another key than the known one is claimed for Node, over the connection with From.
	// A person has to decide.
	KeyContested struct {
		Node, From node.Name
		Key        keys.PublicKey
	}
	// SaveWorked stores which carriers have worked with Node where this machine is now; zero: those that are tried first.
	SaveWorked struct {
		Node   node.Name
		Worked Worked
	}
	// SaveAddresses stores the recent addresses of Node, most recent first.
	SaveAddresses struct {
		Node  node.Name
		Addrs []netip.AddrPort
	}
	// Log is a message for the operator. Level is tinc's debug level (0 always,
	// 1 connections, 2 status, 3 protocol, 4 requests, 5 traffic).
	Log struct {
		Level    int
		Priority Priority
		Text     string
		// Cause is the same for all messages that differ in details alone, and About the node or the address that the message
		// is about, "" for none: so that floods of messages can be told apart.
		Cause, About string
	}
)

// Priority of a log message.
type Priority uint8

const (
	Error Priority = iota
	Warning
	Notice
	Info
	Debug
)

// PeerState is what the data plane must know of one node. Sizes are in bytes
// of Ethernet frame (IP packet + 14), as tinc counts them.
//
// A node that is Reachable speaks SPTPS, or has Legacy. A frame is sent by UDP to a node
// with Legacy if Legacy.CanSend and the frame is not longer than MinMTU, and goes
// over Conn as PACKET otherwise. With PassOnly it gets nothing of our own, and nothing by UDP. Where the options of such a node say that nothing is known of
// the path MTU, so that tinc 1.0 uses UDP untried, MinMTU is the largest frame.
type PeerState struct {
	Node        node.Name
	Known       bool // false: forget this peer
	Reachable   bool
	Adjacent    bool      // an activated meta connection with it exists
	Conn        ConnID    // meta connection towards it (its own, or its next hop's); 0 if none
	NextHop     node.Name // adjacent node towards it
	Via         node.Name // last node that is reached by direct UDP; NextHop if we ourselves are it (effective via)
	ViaSelf     bool      // the path search gave ourselves as via
	Relay       node.Name // who relays our own packets for it by UDP, ahead of Via; "": nobody was chosen
	Options     uint32    // option bits, protocol minor in the top byte
	Addr        netip.AddrPort
	Sock        int           // socket that Addr was heard on, -1 unknown
	Confirmed   bool          // Addr answered a probe
	MTU         int           // used for ICMP too big and MSS
	MinMTU      int           // largest frame known to pass by UDP; 0 when UDP is not confirmed
	Tunnel      *sptps.Tunnel // nil without session
	Hold        bool          // with Tunnel: only records of our own protocols may use it; packets wait for another
	SealedOnly  bool          // no packets pass over a meta connection unsealed, or by the protocol of tinc 1.0
	Compression int           // level that the peer wants records with Tunnel to be packed with
	Legacy      *legacy.Link  // keys of a node that speaks the protocol of tinc 1.0; nil: it speaks SPTPS
	TreeHops    [2]node.Name  // in a signed network: the neighbours by which its broadcasts may come, "" for none
	// Mask hides the datagrams that are sent to Addr, whoever they are for; nil: they are not hidden. Pad: small records with Tunnel
	// are padded.
	Mask     *mask.Mask
	Pad      bool
	PassOnly bool // with Legacy: only what others send to it goes there, since its RSA key is not known
}

// Forward is what the forwarding rule must know of the node.
func (s *PeerState) Forward() forward.Peer {
	o := wire.Options(s.Options)
	return forward.Peer{
		Reachable: s.Reachable, Adjacent: s.Adjacent && !s.SealedOnly, Session: s.Tunnel != nil && !s.Hold, Confirmed: s.Confirmed,
		TCPOnly: o.Has(wire.TCPOnly), Minor: o.Minor(), MinMTU: s.MinMTU,
	}
}

// LegacyForward is what the forwarding rule must know of the node on the path of a frame for a node of tinc 1.0.
func (s *PeerState) LegacyForward() forward.LegacyPeer {
	return forward.LegacyPeer{
		Legacy: s.Legacy != nil, TCPOnly: wire.Options(s.Options).Has(wire.TCPOnly),
		CanSend: s.Legacy != nil && (s.PassOnly || s.Addr.IsValid() && s.Legacy.CanSend()),
		Direct:  s.NextHop == s.Node, MinMTU: s.MinMTU,
	}
}

// Routes is the forwarding table. It is immutable once published.
type Routes struct {
	// Subnets of all known nodes, reachable or not, with their owners.
	Subnets []Owned
	// Tree lists the adjacent nodes whose connection is part of the broadcast tree.
	Tree []node.Name
}

// Owned is a subnet with its owner. Owner is "" for a broadcast subnet.
type Owned struct {
	Subnet    subnet.Subnet
	Owner     node.Name
	Reachable bool
	Rank      subnet.Rank // how well founded it is that Owner has it
	Claimed   bool        // Owner is reachable by what others say, and has not proven it
}

// ---------------------------------------------------------------- configuration

// Host is what the protocol core needs from hosts/NAME.
type Host struct {
	Key       *keys.PublicKey    // Ed25519PublicKey, nil if none
	RSAKey    *keys.RSAPublicKey // for the protocol of tinc 1.0, nil if none
	Policy    legacy.Policy      // weak choices that the host file names, allowed with this node
	Addresses []Endpoint         // Address lines with their ports filled in
	Carriers  []Endpoint         // Carrier lines
	Subnets   []subnet.Subnet    // those that outrank what others claim; with StrictSubnets there are no others
	Weight    *int
	Indirect  bool
	TCPOnly   bool
	ClampMSS  *bool
	PMTU      int // 0: no cap
	// PostQuantum and Cipher take the place of those in [Config]; nil: they do not.
	PostQuantum *hybrid.Mode
	Cipher      *hybrid.Cipher
	Cached      []netip.AddrPort // address cache, most recent first
	Told        bool             // others have told us what is in the host file, not a person
}

// Unmasked is what becomes of datagrams that are not hidden.
type Unmasked uint8

// The choices. To nodes that cannot hide them, and if they are not refused, datagrams are always sent unhidden.
const (
	UnmaskedLast  Unmasked = iota // they are sent to a node that could hide them if hidden ones do not reach it
	UnmaskedFirst                 // hidden ones are sent if these do not reach it
	UnmaskedNever                 // none are sent
)

// Connecting is how nodes that have carriers are dialled. The others are dialled by TCP.
type Connecting uint8

// The choices.
const (
	TCPFirst Connecting = iota // by carriers where TCP does not work
	TLSFirst                   // by TCP where carriers do not work
	OnlyTCP
	OnlyTLS // only such nodes are dialled, and nobody is let in by TCP
)

// Carrier is what carries packets or requests between two nodes.
type Carrier uint8

// The carriers.
const (
	NoCarrier Carrier = iota
	ByMasked          // datagrams that are hidden
	ByUDP             // other datagrams
	ByTCP             // a meta connection
	ByTLS             // a meta connection inside of HTTPS
)

// String is the word of the configuration for it.
func (c Carrier) String() string { return [...]string{"", "masked", "udp", "tcp", "tls"}[c] }

// long is what people call it.
func (c Carrier) long() string { return [...]string{"nothing", "masked UDP", "UDP", "TCP", "HTTPS"}[c] }

// Worked is what is remembered of a node in one network: what has worked where something else is tried first.
type Worked struct {
	Link Carrier // [ByTCP] or [ByTLS]
	Form Carrier // of datagrams: [ByMasked] or [ByUDP]
}

// Config is the protocol core's configuration. New fills in tinc's defaults for zero
// durations and limits.
type Config struct {
	Name    node.Name
	Key     *keys.PrivateKey
	RSAKey  *keys.RSAPrivateKey // nil: we do not speak the protocol of tinc 1.0
	Suite   legacy.Suite        // what nodes of tinc 1.0 should use towards us; zero: legacy.DefaultSuite
	Policy  legacy.Policy       // weak choices that the configuration allows with every node
	Port    uint16              // UDP port that we announce
	Sockets []netip.AddrPort    // local addresses of the UDP sockets, by index
	Subnets []subnet.Subnet     // our own
	// Compression is the level (package compress) that nodes with an SPTPS session should use towards us.
	Compression int
	Hosts       map[node.Name]Host
	Learned     map[node.Name]Learned // keys that were learned; New only
	Removed     map[node.Name]bool    // nodes whose host files have been deleted here
	Roster      RosterChanged         // who belongs to the network; a reload does not change it

	ConnectTo   []node.Name
	Worked      map[node.Name]Worked // at the start, see [NetworkChanged]
	AutoConnect bool
	Broadcast   bool // broadcast mode is mst (false: "no")

	Indirect, TCPOnly        bool
	NoPMTUDiscovery, NoClamp bool
	StrictSubnets            bool
	TunnelServer             bool
	NoUDPDiscovery           bool
	NoLocalDiscovery         bool
	NoRelay                  bool // ask not to be chosen as a relay
	DirectOnly               bool // choose no relays
	Echoes                   bool // announce that we answer echoes, and measure with them
	RosterExchange           bool // announce that we exchange rosters, see SendRoster
	// Hybrid: announce the second key exchange (package hybrid) in sessions and on connections. PostQuantum is what is wanted
	// of it, and Cipher which cipher, 0: the one with the least cost.
	Hybrid      bool
	PostQuantum hybrid.Mode
	Cipher      hybrid.Cipher
	// Mask is the key of this node's mask (package mask): with Hybrid, datagrams are hidden between this node and those that can do it,
	// too. nil: they are not.
	Mask *mask.Key
	// Unmasked is what becomes of datagrams that are not hidden.
	Unmasked Unmasked
	// Connecting is by what nodes are dialled.
	Connecting       Connecting
	Punch            bool // with Echoes: connections from Port can be dialled, see Dial.From
	PMTU             int
	ReplayWindow     int  // in packets; 0: the default, negative: none
	Weight           *int // Weight in the main configuration
	BroadcastSubnets []subnet.Subnet

	PingInterval, PingTimeout        time.Duration
	MaxTimeout                       time.Duration
	MinTimeout                       time.Duration // the shortest wait before another attempt to connect
	KeyExpire                        time.Duration
	UDPDiscoveryInterval             time.Duration
	UDPDiscoveryKeepalive            time.Duration
	UDPDiscoveryTimeout              time.Duration
	UDPInfoInterval, MTUInfoInterval time.Duration
	// MACExpire is how long a MAC address is ours after its last frame, 600 s if zero.
	MACExpire time.Duration
	// StaleAfter is how long what an unreachable node has announced is kept, a day if zero.
	StaleAfter time.Duration
}
