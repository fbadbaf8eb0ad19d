package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/dumping"
	"tincan/internal/cli/inviting"
	"tincan/internal/cli/terminal"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/invite"
	"tincan/internal/node"
)

func (a *app) dumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "dump [reachable] nodes|edges|subnets|connections|graph|digraph|invitations",
		Short:     "List nodes, edges, subnets or connections in tinc's format",
		Args:      between("the name of one list", 1, 2),
		ValidArgs: append([]string{"reachable", "invitations"}, dumping.Lists...),
		RunE:      func(_ *cobra.Command, args []string) error { return a.dump(args) },
	}
}

func (a *app) dump(args []string) error {
	what, reachable := args[len(args)-1], len(args) == 2
	switch {
	case reachable && args[0] != "reachable":
		return errors.New("dump takes only the name of one list")
	case args[0] == "reachable" && what != "nodes":
		return errors.New("only nodes can be reachable: dump reachable nodes")
	case what == "invitations":
		return a.dumpInvitations()
	case !slices.Contains(dumping.Lists, strings.ToLower(what)):
		return terminal.Hint(fmt.Errorf("there is no list called %q", what), "the lists are: %s invitations", strings.Join(dumping.Lists, " "))
	}
	return a.ask(func(c *control.Client) error { return dumping.Write(a.Out, control.Exact{Client: c}, what, reachable) })
}

func (a *app) dumpInvitations() error {
	l, err := a.existing()
	if err != nil {
		return err
	}
	list, err := inviting.List(l)
	life := invite.DefaultExpire
	if n, _, _ := config.Inspect(l, nil); n != nil && n.Settings.InvitationExpire > 0 {
		life = n.Settings.InvitationExpire
	}
	for _, i := range list {
		end := i.Made.Add(life)
		left := "expired"
		if d := time.Until(end); d > 0 {
			left = d.Round(time.Minute).String()
		}
		fmt.Fprintln(a.Out, i.File, i.Invitee, "until", end.Local().Format("2006-01-02 15:04"), "("+strings.TrimSuffix(left, "0s")+")")
	}
	if err == nil && len(list) == 0 {
		a.say("there are no open invitations")
	}
	return err
}

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info NODE|SUBNET|ADDRESS",
		Short: "Show a node, or the owner of an address",
		Args:  exactly("a node, a subnet or an address", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.ask(func(c *control.Client) error {
				return meant(c, node.Name(args[0]), control.Info(a.Out, control.Exact{Client: c}, args[0], time.Local))
			})
		},
	}
}
