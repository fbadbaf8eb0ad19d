// Package metrics tells Prometheus how a node is: its status in the text exposition format, over HTTP.
package metrics

import (
	"bufio"
	"cmp"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"tincan/internal/control"
	"tincan/internal/mesh/quality"
	"tincan/internal/subnet"
)

// ContentType is that of what [Write] writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// maxPeers is for how many nodes there are time series of their own: the reachable ones first. A member of an open
// network can invent nodes.
const maxPeers = 1000

// maxHistograms is for how many nodes there are histograms: each is more than ten series.
const maxHistograms = 100

// Write writes the status of a node and what its process uses.
func Write(w io.Writer, s *control.Status, p Process) error {
	b := &writer{Writer: bufio.NewWriter(w)}
	b.gauge("tincan_build_info", "Version of the node; always 1.")
	b.value(1, "version", s.Version)
	b.gauge("tincan_up_nodes", "Nodes that are reachable, this one included.")
	b.value(float64(s.Summary.Reachable))
	b.gauge("tincan_known_nodes", "Nodes that are known, this one included.")
	b.value(float64(s.Summary.Nodes))
	b.gauge("tincan_meta_connections", "Meta connections of this node.")
	b.value(float64(s.Summary.Connections))
	b.gauge("tincan_edges", "Meta connections in the whole mesh.")
	b.value(float64(s.Summary.Edges))
	b.gauge("tincan_problems", "Problems of this machine's network that the node knows of; tincan status names them.")
	b.value(float64(len(s.Problems)))
	b.gauge("tincan_changed_keys", "Nodes whose changed keys wait for a decision.")
	b.value(float64(len(s.ChangedKeys)))
	b.gauge("tincan_contested_subnets", "Claims to subnets that are outranked by that of another node.")
	b.value(float64(len(s.Contested)))

	b.counter("tincan_interface_packets_total", "Packets from (receive) and to (transmit) the interface of the VPN.")
	b.value(float64(s.Self.Rx.Packets), "direction", "receive")
	b.value(float64(s.Self.Tx.Packets), "direction", "transmit")
	b.counter("tincan_interface_bytes_total", "Bytes from (receive) and to (transmit) the interface of the VPN.")
	b.value(float64(s.Self.Rx.Bytes), "direction", "receive")
	b.value(float64(s.Self.Tx.Bytes), "direction", "transmit")

	if len(s.Drops) > 0 {
		b.counter("tincan_dropped_packets_total", "Packets that were dropped or answered with an error.")
		for _, d := range s.Drops {
			b.value(float64(d.Count), "reason", d.Reason)
		}
	}
	if l := s.Limits; l != nil {
		b.counter("tincan_refused_connections_total", "Connections of others for which there was no room.")
		b.value(float64(l.Connections.Count))
		b.counter("tincan_core_waits_total", "Requests that waited because their neighbour had used its share of the protocol core's time.")
		b.value(float64(l.CoreWaits))
		b.gauge("tincan_held", "State that is held for other nodes.")
		held := []struct {
			what string
			control.Held
		}{{"nodes", l.Nodes}, {"edges", l.Edges}, {"subnets", l.Subnets}}
		for _, h := range held {
			b.value(float64(h.Held.Held), "what", h.what)
		}
		b.gauge("tincan_held_limit", "How much of it may be held.")
		for _, h := range held {
			b.value(float64(h.Limit), "what", h.what)
		}
	}
	if t := s.Totals; t != nil {
		b.counter("tincan_handshakes_begun_total", "Handshakes for sessions that this node has begun.")
		b.value(float64(t.HandshakesBegun))
		b.counter("tincan_handshakes_made_total", "Handshakes that have led to new keys, whoever began them.")
		b.value(float64(t.HandshakesMade))
		b.histogram("tincan_failover_seconds", "Paths by UDP that were given up: from the last sign of life until packets took another path.")
		b.buckets(&t.Failovers)
	}
	if r := s.Roster; r != nil {
		b.gauge("tincan_roster", "What there is in the roster of a signed network.")
		b.value(float64(r.Owners), "what", "owners")
		b.value(float64(r.Members), "what", "members")
		b.value(float64(r.Pending), "what", "pending")
		b.value(float64(r.Invitations), "what", "invitations")
		b.value(float64(r.Removed), "what", "removed")
	}
	if par := s.Parallel; par != nil {
		b.gauge("tincan_workers", "Goroutines that share the packets of fast flows.")
		b.value(float64(par.Workers))
		b.counter("tincan_workers_sealed_total", "Super-packets that they have sealed.")
		b.value(float64(par.Sealed))
		b.counter("tincan_workers_opened_total", "Runs of datagrams that they have opened.")
		b.value(float64(par.Opened))
	}
	b.peers(s.Nodes)
	p.write(b)
	return b.Flush()
}

// peers writes the series of each node.
func (b *writer) peers(all []control.NodeView) {
	nodes := foremost(slices.Clone(all), maxPeers)
	b.gauge("tincan_peers_omitted", "Nodes for which there are no series, because there are too many.")
	b.value(float64(len(all) - len(nodes)))
	paths := map[control.Path]int{}
	for _, n := range all {
		paths[n.Path]++
	}
	b.gauge("tincan_peers", "Other nodes by the path that packets take to them.")
	for _, path := range control.Paths {
		b.value(float64(paths[path]), "path", string(path))
	}
	if len(nodes) == 0 {
		return
	}
	each := func(f func(n *control.NodeView)) {
		for i := range nodes {
			f(&nodes[i])
		}
	}
	b.gauge("tincan_peer_up", "Whether the node is reachable.")
	each(func(n *control.NodeView) {
		up := 0.0
		if n.Reachable {
			up = 1
		}
		b.value(up, "peer", string(n.Name))
	})
	b.gauge("tincan_peer_info", "How packets reach the node; always 1.")
	each(func(n *control.NodeView) {
		b.value(1, "peer", string(n.Name), "path", string(n.Path), "via", string(n.Via))
	})
	b.gauge("tincan_peer_rtt_seconds", "Round trip time by UDP, directly or through the relay, as measured last.")
	each(func(n *control.NodeView) {
		if n.RTT > 0 {
			b.value(time.Duration(n.RTT).Seconds(), "peer", string(n.Name))
		}
	})
	b.gauge("tincan_peer_loss_ratio", "Share of the probes by UDP that are lost.")
	each(func(n *control.NodeView) {
		if n.Path == control.PathUDP || n.Path == control.PathRelayed {
			b.value(n.Loss, "peer", string(n.Name))
		}
	})
	b.gauge("tincan_peer_path_mtu_bytes", "Largest IP packet that the direct path takes.")
	each(func(n *control.NodeView) {
		if n.MTU > 0 {
			b.value(float64(n.MTU), "peer", string(n.Name))
		}
	})
	b.counter("tincan_peer_packets_total", "Packets from (receive) and to (transmit) the node.")
	each(func(n *control.NodeView) {
		b.value(float64(n.Rx.Packets), "peer", string(n.Name), "direction", "receive")
		b.value(float64(n.Tx.Packets), "peer", string(n.Name), "direction", "transmit")
	})
	b.counter("tincan_peer_bytes_total", "Bytes from (receive) and to (transmit) the node.")
	each(func(n *control.NodeView) {
		b.value(float64(n.Rx.Bytes), "peer", string(n.Name), "direction", "receive")
		b.value(float64(n.Tx.Bytes), "peer", string(n.Name), "direction", "transmit")
	})
	b.histograms(nodes)
}

// histograms writes those of probes, for the nodes that matter most.
func (b *writer) histograms(nodes []control.NodeView) {
	probed := foremost(slices.DeleteFunc(slices.Clone(nodes), func(n control.NodeView) bool { return n.Probes == nil }), maxHistograms)
	if len(probed) == 0 {
		return
	}
	b.histogram("tincan_peer_probe_rtt_seconds", "Round trip times of probes by UDP, of the direct path to the node.")
	for i := range probed {
		b.buckets(&probed[i].Probes.RTT, "peer", string(probed[i].Name))
	}
	b.counter("tincan_peer_probes_lost_total", "Probes by UDP of the direct path to the node that were lost while others were answered.")
	for i := range probed {
		b.value(float64(probed[i].Probes.Lost), "peer", string(probed[i].Name))
	}
}

// foremost are at most n of the nodes, those that matter most, by name. It changes the list that it gets.
func foremost(nodes []control.NodeView, n int) []control.NodeView {
	if len(nodes) > n {
		slices.SortStableFunc(nodes, func(x, y control.NodeView) int { return cmp.Compare(rank(x), rank(y)) })
		nodes = nodes[:n]
	}
	slices.SortFunc(nodes, func(x, y control.NodeView) int { return cmp.Compare(x.Name, y.Name) })
	return nodes
}

// rank is lower for nodes that matter more.
func rank(n control.NodeView) int {
	switch {
	case n.Connected:
		return 0
	case n.Reachable && n.Rx.Packets+n.Tx.Packets > 0:
		return 1
	case n.Reachable:
		return 2
	}
	return 3
}

// writer writes the text format. The methods for a metric's head come before those for its values.
type writer struct {
	*bufio.Writer
	name string
}

func (b *writer) gauge(name, help string)   { b.head(name, "gauge", help) }
func (b *writer) counter(name, help string) { b.head(name, "counter", help) }

func (b *writer) histogram(name, help string) { b.head(name, "histogram", help) }

// buckets writes a histogram with its labels.
func (b *writer) buckets(h *control.Histogram, labels ...string) {
	name := b.name
	b.name = name + "_bucket"
	sum := uint64(0)
	for i, bound := range quality.Bounds {
		if i < len(h.Buckets) {
			sum += uint64(h.Buckets[i])
		}
		b.value(float64(sum), append(slices.Clip(labels), "le", strconv.FormatFloat(bound.Seconds(), 'g', -1, 64))...)
	}
	b.value(float64(h.Count), append(slices.Clip(labels), "le", "+Inf")...)
	b.name = name + "_sum"
	b.value(h.Sum/1000, labels...)
	b.name = name + "_count"
	b.value(float64(h.Count), labels...)
	b.name = name
}

func (b *writer) head(name, typ, help string) {
	b.name = name
	b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + typ + "\n")
}

// value writes a value with its labels, names and values in turn. Labels without a value are left out.
func (b *writer) value(v float64, labels ...string) {
	b.WriteString(b.name)
	open := "{"
	for l := range slices.Chunk(labels, 2) {
		if l[1] == "" {
			continue
		}
		b.WriteString(open + l[0] + `="` + escaper.Replace(strings.ToValidUTF8(l[1], "?")) + `"`)
		open = ","
	}
	if open == "," {
		b.WriteString("}")
	}
	b.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// Target is a group of addresses as Prometheus' HTTP service discovery reads it.
type Target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// Targets are the nodes of a mesh at the first address in the VPN that each has for itself, with port. This node comes first.
func Targets(s *control.Status, port string) []Target {
	list := []Target{}
	for _, n := range append([]control.NodeView{s.Self}, s.Nodes...) {
		for _, text := range n.Subnets {
			addr, ok := hostAddress(text)
			if !ok {
				continue
			}
			list = append(list, Target{
				Targets: []string{net.JoinHostPort(addr.String(), port)},
				Labels:  map[string]string{"__meta_tincan_node": string(n.Name), "__meta_tincan_network": s.Network},
			})
			break
		}
	}
	return list
}

// hostAddress is the address of a subnet that is a single one.
func hostAddress(text string) (netip.Addr, bool) {
	s, err := subnet.Parse(text)
	p := s.Prefix()
	return p.Addr(), err == nil && p.IsSingleIP()
}
