package daemon

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/dataplane"
	"tincan/internal/report"
)

// TestDropsOfARunningNode: why packets were dropped is in the status, with the time of the last one, in words, and only what
// has occurred. why says it of a node that cannot be reached.
func TestDropsOfARunningNode(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	a.knows(b)
	a.start()
	c := a.client()
	if s, err := c.Status(); err != nil || len(s.Drops) != 0 {
		t.Fatalf("at first: %v, %v", s.Drops, err)
	}
	conn, err := net.Dial("udp", a.daemon.Addr().String())
	must(t, err)
	defer conn.Close()
	before := time.Now().Truncate(time.Second)
	_, err = conn.Write([]byte("short"))
	must(t, err)
	eventually(t, "the datagram is counted", func() bool {
		s, err := c.Status()
		must(t, err)
		if len(s.Drops) != 1 {
			return false
		}
		var text strings.Builder
		must(t, report.WriteDrops(&text, s, time.Now()))
		d, want := s.Drops[0], dataplane.ShortDatagram.String()
		if d.Reason != want || d.Count != 1 || d.Last.Before(before) || !strings.HasPrefix(text.String(), want+" ") || !strings.Contains(text.String(), " 1  last ") {
			t.Errorf("%+v, %q", d, text.String())
		}
		return true
	})
	w, err := c.Why("b", nil)
	must(t, err)
	if !slices.ContainsFunc(w.Reasons, func(r control.WhyReason) bool {
		return r.Code == whyDropped && strings.Contains(r.Text, dataplane.ShortDatagram.String()+", 1 so far")
	}) {
		t.Errorf("why about a node that cannot be reached: %+v", w)
	}
}
