package dataplane

import (
	"bytes"
	"reflect"
	"testing"

	"tincan/internal/mesh"
	"tincan/internal/wire"
)

func TestEchoesTakeTheRequestedPath(t *testing.T) {
	data := wire.Echo{Number: 1, Size: 100}.Append(nil)
	unconfirmed := func(a *station) { a.republish("c", func(s *mesh.PeerState) { s.Confirmed, s.MinMTU = false, 0 }) }
	for _, c := range []struct {
		name   string
		echo   mesh.SendEcho
		change func(a *station)
		want   string
	}{
		{name: "as packets, through the relay", echo: mesh.SendEcho{Node: "c"}, want: "udp 192.0.2.2 ids"},
		{name: "as packets to a neighbour", echo: mesh.SendEcho{Node: "b"}, want: "udp 192.0.2.2 direct"},
		{name: "TCP", echo: mesh.SendEcho{Node: "c", Path: mesh.EchoTCP}, want: "sptps 1"},
		{name: "through a relay", echo: mesh.SendEcho{Node: "c", Path: mesh.EchoUDP, Via: "b"}, want: "udp 192.0.2.2 ids"},
		{name: "straight, which cannot be", echo: mesh.SendEcho{Node: "c", Path: mesh.EchoUDP}, change: unconfirmed, want: "drop no such path 1"},
		{name: "through nobody", echo: mesh.SendEcho{Node: "c", Path: mesh.EchoUDP, Via: "nobody"}, want: "drop no such path 1"},
		{name: "we use no UDP", echo: mesh.SendEcho{Node: "b", Path: mesh.EchoUDP}, change: func(a *station) { a.SetOptions(Options{TCPOnly: true}) }, want: "drop no such path 1"},
		{name: "to nobody", echo: mesh.SendEcho{Node: "nobody"}, want: "drop unknown node 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _, _ := row(t, nil)
			if c.change != nil {
				c.change(a)
			}
			c.echo.Data = data
			a.SendEcho(c.echo)
			if got := a.paths(a.sock.take()); got != c.want {
				t.Errorf("%q instead of %q", got, c.want)
			}
			if got := a.takeEvents(); got != nil {
				t.Errorf("it counts as traffic: %v", got)
			}
		})
	}
}

func TestEchoesAreReportedWithTheirHop(t *testing.T) {
	data := wire.Echo{Number: 1, Size: 100}.Append(nil)
	a, b, c := row(t, nil)

	a.SendEcho(mesh.SendEcho{Node: "c", Path: mesh.EchoUDP, Via: "b", Data: data})
	b.receive(addrA, a.sock.take()...)
	c.receive(addrB, b.sock.take()...)
	want := []mesh.Event{
		mesh.CameIndirectly{Node: "a", Hop: "b"},
		mesh.EchoIn{Node: "a", Hop: "b", Data: data},
	}
	if got := c.takeEvents(); !reflect.DeepEqual(got, want) {
		t.Errorf("through a relay: %v", got)
	}

	a.SendEcho(mesh.SendEcho{Node: "b", Path: mesh.EchoUDP, Data: data})
	b.takeEvents()
	b.receive(addrA, a.sock.take()...)
	if got, want := b.takeEvents(), []mesh.Event{mesh.EchoIn{Node: "a", Hop: "a", Direct: true, Addr: addrA, Data: data}}; !reflect.DeepEqual(got, want) {
		t.Errorf("straight: %v", got)
	}

	a.SendEcho(mesh.SendEcho{Node: "b", Path: mesh.EchoTCP, Data: data})
	b.FromMeta("a", bytes.Clone(a.metas[1].blobs[0]))
	if got, want := b.takeEvents(), []mesh.EchoIn{{Node: "a", Hop: "a", TCP: true, Data: data}}; !reflect.DeepEqual(got[len(got)-1], mesh.Event(want[0])) {
		t.Errorf("by TCP: %v", got)
	}
	if len(b.dev.take())+len(c.dev.take()) != 0 {
		t.Error("an echo reached the device")
	}
}

func TestEchoesAreNotDeliveredToTheDevice(t *testing.T) {
	data := append(wire.Echo{Number: 1, Size: 1000}.Append(nil), make([]byte, 100)...)
	a, b := compressingPair(t, 9)
	a.SendEcho(mesh.SendEcho{Node: "b", Data: data})
	b.receive(addrA, a.sock.take()...)
	if got, want := b.takeEvents(), []mesh.Event{mesh.EchoIn{Node: "a", Hop: "a", Direct: true, Addr: addrA, Data: data}}; !reflect.DeepEqual(got, want) {
		t.Errorf("it was packed like one: %v, %v", got, b.Drops())
	}
	if in, out := b.Counters("a"), a.Counters("b"); in.InPackets != 0 || out.OutPackets != 0 {
		t.Errorf("it was counted like one: %+v, %+v", in, out)
	}
}

func TestRecordsAboutTheRosterTravelLikePackets(t *testing.T) {
	data := bytes.Repeat([]byte("roster"), wire.MaxRoster/6)
	a, b, c := row(t, nil)
	want := []mesh.Event{mesh.RosterIn{Node: "a", Data: data}}

	a.SendRecord(mesh.SendRecord{Node: "c", Type: wire.TypeRoster, Data: data})
	b.receive(addrA, a.sock.take()...)
	c.receive(addrB, b.sock.take()...)
	if got := c.takeEvents(); len(got) == 0 || !reflect.DeepEqual(got[len(got)-1:], want) {
		t.Errorf("by UDP through a relay: %v", got)
	}

	a.SetOptions(Options{TCPOnly: true})
	a.SendRecord(mesh.SendRecord{Node: "b", Type: wire.TypeRoster, Data: data})
	b.takeEvents()
	b.FromMeta("a", bytes.Clone(a.metas[1].blobs[0]))
	if got := b.takeEvents(); len(got) == 0 || !reflect.DeepEqual(got[len(got)-1:], want) {
		t.Errorf("by TCP: %v", got)
	}
	if len(b.dev.take())+len(c.dev.take()) != 0 {
		t.Error("it reached the device")
	}

	a.metas[1].blobs = nil
	a.SendRecord(mesh.SendRecord{Node: "nobody", Type: wire.TypeRoster, Data: data})
	if got := a.paths(a.sock.take()); got != "drop unknown node 1" {
		t.Errorf("to nobody: %q", got)
	}
}
