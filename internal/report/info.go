package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// Asker is the part of [control.Client] that [WriteInfo] needs.
type Asker interface {
	Nodes(about string) ([]control.NodeInfo, error)
	Edges(about string) ([]control.EdgeInfo, error)
	Subnets(about string) ([]control.SubnetInfo, error)
}

// NotFoundError is a question of `tinc info` without an answer. Its text is that
// of tinc's client.
type NotFoundError string

func (e NotFoundError) Error() string { return string(e) }

// WriteInfo prints what `tinc info ARG` prints: ARG is the name of a node, a subnet, or
// an address. Times are in the time zone loc.
func WriteInfo(w io.Writer, a Asker, arg string, loc *time.Location) error {
	if name, err := node.ParseName(arg); err == nil {
		return infoNode(w, a, name, loc)
	}
	if strings.ContainsAny(arg, ".:") {
		return infoSubnet(w, a, arg)
	}
	return NotFoundError("Argument is not a node name, subnet or address.")
}

func infoNode(w io.Writer, a Asker, name node.Name, loc *time.Location) error {
	nodes, err := a.Nodes(string(name))
	if err != nil {
		return err
	}
	var n *control.NodeInfo
	for i := range nodes {
		if nodes[i].Name == name {
			n = &nodes[i]
		}
	}
	if n == nil {
		return NotFoundError(fmt.Sprintf("Unknown node %s.", name))
	}
	edges, err := a.Edges(string(name))
	if err != nil {
		return err
	}
	subnets, err := a.Subnets(string(name))
	if err != nil {
		return err
	}

	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "Node:         %s\n", n.Name)
	fmt.Fprintf(b, "Node ID:      %s\n", n.ID)
	fmt.Fprintf(b, "Address:      %s\n", n.Address.Or(control.Unknown))
	since, changed := "Last seen:    ", "never"
	if n.Status&control.Reachable != 0 {
		since = "Online since: "
	}
	if !n.Changed.IsZero() {
		changed = n.Changed.In(loc).Format(time.DateTime)
	}
	fmt.Fprintf(b, "%s%s\n", since, changed)
	fmt.Fprintf(b, "Status:      %s\n", statusWords(n.Status))
	fmt.Fprintf(b, "Options:     %s\n", optionWords(n.Options))
	fmt.Fprintf(b, "Protocol:     17.%d\n", n.Options.Minor())
	fmt.Fprintf(b, "Reachability: %s\n", reachability(n))
	fmt.Fprintf(b, "RX:           %d packets  %d bytes\n", n.InPackets, n.InBytes)
	fmt.Fprintf(b, "TX:           %d packets  %d bytes\n", n.OutPackets, n.OutBytes)
	b.WriteString("Edges:       ")
	for _, e := range edges {
		if e.From == name {
			fmt.Fprintf(b, " %s", e.To)
		}
	}
	b.WriteString("\nSubnets:     ")
	for _, s := range subnets {
		if s.Owner == name {
			fmt.Fprintf(b, " %s", s.Subnet)
		}
	}
	b.WriteByte('\n')
	return b.Flush()
}

// statusWords are the bits that a user is told of, each with a blank in front.
func statusWords(s control.NodeStatus) string {
	var text string
	for _, bit := range []struct {
		bit  control.NodeStatus
		word string
	}{
		{control.ValidKey, "validkey"}, {control.Visited, "visited"}, {control.Reachable, "reachable"},
		{control.Indirect, "indirect"}, {control.SPTPS, "sptps"}, {control.UDPConfirmed, "udp_confirmed"},
	} {
		if s&bit.bit != 0 {
			text += " " + bit.word
		}
	}
	return text
}

func optionWords(o wire.Options) string {
	var text string
	for _, bit := range []struct {
		bit  wire.Options
		word string
	}{
		{wire.Indirect, "indirect"}, {wire.TCPOnly, "tcponly"},
		{wire.PMTUDiscovery, "pmtu_discovery"}, {wire.ClampMSS, "clamp_mss"},
	} {
		if o.Has(bit.bit) {
			text += " " + bit.word
		}
	}
	return text
}

// reachability says how packets get to n; with direct UDP two more lines follow.
func reachability(n *control.NodeInfo) string {
	switch {
	case n.Self():
		return "can reach itself"
	case n.Status&control.Reachable == 0:
		return "unreachable"
	case n.FirstHop != nil:
		return firstHopWords(n)
	case n.Via != n.Name:
		return fmt.Sprintf("indirectly via %s", orDash(n.Via))
	case n.Status&control.ValidKey == 0:
		return "unknown"
	case n.MinMTU > 0:
		return withUDP(n)
	case n.NextHop == n.Name:
		return "directly with TCP"
	}
	return fmt.Sprintf("none, forwarded via %s", orDash(n.NextHop))
}

// firstHopWords is reachability where the daemon tells the first hop.
func firstHopWords(n *control.NodeInfo) string {
	switch h := n.FirstHop; {
	case h.NoKey:
		return "none, its key is not known"
	case h.Node == "":
		return "unknown"
	case h.Node == n.Name && h.UDP:
		return withUDP(n)
	case h.Node == n.Name:
		return "directly with TCP"
	case h.UDP:
		return fmt.Sprintf("indirectly via %s", h.Node)
	default:
		return fmt.Sprintf("none, forwarded via %s", h.Node)
	}
}

func withUDP(n *control.NodeInfo) string {
	text := fmt.Sprintf("directly with UDP\nPMTU:         %d", n.MTU)
	if n.RTT >= 0 {
		text += fmt.Sprintf("\nRTT:          %s", millis(n))
	}
	return text
}

// infoSubnet prints the owners of a subnet, or of all subnets that hold an address.
func infoSubnet(w io.Writer, a Asker, arg string) error {
	found, err := FindSubnets(a, arg)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	for _, s := range found {
		fmt.Fprintf(b, "Subnet: %s\nOwner:  %s\n", s.Subnet, s.OwnerWord())
	}
	return b.Flush()
}

// FindSubnets returns what is known of a subnet, or all subnets that hold an address; at least one. An
// error of what was asked is a [NotFoundError].
func FindSubnets(a Asker, arg string) (found []control.SubnetInfo, err error) {
	want, err := subnet.Parse(arg)
	if err != nil {
		return nil, NotFoundError(fmt.Sprintf("Could not parse subnet or address '%s'.", arg))
	}
	address := !strings.Contains(arg, "/")
	weighted := strings.Contains(arg, "#")
	subnets, err := a.Subnets(arg)
	if err != nil {
		return nil, err
	}
	for _, s := range subnets {
		if weighted && s.Subnet.Weight != want.Weight {
			continue
		}
		if address && holds(s.Subnet, want) || samePlace(s.Subnet, want) {
			found = append(found, s)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case address:
		return nil, NotFoundError(fmt.Sprintf("Unknown address %s.", arg))
	}
	return nil, NotFoundError(fmt.Sprintf("Unknown subnet %s.", arg))
}

// holds tells whether the address a lies in s.
func holds(s, a subnet.Subnet) bool {
	return s.Kind() == a.Kind() && s.Kind() != subnet.MAC && s.Prefix().Masked().Contains(a.Addr())
}

// samePlace tells whether a and b are equal but for their weights.
func samePlace(a, b subnet.Subnet) bool {
	a.Weight, b.Weight = 0, 0
	return a == b
}

// orDash is a name as tinc's client prints it.
func orDash(n node.Name) string {
	if n == "" {
		return "-"
	}
	return string(n)
}
