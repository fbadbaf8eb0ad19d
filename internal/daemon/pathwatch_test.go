package daemon

import (
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

// Only a path that has lasted is told of, with the one before that had lasted.
func TestPathsThatLastAreToldOf(t *testing.T) {
	hops := map[node.Name]mesh.FirstHop{}
	var told []events.Event
	now := time.Unix(1000, 0)
	w := newPathWatch(func(names []node.Name) map[node.Name]mesh.FirstHop {
		out := map[node.Name]mesh.FirstHop{}
		for _, n := range names {
			out[n] = hops[n]
		}
		return out
	}, func(e events.Event) { told = append(told, e) })
	w.clock = func() time.Time { return now }
	after := func(d time.Duration, hop mesh.FirstHop) {
		hops["bob"] = hop
		w.published([]mesh.PeerState{{Node: "bob"}})
		w.look()
		now = now.Add(d)
		w.look()
	}
	tcp, udp, relayed := mesh.FirstHop{Node: "bob"}, mesh.FirstHop{Node: "bob", UDP: true}, mesh.FirstHop{Node: "carol", UDP: true}
	expect := func(what string, n int) {
		t.Helper()
		if len(told) != n {
			t.Fatalf("%s: %d events: %+v", what, len(told), told)
		}
	}
	after(time.Second, tcp)
	if w.due() != time.Unix(1003, 0) {
		t.Errorf("due at %v", w.due())
	}
	after(time.Minute, udp)
	expect("the first path, found in steps", 0)
	if w.since("bob") != time.Unix(1001, 0) || !w.due().IsZero() {
		t.Errorf("since %v, due %v", w.since("bob"), w.due())
	}
	after(time.Second, relayed)
	after(time.Minute, udp)
	expect("a flap", 0)
	after(time.Minute, mesh.FirstHop{})
	expect("idle", 0)
	after(time.Minute, udp)
	expect("the same after idling", 0)
	after(time.Minute, relayed)
	expect("another one", 1)
	e := told[0]
	if e.Event != events.PathChanged || e.Node != "bob" || e.Path != control.PathRelayed || e.Via != "carol" || e.Transport != control.TransportUDP ||
		e.Before != control.PathUDP || e.BeforeVia != "" || e.Text != "packets for bob go through carol (UDP), and not directly by UDP" {
		t.Errorf("%+v", e)
	}
	w.down("bob")
	after(time.Minute, udp)
	expect("back after it was away", 1)
	if !w.since("alice").IsZero() {
		t.Error("a path to nobody")
	}
}
