// Package dumping is what the command dump does: it asks the daemon for one of
// its lists and prints it as tinc does.
package dumping

import (
	"errors"
	"io"
	"strings"

	"tincan/internal/control"
	"tincan/internal/report"
)

// ErrUnknown: there is no such list.
var ErrUnknown = errors.New("there is no such list")

// Lists are the names of the lists.
var Lists = []string{"nodes", "edges", "subnets", "connections", "graph", "digraph"}

// Daemon is a running node that can be asked.
type Daemon interface {
	report.Asker
	Connections() ([]control.ConnInfo, error)
}

// Write prints the list called what (in any case). reachable leaves out nodes
// that cannot be reached.
func Write(w io.Writer, d Daemon, what string, reachable bool) error {
	switch strings.ToLower(what) {
	case "nodes":
		return list(d.Nodes, func(l []control.NodeInfo) error { return report.DumpNodes(w, l, reachable) })
	case "edges":
		return list(d.Edges, func(l []control.EdgeInfo) error { return report.DumpEdges(w, l) })
	case "subnets":
		return list(d.Subnets, func(l []control.SubnetInfo) error { return report.DumpSubnets(w, l) })
	case "connections":
		l, err := d.Connections()
		if err != nil {
			return err
		}
		return report.DumpConnections(w, l)
	case "graph", "digraph":
		nodes, err := d.Nodes("")
		if err != nil {
			return err
		}
		edges, err := d.Edges("")
		if err != nil {
			return err
		}
		return report.DumpGraph(w, nodes, edges, strings.EqualFold(what, "digraph"))
	}
	return ErrUnknown
}

func list[T any](get func(string) ([]T, error), print func([]T) error) error {
	l, err := get("")
	if err != nil {
		return err
	}
	return print(l)
}
