package control

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

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
	Problems  []Problem      // of this machine's own network
}

// Path is the way packets take to a node.
type Path string

// The paths.
const (
	PathSelf        Path = "self"
	PathUDP         Path = "direct-udp"
	PathTCP         Path = "direct-tcp" // over the meta connection with it
	PathRelayed     Path = "relayed"    // through Status.Via
	PathIdle        Path = "idle"       // no session: the first packet makes one
	PathUnreachable Path = "unreachable"
)

// Status is the whole picture of a running node, for people and machines.
type Status struct {
	Network   string     `json:"network,omitempty"`
	Version   string     `json:"version,omitempty"`
	PID       int        `json:"pid,omitempty"`
	Interface string     `json:"interface,omitempty"`
	Started   *time.Time `json:"started,omitempty"`
	// Process is what the daemon may still do.
	Process *process.State `json:"process,omitempty"`
	Self    NodeView       `json:"self"`
	Nodes   []NodeView     `json:"nodes"` // the others, by name
	Summary StatusTotals   `json:"summary"`
	// Problems are what is wrong with the network of this machine.
	Problems []Problem `json:"problems,omitempty"`
	// ChangedKeys wait for a person to accept them.
	ChangedKeys []KeyChange `json:"changed_keys,omitempty"`
	// Contested are the claims to subnets that do not count, since they belong to another node.
	Contested []Contest `json:"contested_subnets,omitempty"`
	// Drops says why packets were dropped.
	Drops []Drop `json:"drops,omitempty"`
	// Limits says how much is held for others, and what went beyond its bounds.
	Limits *Limits `json:"limits,omitempty"`
}

// Problem is something on this machine that keeps packets from their way. Code is a fixed
// word, Text a sentence, Change what would mend it.
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
	Address    string     `json:"address,omitempty"` // underlay address, host:port: that of the meta connection if it carries the packets, else that for UDP
	Path       Path       `json:"path"`
	Via        node.Name  `json:"via,omitempty"`      // the relay
	RTT        Millis     `json:"rtt_ms,omitempty"`   // by UDP, straight or through the relay; 0: not measured
	Loss       float64    `json:"loss,omitempty"`     // of probes by UDP, 0 to 1
	MTU        int        `json:"path_mtu,omitempty"` // bytes of IP packet; 0: not known
	Subnets    []string   `json:"subnets"`
	Rx         PacketView `json:"rx"`
	Tx         PacketView `json:"tx"`
	Since      *time.Time `json:"since,omitempty"` // when Reachable last changed
	Protocol   string     `json:"protocol,omitempty"`
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

// frameHeader is what an Ethernet frame adds to an IP packet; tinc counts frames.
const frameHeader = 14

// Compose makes the picture out of the daemon's lists.
func Compose(self SelfInfo, nodes []NodeInfo, edges []EdgeInfo, subnets []SubnetInfo, conns []ConnInfo) Status {
	s := Status{
		Network:   self.NetName,
		Version:   self.Version,
		PID:       self.PID,
		Interface: self.Interface,
		Started:   instant(self.Started),
		Process:   self.Process,
		Problems:  self.Problems,
		Self:      NodeView{Name: self.Name, ID: self.Name.ID().String(), Path: PathSelf, Reachable: true, Subnets: []string{}},
		Nodes:     []NodeView{},
	}
	connected := make(map[string]Address)
	dialled := make(map[string]bool)
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
	s.Summary.Connections = len(connected)
	owned := make(map[node.Name][]string)
	for _, sub := range subnets {
		if sub.Owner != "" {
			owned[sub.Owner] = append(owned[sub.Owner], sub.Subnet.String())
		}
	}
	for _, e := range edges {
		if e.From < e.To {
			s.Summary.Edges++
		}
	}
	for i := range nodes {
		n := &nodes[i]
		v := view(n)
		var at Address
		at, v.Connected = connected[string(n.Name)]
		if v.Path == PathTCP && at.Known() {
			v.Address = net.JoinHostPort(at.Host, at.Port)
		}
		v.Connecting = dialled[string(n.Name)] && !v.Reachable
		if list := owned[n.Name]; list != nil {
			v.Subnets = list
		}
		s.Summary.Nodes++
		if v.Reachable {
			s.Summary.Reachable++
		}
		if n.Self() || n.Name == self.Name {
			v.Path, v.Address = PathSelf, ""
			s.Self = v
			continue
		}
		s.Nodes = append(s.Nodes, v)
	}
	return s
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Truncate(time.Second).UTC()
	return &t
}

func view(n *NodeInfo) NodeView {
	v := NodeView{
		Name:      n.Name,
		ID:        n.ID.String(),
		Reachable: n.Status&Reachable != 0,
		Subnets:   []string{},
		Rx:        PacketView{n.InPackets, n.InBytes},
		Tx:        PacketView{n.OutPackets, n.OutBytes},
		Since:     instant(n.Changed),
	}
	if n.Address.Known() {
		v.Address = net.JoinHostPort(n.Address.Host, n.Address.Port)
	}
	if v.Reachable {
		v.Protocol = fmt.Sprintf("17.%d", n.Options.Minor())
	}
	v.Path, v.Via = path(n)
	if v.Path == PathUDP || v.Path == PathRelayed {
		v.Loss = math.Round(n.Loss*1000) / 1000
		v.RTT = Millis(max(n.RTT, 0))
	}
	if v.Path == PathUDP {
		v.MTU = n.MTU - frameHeader
	}
	return v
}

// path is the way packets to n take, and the relay if there is one.
func path(n *NodeInfo) (Path, node.Name) {
	switch {
	case n.Self():
		return PathSelf, ""
	case n.Status&Reachable == 0:
		return PathUnreachable, ""
	case n.Via != n.Name && n.Via != "":
		return PathRelayed, n.Via
	case n.Status&ValidKey != 0 && n.MinMTU > 0:
		return PathUDP, ""
	case n.NextHop == n.Name:
		return PathTCP, ""
	case n.Status&ValidKey == 0:
		return PathIdle, ""
	}
	return PathRelayed, n.NextHop
}

// WriteText prints the status for people. now is the time that durations are
// counted from.
func (s Status) WriteText(w io.Writer, now time.Time) error {
	var head []string
	add := func(format string, a ...any) { head = append(head, fmt.Sprintf(format, a...)) }
	add("node %s", s.Self.Name)
	if s.Network != "" {
		add("network %s", s.Network)
	}
	if s.Interface != "" {
		add("interface %s", s.Interface)
	}
	if s.PID != 0 {
		add("pid %d", s.PID)
	}
	if s.Started != nil {
		add("up %s", ago(now.Sub(*s.Started)))
	}
	if s.Version != "" {
		add("version %s", s.Version)
	}
	if s.Process != nil && s.Process.Sandbox != "off" {
		add("sandbox %s", s.Process.Sandbox)
	}
	others := s.Summary.Nodes - 1
	_, err := fmt.Fprintf(w, "%s\nsubnets: %s\nmesh: %s reachable of %d, %s of our own\n",
		strings.Join(head, ", "), listOr(s.Self.Subnets, "none"),
		plural(s.Summary.Reachable-1, "other node"), max(others, 0), plural(s.Summary.Connections, "meta connection"))
	for _, p := range s.Problems {
		if err == nil {
			_, err = fmt.Fprintf(w, "problem: %s\n         what would help: %s\n", p.Text, p.Change)
		}
	}
	if err == nil {
		err = s.writeChangedKeys(w)
	}
	if err == nil {
		err = s.writeContested(w)
	}
	if err != nil || len(s.Nodes) == 0 {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	lossy := slices.ContainsFunc(s.Nodes, func(n NodeView) bool { return n.lossText() != "-" })
	row := func(name, subnets, path, address, rtt, loss, mtu, rx, tx, since string) {
		if lossy {
			rtt += "\t" + loss
		}
		fmt.Fprintln(t, strings.Join([]string{name, subnets, path, address, rtt, mtu, rx, tx, since}, "\t"))
	}
	fmt.Fprintln(t)
	row("NODE", "SUBNETS", "PATH", "ADDRESS", "RTT", "LOSS", "MTU", "RX", "TX", "SINCE")
	for _, n := range s.Nodes {
		row(string(n.Name), listOr(n.Subnets, "-"), n.PathText(), listOr([]string{n.Address}, "-"), n.rttText(), n.lossText(),
			n.mtuText(), size(n.Rx.Bytes), size(n.Tx.Bytes), n.sinceText(now))
	}
	return t.Flush()
}

// PathText is the path in words for people.
func (n *NodeView) PathText() string {
	switch n.Path {
	case PathUnreachable:
		if n.Connecting {
			return "connecting"
		}
	case PathUDP:
		return "direct (UDP)"
	case PathTCP:
		return "direct (TCP)"
	case PathRelayed:
		return fmt.Sprintf("relayed via %s", n.Via)
	case PathIdle:
		return "no traffic yet"
	}
	return string(n.Path)
}

func (n *NodeView) rttText() string {
	if n.RTT == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f ms", time.Duration(n.RTT).Seconds()*1000)
}

func (n *NodeView) lossText() string {
	if n.Loss < 0.005 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*n.Loss)
}

func (n *NodeView) mtuText() string {
	if n.MTU <= 0 {
		return "-"
	}
	return fmt.Sprint(n.MTU)
}

func (n *NodeView) sinceText(now time.Time) string {
	if n.Since == nil {
		return "never seen"
	}
	if n.Reachable {
		return ago(now.Sub(*n.Since))
	}
	return "gone for " + ago(now.Sub(*n.Since))
}

// listOr joins what is not empty, or returns none.
func listOr(list []string, none string) string {
	if text := strings.Join(list, " "); text != "" {
		return text
	}
	return none
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", max(n, 0), what)
}

// size is a number of bytes in two or three digits.
func size(b uint64) string {
	if b < 1024 {
		return fmt.Sprintf("%d B", b)
	}
	v, unit := float64(b)/1024, 0
	for v >= 1024 && unit < 5 {
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

// ago is a duration with its two largest units.
func ago(d time.Duration) string {
	switch s := int(max(d, 0).Seconds()); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
	}
}
