// Package top shows the traffic of a running node as a live screen: rates or
// totals of each node, the way its packets take, round trip time and loss.
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

	"tincan/internal/control"
	"tincan/internal/node"
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

// perSecond is the rate between two counts; of a node that has started anew it is that since then.
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
	const interrupt, eot = 3, 4
	switch key {
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
		{Text: fmt.Sprintf("%-16s %10s %10s %10s %10s  %-18s %8s %5s", "Node",
			"IN "+m.unit.packets, "IN "+m.unit.bytes, "OUT "+m.unit.packets, "OUT "+m.unit.bytes, "PATH", "RTT", "LOSS"), Style: Title},
	}
	for _, r := range m.Rows() {
		c := m.shown(r)
		l := Line{Text: fmt.Sprintf("%-16s %10.0f %10.0f %10.0f %10.0f  %-18s %8s %5s", r.Name,
			math.Floor(c.InPackets*m.unit.packetsScale), math.Floor(c.InBytes*m.unit.bytesScale),
			math.Floor(c.OutPackets*m.unit.packetsScale), math.Floor(c.OutBytes*m.unit.bytesScale),
			r.view.PathText(), r.rtt(), r.loss())}
		switch {
		case !r.Reachable:
			l.Style = Gone
		case r.Rate.any():
			l.Style = Active
		}
		lines = append(lines, l)
	}
	if height > 0 && len(lines) > height {
		lines = lines[:height]
	}
	for i := range lines {
		lines[i].Text = cut(lines[i].Text, columns)
	}
	return lines
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

// cut limits a text, which is ASCII, to so many columns; 0 means no limit.
func cut(s string, columns int) string {
	if columns > 0 && len(s) > columns {
		s = s[:columns]
	}
	return strings.TrimRight(s, " ")
}
