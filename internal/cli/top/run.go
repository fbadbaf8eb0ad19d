package top

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"tincan/internal/control"
	"tincan/internal/terminal"
)

// Node is what is looked at.
type Node interface {
	Status() (control.Status, error)
}

// Run shows m on the terminal until the user has enough (nil), ctx ends (nil) or the
// node does not answer any more (the reason).
func Run(ctx context.Context, in, out *os.File, n Node, m *Model) error {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("using the terminal: %w", err)
	}
	defer term.Restore(int(in.Fd()), before)
	// An alternate screen and no cursor; afterwards everything is as it was.
	fmt.Fprint(out, terminal.EnterScreen)
	defer fmt.Fprint(out, terminal.LeaveScreen)

	keys := make(chan byte)
	go readKeys(in, keys)
	return loop(ctx, keys, n, m, func() {
		columns, rows, err := term.GetSize(int(out.Fd()))
		if err != nil {
			columns, rows = 80, 24
		}
		draw(out, m.Lines(columns, rows))
	})
}

// readKeys hands on what is typed. It cannot be interrupted; the program ends soon
// after it is not needed any more.
func readKeys(in io.Reader, keys chan<- byte) {
	defer close(keys)
	var b [1]byte
	for {
		if n, err := in.Read(b[:]); err != nil || n == 0 {
			return
		}
		keys <- b[0]
	}
}

// loop looks at the node and draws, until keys or ctx say that it is enough.
func loop(ctx context.Context, keys <-chan byte, n Node, m *Model, draw func()) error {
	for {
		s, err := n.Status()
		if err != nil {
			return err
		}
		m.Update(s, time.Now())
		draw()
		next := time.NewTimer(m.Delay)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				next.Stop()
				return nil
			case key, ok := <-keys:
				if !ok || m.Key(key) {
					next.Stop()
					return nil
				}
				draw()
			case <-next.C:
				waiting = false
			}
		}
	}
}

var styles = [...]string{Plain: "", Title: "\x1b[7m", Active: "\x1b[1m", Gone: "\x1b[2m"}

// draw writes a screen at once, so that it does not flicker.
func draw(out io.Writer, lines []Line) {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, l := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(styles[l.Style])
		b.WriteString(l.Text)
		b.WriteString("\x1b[0m\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(out, b.String())
}

// Print writes count screens as text, for files and pipes; with 0 it goes on until ctx
// ends. The first comes after one delay, so that it has rates.
func Print(ctx context.Context, out io.Writer, n Node, m *Model, count int) error {
	return sample(ctx, n, m, count, func(i int) error {
		w := bufio.NewWriter(out)
		if i > 0 {
			fmt.Fprintln(w)
		}
		for _, l := range m.Lines(0, 0) {
			if l.Text != "" {
				fmt.Fprintln(w, l.Text)
			}
		}
		return w.Flush()
	})
}

// JSONLine is what is written as JSON of one look.
type JSONLine struct {
	Time  time.Time `json:"time"`
	Nodes []JSONRow `json:"nodes"` // this node and the others
}

// JSONRow is one node in it.
type JSONRow struct {
	Row
	RTT control.Millis `json:"rtt_ms,omitempty"` // missing: not measured
}

// PrintJSON is like Print but writes one line of JSON for each look: the time and the nodes.
func PrintJSON(ctx context.Context, out io.Writer, n Node, m *Model, count int) error {
	return sample(ctx, n, m, count, func(int) error {
		rows := []JSONRow{}
		for _, r := range m.Rows() {
			rows = append(rows, JSONRow{r, control.Millis(r.RTT)})
		}
		return json.NewEncoder(out).Encode(JSONLine{m.at.UTC(), rows})
	})
}

// sample looks at the node once for the beginning and then count times.
func sample(ctx context.Context, n Node, m *Model, count int, show func(i int) error) error {
	for i := -1; count == 0 || i < count; i++ {
		if i >= 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(m.Delay):
			}
		}
		s, err := n.Status()
		if err != nil {
			return err
		}
		m.Update(s, time.Now())
		if i < 0 {
			continue
		}
		if err := show(i); err != nil {
			return err
		}
	}
	return nil
}
