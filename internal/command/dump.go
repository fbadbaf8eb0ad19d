package command

import (
	"errors"
	"io"
	"strings"

	"tincan/internal/control"
	"tincan/internal/report"
)

// ErrNoList: there is no such list.
var ErrNoList = errors.New("there is no such list")

// Lists are the names of the lists.
var Lists = []string{"nodes", "edges", "subnets", "connections", "graph", "digraph"}

// Lister is a running node that can be asked.
type Lister interface {
	report.Asker
	Connections() ([]control.ConnInfo, error)
}

// Dump prints the list called what (in any case). reachable leaves out nodes
// that cannot be reached.
func Dump(w io.Writer, d Lister, what string, reachable bool) error {
	switch strings.ToLower(what) {
	case "nodes":
		return dumpList(d.Nodes, func(l []control.NodeInfo) error { return report.DumpNodes(w, l, reachable) })
	case "edges":
		return dumpList(d.Edges, func(l []control.EdgeInfo) error { return report.DumpEdges(w, l) })
	case "subnets":
		return dumpList(d.Subnets, func(l []control.SubnetInfo) error { return report.DumpSubnets(w, l) })
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
	return ErrNoList
}

func dumpList[T any](get func(string) ([]T, error), print func([]T) error) error {
	l, err := get("")
	if err != nil {
		return err
	}
	return print(l)
}
