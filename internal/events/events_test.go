package events

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/node"
)

// read returns the next events that are there already, as words.
func read(t *testing.T, r *Reader) string {
	t.Helper()
	var out []string
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		e, err := r.Next(ctx)
		cancel()
		if err != nil {
			return strings.Join(out, " ")
		}
		if e.Event == Missed {
			out = append(out, fmt.Sprint("missed", e.Count))
			continue
		}
		out = append(out, string(e.Node))
	}
}

func TestReaders(t *testing.T) {
	l := New("run", 4)
	add := func(names ...node.Name) {
		for _, n := range names {
			l.Add(Event{Event: NodeUp, Node: n})
		}
	}
	early := l.Read()
	add("a", "b")
	late, all := l.Read(), l.ReadAll()
	for _, c := range []struct {
		what string
		r    *Reader
		want string
	}{
		{"from the beginning", early, "a b"}, {"from now on", late, ""}, {"all that are there", all, "a b"},
		{"after an id", l.ReadAfter("run-1"), "b"}, {"after the last id", l.ReadAfter("run-2"), ""},
		{"after an id of another run", l.ReadAfter("other-1"), "missed0 a b"}, {"after an id that is none", l.ReadAfter("run-x"), "missed0 a b"},
		{"after an id that is still to come", l.ReadAfter("run-3"), "missed0 a b"},
	} {
		if got := read(t, c.r); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	add("c", "d", "e", "f", "g", "h")
	if got := read(t, late); got != "missed2 e f g h" {
		t.Errorf("a slow reader: %q", got)
	}
	if got := read(t, l.ReadAfter("run-1")); got != "missed3 e f g h" {
		t.Errorf("after an old id: %q", got)
	}
}

func TestAReaderIsWokenAndEnds(t *testing.T) {
	l := New("run", 2)
	ctx, cancel := context.WithCancel(context.Background())
	r := l.Read()
	var reading sync.WaitGroup
	reading.Go(func() {
		if e, err := r.Next(ctx); err != nil || e.ID != "run-1" || e.Node != "bob" {
			t.Errorf("%+v, %v", e, err)
		}
		if _, err := r.Next(ctx); err != context.Canceled {
			t.Errorf("it ended with %v", err)
		}
	})
	l.Add(Event{Event: NodeUp, Node: "bob"})
	time.AfterFunc(10*time.Millisecond, cancel)
	reading.Wait()
}
