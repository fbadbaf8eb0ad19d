package report

import (
	"bufio"
	"fmt"
	"io"

	"tincan/internal/control"
)

// The functions of this file print what `tinc dump` prints, to the byte. The
// order is that of the lists, which is the daemon's.

// DumpNodes prints one line for each node, or for each reachable one.
func DumpNodes(w io.Writer, nodes []control.NodeInfo, reachableOnly bool) error {
	b := bufio.NewWriter(w)
	for i := range nodes {
		n := &nodes[i]
		if reachableOnly && n.Status&control.Reachable == 0 {
			continue
		}
		fmt.Fprintf(b, "%s id %s at %s cipher %d digest %d maclength %d compression %d options %x status %04x nexthop %s via %s distance %d pmtu %d (min %d max %d) rx %d %d tx %d %d",
			n.Name, n.ID, n.Address.Or(control.Unknown), n.Cipher, n.Digest, n.MACLen, n.Compression,
			uint32(n.Options), uint32(n.Status), orDash(n.NextHop), orDash(n.Via), n.Distance,
			n.MTU, n.MinMTU, n.MaxMTU, n.InPackets, n.InBytes, n.OutPackets, n.OutBytes)
		if n.RTT >= 0 {
			fmt.Fprintf(b, " rtt %s", millis(n))
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}

// millis is the round trip time in milliseconds with three decimals.
func millis(n *control.NodeInfo) string {
	us := n.RTT.Microseconds()
	return fmt.Sprintf("%d.%03d", us/1000, us%1000)
}

// DumpEdges prints one line for each directed edge.
func DumpEdges(w io.Writer, edges []control.EdgeInfo) error {
	b := bufio.NewWriter(w)
	for _, e := range edges {
		fmt.Fprintf(b, "%s to %s at %s local %s options %x weight %d\n", e.From, e.To,
			e.Address.Or(control.Unspecified), e.Local.Or(control.Unspecified), uint32(e.Options), e.Weight)
	}
	return b.Flush()
}

// DumpSubnets prints one line for each subnet.
func DumpSubnets(w io.Writer, subnets []control.SubnetInfo) error {
	b := bufio.NewWriter(w)
	for _, s := range subnets {
		fmt.Fprintf(b, "%s owner %s\n", s.Subnet, s.OwnerWord())
	}
	return b.Flush()
}

// DumpConnections prints one line for each connection.
func DumpConnections(w io.Writer, conns []control.ConnInfo) error {
	b := bufio.NewWriter(w)
	for _, c := range conns {
		name := c.Name
		if name == "" {
			name = control.Unnamed
		}
		fmt.Fprintf(b, "%s at %s options %x socket %d status %x\n", name,
			c.Address.Or(control.Unknown), uint32(c.Options), c.Socket, uint32(c.Status))
	}
	return b.Flush()
}

// DumpGraph prints the mesh as GraphViz text: each pair of directed edges as one
// undirected edge, or, if directed, every edge.
func DumpGraph(w io.Writer, nodes []control.NodeInfo, edges []control.EdgeInfo, directed bool) error {
	b := bufio.NewWriter(w)
	kind, arrow := "graph", "--"
	if directed {
		kind, arrow = "digraph", "->"
	}
	fmt.Fprintf(b, "%s {\n", kind)
	for i := range nodes {
		n := &nodes[i]
		style := ""
		if n.Self() {
			style = `, style = "filled"`
		}
		fmt.Fprintf(b, " %q [label = %q, color = %q%s];\n", n.Name, n.Name, color(n), style)
	}
	for _, e := range edges {
		if !directed && e.From < e.To {
			continue
		}
		w := springWeight(e.Weight)
		fmt.Fprintf(b, " %q %s %q [w = %f, weight = %f];\n", e.From, arrow, e.To, w, w)
	}
	b.WriteString("}\n")
	return b.Flush()
}

// color of a node in the graph: how well we reach it.
func color(n *control.NodeInfo) string {
	switch {
	case n.Self():
		return "green"
	case n.Status&control.Reachable == 0:
		return "red"
	case n.FirstHop != nil && n.FirstHop.Node == n.Name && n.FirstHop.UDP:
		return "green"
	case n.FirstHop != nil && n.FirstHop.Node != n.Name && n.FirstHop.Node != "":
		return "orange"
	case n.FirstHop != nil:
		return "black"
	case n.Via != n.Name:
		return "orange"
	case n.Status&control.ValidKey != 0 && n.MinMTU > 0:
		return "green"
	}
	return "black"
}

// springWeight draws near nodes together. It has single precision, as tinc has
// it. A weight of 0, for which tinc prints inf, counts as 1, so that every reader
// of the graph gets a number.
func springWeight(weight int) float32 {
	if weight == 0 {
		weight = 1
	}
	return 1 + 65536/float32(weight)
}
