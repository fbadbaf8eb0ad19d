package dataplane

import (
	"net/netip"
	"testing"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// A relay that the protocol core has chosen is used for our own packets, if its path MTU allows their size.
func TestChosenRelay(t *testing.T) {
	chosen := func(s *station) { s.republish("c", func(p *mesh.PeerState) { p.Relay = "b" }) }
	direct := func(p *mesh.PeerState) { // c is a neighbour with UDP
		if p.Node == "c" {
			p.NextHop, p.Via, p.Adjacent, p.Confirmed, p.MinMTU, p.MTU = "c", "c", true, true, 1400, 1400
			p.Addr, p.Conn = addrC, 2
		}
	}
	for _, c := range []struct {
		name   string
		change func(a *station)
		size   int
		want   string
	}{
		{"ahead of the straight way", chosen, 1000, "udp 192.0.2.2 ids"},
		{"nobody is chosen", func(*station) {}, 1000, "udp 192.0.2.3 direct"},
		{"too large for the relay", func(s *station) {
			chosen(s)
			s.republish("b", func(p *mesh.PeerState) { p.MinMTU = 900 })
		}, 1000, "udp 192.0.2.3 direct"},
		{"ahead of TCP with a neighbour", func(s *station) {
			chosen(s)
			s.republish("c", func(p *mesh.PeerState) { p.Confirmed, p.MinMTU = false, 0 })
		}, 1000, "udp 192.0.2.2 ids"},
		{"its path has just been lost", func(s *station) {
			chosen(s)
			s.republish("b", func(p *mesh.PeerState) { p.Confirmed, p.MinMTU = false, 0 })
		}, 1000, "udp 192.0.2.3 direct"},
		{"TCPOnly", func(s *station) { chosen(s); s.SetOptions(Options{TCPOnly: true}) }, 1000, "sptps 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _, _ := row(t, nil)
			a.republish("c", direct)
			c.change(a)
			p := ip{dst: "10.2.0.1", payload: c.size - 40}.build()
			if got := a.paths(a.out(p, device.Offload{})); got != c.want {
				t.Errorf("fast: %q instead of %q", got, c.want)
			}
			syn := ip{dst: "10.2.0.1", payload: c.size - 40, flags: 2}.build() // takes the slow path
			for _, m := range a.metas {
				m.blobs = nil
			}
			if got := a.paths(a.out(syn, device.Offload{})); got != c.want {
				t.Errorf("slow: %q instead of %q", got, c.want)
			}
		})
	}
}

func TestRelayedPacketsTakeNoChosenRelay(t *testing.T) {
	a, b, _ := row(t, nil)
	b.republish("c", func(p *mesh.PeerState) { p.Relay = "a" })
	b.receive(addrA, a.out(ip{dst: "10.2.0.1", payload: 100}.build(), device.Offload{})...)
	if got, want := b.paths(b.sock.take()), "udp 192.0.2.3 ids"; got != want {
		t.Errorf("%q instead of %q", got, want)
	}
}

// Relays that disagree about the path forward a datagram in a loop: it comes back from another
// neighbour than it was sent to.
func TestRoutingLoopsAreBroken(t *testing.T) {
	_, b, _ := row(t, nil)
	far := mesh.PeerState{Known: true, Reachable: true, NextHop: "a", Via: "a", ViaSelf: true, Options: 7 << 24, Sock: -1, Conn: 1}
	source, destination := far, far
	source.Node, destination.Node = "x", "d"
	b.PublishPeers([]mesh.PeerState{source, destination})
	datagram := func(number byte) []byte {
		d := wire.AppendIDs(nil, node.Name("d").ID(), node.Name("x").ID())
		return append(append(d, 0, 0, 0, number), make([]byte, 100)...)
	}
	pass := func(from netip.AddrPort, number byte) string {
		d := datagram(number)
		b.receive(from, udp.Run{To: addrB, Buf: d, Size: len(d)})
		for i := range b.drops {
			defer b.drops[i].count.Store(0)
		}
		return b.paths(b.sock.take())
	}
	for _, c := range []struct {
		what   string
		from   netip.AddrPort
		number byte
		want   string
	}{
		{"from one neighbour to the other", addrC, 1, "udp 192.0.2.1 ids"},
		{"it comes back", addrC, 1, "drop loop 1"},
		{"another one", addrC, 2, "udp 192.0.2.1 ids"},
		{"from where it would go", addrA, 3, "drop loop 1"},
	} {
		if got := pass(c.from, c.number); got != c.want {
			t.Errorf("%s: %q instead of %q", c.what, got, c.want)
		}
	}
	b.FromMeta("c", datagram(4))
	b.FromMeta("c", datagram(4))
	if n := b.dropped(Loop); n != 1 || len(b.sock.take()) != 1 {
		t.Errorf("over meta connections: %d circles cut", n)
	}
}
