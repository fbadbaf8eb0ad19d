package signed

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/members"
	"tincan/internal/report"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

func namesCommand(e *env.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "names",
		Short: "Show and write further names in DNS: aliases of nodes, and services",
		Long: `The owners of a signed network can give its nodes further names in DNS, and say where services are (SRV).
Nodes with Names = auto or hosts answer for them. What tinc.conf of a node says counts more there.`,
		Args: frontend.NoSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(namesShowCommand(e), namesSetCommand(e), namesClearCommand(e))
	return c
}

func namesShowCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the further names that the owners have signed",
		Long:  `Shows the further names that the owners have signed, as names set takes them, and who has signed them.`,
		Args:  frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			r, s := report.Names{}, n.Roster.State()
			if s.Names != nil {
				r.Text, r.Serial, r.SignedBy, r.Fingerprint = s.Names.Text, s.Names.Serial, members.Who(s, s.Names.By), roster.Fingerprint(s.Names.By)
			}
			return env.Show(e, r, asJSON, func(w io.Writer, r report.Names) error {
				if r.Text == "" {
					return terminal.Hint(errors.New("the owners have signed no further names"), "to write some: %s names set FILE", e.Self())
				}
				e.Say("signed by %s", r.SignedBy)
				_, err := io.WriteString(w, r.Text)
				return err
			})
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func namesSetCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "set FILE",
		Short: "Sign the further names in a file",
		Long: `Makes the lines in a FILE (-: from standard input) the further names of the network, in place of the ones
before. Needs the key of an owner with the right policy. The lines:

  Alias = web bob
  Service = _http._tcp bob 8080            # then, if you like, priority and weight`,
		Args: frontend.Exactly("a FILE", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, text, err := readPolicy(e, args[0])
			if err != nil {
				return err
			}
			err = setNames(e, text)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			return err
		},
	}
}

func namesClearCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "clear",
		Short: "Withdraw all further names",
		Long:  `Withdraws all further names that the owners have signed. Needs the key of an owner with the right policy.`,
		Args:  frontend.Between("no arguments", 0, 0),
		RunE:  func(*cobra.Command, []string) error { return setNames(e, "") },
	}
}

func setNames(e *env.Env, text string) error {
	n, err := open(e)
	if err != nil {
		return err
	}
	list, unknown, changed, err := n.SetNames(text)
	if err != nil {
		return err
	}
	for _, name := range unknown {
		e.Say("warning: %s is no member at the moment", name)
	}
	if !changed {
		e.Say("these are the further names of the network already; nothing was signed")
		return nil
	}
	e.Say("the network has %s", count(len(list), "further name"))
	sayWhere(e, n)
	return nil
}
