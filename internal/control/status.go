package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"time"

	"tincan/internal/mesh/quality"
	"tincan/internal/node"
	"tincan/internal/process"
)

// SelfInfo is what a daemon knows of itself beyond tinc's dumps. All of it is optional
// but the name.
type SelfInfo struct {
	Name      node.Name
	NetName   string
	Version   string // of the program
	PID       int
	Interface string         // name of the network device
	Started   time.Time      // zero: not known
	Process   *process.State // nil: not known, or as it was started
	Parallel  *Parallel      // nil: there are no workers
}

// Path is the path that packets take to a node.
type Path string

// The paths.
const (
	PathSelf        Path = "self"
	PathUDP         Path = "direct-udp"
	PathTCP         Path = "direct-tcp" // over the meta connection with it
	PathRelayed     Path = "relayed"    // through Status.Via
	PathIdle        Path = "idle"       // no session, or no traffic for a while: the first packet looks for the path
	PathNoKey       Path = "no-key"     // packets are dropped until a key of the node is known
	PathUnreachable Path = "unreachable"
)

// Paths are those to other nodes.
var Paths = []Path{PathUDP, PathTCP, PathRelayed, PathIdle, PathNoKey, PathUnreachable}

// Transport is the protocol below that carries packets.
type Transport string

// The transports.
const (
	TransportUDP Transport = "udp"
	TransportTCP Transport = "tcp" // a meta connection
)

// Status is the whole picture of a running node, for people and machines.
type Status struct {
	Network   string     `json:"network,omitempty"`
	Version   string     `json:"version,omitempty"`
	PID       int        `json:"pid,omitempty"`
	Interface string     `json:"interface,omitempty"`
	Started   *time.Time `json:"started,omitempty"`
	// Process is the restrictions of the daemon's process.
	Process *process.State `json:"process,omitempty"`
	// Parallel is the work of the goroutines that share the packets under load; missing if there are none.
	Parallel *Parallel    `json:"parallel,omitempty"`
	Self     NodeView     `json:"self"`
	Nodes    []NodeView   `json:"nodes"` // the others, by name
	Summary  StatusTotals `json:"summary"`
	// Names is how nodes are found by name; missing if they are not.
	Names *Names `json:"names,omitempty"`
	// Exits is how packets leave the mesh; missing if they do not.
	Exits *Exits `json:"exits,omitempty"`
	// Problems are those of this machine's network.
	Problems []Problem `json:"problems,omitempty"`
	// ChangedKeys are changed keys of nodes, used only once they are accepted.
	ChangedKeys []KeyChange `json:"changed_keys,omitempty"`
	// Contested are the claims to subnets that are outranked by that of another node.
	Contested []Contest `json:"contested_subnets,omitempty"`
	// Drops is the number of dropped packets by reason.
	Drops []Drop `json:"drops,omitempty"`
	// Limits is the state that is held for other nodes, and what exceeded its bounds.
	Limits *Limits `json:"limits,omitempty"`
	// Totals count what has happened since the start.
	Totals *Totals `json:"totals,omitempty"`
	// Roster is how many there are in the roster of a signed network.
	Roster *RosterTotals `json:"roster,omitempty"`
}

// Counter is a [Backend] that counts what has happened.
type Counter interface {
	Totals() Totals
	RosterTotals() *RosterTotals // nil: there is no roster
}

// Totals count since the start.
type Totals struct {
	HandshakesBegun uint64    `json:"handshakes_begun"` // by this node
	HandshakesMade  uint64    `json:"handshakes_made"`  // by either node: there are new keys
	Failovers       Histogram `json:"failovers"`        // paths by UDP that were given up: from the last sign of life until packets took another path
}

// RosterTotals count what is in a roster.
type RosterTotals struct {
	Owners      int `json:"owners"`
	Members     int `json:"members"`
	Pending     int `json:"pending"`     // newcomers that wait for approval
	Invitations int `json:"invitations"` // that are open
	Removed     int `json:"removed"`     // keys
}

// Histogram counts durations by their length.
type Histogram struct {
	Count   uint64   `json:"count"`
	Sum     float64  `json:"sum_ms"`
	Buckets []uint32 `json:"buckets"` // up to 1, 5, 10, 25, 50, 100, 250, 500, 1000 and 2500 ms, each without those of the bucket before
}

// HistogramOf puts a histogram into its form.
func HistogramOf(h *quality.Histogram) Histogram {
	return Histogram{h.Count, float64(h.Sum.Microseconds()) / 1000, append([]uint32{}, h.Buckets[:]...)}
}

// Probes is what has become of the small probes by UDP of a direct path, since the start.
type Probes struct {
	RTT  Histogram `json:"rtt"`  // of those that were answered
	Lost uint64    `json:"lost"` // of others, while the path worked
}

// Names says how nodes are found by their names in DNS.
type Names struct {
	Domain  string           `json:"domain"`            // without the final dot
	At      []netip.AddrPort `json:"at"`                // where queries are answered; empty: nowhere
	By      string           `json:"by,omitempty"`      // what has programs of this machine find them; none: nothing does
	Problem string           `json:"problem,omitempty"` // why not
}

// Namer is a [Backend] that may have nodes found by name.
type Namer interface {
	// Names is nil if it does not.
	Names() *Names
}

// Diagnoser is a [Backend] that can look at the network of this machine.
type Diagnoser interface {
	// Problems finds what is wrong there. It asks the system, so it costs more than what else a status needs.
	Problems() []Problem
}

// Problem is something on this machine that blocks packets. Code is a fixed
// word, Text a sentence, Change what would help.
type Problem struct {
	Code   string `json:"code"`
	Text   string `json:"text"`
	Change string `json:"change,omitempty"`
}

// StatusTotals count.
type StatusTotals struct {
	Nodes       int `json:"nodes"`       // known, own one included
	Reachable   int `json:"reachable"`   // own one included
	Connections int `json:"connections"` // meta connections of our own that are in use
	Edges       int `json:"edges"`       // connections in the whole mesh
}

// NodeView is one node as a user sees it.
type NodeView struct {
	Name      node.Name `json:"name"`
	ID        string    `json:"id"`
	Reachable bool      `json:"reachable"`
	Connected bool      `json:"connected"` // a meta connection with us is in use
	// Connecting: it is not reachable, and is being dialled right now.
	Connecting bool       `json:"connecting,omitempty"`
	Address    string     `json:"address,omitempty"`   // underlay address, host:port: that of the meta connection if it carries the packets, else that for UDP
	Path       Path       `json:"path"`                // self, direct-udp, direct-tcp, relayed, idle, no-key or unreachable
	Via        node.Name  `json:"via,omitempty"`       // the relay
	Transport  Transport  `json:"transport,omitempty"` // by which packets leave, to the node or to the relay: udp or tcp
	Carrier    string     `json:"carrier,omitempty"`   // the same in the words of Carriers: masked (UDP), udp, tcp or tls (inside of HTTPS)
	RTT        Millis     `json:"rtt_ms,omitempty"`    // by UDP, directly or through the relay; 0: not measured
	Loss       float64    `json:"loss,omitempty"`      // of probes by UDP, 0 to 1
	MTU        int        `json:"path_mtu,omitempty"`  // bytes of IP packet; 0: not known
	Subnets    []string   `json:"subnets"`
	Rx         PacketView `json:"rx"`
	Tx         PacketView `json:"tx"`
	Since      *time.Time `json:"since,omitempty"` // when Reachable last changed
	Protocol   string     `json:"protocol,omitempty"`
	Program    string     `json:"program,omitempty"` // program and version that the node reports, such as tincan/1.0, if it distributes host files
	// Problem says why the last attempt at a connection with it failed.
	Problem string `json:"problem,omitempty"`
	// WrongKey: it failed because the node has another key than its host file here says.
	WrongKey bool `json:"wrong_key,omitempty"`
	// Cipher encrypts its packets, such as aes-256-gcm.
	Cipher string `json:"cipher,omitempty"`
	// PostQuantum: the keys for its packets are.
	PostQuantum bool `json:"post_quantum,omitempty"`
	// MetaCipher encrypts the meta connection with it.
	MetaCipher string `json:"meta_cipher,omitempty"`
	// MetaCarrier is what that connection is made by: tcp, or tls (inside of HTTPS).
	MetaCarrier string `json:"meta_carrier,omitempty"`
	// MetaPostQuantum: the keys of that connection are.
	MetaPostQuantum bool `json:"meta_post_quantum,omitempty"`
	// Weakness is what is wrong with the keys for its packets: a code of why.
	Weakness string `json:"weakness,omitempty"`
	// Outside is why it is no member of a signed network: a code of why.
	Outside string `json:"outside,omitempty"`
	// Silent: in a signed network, others say that it is reachable, but it does not answer.
	Silent bool `json:"silent,omitempty"`
	// Claimed: in a signed network, others say that it is reachable, and it has not proven it. So it is not reachable here.
	Claimed bool `json:"claimed,omitempty"`
	// Probes is what has become of the probes of its direct path, missing if there were none.
	Probes *Probes `json:"probes,omitempty"`
	// Removed: its host file was deleted here by hand, so this node sends it nothing.
	Removed bool `json:"removed,omitempty"`
}

// Parallel is what several goroutines have done at the same time.
type Parallel struct {
	Workers int    `json:"workers"`
	Sealed  uint64 `json:"sealed"` // super-packets
	Opened  uint64 `json:"opened"` // runs of datagrams
}

// PacketView is a pair of counters.
type PacketView struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Millis is a duration that is written in JSON as a number of milliseconds.
type Millis time.Duration

// MarshalJSON writes milliseconds with microsecond precision.
func (m Millis) MarshalJSON() ([]byte, error) {
	us := time.Duration(m).Microseconds()
	return fmt.Appendf(nil, "%d.%03d", us/1000, us%1000), nil
}

// UnmarshalJSON reads milliseconds.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var ms float64
	if err := json.Unmarshal(b, &ms); err != nil {
		return err
	}
	if ms < 0 || ms > 86_400_000 {
		return fmt.Errorf("%v ms is no round trip time", ms)
	}
	*m = Millis(time.Duration(ms*1000+0.5) * time.Microsecond)
	return nil
}

// FrameHeader is what an Ethernet frame adds to an IP packet; tinc counts frames.
const FrameHeader = 14

// Compose makes the picture out of the daemon's lists.
func Compose(self SelfInfo, nodes []NodeInfo, edges []EdgeInfo, subnets []SubnetInfo, conns []ConnInfo) Status {
	c := compose(self, conns)
	owned := make(map[node.Name][]string)
	for _, sub := range subnets {
		if sub.Owner != "" {
			owned[sub.Owner] = append(owned[sub.Owner], sub.Subnet.String())
		}
	}
	for i := range nodes {
		c.add(&nodes[i], owned[nodes[i].Name])
	}
	for _, e := range edges {
		if e.From < e.To {
			c.Summary.Edges++
		}
	}
	return c.Status
}

// composition is a picture to which nodes are added one by one.
type composition struct {
	Status
	connected map[string]Address
	dialled   map[string]bool
}

// compose begins a picture.
func compose(self SelfInfo, conns []ConnInfo) *composition {
	s := Status{
		Network:   self.NetName,
		Version:   self.Version,
		PID:       self.PID,
		Interface: self.Interface,
		Started:   instant(self.Started),
		Process:   self.Process,
		Parallel:  self.Parallel,
		Self:      NodeView{Name: self.Name, ID: self.Name.ID().String(), Path: PathSelf, Reachable: true, Subnets: []string{}},
		Nodes:     []NodeView{},
	}
	connected, dialled := Contacts(conns)
	s.Summary.Connections = len(connected)
	return &composition{s, connected, dialled}
}

// Contacts are the nodes that conns are connections with, and those to which one is being made.
func Contacts(conns []ConnInfo) (connected map[string]Address, dialled map[string]bool) {
	connected, dialled = make(map[string]Address), make(map[string]bool)
	for _, c := range conns {
		// An activated connection has the options that both ends agreed on; one
		// that is still logging in has none.
		switch {
		case c.Status&ConnControl != 0 || c.Name == "":
		case c.Status&ConnConnecting != 0 || c.Options == 0:
			dialled[c.Name] = true
		default:
			connected[c.Name] = c.Address
		}
	}
	return connected, dialled
}

// add adds a node with its subnets.
func (c *composition) add(n *NodeInfo, subnets []string) {
	v := View(n)
	var at Address
	at, v.Connected = c.connected[string(n.Name)]
	if v.Path == PathTCP && at.Known() {
		v.Address = at.HostPort()
	}
	v.Connecting = c.dialled[string(n.Name)] && !v.Reachable
	if subnets != nil {
		v.Subnets = subnets
	}
	c.Summary.Nodes++
	if v.Reachable {
		c.Summary.Reachable++
	}
	if n.Self() || n.Name == c.Self.Name {
		v.Path, v.Address = PathSelf, ""
		c.Self = v
		return
	}
	c.Nodes = append(c.Nodes, v)
}

// write answers a request for the picture. The nodes are made into text one by one, twice, as its length comes first:
// a member can invent thousands, and a text of all of them would be megabytes.
func (s *Status) write(w *bufio.Writer) error {
	shell := *s
	shell.Nodes = []NodeView{}
	text, err := json.Marshal(shell)
	if err != nil {
		return err
	}
	const nodes = `"nodes":[`
	head, tail, _ := bytes.Cut(text, []byte(nodes))
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	each := func(f func([]byte)) error {
		for i := range s.Nodes {
			buf.Reset()
			if err := enc.Encode(&s.Nodes[i]); err != nil {
				return err
			}
			line := buf.Bytes()[:buf.Len()-1]
			if i > 0 {
				f([]byte(","))
			}
			f(line)
		}
		return nil
	}
	size := len(text)
	if err := each(func(b []byte) { size += len(b) }); err != nil {
		return err
	}
	fmt.Fprintf(w, "18 100 %d\n%s%s", size, head, nodes)
	if err := each(func(b []byte) { w.Write(b) }); err != nil {
		return err
	}
	w.Write(tail)
	return nil
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Truncate(time.Second).UTC()
	return &t
}

// View is a node as a user sees it, as far as its own line tells.
func View(n *NodeInfo) NodeView {
	v := NodeView{
		Name:      n.Name,
		ID:        n.ID.String(),
		Reachable: n.Status&Reachable != 0,
		Subnets:   []string{},
		Rx:        PacketView{n.InPackets, n.InBytes},
		Tx:        PacketView{n.OutPackets, n.OutBytes},
		Since:     instant(n.Changed),
		Problem:   n.Problem,
		WrongKey:  n.WrongKey,
		Cipher:    n.Encryption, PostQuantum: n.PostQuantum, MetaCipher: n.Connection, MetaPostQuantum: n.ConnectionPostQuantum,
		Weakness:    n.Weakness,
		Carrier:     n.Carrier,
		MetaCarrier: n.ConnectionBy,
		Outside:     n.Outside,
		Silent:      n.Silent,
		Claimed:     n.Claimed,
		Removed:     n.Removed,
		Probes:      n.Probes,
		Program:     n.Program,
		Address:     n.Address.HostPort(),
	}
	if v.Reachable {
		v.Protocol = fmt.Sprintf("17.%d", n.Options.Minor())
	}
	v.Path, v.Via, v.Transport = path(n)
	if v.Path == PathUDP || v.Path == PathRelayed {
		v.Loss = math.Round(n.Loss*1000) / 1000
		v.RTT = Millis(max(n.RTT, 0))
	}
	if v.Path == PathUDP {
		v.MTU = n.MTU - FrameHeader
	}
	return v
}

// path is the path of packets to n, with the relay if there is one and the transport if that is known.
func path(n *NodeInfo) (p Path, relay node.Name, by Transport) {
	switch {
	case n.Self():
		return PathSelf, "", ""
	case n.Status&Reachable == 0:
		return PathUnreachable, "", ""
	case n.FirstHop == nil:
		return inferred(n)
	}
	return PathOf(n.Name, *n.FirstHop)
}

// PathOf is the path to a reachable node by where packets for it go first.
func PathOf(name node.Name, hop FirstHop) (p Path, relay node.Name, by Transport) {
	by = TransportTCP
	if hop.UDP {
		by = TransportUDP
	}
	switch hop.Node {
	case "":
		if hop.NoKey {
			return PathNoKey, "", ""
		}
		return PathIdle, "", ""
	case name:
		if hop.UDP {
			return PathUDP, "", by
		}
		return PathTCP, "", by
	}
	return PathRelayed, hop.Node, by
}

// firstHop is what path made the view of; nil for the own node, and if it is not known.
func (n *NodeView) firstHop() *FirstHop {
	h := FirstHop{UDP: n.Transport == TransportUDP}
	switch n.Path {
	case PathUDP, PathTCP:
		h.Node = n.Name
	case PathRelayed:
		if n.Transport == "" { // an older daemon
			return nil
		}
		h.Node = n.Via
	case PathNoKey:
		h.NoKey = true
	case PathIdle:
	default:
		return nil
	}
	return &h
}

// inferred is the path of packets to n as far as it follows from the lines of a tinc daemon.
func inferred(n *NodeInfo) (Path, node.Name, Transport) {
	switch {
	case n.Via != n.Name && n.Via != "":
		return PathRelayed, n.Via, ""
	case n.Status&ValidKey != 0 && n.MinMTU > 0:
		return PathUDP, "", TransportUDP
	case n.NextHop == n.Name:
		return PathTCP, "", TransportTCP
	case n.Status&ValidKey == 0 && n.Status&SPTPS != 0:
		return PathIdle, "", ""
	}
	return PathRelayed, n.NextHop, ""
}

// Node finds a node by its name, also the own one; nil if it is not known.
func (s *Status) Node(name node.Name) *NodeView {
	if name == s.Self.Name {
		return &s.Self
	}
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i]
		}
	}
	return nil
}
