// Package report is what a node says about itself, and what commands say about it, as text and as JSON: the
// status, the dumps and infos of tinc, the reasons why, drops. It asks nobody and decides nothing.
package report

import (
	"fmt"
	"io"
	glob "path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tincan/internal/control"
	"tincan/internal/node"
)

// Form is how a status is written for people.
type Form struct {
	Now     time.Time // durations are counted from it
	Width   int       // columns of a line; 0: no limit
	Color   bool      // with the colours of a terminal
	Command string    // how the user calls the program for this network, for advice; "": tincan
}

func (f Form) command() string {
	if f.Command == "" {
		return "tincan"
	}
	return f.Command
}

// Colours of a terminal.
const (
	plain  = ""
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

func (f Form) paint(color, text string) string {
	if !f.Color || color == plain {
		return text
	}
	return color + text + reset
}

// Only leaves the nodes for which keep returns true. The summary stays that of the whole mesh.
func Only(s *control.Status, keep func(*control.NodeView) bool) {
	s.Nodes = slices.DeleteFunc(s.Nodes, func(n control.NodeView) bool { return !keep(&n) })
}

// Matches tells whether the name of n is like a pattern, in which * stands for any text and ? for one character.
func Matches(n *control.NodeView, pattern string) bool {
	ok, err := glob.Match(pattern, string(n.Name))
	return ok && err == nil
}

// WriteStatus prints the status for people: this node, what is wrong, and a table of the others.
func WriteStatus(w io.Writer, s control.Status, f Form) error {
	var b strings.Builder
	writeHead(&b, &s, f)
	if len(s.Nodes) > 0 {
		b.WriteByte('\n')
		writeTable(&b, s.Nodes, f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeHead(b *strings.Builder, s *control.Status, f Form) {
	var head []string
	add := func(format string, a ...any) { head = append(head, fmt.Sprintf(format, a...)) }
	add("node %s", s.Self.Name)
	if s.Network != "" {
		add("network %s", s.Network)
	}
	if s.Interface != "" {
		add("interface %s", s.Interface)
	}
	if s.PID != 0 {
		add("pid %d", s.PID)
	}
	if s.Started != nil {
		add("up %s", ago(f.Now.Sub(*s.Started)))
	}
	if s.Version != "" {
		add("version %s", s.Version)
	}
	if s.Parallel != nil && s.Parallel.Sealed+s.Parallel.Opened > 0 {
		add("%d workers", s.Parallel.Workers)
	}
	if s.Process != nil && s.Process.Sandbox != "off" {
		add("sandbox %s", s.Process.Sandbox)
	}
	f.sentence(b, plain, "", strings.Join(head, ", "))
	f.sentence(b, plain, "subnets: ", listOr(few(s.Self.Subnets, maxOwnSubnets), "none"))
	mesh := "no other node is known"
	if others := s.Summary.Nodes - 1; others > 0 {
		mesh = fmt.Sprintf("%d of %s reachable", s.Summary.Reachable-1, plural(others, "other node"))
	}
	f.sentence(b, plain, "mesh: ", mesh+", "+plural(s.Summary.Connections, "meta connection"))
	if text := carriersText(s.Nodes); text != "" {
		f.sentence(b, plain, "carriers: ", text)
	}
	if text := encryptionText(s.Nodes); text != "" {
		f.sentence(b, plain, "encryption: ", text)
	}
	if s.Names != nil {
		f.sentence(b, plain, "names: ", namesText(s.Names))
	}
	writeExits(b, s.Exits, f)
	for _, p := range s.Problems {
		f.sentence(b, red, "problem: ", p.Text)
		f.sentence(b, plain, "         suggestion: ", p.Change)
	}
	writeWeak(b, s.Nodes, f)
	writeKeys(b, s, f)
	writeContested(b, s, f)
	if s.Limits != nil && s.Limits.Connections.Count > 0 {
		f.sentence(b, plain, "refused connections: ", refusedText(s.Limits.Connections, f.Now))
	}
}

// Bounds of the lists that people get; programs get all.
const (
	maxOwnSubnets  = 8
	maxSubnets     = 2  // of a node in the table
	maxKeysShown   = 10 // of each kind
	maxContestsOut = 10
)

// encryptionText counts the sessions by their keys; "" if there are none.
func encryptionText(nodes []control.NodeView) string {
	strong := 0
	var classical []string
	for i := range nodes {
		switch n := &nodes[i]; {
		case n.Cipher == "":
		case n.PostQuantum:
			strong++
		default:
			classical = append(classical, string(n.Name))
		}
	}
	var parts []string
	if strong > 0 {
		parts = append(parts, "post-quantum keys with "+plural(strong, "node"))
	}
	if len(classical) > 0 {
		parts = append(parts, "classical ones with "+listOr(few(classical, maxOwnSubnets), ""))
	}
	return strings.Join(parts, ", ")
}

// writeWeak prints with which nodes there are not the keys that there should be.
func writeWeak(b *strings.Builder, nodes []control.NodeView, f Form) {
	shown := 0
	for i := range nodes {
		n := &nodes[i]
		if n.Weakness == "" {
			continue
		}
		if shown++; shown <= maxKeysShown {
			f.sentence(b, yellow, "weak keys: ", fmt.Sprintf("%s; more: %s why %s", weakText(n), f.command(), n.Name))
		}
	}
	if more := shown - maxKeysShown; more > 0 {
		f.sentence(b, yellow, "weak keys: ", fmt.Sprintf("%d more", more))
	}
}

// weakText says what is wrong with the keys for packets of a node.
func weakText(n *control.NodeView) string {
	if n.Weakness == "post-quantum-required" {
		return fmt.Sprintf("no packets are exchanged with %s, which has no post-quantum keys", n.Name)
	}
	return fmt.Sprintf("%s announces the second key exchange, but its messages do not arrive", n.Name)
}

// carrierText is a carrier in words.
func carrierText(word string) string {
	switch word {
	case "masked":
		return "masked UDP"
	case "tls":
		return "HTTPS"
	}
	return strings.ToUpper(word)
}

// carriersText says by what the nodes are reached that are reached directly; "" if there are none. Those that are not
// reached by UDP are named.
func carriersText(nodes []control.NodeView) string {
	var parts []string
	for _, word := range []string{"masked", "udp", "tcp", "tls"} {
		var names []string
		for i := range nodes {
			n := &nodes[i]
			if n.Carrier == word && (n.Path == control.PathUDP || n.Path == control.PathTCP) {
				names = append(names, string(n.Name))
			}
		}
		switch {
		case len(names) == 0:
		case word == "tcp" || word == "tls":
			parts = append(parts, carrierText(word)+" to "+listOr(few(names, maxOwnSubnets), ""))
		default:
			parts = append(parts, carrierText(word)+" to "+plural(len(names), "node"))
		}
	}
	return strings.Join(parts, ", ")
}

// keysText is what encrypts something.
func keysText(cipher string, postQuantum bool) string {
	if postQuantum {
		return cipher + ", post-quantum keys"
	}
	return cipher + ", classical keys"
}

// writeKeys prints what a person has to decide.
func writeKeys(b *strings.Builder, s *control.Status, f Form) {
	for _, c := range s.ChangedKeys[:min(len(s.ChangedKeys), maxKeysShown)] {
		f.sentence(b, yellow, "changed key: ", fmt.Sprintf("%s offers %s for %s, known is %s; only if %s was reinstalled: %s accept %s",
			c.From, c.Offered, c.Node, listOr([]string{c.Known}, "none"), c.Node, f.command(), c.Node))
	}
	if more := len(s.ChangedKeys) - maxKeysShown; more > 0 {
		f.sentence(b, yellow, "changed keys: ", fmt.Sprintf("%d more; see them with: %s accept", more, f.command()))
	}
	var wrong []node.Name
	for i := range s.Nodes {
		if s.Nodes[i].WrongKey {
			wrong = append(wrong, s.Nodes[i].Name)
		}
	}
	for _, name := range wrong[:min(len(wrong), maxKeysShown)] {
		f.sentence(b, yellow, "wrong key: ", fmt.Sprintf("%s was refused, since it does not have the key in hosts/%s here (in a signed network: in the roster), or has another key of this node; more: %s why %s",
			name, name, f.command(), name))
	}
	if more := len(wrong) - maxKeysShown; more > 0 {
		f.sentence(b, yellow, "wrong keys: ", fmt.Sprintf("%d more", more))
	}
}

// writeContested prints who claims what belongs to another.
func writeContested(b *strings.Builder, s *control.Status, f Form) {
	for _, c := range s.Contested[:min(len(s.Contested), maxContestsOut)] {
		f.sentence(b, yellow, "contested subnet: ", c.String())
	}
	if more := len(s.Contested) - maxContestsOut; more > 0 {
		f.sentence(b, yellow, "contested subnets: ", fmt.Sprintf("%d more", more))
	}
}

// sentence writes text after a lead, in lines that fit; what follows the first is indented.
func (f Form) sentence(b *strings.Builder, color, lead, text string) {
	const indent = "         "
	line, begun := lead, false
	for _, word := range strings.Fields(text) {
		switch {
		case begun && f.Width > 0 && columns(line)+1+columns(word) > f.Width:
			b.WriteString(f.paint(color, line) + "\n")
			line = indent + word
		case begun:
			line += " " + word
		default:
			line += word
		}
		begun = true
	}
	b.WriteString(f.paint(color, line) + "\n")
}

func columns(s string) int { return utf8.RuneCountInString(s) }

// WriteNode prints everything that is known of one node, which is among those of the status.
func WriteNode(w io.Writer, s control.Status, n *control.NodeView, f Form) error {
	var b strings.Builder
	row := func(what, format string, a ...any) {
		f.sentence(&b, plain, fmt.Sprintf("%-9s", what), fmt.Sprintf(format, a...))
	}
	row("node", "%s (id %s)", n.Name, n.ID)
	switch {
	case n.Since == nil && n.Path == control.PathSelf:
	case n.Since == nil:
		row("seen", "never")
	case n.Reachable:
		row("since", "%s, for %s", n.Since.Local().Format(time.DateTime), ago(f.Now.Sub(*n.Since)))
	default:
		row("gone", "since %s, for %s", n.Since.Local().Format(time.DateTime), ago(f.Now.Sub(*n.Since)))
	}
	row("subnets", "%s", listOr(n.Subnets, "none"))
	f.sentence(&b, plain, "path     ", f.paint(pathColor(n), PathText(n)))
	if n.Carrier != "" {
		row("carrier", "%s", carrierText(n.Carrier))
	}
	if n.Address != "" {
		row("address", "%s", n.Address)
	}
	if n.RTT > 0 {
		row("rtt", "%s", rttText(n))
	}
	if lossText(n) != "-" {
		row("loss", "%s", lossText(n))
	}
	if n.MTU > 0 {
		row("mtu", "%d bytes", n.MTU)
	}
	row("rx", "%d packets, %s", n.Rx.Packets, size(n.Rx.Bytes))
	row("tx", "%d packets, %s", n.Tx.Packets, size(n.Tx.Bytes))
	if n.Cipher != "" {
		row("cipher", "%s", keysText(n.Cipher, n.PostQuantum))
	}
	if n.Weakness != "" {
		row("problem", "%s", weakText(n))
	}
	switch meta := "a connection with this node"; {
	case n.Path == control.PathSelf:
	case !n.Connected && n.MetaCipher == "":
		row("meta", "no connection with this node")
	default:
		if n.MetaCarrier != "" {
			meta += ", by " + carrierText(n.MetaCarrier)
		}
		if n.MetaCipher != "" {
			meta += ", " + keysText(n.MetaCipher, n.MetaPostQuantum)
		}
		row("meta", "%s", meta)
	}
	if n.Protocol != "" {
		row("protocol", "%s", protocolText(n.Protocol))
	}
	if n.Program != "" {
		row("program", "%s", strings.Replace(n.Program, "/", " ", 1))
	}
	if n.Problem != "" {
		row("problem", "the last attempt to connect failed: %s", n.Problem)
	}
	s.Nodes = nil // of the keys only those of this node
	if n.Path != control.PathSelf {
		s.Nodes = []control.NodeView{*n}
	}
	s.ChangedKeys = slices.DeleteFunc(slices.Clone(s.ChangedKeys), func(c control.KeyChange) bool { return c.Node != n.Name })
	s.Contested = slices.DeleteFunc(slices.Clone(s.Contested), func(c control.Contest) bool { return c.ClaimedBy != n.Name && c.Owner != n.Name })
	writeKeys(&b, &s, f)
	writeContested(&b, &s, f)
	_, err := io.WriteString(w, b.String())
	return err
}

// column is one column of the table of nodes.
type column struct {
	title string
	// spare is the order in which columns are left out where there is not enough room; 0: never.
	spare int
	cell  func(*control.NodeView) string
	least int // width, so that the columns do not come and go while the numbers change
}

func (f Form) columns(subnets int) []column {
	return []column{
		{"NODE", 0, func(n *control.NodeView) string { return f.capped(string(n.Name)) }, 0},
		{"SUBNETS", 7, func(n *control.NodeView) string { return listOr(few(n.Subnets, subnets), "-") }, 0},
		{"PATH", 0, func(n *control.NodeView) string { return f.capped(PathText(n)) }, 0},
		{"ADDRESS", 3, func(n *control.NodeView) string { return listOr([]string{n.Address}, "-") }, 0},
		{"RTT", 6, rttText, 0},
		{"LOSS", 5, lossText, 0},
		{"MTU", 1, mtuText, 0},
		{"RX", 2, func(n *control.NodeView) string { return size(n.Rx.Bytes) }, sizeWidth},
		{"TX", 2, func(n *control.NodeView) string { return size(n.Tx.Bytes) }, sizeWidth},
		{"SINCE", 4, func(n *control.NodeView) string { return sinceText(n, f.Now) }, 0},
	}
}

// capped keeps a cell that is never left out from taking more than a third of the line.
func (f Form) capped(s string) string {
	if f.Width == 0 {
		return s
	}
	return Shortened(s, max(f.Width/3, 12))
}

// writeTable prints a line for each node, with as many columns as there is room for.
func writeTable(b *strings.Builder, nodes []control.NodeView, f Form) {
	cols := f.columns(maxSubnets)
	if !slices.ContainsFunc(nodes, func(n control.NodeView) bool { return lossText(&n) != "-" }) {
		cols = slices.DeleteFunc(cols, func(c column) bool { return c.title == "LOSS" })
	}
	const gap = 2
	var widths []int
	measure := func() (total int) {
		widths = make([]int, len(cols))
		for i, c := range cols {
			widths[i] = max(columns(c.title), c.least)
			for j := range nodes {
				widths[i] = max(widths[i], columns(c.cell(&nodes[j])))
			}
			total += widths[i] + gap
		}
		return total - gap
	}
	for spare, fewer := 1, false; measure() > f.Width && f.Width > 0 && spare <= 7; {
		if spare == 3 && !fewer { // before an address goes there is less of the subnets
			fewer = true
			one := f.columns(1)[1].cell
			for i := range cols {
				if cols[i].title == "SUBNETS" {
					cols[i].cell = one
				}
			}
			continue
		}
		cols = slices.DeleteFunc(cols, func(c column) bool { return c.spare == spare })
		spare++
	}
	line := func(color func(title string) string, cell func(column) string) {
		used := 0
		for i, c := range cols {
			text, pad := cell(c), 0
			if i < len(cols)-1 {
				pad = widths[i] + gap - columns(text)
			}
			if f.Width > 0 && used+columns(text) > f.Width {
				text, pad = Shortened(text, f.Width-used), 0
			}
			b.WriteString(f.paint(color(c.title), text))
			if used += columns(text) + pad; f.Width > 0 && used >= f.Width {
				break
			}
			b.WriteString(strings.Repeat(" ", pad))
		}
		b.WriteByte('\n')
	}
	line(func(string) string { return bold }, func(c column) string { return c.title })
	for i := range nodes {
		n := &nodes[i]
		line(func(title string) string {
			if title == "PATH" {
				return pathColor(n)
			}
			return plain
		}, func(c column) string { return c.cell(n) })
	}
}

// Shortened cuts a text to so many columns, and shows that.
func Shortened(s string, width int) string {
	r := []rune(s)
	switch {
	case len(r) <= width:
		return s
	case width < 1:
		return ""
	}
	return string(r[:width-1]) + "…"
}

// few are the first of a list, and how many more there are.
func few(list []string, most int) []string {
	if len(list) <= most {
		return list
	}
	return append(slices.Clip(list[:most]), fmt.Sprintf("+%d more", len(list)-most))
}

// pathColor says at a glance how well packets get there.
func pathColor(n *control.NodeView) string {
	if n.Removed || n.Outside != "" {
		return dim
	}
	switch n.Path {
	case control.PathUDP, control.PathSelf:
		return green
	case control.PathTCP, control.PathRelayed:
		return yellow
	case control.PathUnreachable, control.PathNoKey:
		if n.Connecting {
			return yellow
		}
		return red
	}
	return dim
}

// PathText is the path in words for people.
func PathText(n *control.NodeView) string {
	if text := outsideText(n.Outside); text != "" {
		return text
	}
	if n.Removed {
		return "removed here"
	}
	switch n.Path {
	case control.PathUnreachable:
		switch {
		case n.Connecting:
			return "connecting"
		case n.Silent:
			return "no answer"
		case n.Claimed:
			return "not proven"
		}
	case control.PathUDP:
		return "direct (UDP)"
	case control.PathTCP:
		if n.Carrier == "tls" {
			return "direct (HTTPS)"
		}
		return "direct (TCP)"
	case control.PathRelayed:
		text := fmt.Sprintf("relayed via %s", n.Via)
		if n.Transport != "" {
			by := strings.ToUpper(string(n.Transport))
			if n.Carrier == "tls" {
				by = "HTTPS"
			}
			text += fmt.Sprintf(" (%s)", by)
		}
		return text
	case control.PathNoKey:
		return "key not known"
	case control.PathIdle:
		if n.Silent {
			return "no answer"
		}
	}
	return string(n.Path)
}

// outsideText says why a node is no member of a signed network, by a code of why; "" if it is one.
func outsideText(code string) string {
	switch code {
	case "":
		return ""
	case "removed-member":
		return "removed"
	case "waits-for-approval":
		return "to be approved"
	case "membership-ended":
		return "membership ended"
	}
	return "no member"
}

// protocolText adds which programs speak a version of the protocol, as far as that is certain.
func protocolText(version string) string {
	switch version {
	case "17.0":
		return "17.0 (tinc 1.0)"
	case "17.7":
		return "17.7 (tinc 1.1, tincan)"
	}
	return version
}

func rttText(n *control.NodeView) string {
	if n.RTT == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f ms", time.Duration(n.RTT).Seconds()*1000)
}

func lossText(n *control.NodeView) string {
	if n.Loss < 0.005 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*n.Loss)
}

func mtuText(n *control.NodeView) string {
	if n.MTU <= 0 {
		return "-"
	}
	return fmt.Sprint(n.MTU)
}

func sinceText(n *control.NodeView, now time.Time) string {
	if n.Since == nil {
		return "never seen"
	}
	if n.Reachable {
		return ago(now.Sub(*n.Since))
	}
	return "gone for " + ago(now.Sub(*n.Since))
}

// listOr joins what is not empty, or returns none.
func listOr(list []string, none string) string {
	if text := strings.Join(list, " "); text != "" {
		return text
	}
	return none
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", max(n, 0), what)
}

// sizeWidth is the width of the longest text that size returns.
const sizeWidth = len("1023.9 KiB")

// size is a number of bytes in two or three digits.
func size(b uint64) string {
	if b < 1024 {
		return fmt.Sprintf("%d B", b)
	}
	v, unit := float64(b)/1024, 0
	for v >= 1024 && unit < 5 {
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

// ago is a duration with its two largest units.
func ago(d time.Duration) string {
	switch s := int(max(d, 0).Seconds()); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
	}
}

// namesText says how nodes are found by name.
func namesText(n *control.Names) string {
	text := "NODE." + n.Domain
	switch {
	case n.By != "" && n.Problem == "":
		text += ", by " + n.By
	case len(n.At) > 0:
		text += ", at " + n.At[0].String()
	}
	if n.Problem != "" {
		text += "; " + n.Problem
	}
	return text
}
