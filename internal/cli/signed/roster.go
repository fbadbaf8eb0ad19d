package signed

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/files"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

func rosterCommand(e *env.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "roster",
		Short: "Make, show and check the roster of a signed network",
		Long:  "The roster says who belongs to a network: statements that its owners have signed, and that all nodes hold.",
		Args:  frontend.NoSuchCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(adoptCommand(e), acceptCommand(e), showCommand(e), logCommand(e), rosterVerifyCommand(e), exportCommand(e), diffCommand(e))
	return c
}

func adoptCommand(e *env.Env) *cobra.Command {
	var (
		name                       string
		noRecovery, signed, asJSON bool
	)
	c := &cobra.Command{
		Use:   "adopt",
		Short: "Make a signed network of this existing one",
		Long: `Makes a roster for the network: an owner's key (owner_key.priv, on this machine only), a recovery
key (printed this once, for paper), and a member for each host file that is here, with its key
and the subnets that it has and announces. Nodes of tinc become members, too.

Afterwards the nodes only log what they would refuse (Roster = warn). The other tincan nodes
have to be told once which roster to believe: tincan roster accept ID. When the logs are quiet:
tincan set Roster signed, on every node.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			l, err := e.Existing()
			if err != nil {
				return err
			}
			a := ownership.Adoption{Recovery: !noRecovery, Signed: signed}
			if name != "" {
				if a.Owner, err = node.ParseName(name); err != nil {
					return fmt.Errorf("--name: %w", err)
				}
			}
			out, err := ownership.Adopt(l, e.Ask, a, time.Now())
			if err != nil {
				return err
			}
			ran, bad := reload(e)
			mode := "warn"
			if signed {
				mode = "signed"
			}
			if asJSON {
				v := report.Adopted{Network: out.ID.String(), Owner: l.OwnerKey(), Recovery: out.Recovery, Members: []string{}, LeftOut: []string{}, Mode: mode}
				for _, m := range out.State.Members {
					v.Members = append(v.Members, string(m.Name))
				}
				for _, err := range out.LeftOut {
					v.LeftOut = append(v.LeftOut, err.Error())
				}
				return errors.Join(e.PrintJSON(v), bad)
			}
			if err := sayAdopted(e, out, l, signed); err != nil {
				return err
			}
			if bad != nil {
				e.Say("warning: the running node did not take it over: %v", bad)
			} else if ran {
				sayStrangers(e, out.State)
			}
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "what the owner is called (default: as this node)")
	c.Flags().BoolVar(&noRecovery, "no-recovery", false, "make no recovery key: if the owner's key is lost, nobody can replace it")
	c.Flags().BoolVar(&signed, "signed", false, "refuse who is no member at once, in place of logging it first")
	frontend.JSONFlag(c, &asJSON)
	return c
}

func sayAdopted(e *env.Env, out ownership.Adopted, l confdir.Layout, signed bool) error {
	fmt.Fprintf(e.Out, "network  %v\n", out.ID)
	if err := out.Show(l, e.Streams); err != nil {
		return err
	}
	var names []string
	for _, m := range out.State.Members {
		names = append(names, string(m.Name))
	}
	e.Say("members: %s", strings.Join(names, ", "))
	for _, err := range out.LeftOut {
		e.Say("no member: %v", err)
	}
	e.Say("next, on each other tincan node: tincan roster accept %v", out.ID)
	if !signed {
		e.Say("then, when no log warns of nodes that are no members, on each node: tincan set Roster signed")
	}
	return nil
}

// sayStrangers names the nodes in the mesh that are no members.
func sayStrangers(e *env.Env, s *roster.State) {
	_ = e.Ask(func(c *control.Client) error {
		for _, name := range env.NodeNames(c) {
			if s.Member(node.Name(name)) == nil {
				e.Say("no member: %s, which is known from the mesh alone; to make it one: %s admit %s", name, e.Self(), name)
			}
		}
		return nil
	})
}

func acceptCommand(e *env.Env) *cobra.Command {
	signed := false
	c := &cobra.Command{
		Use:   "accept ID",
		Short: "Believe the roster of a network from now on",
		Long: `Tells this node which network it belongs to: the one with this ID, which "roster adopt" has printed and
"roster show" shows. The node fetches the roster from its neighbours, as soon as one has it, and
logs what it would refuse (Roster = warn), or refuses it (--signed).`,
		Args: frontend.Exactly("the ID of a network", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := e.Existing()
			if err != nil {
				return err
			}
			id, err := roster.ParseID(args[0])
			if err != nil {
				return terminal.Hint(err, "it has 64 digits; tincan roster show prints it, on a node that has the roster")
			}
			if err := ownership.Accept(l, id, signed); err != nil {
				return err
			}
			ran, err := reload(e)
			if err != nil {
				return fmt.Errorf("the files say so, but the running node did not take it over: %w", err)
			}
			if !ran {
				e.Say("the node will fetch the roster from its neighbours: %s up", e.Self())
				return nil
			}
			var v members.View
			if eventually(5*time.Second, func() bool {
				var err error
				v, err = view(e)
				return err == nil && v.Network != "" && !v.Fetching
			}) {
				e.Say("this node has the roster: %d members; see: %s members", len(v.Members), e.Self())
				return nil
			}
			e.Say("no neighbour has sent the roster yet; this node takes it as soon as one does; see: %s members", e.Self())
			return nil
		},
	}
	c.Flags().BoolVar(&signed, "signed", false, "refuse who is no member at once, in place of logging it first")
	return c
}

func showCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the network's id, its owners, and how much the roster holds",
		Args:  frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			s := n.Roster.State()
			v := members.NewView(s, n.Files.Name, n.Files.Settings.Roster.String(), time.Now())
			count, size := n.Roster.Len()
			r := report.Roster{Network: v.Network, Fingerprint: v.Fingerprint, Mode: v.Mode, Owners: v.Owners, Threshold: v.Threshold,
				Recovery: v.Recovery, TooNew: v.TooNew, Members: len(v.Members), Removed: len(v.Removed), Pending: len(v.Pending),
				Invitations: len(v.Invitations), Policy: v.Policy != "", Statements: count, Bytes: size}
			if key, err := members.OwnerKey(n.Layout); err == nil && key != nil {
				r.OwnerKey = roster.Fingerprint(key.Public())
			}
			return env.Show(e, r, asJSON, report.WriteRoster)
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func logCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "log",
		Short: "List the statements of the roster",
		Long: `Lists all statements that count, and those that do not and are remembered, with the reason. Statements that were
replaced by newer ones are gone.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			list := statements(n.Roster)
			if asJSON {
				return e.PrintJSON(report.Statements{Statements: list})
			}
			t := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
			for _, s := range list {
				fmt.Fprintf(t, "%.8s\t%s\t%s\t%s\n", s.ID, s.Signer, s.Kind, strings.TrimSpace(s.Text+idle(s.Idle)))
			}
			return t.Flush()
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func idle(reason string) string {
	if reason == "" {
		return ""
	}
	return " (does not count: " + reason + ")"
}

// statements describes the statements of a roster: those that count by kind, and those that do not.
func statements(r *roster.Roster) []report.Statement {
	list := []report.Statement{}
	for kind := roster.KindGenesis; kind <= roster.KindRecovery; kind++ {
		for _, id := range r.IDs() {
			if s := r.Statement(id); s.Content.Kind() == kind {
				list = append(list, report.NewStatement(r.State(), id, s, ""))
			}
		}
	}
	for _, id := range r.IDs() {
		if s := r.Statement(id); s.Content.Kind() > roster.KindRecovery {
			list = append(list, report.NewStatement(r.State(), id, s, ""))
		}
	}
	r.Idle(func(id roster.ID, s *roster.Statement, why roster.Reason) {
		list = append(list, report.NewStatement(r.State(), id, s, why.String()))
	})
	return list
}

func rosterVerifyCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check every signature in the roster",
		Long: `Checks every statement of the roster of this node, or of a FILE that "roster export" has written. The exit
status is 1 if a line is no valid statement.`,
		Args: frontend.Between("one FILE", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			var (
				r    *roster.Roster
				bad  int
				path string
				err  error
			)
			if len(args) > 0 {
				path = args[0]
				r, bad, err = read(path)
			} else {
				path, r, bad, err = ofNode(e)
			}
			if err != nil {
				return err
			}
			count, size := r.Len()
			v := report.Verified{Network: r.Network().String(), Fingerprint: roster.Fingerprint(r.Network()), Statements: count, Bytes: size, Bad: bad}
			if asJSON {
				err = e.PrintJSON(v)
			} else {
				_, err = fmt.Fprintf(e.Out, "network %v\n%d statements are valid\n", r.Network(), count)
			}
			if err == nil && bad > 0 {
				return terminal.Hint(fmt.Errorf("%s: %d lines are no valid statements", path, bad), "a running node leaves them out, and fetches what is missing from its neighbours")
			}
			return err
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

// ofNode reads the roster of this node.
func ofNode(e *env.Env) (path string, r *roster.Roster, bad int, err error) {
	l, err := e.Existing()
	if err != nil {
		return "", nil, 0, err
	}
	r, found, err := members.Load(l, roster.ID{})
	if err == nil {
		err = found.Left
	}
	if err == nil && r == nil {
		err = ownership.ErrOpen
	}
	return l.Roster(), r, found.Bad, err
}

// read reads a file in the form of the roster.
func read(path string) (*roster.Roster, int, error) {
	data, err := files.Read(path, roster.MaxFile)
	if err != nil {
		return nil, 0, err
	}
	r, bad, err := roster.Decode(data)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	return r, bad, nil
}

func exportCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Print the roster, as its file has it",
		Long: `Prints the roster: a line with the format and the network's id, then one line of base64 for each
statement. It is for members only: with what is in it one can pose as a member to newcomers.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			_, err = e.Out.Write(n.Roster.Encode(nil))
			return err
		},
	}
}

func diffCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "diff FILE",
		Short: "Compare the roster with that of another node",
		Long: `Compares the roster of this node with a FILE that "roster export" has written: lines with + are in the
file only, lines with - here only. The exit status is 1 if they differ.`,
		Args: frontend.Exactly("a FILE", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			other, _, err := read(args[0])
			if err != nil {
				return err
			}
			if other.Network() != n.Roster.Network() {
				return fmt.Errorf("%s is the roster of another network: %v", args[0], other.Network())
			}
			d := report.RosterDiff{Here: only(n.Roster, other), There: only(other, n.Roster)}
			if asJSON {
				err = e.PrintJSON(d)
			} else {
				t := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
				for i, list := range [][]report.Statement{d.Here, d.There} {
					for _, s := range list {
						fmt.Fprintf(t, "%c %.8s\t%s\t%s\t%s\n", "-+"[i], s.ID, s.Signer, s.Kind, s.Text)
					}
				}
				err = t.Flush()
			}
			if err == nil && len(d.Here)+len(d.There) > 0 {
				return frontend.Failed(1)
			}
			return err
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

// only lists what is in one roster and not in another.
func only(r, but *roster.Roster) []report.Statement {
	list := []report.Statement{}
	for _, id := range r.IDs() {
		if !bytes.Equal(r.Get(id), but.Get(id)) {
			list = append(list, report.NewStatement(r.State(), id, r.Statement(id), ""))
		}
	}
	return list
}
