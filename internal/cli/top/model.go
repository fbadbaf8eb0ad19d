// Package top shows the traffic of a running node as a live screen: rates or
// totals of each node, the path of its packets, round trip time and loss.
//
// [Model] is what is shown, without a terminal; [Run] shows it on one.
package top

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/report"
)

// Model is the contents of the screen.
type Model struct {
	Title string // program and network

	Delay      time.Duration // between two looks at the node
	cumulative bool
	sort       byte   // key of the order
	unit       unit   // of what is shown
	prompt     bool   // a new delay is being typed
	typed      string // so far

	top    int    // the first row that is shown
	page   int    // rows on the last screen
	escape string // what has come of the sequence that a key sends

	at   time.Time // of the last Update, zero: there was none
	rows []Row
}

// Row is one node.
type Row struct {
	Name      node.Name     `json:"name"`
	Reachable bool          `json:"reachable"`
	Path      control.Path  `json:"path"`
	Via       node.Name     `json:"via,omitempty"`  // the relay
	RTT       time.Duration `json:"-"`              // 0: not measured
	Loss      float64       `json:"loss,omitempty"` // of probes, 0 to 1
	Rate      Counts        `json:"rate"`           // a second
	Total     Counts        `json:"total"`          // since the node started

	view control.NodeView
}

// Counts are packets and bytes (of Ethernet frames), received from the node and sent to
// it. For the own node: read from the interface and written to it.
type Counts struct {
	InPackets  float64 `json:"in_packets"`
	InBytes    float64 `json:"in_bytes"`
	OutPackets float64 `json:"out_packets"`
	OutBytes   float64 `json:"out_bytes"`
}

func (c Counts) any() bool { return c != Counts{} }

// minDelay is the shortest time between two looks, as in tinc.
const minDelay = 100 * time.Millisecond

type unit struct {
	bytes, packets           string
	bytesScale, packetsScale float64
}

var units = map[byte]unit{
	'b': {"bytes", "pkts", 1, 1},
	'k': {"kbyte", "pkts", 1e-3, 1},
	'M': {"Mbyte", "kpkt", 1e-6, 1e-3},
	'G': {"Gbyte", "Mpkt", 1e-9, 1e-6},
}

// orders are the keys that sort: the name on the screen and what counts, the largest first.
var orders = map[byte]struct {
	name  string
	value func(Counts) float64
}{
	'n': {"name", func(Counts) float64 { return 0 }},
	'i': {"in bytes", func(c Counts) float64 { return c.InBytes }},
	'I': {"in pkts", func(c Counts) float64 { return c.InPackets }},
	'o': {"out bytes", func(c Counts) float64 { return c.OutBytes }},
	'O': {"out pkts", func(c Counts) float64 { return c.OutPackets }},
	't': {"tot bytes", func(c Counts) float64 { return c.InBytes + c.OutBytes }},
	'T': {"tot pkts", func(c Counts) float64 { return c.InPackets + c.OutPackets }},
}

// NewModel returns an empty screen that shows rates in bytes, ordered by name.
func NewModel(title string, delay time.Duration) *Model {
	return &Model{Title: title, Delay: max(delay, minDelay), sort: 'n', unit: units['b']}
}

// Update takes in what the node said at a time.
func (m *Model) Update(s control.Status, at time.Time) {
	before := make(map[node.Name]Counts, len(m.rows))
	for _, r := range m.rows {
		before[r.Name] = r.Total
	}
	seconds := at.Sub(m.at).Seconds()
	first := m.at.IsZero() || seconds <= 0
	m.rows = m.rows[:0]
	for _, v := range append([]control.NodeView{s.Self}, s.Nodes...) {
		r := Row{Name: v.Name, Reachable: v.Reachable, Path: v.Path, Via: v.Via, RTT: time.Duration(v.RTT), Loss: v.Loss, Total: totals(v), view: v}
		if old, ok := before[v.Name]; ok && !first {
			r.Rate = perSecond(old, r.Total, seconds)
		}
		m.rows = append(m.rows, r)
	}
	m.at = at
}

func totals(v control.NodeView) Counts {
	return Counts{
		InPackets: float64(v.Rx.Packets), InBytes: float64(v.Rx.Bytes),
		OutPackets: float64(v.Tx.Packets), OutBytes: float64(v.Tx.Bytes),
	}
}

// perSecond is the rate between two counts; of a node that was restarted it is that since then.
func perSecond(old, new Counts, seconds float64) Counts {
	rate := func(a, b float64) float64 {
		if b < a {
			a = 0
		}
		return (b - a) / seconds
	}
	return Counts{
		InPackets: rate(old.InPackets, new.InPackets), InBytes: rate(old.InBytes, new.InBytes),
		OutPackets: rate(old.OutPackets, new.OutPackets), OutBytes: rate(old.OutBytes, new.OutBytes),
	}
}

// Rows returns what is shown, in its order.
func (m *Model) Rows() []Row {
	rows := slices.Clone(m.rows)
	value := orders[m.sort].value
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(value(m.shown(b)), value(m.shown(a))), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

func (m *Model) shown(r Row) Counts {
	if m.cumulative {
		return r.Total
	}
	return r.Rate
}

// Key takes in a key. quit tells that it means the end.
func (m *Model) Key(key byte) (quit bool) {
	if m.prompt {
		return m.type1(key)
	}
	const interrupt, eot, escape = 3, 4, 27
	if m.escape != "" && key != interrupt {
		m.sequence(key)
		return false
	}
	switch key {
	case escape:
		m.escape = string(rune(key))
	case 'q', interrupt, eot:
		return true
	case 'c':
		m.cumulative = !m.cumulative
	case 's':
		m.prompt, m.typed = true, ""
	default:
		if u, ok := units[key]; ok {
			m.unit = u
		}
		if _, ok := orders[key]; ok {
			m.sort = key
		}
	}
	return false
}

// sequence takes in one byte of what an arrow or its like sends.
func (m *Model) sequence(key byte) {
	m.escape += string(rune(key))
	switch m.escape {
	case "\x1b[", "\x1bO", "\x1b[5", "\x1b[6":
		return // there is more to come
	case "\x1b[A", "\x1bOA":
		m.top--
	case "\x1b[B", "\x1bOB":
		m.top++
	case "\x1b[5~":
		m.top -= m.page
	case "\x1b[6~":
		m.top += m.page
	case "\x1b[H", "\x1bOH":
		m.top = 0
	case "\x1b[F", "\x1bOF":
		m.top = len(m.rows)
	}
	m.escape = ""
}

// type1 takes in a key while a delay is typed.
func (m *Model) type1(key byte) (quit bool) {
	const interrupt, backspace, del, escape = 3, 8, 127, 27
	switch {
	case key == interrupt:
		return true
	case key == '\r' || key == '\n':
		m.prompt = false
		var seconds float64
		if _, err := fmt.Sscanf(m.typed, "%g", &seconds); err == nil && seconds > 0 && seconds < 86400 {
			m.Delay = max(time.Duration(seconds*float64(time.Second)), minDelay)
		}
	case key == escape:
		m.prompt = false
	case (key == backspace || key == del) && m.typed != "":
		m.typed = m.typed[:len(m.typed)-1]
	case (key >= '0' && key <= '9' || key == '.') && len(m.typed) < 8:
		m.typed += string(rune(key))
	}
	return false
}

// Style says how a line is drawn.
type Style uint8

// The styles.
const (
	Plain  Style = iota
	Title        // the headings
	Active       // a node with traffic
	Gone         // a node that is not reachable
)

// Line is one line of the screen.
type Line struct {
	Text  string
	Style Style
}

// Lines draws a screen of so many columns and rows; with 0 rows there is no limit.
func (m *Model) Lines(columns, height int) []Line {
	current := "Current"
	if m.cumulative {
		current = "Cumulative"
	}
	input := ""
	if m.prompt {
		input = fmt.Sprintf("Change delay from %.1fs to: %s", m.Delay.Seconds(), m.typed)
	}
	lines := []Line{
		{Text: fmt.Sprintf("%-21s  Nodes: %4d  Sort: %-10s  %s", m.Title, len(m.rows), orders[m.sort].name, current)},
		{Text: input},
	}
	rows := m.Rows()
	first, last := m.window(len(rows), height)
	if last-first < len(rows) && !m.prompt {
		lines[1].Text = fmt.Sprintf("Nodes %d to %d of %d", first+1, last, len(rows))
	}
	table := m.table(rows[first:last], columns)
	lines = append(lines[:2], Line{Text: table[0], Style: Title})
	for i, r := range rows[first:last] {
		l := Line{Text: table[i+1]}
		switch {
		case !r.Reachable:
			l.Style = Gone
		case r.Rate.any():
			l.Style = Active
		}
		lines = append(lines, l)
	}
	if height > headLines+1 {
		lines = append(lines, Line{Text: keysHelp, Style: Gone})
	}
	for i := range lines {
		lines[i].Text = cut(lines[i].Text, columns)
	}
	return lines
}

// headLines are the lines above the nodes, keysHelp is the line below them.
const (
	headLines = 3
	keysHelp  = "n i I o O t T order  c totals  b k M G unit  s delay  arrows scroll  q quit"
)

// window is the part of n rows that is on a screen of so many lines: all with 0.
func (m *Model) window(n, height int) (first, last int) {
	m.page = n
	if height > 0 {
		m.page = max(height-headLines-1, 1)
	}
	m.top = max(min(m.top, n-m.page), 0)
	return m.top, min(m.top+m.page, n)
}

// table writes the rows below their titles. It gets narrower where there is not enough room: first the
// gaps, then LOSS and RTT go, then long paths and names are shortened.
func (m *Model) table(rows []Row, columns int) []string {
	cells := [][]string{{"Node", "IN " + m.unit.packets, "IN " + m.unit.bytes, "OUT " + m.unit.packets, "OUT " + m.unit.bytes, "PATH", "RTT", "LOSS"}}
	number := func(v, scale float64) string { return fmt.Sprintf("%.0f", math.Floor(v*scale)) }
	for _, r := range rows {
		c := m.shown(r)
		cells = append(cells, []string{string(r.Name),
			number(c.InPackets, m.unit.packetsScale), number(c.InBytes, m.unit.bytesScale),
			number(c.OutPackets, m.unit.packetsScale), number(c.OutBytes, m.unit.bytesScale),
			report.PathText(&r.view), r.rtt(), r.loss()})
	}
	const name, path = 0, 5
	widths := []int{16, 10, 10, 10, 10, 18, 8, 5}
	total := func() (sum int) {
		for _, w := range widths {
			sum += w + 1
		}
		return sum // one more before the path
	}
	fit := func() {
		for _, line := range cells {
			for i := range widths {
				widths[i] = max(widths[i], utf8.RuneCountInString(line[i]))
			}
		}
	}
	if fit(); columns > 0 && total() > columns {
		widths = make([]int, len(widths))
		fit()
		for total() > columns && len(widths) > path+1 {
			widths = widths[:len(widths)-1]
		}
		for _, i := range []int{path, name} {
			widths[i] = max(widths[i]-max(total()-columns, 0), min(widths[i], 12))
		}
	}
	var out []string
	for _, line := range cells {
		var b strings.Builder
		for i, w := range widths {
			text := report.Shortened(line[i], w)
			pad := strings.Repeat(" ", w-utf8.RuneCountInString(text))
			switch {
			case i == name:
				b.WriteString(text + pad)
			case i == path:
				b.WriteString("  " + text + pad)
			default:
				b.WriteString(" " + pad + text)
			}
		}
		out = append(out, b.String())
	}
	return out
}

func (r Row) rtt() string {
	if r.RTT <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", r.RTT.Seconds()*1000)
}

func (r Row) loss() string {
	if r.RTT <= 0 && r.Loss == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*r.Loss)
}

// cut limits a text to so many columns; 0 means no limit.
func cut(s string, columns int) string {
	if columns > 0 {
		s = report.Shortened(s, columns)
	}
	return strings.TrimRight(s, " ")
}
