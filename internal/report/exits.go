package report

import (
	"cmp"
	"fmt"
	"strings"

	"tincan/internal/control"
)

// writeExits says how packets leave the mesh, if they do.
func writeExits(b *strings.Builder, e *control.Exits, f Form) {
	if e == nil {
		return
	}
	if e.Node != nil {
		color, text := plain, "other nodes can leave the mesh by this one, with "+families(e.Node.IPv4, e.Node.IPv6)
		if !e.Node.IPv4 && !e.Node.IPv6 {
			color, text = red, "no other node can leave the mesh by this one: it has no default route, or its router does not answer"
		}
		f.sentence(b, color, "exit node: ", text)
	}
	for _, v := range e.Via {
		color := plain
		if v.Chosen == "" {
			color = red
		}
		f.sentence(b, color, "via: ", ViaText(v, e.KillSwitch))
	}
}

// ViaText says by which node the packets of a line leave.
func ViaText(v control.Via, guarded bool) string {
	what := v.What
	if strings.HasPrefix(what, "@") {
		what += fmt.Sprintf(" (%d prefixes)", v.Prefixes)
	}
	text := what + " by " + string(v.Chosen) + ", with " + families(v.IPv4, v.IPv6)
	if v.Chosen == "" {
		text = what + " is refused: no exit node works"
	}
	var others []string
	for _, c := range v.Exits {
		switch {
		case c.Node == v.Chosen:
		case c.Works:
			others = append(others, string(c.Node)+" works")
		default:
			others = append(others, string(c.Node)+": "+cmp.Or(c.Problem, "it was not asked yet"))
		}
	}
	if len(others) > 0 {
		text += "; " + strings.Join(others, "; ")
	}
	if guarded {
		text += "; kill switch"
	}
	return text
}

// families names families of addresses.
func families(v4, v6 bool) string {
	switch {
	case v4 && v6:
		return "IPv4 and IPv6"
	case v4:
		return "IPv4 only"
	case v6:
		return "IPv6 only"
	}
	return "neither IPv4 nor IPv6"
}
