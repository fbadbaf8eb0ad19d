package report

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tincan/internal/control"
)

// Policy is what "policy show --json" prints.
type Policy struct {
	Text        string                `json:"text,omitempty"`        // none: there is no policy, everything is allowed
	Withdrawn   bool                  `json:"withdrawn,omitempty"`   // there was one
	SignedBy    string                `json:"signed_by,omitempty"`   // name of an owner; also if it was withdrawn
	Fingerprint string                `json:"fingerprint,omitempty"` // of the owner's key
	Serial      uint64                `json:"serial,omitempty"`
	Mode        string                `json:"mode"`           // signed; warn or open: it is not enforced
	Node        *control.PolicyReport `json:"node,omitempty"` // what this node does about it; none: it does not run
}

// WritePolicy writes it as text.
func WritePolicy(w io.Writer, p Policy, f Form) error {
	var b strings.Builder
	switch {
	case p.Withdrawn:
		fmt.Fprintf(&b, "the network has no policy: %s withdrew it (serial %d). All members may exchange all packets.\n", p.SignedBy, p.Serial)
	case p.Text == "":
		b.WriteString("the network has no policy: all members may exchange all packets\n")
	default:
		fmt.Fprintf(&b, "signed by  %s (%s), serial %d\n", p.SignedBy, p.Fingerprint, p.Serial)
		fmt.Fprintf(&b, "enforced   %s\n", enforced(p))
	}
	uses := map[int]uint64{}
	if n := p.Node; n != nil {
		if n.RefusedIn+n.RefusedOut > 0 {
			fmt.Fprintf(&b, "refused    %d incoming packets, %d outgoing ones, since this node was started\n", n.RefusedIn, n.RefusedOut)
		}
		for _, u := range n.Rules {
			uses[u.Line] = u.Flows
		}
	}
	if p.Text != "" {
		counted := p.Node != nil && p.Node.Enforced && p.Node.Problem == ""
		if b.WriteByte('\n'); counted {
			b.WriteString("LINE     FLOWS\n")
		}
		for i, line := range strings.Split(strings.TrimSuffix(p.Text, "\n"), "\n") {
			text := fmt.Sprintf("%4d  ", i+1)
			if counted {
				flows := ""
				if n, ok := uses[i+1]; ok {
					flows = strconv.FormatUint(n, 10)
				}
				text += fmt.Sprintf("%8s  ", flows)
			}
			b.WriteString(strings.TrimRight(text+Printable(line), " \t") + "\n")
		}
	}
	if n := p.Node; n != nil && len(n.Refused) > 0 {
		b.WriteString("\nrefused lately\n")
		for _, r := range n.Refused {
			fmt.Fprintf(&b, "  %s: %s, %d times, last %s ago\n", refusedWhat(r), r.Why, r.Count, ago(f.Now.Sub(r.Last)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// enforced says whether a policy is in force on this node, and since when.
func enforced(p Policy) string {
	switch n := p.Node; {
	case p.Mode != "signed":
		return fmt.Sprintf("no: the roster is not enforced here (Roster = %s)", p.Mode)
	case n == nil:
		return "as soon as this node runs"
	case n.Problem != "":
		return "no: " + n.Problem
	case !n.Enforced || n.Since == nil:
		return "not yet"
	default:
		return "by this node, since " + n.Since.Local().Format(time.DateTime)
	}
}

// refusedWhat says which packets.
func refusedWhat(r control.PolicyRefusal) string {
	who := cmp.Or(string(r.Node), "everybody")
	if r.Incoming {
		who = "from " + who
	} else {
		who = "to " + who
	}
	return strings.TrimSpace(who + " " + r.Service)
}

// Printable is a line of somebody else's text as a terminal may be given it: without control characters.
func Printable(line string) string {
	return strings.Map(func(c rune) rune {
		if c == '\t' || unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, line)
}

// PolicyCheck is what "policy check --json" prints.
type PolicyCheck struct {
	OK       bool            `json:"ok"` // it can be signed
	Problem  string          `json:"problem,omitempty"`
	Rules    int             `json:"rules"`
	Errors   []PolicyError   `json:"errors"`
	Tests    []PolicyTest    `json:"tests"`
	Warnings []PolicyWarning `json:"warnings"`
}

// PolicyError is an error in the text of a policy.
type PolicyError struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"` // in bytes, from 1
	Problem string `json:"problem"`
}

// PolicyTest is what became of a test.
type PolicyTest struct {
	Line     int    `json:"line"`
	From     string `json:"from"`
	To       string `json:"to"`
	Expected string `json:"expected"` // allow or deny
	Passed   bool   `json:"passed"`
	Text     string `json:"text"` // what the rules decide, for people
}

// PolicyWarning is something in a policy that may be a mistake.
type PolicyWarning struct {
	Code string `json:"code"` // unknown (a name or group that no member has), no-distribution (host files cannot be fetched)
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

// PolicyTry is what "policy try --json" prints.
type PolicyTry struct {
	Allowed bool         `json:"allowed"` // all flows that were asked about
	Policy  bool         `json:"policy"`  // there is one; without, everything is allowed
	Cases   []PolicyCase `json:"cases"`   // two: some flows are allowed, and others refused; an example of each
}

// PolicyCase is a flow, and what decides about it.
type PolicyCase struct {
	From        string `json:"from,omitempty"` // member; none: the address is nobody's
	FromAddress string `json:"from_address,omitempty"`
	To          string `json:"to,omitempty"`
	ToAddress   string `json:"to_address,omitempty"`
	Service     string `json:"service"` // such as tcp:22
	Allowed     bool   `json:"allowed"`
	Line        int    `json:"line,omitempty"` // that allows it; none: no line does
	Rule        string `json:"rule,omitempty"` // that line
	Text        string `json:"text"`           // for people
}
