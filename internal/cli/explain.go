package cli

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"tincan/internal/cli/terminal"
	"tincan/internal/control"
)

func (a *app) whyCommand() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "why NODE|ADDRESS",
		Short: "Tell why packets for a node go the way they do",
		Long: `Tells which way packets for a node go and why: the chain of reasons, and the one change
that would make it better. The exit status is 0 also if there is something to be mended.`,
		Args: exactly("a node, or an address in the VPN", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.ask(func(c *control.Client) error {
				name, err := a.nodeOf(c, args[0])
				if err != nil {
					return err
				}
				r, err := c.Why(name)
				if err != nil {
					return meant(c, name, notOurs(err))
				}
				if other := like(c, name); other != "" {
					a.say("hint: did you mean %q?", other)
				}
				return a.show(r, asJSON)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return c
}

func (a *app) netCheckCommand() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "netcheck",
		Short: "Tell what this network lets through",
		Long: `Tells what the network that this machine is in lets through, as far as the running node
and the others can tell: UDP, the kind of NAT, port mappings, IPv6, connections from
outside. Other nodes are asked from where they hear this one; nobody outside of the mesh is.`,
		Args: between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			return a.ask(func(c *control.Client) error {
				r, err := c.NetCheck()
				if err != nil {
					return notOurs(err)
				}
				return a.show(r, asJSON)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return c
}

// show prints a report.
func (a *app) show(r interface{ WriteText(io.Writer) error }, asJSON bool) error {
	if !asJSON {
		return r.WriteText(a.Out)
	}
	return a.printJSON(r)
}

// printJSON is for programs.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// notOurs adds advice to the error of a daemon that does not know a question.
func notOurs(err error) error {
	if errors.Is(err, control.ErrUnsupported) {
		return terminal.Hint(err, "this network is run by tinc, or by an older tincan: restart it with this one")
	}
	return err
}
