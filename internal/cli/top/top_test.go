package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tincan/internal/control"
	"tincan/internal/node"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// status is what a node says after n seconds.
func status(n uint64) control.Status {
	peer := func(name string, path control.Path, in, out uint64) control.NodeView {
		return control.NodeView{
			Name: node.Name(name), Reachable: path != control.PathUnreachable, Path: path,
			Rx: control.PacketView{Packets: n * in, Bytes: 100 * n * in},
			Tx: control.PacketView{Packets: n * out, Bytes: 1000 * n * out},
		}
	}
	bob := peer("bob", control.PathUDP, 20, 10)
	bob.RTT = control.Millis(12340 * time.Microsecond)
	carol := peer("carol", control.PathRelayed, 0, 30)
	carol.Via = "bob"
	return control.Status{
		Self:  peer("alice", control.PathSelf, 40, 20),
		Nodes: []control.NodeView{bob, carol, peer("dave", control.PathUnreachable, 0, 0)},
	}
}

// screen is what the model shows after two looks, ten seconds apart, and keys.
func screen(keys string) string {
	m := NewModel("Tinc vpn", time.Second)
	m.Update(status(100), start)
	m.Update(status(110), start.Add(10*time.Second))
	for _, k := range []byte(keys) {
		m.Key(k)
	}
	var out []string
	for _, l := range m.Lines(100, 0) {
		out = append(out, l.Text)
	}
	return strings.Join(out, "\n") + "\n"
}

func TestTheScreen(t *testing.T) {
	for keys, want := range map[string]string{
		"": `Tinc vpn               Nodes:    4  Sort: name        Current

Node                IN pkts   IN bytes   OUT pkts  OUT bytes  PATH                    RTT  LOSS
alice                    40       4000         20      20000  self                      -     -
bob                      20       2000         10      10000  direct (UDP)        12.3 ms   0 %
carol                     0          0         30      30000  relayed via bob           -     -
dave                      0          0          0          0  unreachable               -     -
`,
		"cki": `Tinc vpn               Nodes:    4  Sort: in bytes    Cumulative

Node                IN pkts   IN kbyte   OUT pkts  OUT kbyte  PATH                    RTT  LOSS
alice                  4400        440       2200       2200  self                      -     -
bob                    2200        220       1100       1100  direct (UDP)        12.3 ms   0 %
carol                     0          0       3300       3300  relayed via bob           -     -
dave                      0          0          0          0  unreachable               -     -
`,
		"O": `Tinc vpn               Nodes:    4  Sort: out pkts    Current

Node                IN pkts   IN bytes   OUT pkts  OUT bytes  PATH                    RTT  LOSS
carol                     0          0         30      30000  relayed via bob           -     -
alice                    40       4000         20      20000  self                      -     -
bob                      20       2000         10      10000  direct (UDP)        12.3 ms   0 %
dave                      0          0          0          0  unreachable               -     -
`,
	} {
		if got := screen(keys); got != want {
			t.Errorf("after the keys %q:\n%s\nwant\n%s", keys, got, want)
		}
	}
}

func TestTheFirstScreenHasNoRates(t *testing.T) {
	m := NewModel("x", time.Second)
	m.Update(status(100), start)
	for _, r := range m.Rows() {
		if r.Rate.any() {
			t.Errorf("%s: %+v", r.Name, r.Rate)
		}
	}
}

func TestANodeThatStartedAnewHasNoNegativeRate(t *testing.T) {
	m := NewModel("x", time.Second)
	m.Update(status(100), start)
	m.Update(status(10), start.Add(time.Second))
	if r := m.Rows()[0].Rate; r.InPackets != 400 {
		t.Errorf("%+v", r)
	}
}

func TestTheScreenFitsTheTerminal(t *testing.T) {
	m := NewModel("x", time.Second)
	m.Update(status(1), start)
	lines := m.Lines(20, 5)
	if len(lines) != 5 {
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l.Text) > 20 {
			t.Errorf("%q", l.Text)
		}
	}
}

// On 80 columns nothing that can be read in full is cut, and the keys are on the screen.
func TestNothingIsCutOnAnOrdinaryTerminal(t *testing.T) {
	m := NewModel("x", time.Second)
	m.Update(status(1), start)
	lines := m.Lines(80, 24)
	var text string
	for _, l := range lines {
		text += l.Text + "\n"
	}
	if strings.Contains(text, "…") || !strings.Contains(text, "relayed via bob") || !strings.Contains(text, "12.3 ms") || lines[len(lines)-1].Text != keysHelp {
		t.Error(text)
	}
}

func TestScrolling(t *testing.T) {
	s := status(1)
	for i := range 30 {
		s.Nodes = append(s.Nodes, control.NodeView{Name: node.Name(fmt.Sprintf("n%02d", i)), Path: control.PathUDP})
	}
	m := NewModel("x", time.Second) // 34 nodes, of which 6 fit
	m.Update(s, start)
	first := func() string { return strings.Fields(m.Lines(80, 10)[3].Text)[0] }
	for _, step := range []struct{ keys, want string }{
		{"", "alice"}, {"\x1b[B", "bob"}, {"\x1bOB\x1b[B", "dave"}, {"\x1b[A", "carol"}, {"\x1b[6~", "n04"}, {"\x1b[5~\x1b[5~", "alice"},
		{"\x1b[F", "n24"}, {"\x1b[B", "n24"}, {"\x1b[H", "alice"}, {"\x1b[Z\x1b[B", "bob"},
	} {
		for _, k := range []byte(step.keys) {
			if m.Key(k) {
				t.Fatalf("%q ends it", step.keys)
			}
		}
		if got := first(); got != step.want {
			t.Errorf("after %q the first is %s, want %s", step.keys, got, step.want)
		}
	}
	if lines := m.Lines(80, 10); len(lines) != 10 || lines[1].Text != "Nodes 2 to 7 of 34" {
		t.Errorf("%d lines, %q", len(lines), lines[1].Text)
	}
}

func TestLinesStandOut(t *testing.T) {
	m := NewModel("x", time.Second)
	m.Update(status(1), start)
	m.Update(status(2), start.Add(time.Second))
	want := []Style{Plain, Plain, Title, Active, Active, Active, Gone}
	for i, l := range m.Lines(80, 0) {
		if l.Style != want[i] {
			t.Errorf("%q: style %d", l.Text, l.Style)
		}
	}
}

func TestTypingADelay(t *testing.T) {
	for keys, want := range map[string]time.Duration{
		"s2.5\r":       2500 * time.Millisecond,
		"s0.01\n":      100 * time.Millisecond,
		"s5\x1b":       time.Second,
		"s57\x7f\r":    5 * time.Second,
		"s\r":          time.Second,
		"s1e9\r":       19 * time.Second, // letters are not taken
		"s..\r":        time.Second,
		"s123456789\r": time.Second, // more than a day
	} {
		m := NewModel("x", time.Second)
		for _, k := range []byte(keys) {
			if m.Key(k) {
				t.Errorf("%q: the end", keys)
			}
		}
		if m.Delay != want || m.prompt {
			t.Errorf("%q: %v", keys, m.Delay)
		}
	}
	m := NewModel("x", time.Second)
	m.Key('s')
	m.Key('3')
	if got := m.Lines(80, 0)[1].Text; got != "Change delay from 1.0s to: 3" {
		t.Errorf("%q", got)
	}
}

func TestKeysThatEnd(t *testing.T) {
	for _, k := range []byte{'q', 3, 4} {
		if !NewModel("x", time.Second).Key(k) {
			t.Errorf("%q does not end", k)
		}
	}
}

// source says what the node says at each look, and then that it is gone.
type source struct{ looks, most int }

var errGone = errors.New("the node is gone")

func (s *source) Status() (control.Status, error) {
	if s.looks++; s.looks > s.most {
		return control.Status{}, errGone
	}
	return status(uint64(s.looks)), nil
}

func TestTheLoopEndsWithTheNodeOrTheUser(t *testing.T) {
	m := NewModel("x", minDelay)
	drawn := 0
	if err := loop(context.Background(), nil, &source{most: 3}, m, func() { drawn++ }); !errors.Is(err, errGone) || drawn != 3 {
		t.Errorf("%v after %d screens", err, drawn)
	}
	keys := make(chan byte, 2)
	keys <- 'c'
	keys <- 'q'
	if err := loop(context.Background(), keys, &source{most: 3}, m, func() {}); err != nil || !m.cumulative {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := loop(ctx, nil, &source{most: 3}, m, func() {}); err != nil {
		t.Error(err)
	}
}

func TestTablesForFilesAndPrograms(t *testing.T) {
	var b bytes.Buffer
	if err := Print(context.Background(), &b, &source{most: 10}, NewModel("x", minDelay), 2); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "carol"); n != 2 || strings.Contains(b.String(), "\x1b") {
		t.Errorf("%d tables: %s", n, b.String())
	}
	b.Reset()
	if err := PrintJSON(context.Background(), &b, &source{most: 10}, NewModel("x", minDelay), 1); err != nil {
		t.Fatal(err)
	}
	var v struct {
		Time  time.Time
		Nodes []struct {
			Name string
			Path string
			RTT  float64 `json:"rtt_ms"`
			Rate struct {
				OutPackets float64 `json:"out_packets"`
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &v); err != nil || len(v.Nodes) != 4 || v.Nodes[1].RTT != 12.34 || v.Nodes[2].Rate.OutPackets <= 0 {
		t.Errorf("%v: %s", err, b.String())
	}
}
