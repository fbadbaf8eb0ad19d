package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"tincan/internal/control"
)

// WriteWhy prints the chain of reasons for people.
func WriteWhy(w io.Writer, r control.WhyReport) error {
	var b strings.Builder
	for i, reason := range r.Reasons {
		if i > 0 {
			b.WriteString(strings.Repeat("  ", i-1) + "└ ")
		}
		b.WriteString(reason.Text + "\n")
	}
	if len(r.Carriers) > 0 {
		writeCarriers(&b, r.Carriers)
	}
	if r.Encryption != "" {
		b.WriteString("encryption: " + r.Encryption + "\n")
	}
	switch {
	case r.Change != "":
		b.WriteString("suggestion: " + r.Change + "\n")
	case r.Good:
		b.WriteString("no problem found\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeCarriers prints what has become of each carrier.
func writeCarriers(b *strings.Builder, list []control.CarrierState) {
	b.WriteString("carriers:\n")
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	for _, c := range list {
		text := c.Text
		if text != "" {
			text = ": " + text
		}
		fmt.Fprintf(t, "  %s\t%s%s\n", carrierText(c.Carrier), strings.ReplaceAll(c.State, "-", " "), text)
	}
	_ = t.Flush() // into memory
}

// netCarrierText is what has become of a carrier to all nodes.
func netCarrierText(c control.NetCarrier) string {
	if c.Off {
		return "off"
	}
	text := "not in use"
	if c.InUse > 0 {
		text = "in use with " + plural(c.InUse, "node")
	}
	for i, f := range c.Failures {
		if i == 0 {
			text += "; failed with"
		} else {
			text += ","
		}
		text += fmt.Sprintf(" %s (%s)", f.Node, f.Problem)
	}
	if more := c.Failed - len(c.Failures); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// WriteNet prints the report for people.
func WriteNet(w io.Writer, r control.NetReport) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(what, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", what, fmt.Sprintf(format, args...)) }
	row("listens at", "%s", listOr(r.Listening, "nothing"))
	for i, a := range r.Addresses {
		what := ""
		if i == 0 {
			what = "addresses"
		}
		kind := "private"
		if a.Public {
			kind = "public"
		}
		row(what, "%s (%s, %s)", a.Address, a.Interface, kind)
	}
	row("internet", "IPv4 %s, IPv6 %s", yes(r.IPv4), yes(r.IPv6))
	row("UDP", "%d of %d nodes answer, %d of them by IPv6", r.Answered, r.Tried, r.ByIPv6)
	row("NAT", "%s", natText(r.NAT))
	if r.IPv6 {
		row("NAT (IPv6)", "%s", natText(r.NAT6))
	}
	for i, s := range r.Seen {
		what := ""
		if i == 0 {
			what = "seen as"
		}
		row(what, "%s by %s", s.Address, s.By)
	}
	switch {
	case len(r.Mappings) > 0:
		row("port mapping", "%s", strings.Join(r.Mappings, ", "))
	case r.MapProblem != "":
		row("port mapping", "none: %s", r.MapProblem)
	}
	row("connections", "%d inbound, %d outbound", r.Incoming, r.Outgoing)
	if r.Proxy != "" {
		row("proxy", "%s", r.Proxy)
	}
	for i, c := range r.Carriers {
		what := ""
		if i == 0 {
			what = "carriers"
		}
		row(what, "%s: %s", carrierText(c.Carrier), netCarrierText(c))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, v := range r.Verdict {
		b.WriteString("\n" + v + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func natText(k control.NATKind) string {
	switch k {
	case control.NATNone:
		return "none"
	case control.NATOne:
		return "present; its kind is unknown until two nodes answer by UDP"
	case control.NATEndpointIndependent:
		return "endpoint-independent mapping: direct paths are possible"
	case control.NATSymmetric:
		return "address-and-port-dependent mapping (symmetric): direct paths need the other side's help"
	}
	return "unknown: no node has reported the address at which it sees this one"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
