//go:build linux

package cli_test

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tincan/internal/api"
	"tincan/internal/events"
	"tincan/internal/fixture"
)

// remembers is a node that remembers some events, and does nothing else.
type remembers struct {
	api.Backend
	log *events.Log
}

func (r remembers) Events() *events.Log { return r.log }

// flushes calls done after some flushes.
type flushes struct {
	http.ResponseWriter
	left int
	done func()
}

func (f *flushes) Unwrap() http.ResponseWriter { return f.ResponseWriter }

func (f *flushes) FlushError() error {
	err := http.NewResponseController(f.ResponseWriter).Flush()
	if f.left--; f.left == 0 {
		f.done()
	}
	return err
}

// TestEventsAreFollowed reads events until the node ends.
func TestEventsAreFollowed(t *testing.T) {
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = hub\n")
	stubDaemon(t, dir, strings.Repeat("0", 64), nil)
	run(t, "", "tincan", "-c", dir, "events").refused(t, "no answer at the socket of the HTTP API", "hint:")

	log := events.New("run", 10)
	at := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	log.Add(events.Event{Time: at, Event: events.NodeUp, Self: "hub", Node: "bob", Text: "bob is reachable"})
	log.Add(events.Event{Time: at, Event: events.MemberRemoved, Self: "hub", Node: "eve", Text: "eve was removed by\x1b[2J olga"})
	answer := api.Handler(remembers{log: log}, func(*http.Request) api.Role { return api.Reader })
	serve := func() { // until both have been sent
		l, err := net.Listen("unix", filepath.Join(dir, "pid.api.socket"))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{}
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer.ServeHTTP(&flushes{w, 1 + 2, func() { s.Close() }}, r)
		})
		go s.Serve(l)
	}
	serve()
	got := run(t, "", "tincan", "-c", dir, "events", "--all").must(t)
	want := "2026-11-30 10:00:00  node-up            bob is reachable\n2026-11-30 10:00:00  member-removed     eve was removed by?[2J olga\n"
	if got.out != want || got.err != "the node has ended\n" {
		t.Errorf("printed %q, said %q", got.out, got.err)
	}
	serve()
	got = run(t, "", "tincan", "-c", dir, "events", "--all", "--json").must(t)
	if lines := strings.Split(got.out, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], `{"id":"run-1","time":"2026-11-30T10:00:00Z","event":"node-up"`) {
		t.Errorf("printed %q", got.out)
	}
}
