package signed

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/command/ownership"
	"tincan/internal/control"
	"tincan/internal/files"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/policy"
	"tincan/internal/report"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

func policyCommand(e *env.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Show, write and try the access policy: who may connect to whom",
		Long: `The access policy of a signed network says who may connect to whom, and to what. Its owners sign it,
and every tincan node enforces it. Without one all members may exchange all packets.`,
		Args: frontend.NoSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(policyShowCommand(e), policySetCommand(e), policyEditCommand(e), policyCheckCommand(e), policyTryCommand(e), policyClearCommand(e))
	return c
}

func policyShowCommand(e *env.Env) *cobra.Command {
	text, asJSON := false, false
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the policy, and what it has allowed and refused here",
		Long: `Shows the policy with who signed it, how many flows (connections, exchanges of datagrams, pings)
each line has allowed on this node, and which packets were refused lately. With --text only
the text, for policy set.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			if text && asJSON {
				return errors.New("choose one of --text and --json")
			}
			n, err := open(e)
			if err != nil {
				return err
			}
			p, mode := n.Roster.State().SignedPolicy(""), n.Files.Settings.Roster.String()
			if text {
				if n.Policy() == nil {
					return noPolicy(e)
				}
				_, err := io.WriteString(e.Out, p.Text)
				return err
			}
			r := report.Policy{Mode: mode}
			if p != nil {
				r.Text, r.Withdrawn, r.Serial = p.Text, p.Text == "", p.Serial
				r.SignedBy, r.Fingerprint = members.Who(n.Roster.State(), p.By), roster.Fingerprint(p.By)
			}
			if running, err := enforcing(e); err == nil {
				r.Node = running
			} else {
				e.Say("warning: the running node does not say what it enforces: %v", err)
			}
			return env.Show(e, r, asJSON, func(w io.Writer, r report.Policy) error {
				return report.WritePolicy(w, r, report.Form{Now: time.Now(), Command: e.Self()})
			})
		},
	}
	c.Flags().BoolVar(&text, "text", false, "print only the text of the policy")
	frontend.JSONFlag(c, &asJSON)
	return c
}

// enforcing is what the running node does about the policy, nil if none runs.
func enforcing(e *env.Env) (r *control.PolicyReport, err error) {
	err = e.Ask(func(c *control.Client) error {
		p, err := c.Policy()
		r = &p
		return err
	})
	var none *control.DialError
	if errors.As(err, &none) && none.Stage <= control.NoProcess {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// noPolicy is the error of a command that needs a policy.
func noPolicy(e *env.Env) error {
	return terminal.Hint(errors.New("the network has no policy: all members may exchange all packets"), "to write one: %s policy edit", e.Self())
}

func policySetCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "set FILE",
		Short: "Sign the policy in a file",
		Long: `Makes the text in a FILE (-: from standard input) the policy of the network, if it can be read and passes
its tests among the present members. All nodes enforce it as soon as they hear of it. Needs
the key of an owner with the right policy.`,
		Args: frontend.Exactly("a FILE", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			name, text, err := readPolicy(e, args[0])
			if err != nil {
				return err
			}
			d := n.Draft(text)
			sayDraft(e, name, d)
			if err := d.Err(); err != nil {
				return notSigned(e, fmt.Errorf("%s: %w; nothing was signed", name, err))
			}
			return signPolicy(e, n, d)
		},
	}
}

// readPolicy reads the text of a policy from a file, or from standard input.
func readPolicy(e *env.Env, path string) (name, text string, err error) {
	const limit = 1 << 20 // what is longer than a policy may be is an error with a better message than that of files.Read
	var data []byte
	if path == "-" {
		path = "standard input"
		data, err = io.ReadAll(io.LimitReader(e.In, limit))
	} else {
		data, err = files.Read(path, limit)
	}
	return path, string(data), err
}

// sayDraft says what is wrong with a policy, and what may be.
func sayDraft(e *env.Env, name string, d ownership.Draft) {
	for _, err := range d.Errors {
		e.Say("%s: %v", name, err)
	}
	for _, r := range d.Results {
		if !r.Passed {
			e.Say("%s: %v", name, r)
		}
	}
	for _, w := range d.Warnings {
		e.Say("warning: %s", warning(name, w))
	}
}

func warning(name string, w ownership.PolicyWarning) string {
	if w.Line == 0 {
		return fmt.Sprintf("%s: %s", name, w.Text)
	}
	return fmt.Sprintf("%s: line %d: %s", name, w.Line, w.Text)
}

// notSigned adds advice to the error of a policy that cannot be signed.
func notSigned(e *env.Env, err error) error {
	if errors.Is(err, ownership.ErrNoRules) {
		return terminal.Hint(err, "to have no policy, so that everything is allowed: %s policy clear", e.Self())
	}
	return terminal.Hint(err, "to see all of its tests: %s policy check FILE", e.Self())
}

// signPolicy signs what was checked, and says what happens.
func signPolicy(e *env.Env, n *ownership.Network, d ownership.Draft) error {
	changed, err := n.SetPolicy(d.Text)
	if err != nil {
		return err
	}
	if !changed {
		e.Say("this is the policy of the network already; nothing was signed")
		return nil
	}
	e.Say("the network has a new policy: %s, %s", count(len(d.Policy.Rules), "rule"), passed(len(d.Results)))
	sayWhere(e, n)
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// passed says how many tests have passed.
func passed(n int) string {
	switch n {
	case 0:
		return "no tests"
	case 1:
		return "its test passes"
	}
	return fmt.Sprintf("all of its %d tests pass", n)
}

// sayWhere says which nodes enforce what was signed.
func sayWhere(e *env.Env, n *ownership.Network) {
	ran := runs(e)
	switch {
	case !n.Enforced():
		e.Say("this node does not enforce it (Roster = %s); to enforce the roster: %s set Roster signed, on every node", n.Files.Settings.Roster, e.Self())
	case !ran:
		e.Say("this node does not run: it is in force, here and on the others, when it does: %s up", e.Self())
	default:
		e.Say("it is in force here, and on the others as soon as they hear of it")
	}
	for _, name := range stockNodes(e, "") {
		e.Say("note: %s runs tinc, which enforces nothing: what it sends is refused at its destination", name)
	}
}

func policyEditCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "edit",
		Short: "Edit the policy, and sign it",
		Long: `Opens the policy, or an example if there is none, in $VISUAL, $EDITOR or vi, and signs what was written, as
by policy set. On an error, or if a test fails, it can be edited again. If nothing was changed, nothing is
signed. Needs the key of an owner with the right policy.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			if err := n.MaySetPolicy(); err != nil { // before somebody writes for nothing
				return err
			}
			text := ownership.PolicyTemplate
			if p := n.Policy(); p != nil {
				text = p.Text
			}
			var d ownership.Draft
			changed, err := command.EditCopy("policy", []byte(text), e.Streams, func(text []byte) error {
				d = n.Draft(string(text))
				sayDraft(e, "policy", d)
				return d.Err()
			}, func([]byte) error { return signPolicy(e, n, d) })
			var kept *command.KeptError
			switch {
			case errors.As(err, &kept):
				e.Say("what you wrote is in %s; when it is right: %s policy set %s", kept.Path, e.Self(), command.Quote(kept.Path))
				if d.Err() != nil {
					return notSigned(e, fmt.Errorf("%w; nothing was signed", err))
				}
			case err == nil && !changed:
				e.Say("the text was not changed; nothing was signed")
			}
			return err
		},
	}
}

func policyCheckCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a policy, and run its tests",
		Long: `Reads the policy in a FILE (-: from standard input), or that of the network, and runs its tests among the present
members. It changes nothing. The exit status is 1 if it could not be signed.`,
		Args: frontend.Between("one FILE", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			name, text := "policy", ""
			if len(args) > 0 {
				if name, text, err = readPolicy(e, args[0]); err != nil {
					return err
				}
			} else if p := n.Policy(); p != nil {
				text = p.Text
			} else {
				return noPolicy(e)
			}
			d := n.Draft(text)
			r := command.CheckedPolicy(d)
			if asJSON {
				err = e.PrintJSON(r)
			} else {
				err = writeChecked(e, name, d)
			}
			if err == nil && !r.OK {
				return frontend.Failed(1)
			}
			return err
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

// writeChecked prints what was found: every error, every test, and how many tests have passed.
func writeChecked(e *env.Env, name string, d ownership.Draft) error {
	var b strings.Builder
	for _, err := range d.Errors {
		fmt.Fprintf(&b, "%s: %v\n", name, err)
	}
	for _, t := range d.Results {
		fmt.Fprintf(&b, "%v\n", t)
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning(name, w))
	}
	switch err := d.Err(); {
	case d.Policy == nil || errors.Is(err, ownership.ErrNoRules):
		fmt.Fprintf(&b, "%v\n", err)
	case len(d.Results) == 0:
		fmt.Fprintf(&b, "%s, no tests\n", count(len(d.Policy.Rules), "rule"))
	default:
		fmt.Fprintf(&b, "%s, %d of %s passed\n", count(len(d.Policy.Rules), "rule"), len(d.Results)-d.Failed(), count(len(d.Results), "test"))
	}
	_, err := io.WriteString(e.Out, b.String())
	return err
}

func policyTryCommand(e *env.Env) *cobra.Command {
	file, asJSON := "", false
	c := &cobra.Command{
		Use:   "try FROM TO",
		Short: "Ask the policy about a flow, and name the line that decides",
		Long: `Says whether the policy allows flows from FROM to TO, and by which line. FROM is a member, an address or
group:NAME; TO is HOST:PORT (TCP), HOST:PORT/udp, HOST:PORT/sctp, HOST/icmp or HOST/NUMBER
(another protocol). The exit status is 0 if all flows that are meant are allowed, else 1.`,
		Args: frontend.Exactly("FROM and TO, such as: bob web1:443", 2),
		RunE: func(_ *cobra.Command, args []string) error {
			from, err := policy.ParseHost(args[0])
			if err != nil {
				return err
			}
			to, err := policy.ParseTarget(args[1])
			if err != nil {
				return err
			}
			n, err := open(e)
			if err != nil {
				return err
			}
			text := ""
			if file != "" {
				name := ""
				if name, text, err = readPolicy(e, file); err != nil {
					return err
				}
				file = name
			} else if p := n.Policy(); p != nil {
				text, file = p.Text, "policy"
			} else {
				return env.Show(e, report.PolicyTry{Allowed: true, Cases: []report.PolicyCase{}}, asJSON, writeTry)
			}
			p, err := policy.Parse(text)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			a, err := p.Try(n.PolicyMembers(), from, to)
			if err != nil {
				unknown := from
				if n.Roster.State().Member(node.Name(from)) != nil {
					unknown = to.Host
				}
				return frontend.Suggest(err, unknown, func() []string { return memberNames(n) })
			}
			r := tried(a, text)
			if err := env.Show(e, r, asJSON, writeTry); err != nil || r.Allowed {
				return err
			}
			return frontend.Failed(1)
		},
	}
	c.Flags().StringVar(&file, "file", "", "ask the policy in this `file`, in place of that of the network; - is standard input")
	frontend.JSONFlag(c, &asJSON)
	return c
}

// tried is an answer in the form of a report.
func tried(a policy.Answer, text string) report.PolicyTry {
	lines := strings.Split(text, "\n")
	r := report.PolicyTry{Allowed: a.Refused == nil && a.Allowed != nil, Policy: true, Cases: []report.PolicyCase{}}
	for _, c := range []*policy.Case{a.Allowed, a.Refused} {
		if c == nil {
			continue
		}
		v := report.PolicyCase{From: string(c.From), To: string(c.To), Service: c.Protocol.Service(c.Port), Allowed: c.Allowed, Line: c.Line, Text: c.String()}
		if c.Src.IsValid() {
			v.FromAddress = c.Src.String()
		}
		if c.Dst.IsValid() {
			v.ToAddress = c.Dst.String()
		}
		if c.Line > 0 && c.Line <= len(lines) {
			v.Rule = strings.TrimSpace(lines[c.Line-1])
		}
		r.Cases = append(r.Cases, v)
	}
	return r
}

func writeTry(w io.Writer, r report.PolicyTry) error {
	var b strings.Builder
	if !r.Policy {
		b.WriteString("allowed: the network has no policy\n")
	}
	for _, c := range r.Cases {
		b.WriteString(c.Text + "\n")
		if c.Rule != "" {
			fmt.Fprintf(&b, "%4d  %s\n", c.Line, report.Printable(c.Rule))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func policyClearCommand(e *env.Env) *cobra.Command {
	yes := false
	c := &cobra.Command{
		Use:   "clear",
		Short: "Withdraw the policy: all members may exchange all packets",
		Long: `Signs that the network has no policy any more, so that all members may exchange all packets again. Needs the
key of an owner with the right policy. To keep the text: policy show --text.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			if n.Policy() == nil {
				e.Say("the network has no policy; nothing was signed")
				return nil
			}
			if err := n.MaySetPolicy(); err != nil {
				return err
			}
			alone := terminal.Hint(errors.New("without a policy all members may exchange all packets"), "to do it without being asked: %s policy clear --yes", e.Self())
			if err := confirm(e, yes, "let all members exchange all packets?", alone); err != nil {
				return err
			}
			if _, err := n.SetPolicy(""); err != nil {
				return err
			}
			e.Say("the network has no policy any more: all members may exchange all packets")
			return nil
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
