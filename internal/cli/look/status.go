package look

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
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

// statusOptions are the options of status.
type statusOptions struct {
	json, drops, reachable, unreachable bool
	watch                               time.Duration // from one look to the next; 0: only one
}

func statusCommand(e *env.Env) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status [NODE|PATTERN]",
		Short: "Show the nodes of the mesh and the path to each",
		Long: `Shows this node and all others: their addresses in the VPN, the path of packets
(direct by UDP, direct by TCP, or relayed by another node), the underlay address,
round trip time, loss if there is any, path MTU and traffic. The table has as many
columns as fit the terminal, or the environment variable COLUMNS, or 80.

With the name of a NODE: all details about it. With a PATTERN, such as
'db*': only the nodes with names like it.`,
		Args: frontend.Between("a NODE or a PATTERN", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			about := ""
			if len(args) > 0 {
				about = args[0]
			}
			switch {
			case o.reachable && o.unreachable:
				return errors.New("choose one of --reachable and --unreachable")
			case o.drops && (about != "" || o.reachable || o.unreachable):
				return errors.New("--drops is about all nodes: omit NODE")
			case o.watch != 0 && o.watch < minWatch:
				return fmt.Errorf("--watch must be at least %v", minWatch)
			case o.watch > 0:
				return watchStatus(e, about, o)
			}
			return e.Ask(func(c *control.Client) error { return status(e, e.Out, c, about, o) })
		},
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON, for programs")
	f.BoolVar(&o.drops, "drops", false, "show why packets were dropped, how many, and when the last one was")
	f.BoolVar(&o.reachable, "reachable", false, "show only nodes that can be reached")
	f.BoolVar(&o.unreachable, "unreachable", false, "show only nodes that cannot be reached")
	f.DurationVar(&o.watch, "watch", 0, "repeat every 2s, or every `time` with --watch=TIME, until Ctrl-C")
	f.Lookup("watch").NoOptDefVal = "2s"
	return c
}

// minWatch is the least time between two looks.
const minWatch = 100 * time.Millisecond

// status looks once.
func status(e *env.Env, w io.Writer, c *control.Client, about string, o statusOptions) error {
	s, err := c.Status()
	if err != nil {
		return err
	}
	one, err := choose(e, &s, about, o)
	if err != nil {
		return err
	}
	f := report.Form{Now: time.Now(), Width: e.OutWidth(), Color: e.OutColor(), Command: e.Self()}
	switch {
	case o.json && o.watch > 0:
		return json.NewEncoder(w).Encode(report.WatchedStatus{Time: f.Now.UTC(), Status: s})
	case o.json:
		return e.PrintJSON(s)
	case o.drops:
		return report.WriteDrops(w, s, f.Now)
	case one != nil:
		return report.WriteNode(w, s, one, f)
	}
	return report.WriteStatus(w, s, f)
}

// choose leaves the nodes that were asked for, and finds the one if it was named.
func choose(e *env.Env, s *control.Status, about string, o statusOptions) (one *control.NodeView, err error) {
	pattern := strings.ContainsAny(about, "*?[")
	var names []string
	for i := range s.Nodes {
		names = append(names, string(s.Nodes[i].Name))
	}
	report.Only(s, func(n *control.NodeView) bool {
		return (!o.reachable || n.Reachable) && (!o.unreachable || !n.Reachable) &&
			(about == "" || string(n.Name) == about || pattern && report.Matches(n, about))
	})
	if about == "" || pattern {
		return nil, nil
	}
	name, err := node.ParseName(about)
	if err != nil {
		if _, bad := netip.ParseAddr(about); bad == nil {
			return nil, terminal.Hint(fmt.Errorf("%s is an address, and not the name of a node", about), "to find its owner: %s info %s", e.Self(), about)
		}
		return nil, err
	}
	if one = s.Node(name); one != nil {
		return one, nil
	}
	if o.reachable || o.unreachable {
		return nil, nil
	}
	err = fmt.Errorf("there is no node %q in this network", about)
	return nil, frontend.Suggest(err, about, func() []string { return append(names, string(s.Self.Name)) })
}

// watchStatus looks again and again until it is interrupted. A node that does not answer any more is waited for.
func watchStatus(e *env.Env, about string, o statusOptions) error {
	ctx, stop := command.Interruptible()
	defer stop()
	screen := !o.json && e.OutRedraws()
	if screen {
		fmt.Fprint(e.Out, terminal.EnterScreen)
		defer fmt.Fprint(e.Out, terminal.LeaveScreen)
	}
	for i := 0; ; i++ {
		var b bytes.Buffer
		err := e.Ask(func(c *control.Client) error { return status(e, &b, c, about, o) })
		if err != nil && i == 0 {
			return err
		}
		if err != nil {
			b.Reset()
			if !o.json {
				fmt.Fprintf(&b, "no answer: %v\n", err)
			}
		}
		at := time.Now().Format(time.DateTime)
		switch {
		case screen:
			err = e.Redraw(append([]string{at, ""}, strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...))
		case o.json:
			_, err = e.Out.Write(b.Bytes())
		default:
			if i > 0 {
				at = "\n" + at
			}
			_, err = fmt.Fprintf(e.Out, "%s\n%s", at, &b)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.watch):
		}
	}
}
