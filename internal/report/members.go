package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"tincan/internal/members"
	"tincan/internal/node"
)

// WriteMembers writes who belongs to a signed network. all adds those who were removed.
func WriteMembers(w io.Writer, v members.View, f Form, all bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "network %s", v.Fingerprint)
	switch {
	case v.Fetching:
		b.WriteString(", whose roster has not arrived yet\n")
	case v.Mode == "warn":
		b.WriteString(", roster: warn (nobody is refused yet)\n")
	default:
		fmt.Fprintf(&b, ", roster: %s\n", v.Mode)
	}
	if v.TooNew {
		b.WriteString("the roster has critical statements of a newer version: update this program\n")
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tFINGERPRINT\tSUBNETS\tGROUPS\tADMITTED BY\tLAST SEEN")
	for _, m := range v.Members {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.Fingerprint, list(m.Subnets), list(append(m.Groups[:len(m.Groups):len(m.Groups)], marked(m.Capabilities)...)), by(m), lastSeen(m, v.Node, f.Now))
	}
	t.Flush()
	if len(v.Pending) > 0 {
		b.WriteString("\nwaiting for approval (" + f.command() + " approve NAME, or deny NAME)\n")
		for _, m := range v.Pending {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", m.Name, m.Fingerprint, list(m.Subnets), by(m))
		}
		t.Flush()
	}
	if len(v.Conflicts) > 0 {
		b.WriteString("\ndoes not count, because something else does\n")
		for _, c := range v.Conflicts {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", cmp.Or(string(c.Name), "-"), c.Fingerprint, c.Reason)
		}
		t.Flush()
	}
	if all && len(v.Removed) > 0 {
		b.WriteString("\nremoved\n")
		for _, r := range v.Removed {
			what := "by " + r.By
			if r.Left {
				what = "has left"
			}
			if r.Reason != "" {
				what += fmt.Sprintf(" (%q)", r.Reason)
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\n", cmp.Or(string(r.Name), "-"), r.Fingerprint, what)
		}
		t.Flush()
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func list(words []string) string { return cmp.Or(strings.Join(words, ","), "-") }

// marked are capabilities among the groups.
func marked(words []string) (out []string) {
	for _, w := range words {
		out = append(out, "+"+w)
	}
	return out
}

func by(m members.Member) string {
	text := m.By
	if m.Invitation != "" {
		text += " by invitation " + strings.SplitN(m.Invitation, "-", 2)[0]
	}
	return text
}

// lastSeen is when a member was seen last by the node self.
func lastSeen(m members.Member, self node.Name, now time.Time) string {
	switch {
	case m.Name == self:
		return "this node"
	case m.Ends != nil && now.After(*m.Ends):
		return "ended " + m.Ends.Local().Format(time.DateOnly)
	case m.Silent:
		return "no answer"
	case m.Reachable:
		return "now"
	case m.LastSeen == nil:
		return "-"
	}
	return m.LastSeen.Local().Format("2006-01-02 15:04")
}
