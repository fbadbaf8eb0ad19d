package look

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/terminal"
)

func dumpCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:       "dump [reachable] nodes|edges|subnets|connections|graph|digraph|invitations",
		Short:     "List nodes, edges, subnets or connections in tinc's format",
		Args:      frontend.Between("the name of one list", 1, 2),
		ValidArgs: append([]string{"reachable", "invitations"}, command.Lists...),
		RunE:      func(_ *cobra.Command, args []string) error { return dump(e, args, asJSON) },
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func dump(e *env.Env, args []string, asJSON bool) error {
	what, reachable := strings.ToLower(args[len(args)-1]), len(args) == 2
	switch {
	case reachable && args[0] != "reachable":
		return errors.New("dump takes only the name of one list")
	case args[0] == "reachable" && what != "nodes":
		return errors.New("only nodes can be reachable: dump reachable nodes")
	case what == "invitations":
		return dumpInvitations(e, asJSON)
	case !slices.Contains(command.Lists, what):
		return terminal.Hint(fmt.Errorf("there is no list called %q", args[len(args)-1]), "the lists are: %s invitations", strings.Join(command.Lists, " "))
	case asJSON && strings.HasSuffix(what, "graph"):
		return terminal.Hint(errors.New("a graph is text for GraphViz"), "for programs: %s dump nodes --json, and dump edges --json", e.Self())
	}
	return e.Ask(func(c *control.Client) error {
		if asJSON {
			return dumpJSON(e, control.Exact{Client: c}, what, reachable)
		}
		return command.Dump(e.Out, control.Exact{Client: c}, what, reachable)
	})
}

func dumpJSON(e *env.Env, d command.Lister, what string, reachable bool) error {
	switch what {
	case "nodes":
		nodes, err := d.Nodes("")
		if err != nil {
			return err
		}
		out := report.Nodes{Nodes: []report.Node{}}
		for i := range nodes {
			if n := report.NodeOf(&nodes[i]); n.Reachable || !reachable {
				out.Nodes = append(out.Nodes, n)
			}
		}
		return e.PrintJSON(out)
	case "edges":
		edges, err := d.Edges("")
		if err != nil {
			return err
		}
		out := report.Edges{Edges: []report.Edge{}}
		for _, e := range edges {
			out.Edges = append(out.Edges, report.EdgeOf(e))
		}
		return e.PrintJSON(out)
	case "subnets":
		subnets, err := d.Subnets("")
		if err != nil {
			return err
		}
		return e.PrintJSON(report.SubnetsOf(subnets))
	}
	conns, err := d.Connections()
	if err != nil {
		return err
	}
	out := report.Connections{Connections: []report.Connection{}}
	for _, c := range conns {
		out.Connections = append(out.Connections, report.ConnectionOf(c))
	}
	return e.PrintJSON(out)
}

func dumpInvitations(e *env.Env, asJSON bool) error {
	l, err := e.Existing()
	if err != nil {
		return err
	}
	out, err := command.Invitations(l, time.Now())
	switch {
	case err != nil:
		return err
	case asJSON:
		return e.PrintJSON(out)
	case len(out.Invitations) == 0:
		e.Say("there are no open invitations")
	}
	for _, i := range out.Invitations {
		text := "expired"
		if !i.Expired {
			text = time.Until(i.Expires).Round(time.Minute).String()
		}
		if i.Expires.IsZero() {
			fmt.Fprintln(e.Out, cmp.Or(i.File, i.Key), i.Node, "for ever")
			continue
		}
		fmt.Fprintln(e.Out, cmp.Or(i.File, i.Key), i.Node, "until", i.Expires.Local().Format("2006-01-02 15:04"), "("+strings.TrimSuffix(text, "0s")+")")
	}
	return nil
}

func infoCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "info NODE|SUBNET|ADDRESS",
		Short: "Show a node, or the owner of an address",
		Args:  frontend.Exactly("a node, a subnet or an address", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return e.Ask(func(c *control.Client) error {
				if asJSON {
					return env.Meant(c, node.Name(args[0]), infoJSON(e, control.Exact{Client: c}, args[0]))
				}
				return env.Meant(c, node.Name(args[0]), report.WriteInfo(e.Out, control.Exact{Client: c}, args[0], time.Local))
			})
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func infoJSON(e *env.Env, d report.Asker, about string) error {
	name, err := node.ParseName(about)
	if err != nil {
		found, err := report.FindSubnets(d, about)
		if err != nil {
			return err
		}
		return e.PrintJSON(report.SubnetsOf(found))
	}
	nodes, err := d.Nodes(about)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(nodes, func(n control.NodeInfo) bool { return n.Name == name })
	if i < 0 {
		return report.NotFoundError(fmt.Sprintf("Unknown node %s.", name))
	}
	edges, err := d.Edges(about)
	if err != nil {
		return err
	}
	subnets, err := d.Subnets(about)
	if err != nil {
		return err
	}
	out := report.Info{Node: report.NodeOf(&nodes[i]), Edges: []node.Name{}, Subnets: []string{}}
	for _, e := range edges {
		if e.From == name {
			out.Edges = append(out.Edges, e.To)
		}
	}
	for _, s := range subnets {
		if s.Owner == name {
			out.Subnets = append(out.Subnets, s.Subnet.String())
		}
	}
	return e.PrintJSON(out)
}
