package dataplane

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/b64"
	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// paths lists the paths by which packets left a station.
func (s *station) paths(runs []udp.Run) string {
	var out []string
	for _, r := range runs {
		ids := "ids"
		if bytes.Equal(r.Buf[:6], make([]byte, 6)) {
			ids = "direct"
		}
		if end := s.ends[r.To]; end != nil && end.Check(r.Buf[:min(r.Size, len(r.Buf))]) {
			ids = "legacy"
		}
		out = append(out, fmt.Sprintf("udp %v %s", r.To.Addr(), ids))
	}
	for id := mesh.ConnID(1); id <= 2; id++ {
		m := s.metas[id]
		if m == nil {
			continue
		}
		for _, b := range m.blobs {
			if node.ID(b).IsZero() {
				out = append(out, "no ids")
			}
			out = append(out, fmt.Sprint("sptps ", id))
		}
		for range m.frames {
			out = append(out, fmt.Sprint("packet ", id))
		}
		for _, r := range m.requests {
			out = append(out, strings.Join(strings.Fields(r)[:4], " "))
		}
		*m = recordingMeta{full: m.full}
	}
	for _, w := range s.dev.take() {
		what := "device"
		if w.pkt[0]>>4 == 4 && w.pkt[9] == packet.ProtoICMP {
			what = fmt.Sprintf("icmp %d/%d", w.pkt[20], w.pkt[21])
			if w.pkt[20] == 3 && w.pkt[21] == 4 {
				what += fmt.Sprint(" mtu ", binary.BigEndian.Uint16(w.pkt[26:]))
			}
		}
		out = append(out, what)
	}
	for _, d := range s.Drops() {
		out = append(out, fmt.Sprint("drop ", d.Reason, " ", d.Count))
	}
	return strings.Join(out, ", ")
}

// ownPacket is a packet of a for b, or for c behind it, and the path that it should take.
type ownPacket struct {
	name string
	dst  string // "": in b's subnet
	size int    // bytes of IP packet
	opts Options
	newB bool // b uses SPTPS, where others do not
	b, c func(*mesh.PeerState)
	want string
}

// taken checks it.
func (o ownPacket) taken(t *testing.T, a *station) {
	t.Helper()
	r := plan()
	r.Tree = []node.Name{"b"}
	a.PublishRoutes(r)
	a.SetOptions(o.opts)
	if o.b != nil {
		a.republish("b", o.b)
	}
	if o.c != nil {
		a.republish("c", o.c)
	}
	p := ip{udp: true, dst: o.dst, payload: o.size - 28, frag: 0x4000}.build()
	if got := a.paths(a.out(p, device.Offload{})); got != o.want {
		t.Errorf("%q instead of %q", got, o.want)
	}
}

func TestPathOfAnOwnPacket(t *testing.T) {
	minor := func(n uint32) uint32 { return goodOptions&0xffffff | n<<24 }
	cases := []ownPacket{
		{name: "small, to a neighbour", size: 100, want: "udp 192.0.2.2 direct"},
		{name: "as large as the path", size: 1425, want: "udp 192.0.2.2 direct"},
		{name: "larger than the path", size: 1426, want: "icmp 3/4 mtu 1425, drop routing: too big 1"},
		{name: "larger than what was probed so far", size: 1000,
			b: func(s *mesh.PeerState) { s.MTU, s.MinMTU = 1518, 1013 }, want: "packet 1"},
		{name: "as large as what was probed so far", size: 1000,
			b: func(s *mesh.PeerState) { s.MTU, s.MinMTU = 1518, 1014 }, want: "udp 192.0.2.2 direct"},
		{name: "neighbour without UDP", size: 100,
			b: func(s *mesh.PeerState) { s.Confirmed, s.MinMTU, s.MTU = false, 0, 1518 }, want: "packet 1"},
		{name: "address that lost its confirmation", size: 100,
			b: func(s *mesh.PeerState) { s.Confirmed = false }, want: "sptps 1"},
		{name: "neighbour that knows no ids", size: 100, b: func(s *mesh.PeerState) { s.Options = minor(3) }, want: "15 a b 21"},
		{name: "neighbour without session", size: 100,
			b: func(s *mesh.PeerState) { s.Tunnel = nil }, want: "packet 1"},
		{name: "neighbour without session or connection", size: 100,
			b: func(s *mesh.PeerState) { s.Tunnel, s.Conn = nil, 9 }, want: "drop no meta connection 1"},
		{name: "TCPOnly neighbour with UDP", size: 100,
			b: func(s *mesh.PeerState) { s.Options |= uint32(wire.TCPOnly) }, want: "sptps 1"},
		{name: "we are TCPOnly", size: 100, opts: Options{TCPOnly: true}, want: "sptps 1"},
		{name: "no subnet", dst: "10.9.0.1", size: 100, want: "icmp 3/6, drop routing: no subnet 1"},
		{name: "own subnet", dst: "10.0.0.9", size: 100, want: "drop routing: back to its source 1"},
		{name: "not reachable", size: 100,
			b: func(s *mesh.PeerState) { s.Reachable = false }, want: "drop unreachable 1"}, // while the routes still say that it is
		{name: "multicast", dst: "224.0.0.251", size: 100, want: "udp 192.0.2.2 direct"},
		{name: "multicast that stays at home", dst: "224.0.0.251", size: 100, opts: Options{Broadcast: route.None}, want: ""},
		{name: "multicast, direct", dst: "224.0.0.251", size: 100, opts: Options{Broadcast: route.Direct},
			c: func(s *mesh.PeerState) { s.Via = "b" }, want: "udp 192.0.2.2 direct"},

		{name: "through a dynamic relay", dst: "10.2.0.1", size: 100, want: "udp 192.0.2.2 ids"},
		{name: "as large as the way to a dynamic relay", dst: "10.2.0.1", size: 1439, want: "udp 192.0.2.2 ids"},
		{name: "larger than the way to a dynamic relay", dst: "10.2.0.1", size: 1440, want: "sptps 1"},
		{name: "through a static relay", dst: "10.2.0.1", size: 100,
			c: func(s *mesh.PeerState) { s.Via = "b" }, want: "udp 192.0.2.2 ids"},
		{name: "too large for a static relay", dst: "10.2.0.1", size: 1430,
			c: func(s *mesh.PeerState) { s.Via = "b" }, want: "icmp 3/4 mtu 1425, drop routing: too big 1"},
		{name: "we ourselves are the via", dst: "10.2.0.1", size: 100,
			c: func(s *mesh.PeerState) { s.Via, s.ViaSelf = "b", true }, want: "udp 192.0.2.2 ids"},
		{name: "DirectOnly and a relay", dst: "10.2.0.1", size: 100, opts: Options{DirectOnly: true},
			c: func(s *mesh.PeerState) { s.Via = "b" }, want: "icmp 3/9, drop routing: not direct 1"},
		{name: "DirectOnly and a dynamic relay, while a direct path is looked for", dst: "10.2.0.1", size: 100, opts: Options{DirectOnly: true},
			want: "drop routing: not direct 1"},
		{name: "DirectOnly and a UDP hole", dst: "10.2.0.1", size: 1000, opts: Options{DirectOnly: true},
			c: func(s *mesh.PeerState) { s.Addr, s.Confirmed, s.MinMTU = addrC, true, 1014 }, want: "udp 192.0.2.3 direct"},
		{name: "DirectOnly and larger than the hole is known to let through", dst: "10.2.0.1", size: 1001, opts: Options{DirectOnly: true},
			c: func(s *mesh.PeerState) { s.Addr, s.Confirmed, s.MinMTU = addrC, true, 1014 }, want: "drop routing: not direct 1"},
		{name: "relay without UDP", dst: "10.2.0.1", size: 100,
			b: func(s *mesh.PeerState) { s.Confirmed, s.MinMTU = false, 0 }, want: "sptps 1"},
		{name: "TCPOnly relay", dst: "10.2.0.1", size: 100,
			b: func(s *mesh.PeerState) { s.Options |= uint32(wire.TCPOnly) }, want: "sptps 1"},
		{name: "relay that knows no ids", dst: "10.2.0.1", size: 100,
			b: func(s *mesh.PeerState) { s.Options = minor(3) }, want: "15 a c 21"},
		{name: "relay that knows ids but no SPTPS_PACKET", dst: "10.2.0.1", size: 100,
			b: func(s *mesh.PeerState) { s.Options, s.MinMTU = minor(6), 0 }, want: "15 a c 21"},
		{name: "UDP hole to a node that is not adjacent", dst: "10.2.0.1", size: 1425,
			c: func(s *mesh.PeerState) { s.Addr, s.Confirmed, s.MinMTU, s.MTU = addrC, true, 1439, 1439 }, want: "udp 192.0.2.3 direct"},
		{name: "as large as a UDP hole is known to let through", dst: "10.2.0.1", size: 1000,
			c: func(s *mesh.PeerState) { s.Addr, s.Confirmed, s.MinMTU = addrC, true, 1000 }, want: "udp 192.0.2.3 direct"},
		{name: "larger than a UDP hole is known to let through", dst: "10.2.0.1", size: 1001,
			c: func(s *mesh.PeerState) { s.Addr, s.Confirmed, s.MinMTU = addrC, true, 1000 }, want: "udp 192.0.2.2 ids"},
		{name: "no session with a node that is not adjacent", dst: "10.2.0.1", size: 100,
			c: func(s *mesh.PeerState) { s.Tunnel = nil }, want: ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, _, _ := row(t, nil)
			c.taken(t, a)
		})
	}
}

// TestBroadcastsAreNoTrafficForNeighbours: operating systems send some at all times. They must keep neither the protocol core
// awake nor the search for silent peers.
func TestBroadcastsAreNoTrafficForNeighbours(t *testing.T) {
	multicast := ip{dst: "224.0.0.251", payload: 100}.build()
	for _, c := range []struct {
		name    string
		opts    Options
		change  func(*station)
		packet  []byte
		traffic bool // is reported for b
		watched bool // whether b answers
	}{
		{name: "a multicast", packet: multicast},
		{name: "a multicast to a neighbour without UDP", packet: multicast,
			change: func(a *station) {
				a.republish("b", func(s *mesh.PeerState) { s.Confirmed, s.MinMTU = false, 0 })
			}},
		{name: "a multicast to a node of tinc 1.0", packet: multicast,
			change: func(a *station) {
				end, _ := links(t)
				a.PublishPeers([]mesh.PeerState{old("b", addrB, end)})
			}},
		{name: "a multicast straight to a node without connection", packet: multicast, opts: Options{Broadcast: route.Direct},
			change: func(a *station) { a.republish("b", func(s *mesh.PeerState) { s.Adjacent = false }) }, traffic: true},
		{name: "a packet for it", packet: ip{payload: 100}.build(), traffic: true, watched: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _, _ := row(t, nil)
			routes := plan()
			routes.Tree = []node.Name{"b"}
			a.PublishRoutes(routes)
			a.SetOptions(c.opts)
			if c.change != nil {
				c.change(a)
			}
			a.takeEvents()
			if a.paths(a.out(c.packet, device.Offload{})) == "" {
				t.Fatal("not sent")
			}
			if got := slices.Contains(a.takeEvents(), mesh.Event(mesh.Traffic{Node: "b"})); got != c.traffic {
				t.Errorf("traffic reported: %v", got)
			}
			if a.watching.Load() != c.watched {
				t.Errorf("searches for silent peers: %v", a.watching.Load())
			}
			a.out(ip{payload: 100}.build(), device.Offload{})
			if !slices.Contains(a.takeEvents(), mesh.Event(mesh.Traffic{Node: "b"})) && !c.traffic {
				t.Error("the next packet for it is not traffic")
			}
		})
	}
}

func TestSuperPacketOnTheSlowPathIsSentPacketByPacket(t *testing.T) {
	a, b := pair(t)
	a.republish("b", func(s *mesh.PeerState) { s.Confirmed, s.MinMTU = false, 0 })
	whole := ip{payload: 5000, frag: 0x4000, flags: 0x18}.build()
	p, off := super(whole, 1380)
	if runs := a.out(p, off); runs != nil {
		t.Fatal("sent by UDP")
	}
	for _, f := range a.metas[1].frames {
		b.FrameFromMeta("a", f)
	}
	same(t, flat(t, b.dev.take()), segmentReference(whole, 40, 20, 1380))
}

func TestFirstPacketsWaitForTheSession(t *testing.T) {
	a, b, _ := row(t, nil)
	_, st := a.known("c")
	tun := st.Tunnel
	a.republish("c", func(s *mesh.PeerState) { s.Tunnel = nil })
	send := func(n int) (runs []udp.Run) {
		p := ip{dst: "10.2.0.1", payload: n}.build()
		return a.out(p, device.Offload{})
	}
	for i := range maxPendingPerPeer + 3 {
		if runs := send(i); runs != nil {
			t.Fatal("sent without a session")
		}
	}
	if got := a.takeEvents(); !reflect.DeepEqual(got, []mesh.Event{mesh.Traffic{Node: "c"}}) {
		t.Errorf("events %v", got)
	}
	if n := a.dropped(SessionTimeout); n != 3 {
		t.Errorf("%d given up instead of 3", n)
	}
	a.time = a.time.Add(maxPendingAge)
	a.republish("c", func(s *mesh.PeerState) { s.Tunnel = tun })
	runs := a.sock.take()
	if len(runs) != maxPendingPerPeer || runs[0].To != addrB || len(runs[0].Buf) != 33+40+3 {
		t.Errorf("released %d, first %+v", len(runs), runs)
	}
	_ = b

	// A packet that has waited too long is dropped.
	a.republish("c", func(s *mesh.PeerState) { s.Tunnel = nil })
	send(1)
	a.time = a.time.Add(maxPendingAge + 1)
	a.republish("c", func(s *mesh.PeerState) { s.Tunnel = tun })
	if runs := a.sock.take(); runs != nil {
		t.Error("an old packet was sent")
	}
	// So is one for a node that was removed.
	a.republish("c", func(s *mesh.PeerState) { s.Tunnel = nil })
	send(1)
	a.republish("c", func(s *mesh.PeerState) { s.Known = false })
	if len(a.pending.waiting) != 0 {
		t.Error("a packet for a forgotten node is kept")
	}
}

func TestPendingQueueIsBounded(t *testing.T) {
	const each = 8 // packets per peer, which is within both bounds
	a, _ := pair(t)
	for _, c := range []struct {
		what  string
		room  *pendingQueue
		most  int
		first byte // that stays
	}{
		{"the oldest make room", &a.pending, maxPending, 100 - maxPending/each},
		{"the new ones are refused", &a.work.early, maxEarly, 0},
	} {
		w, kept, expired := c.room, 0, 0
		for i := range 100 {
			pr := newPeer(node.Name(fmt.Sprint("n", i)))
			for range each {
				ok, n := w.add(pendingPacket{peer: pr, since: 1, data: []byte{byte(i)}})
				expired += n
				if ok {
					kept++
				}
			}
		}
		if len(w.waiting) != c.most || kept-expired != c.most {
			t.Errorf("%s: %d packets wait, %d kept, %d of them given up", c.what, len(w.waiting), kept, expired)
		}
		if got := w.waiting[0].data[0]; got != c.first {
			t.Errorf("%s: %d is the first one that is left", c.what, got)
		}
	}
}

func TestMSSIsClampedBothWays(t *testing.T) {
	mss := []byte{1, 1, 2, 4, 0x05, 0xb4, 1, 1} // 1460, not the first option
	syn := ip{flags: packet.FlagSYN, opts: mss}
	a, b := pair(t)
	runs := a.out(syn.build(), device.Offload{})
	// The other direction is tighter: b knows a's path to be smaller.
	b.republish("a", func(s *mesh.PeerState) { s.MTU = 1300 })
	b.receive(addrA, runs...)
	got := flat(t, b.dev.take())
	if len(got) != 1 {
		t.Fatalf("%d packets", len(got))
	}
	if m := binary.BigEndian.Uint16(got[0][44:]); m != 1300-14-40 {
		t.Errorf("MSS %d", m)
	}
	h, _ := packet.Parse(got[0])
	if !packet.TransportSumOK(got[0], h) {
		t.Error("checksum is wrong afterwards")
	}

	_, st := a.known("b")
	plain, err := func() ([]byte, error) {
		_, tb := b.known("a")
		return tb.Tunnel.Open(nil, a.out(syn.build(), device.Offload{})[0].Buf[12:])
	}()
	if err != nil || binary.BigEndian.Uint16(plain[1+44:]) != uint16(st.MTU-14-40) {
		t.Errorf("sent %x, %v", plain, err)
	}
}

func TestPacketsFromPeers(t *testing.T) {
	cases := []struct {
		name string
		opts Options
		ip
		want string
	}{
		{name: "for us", want: "device"},
		{name: "for nobody", ip: ip{dst: "10.9.9.9"}, want: "udp 192.0.2.1 direct, drop routing: no subnet 1"},
		{name: "back to its sender", ip: ip{dst: "10.0.0.7"}, want: "drop routing: back to its source 1"},
		{name: "for another peer", ip: ip{dst: "10.2.0.1"}, want: "udp 192.0.2.3 direct"},
		{name: "for another peer, forwarding off", ip: ip{dst: "10.2.0.1"}, opts: Options{Forwarding: route.Off},
			want: "udp 192.0.2.1 direct, drop routing: prohibited 1"},
		{name: "for another peer, forwarding in the kernel", ip: ip{dst: "10.2.0.1"}, opts: Options{Forwarding: route.Kernel}, want: "device"},
		{name: "SYN, forwarding in the kernel", ip: ip{dst: "10.2.0.1", flags: 2}, opts: Options{Forwarding: route.Kernel}, want: "device"},
		{name: "for another peer, TTL used up", ip: ip{dst: "10.2.0.1", ttl: 1}, opts: Options{DecrementTTL: true},
			want: "udp 192.0.2.1 direct, drop routing: expired 1"},
		{name: "for another peer, TTL 1 but not counted", ip: ip{dst: "10.2.0.1", ttl: 1}, want: "udp 192.0.2.3 direct"},
		{name: "multicast goes to us and on along the tree, not back", ip: ip{dst: "224.0.0.1", udp: true}, want: "udp 192.0.2.3 direct, device"},
		{name: "multicast, direct: not passed on", ip: ip{dst: "224.0.0.1", udp: true}, opts: Options{Broadcast: route.Direct}, want: "device"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b, _ := row(t, nil)
			r := plan()
			r.Tree = []node.Name{"a", "c"}
			b.PublishRoutes(r)
			b.SetOptions(c.opts)
			_, st := a.known("b")
			f := a.slowRecord(st, c.build())
			b.receive(addrA, f)
			if got := b.paths(b.sock.take()); got != c.want {
				t.Errorf("by UDP: %q instead of %q", got, c.want)
			}

			for i := range b.drops {
				b.drops[i].count.Store(0)
			}
			for i := range b.unrouted {
				b.unrouted[i].count.Store(0)
			}
			b.FrameFromMeta("a", frame(c.build()))
			if got := b.paths(b.sock.take()); got != c.want {
				t.Errorf("by PACKET: %q instead of %q", got, c.want)
			}
		})
	}
}

// slowRecord seals p for a peer whatever the routes say.
func (s *station) slowRecord(to *state, p []byte) udp.Run {
	return s.record(to, wire.TypeIP, p)
}

// record is a direct datagram to a peer.
func (s *station) record(to *state, typ byte, data []byte) udp.Run {
	b := wire.AppendIDs(nil, node.ID{}, s.selfID)
	b = to.Tunnel.Seal(b, append([]byte{typ}, data...))
	return udp.Run{To: to.Addr, Buf: b, Size: len(b)}
}

// frame puts an Ethernet header before p.
func frame(p []byte) []byte {
	f := append(make([]byte, 14), p...)
	typ, _ := packet.EtherTypeOf(p)
	binary.BigEndian.PutUint16(f[12:], typ)
	return f
}

func TestRelayPassesRunsOnUnchanged(t *testing.T) {
	a, b, c := row(t, nil)
	whole := ip{dst: "10.2.0.1", payload: 20000, frag: 0x4000}.build()
	p, off := super(whole, 1380)
	runs := a.out(p, off)
	if len(runs) != 1 || runs[0].To != addrB {
		t.Fatalf("%d runs", len(runs))
	}
	sent := bytes.Clone(runs[0].Buf)
	b.receive(addrA, runs...)
	passed := b.sock.take()
	if len(passed) != 1 || passed[0].To != addrC || !bytes.Equal(passed[0].Buf, sent) || passed[0].Size != runs[0].Size {
		t.Fatalf("relayed %d runs", len(passed))
	}
	if got, want := b.takeEvents(), []mesh.Event{mesh.Relayed{From: "a", To: "c"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("relay reports %v", got)
	}
	c.receive(addrB, passed...)
	same(t, flat(t, c.dev.take()), segmentReference(whole, 40, 20, 1380))
	if got, want := c.takeEvents(), []mesh.Event{mesh.CameIndirectly{Node: "a", Hop: "b"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("destination reports %v", got)
	}
	// Not again within a second.
	p, off = super(whole, 1380)
	b.time, c.time = b.time.Add(time.Second/2), c.time.Add(time.Second/2)
	b.receive(addrA, a.out(p, off)...)
	c.receive(addrB, b.sock.take()...)
	if got := b.takeEvents(); got != nil {
		t.Errorf("relay reports %v", got)
	}
	if got := c.takeEvents(); got != nil {
		t.Errorf("destination reports %v", got)
	}
}

func TestRelayRules(t *testing.T) {
	cases := []struct {
		name   string
		from   netip.AddrPort
		change func(b *station)
		alter  func(datagram []byte)
		want   string
	}{
		{name: "passed on", from: addrA, want: "udp 192.0.2.3 ids"},
		{name: "sender's address is not confirmed", from: netip.MustParseAddrPort("198.51.100.1:1"),
			want: "drop relay request from an unconfirmed address 1"},
		{name: "nobody at all", from: netip.MustParseAddrPort("198.51.100.1:1"),
			alter: func(d []byte) { d[7] ^= 1 }, want: "drop unknown sender 1"},
		{name: "unknown destination", from: addrA, alter: func(d []byte) { d[0] ^= 1 }, want: "drop unknown node 1"},
		{name: "unknown source", from: addrA, alter: func(d []byte) { d[6] ^= 1 }, want: "drop unknown node 1"},
		{name: "unreachable destination", from: addrA,
			change: func(b *station) { b.republish("c", func(s *mesh.PeerState) { s.Reachable = false }) }, want: "drop unreachable 1"},
		{name: "would go back", from: addrA, change: func(b *station) {
			b.republish("c", func(s *mesh.PeerState) {
				s.NextHop, s.Via, s.Adjacent, s.Confirmed, s.MinMTU = "a", "c", false, false, 0
			})
		}, want: "drop loop 1"},
		{name: "would go back by TCP", from: addrA, change: func(b *station) {
			b.republish("a", func(s *mesh.PeerState) { s.MinMTU = 20 })
			b.republish("c", func(s *mesh.PeerState) {
				s.NextHop, s.Via, s.Adjacent, s.Confirmed, s.MinMTU = "a", "c", false, false, 0
			})
		}, want: "drop loop 1"},
		{name: "no UDP further on", from: addrA,
			change: func(b *station) { b.republish("c", func(s *mesh.PeerState) { s.Confirmed, s.MinMTU = false, 0 }) }, want: "sptps 2"},
		{name: "too large further on", from: addrA,
			change: func(b *station) { b.republish("c", func(s *mesh.PeerState) { s.MinMTU = 139 }) }, want: "sptps 2"},
		{name: "just right further on", from: addrA,
			change: func(b *station) { b.republish("c", func(s *mesh.PeerState) { s.MinMTU = 140 }) }, want: "udp 192.0.2.3 ids"},
		{name: "old next hop without ids", from: addrA,
			change: func(b *station) { b.republish("c", func(s *mesh.PeerState) { s.Options = 3 << 24 }) }, want: "15 a c 21"},
		{name: "no session with the destination is needed", from: addrA,
			change: func(b *station) { b.republish("c", func(s *mesh.PeerState) { s.Tunnel = nil }) }, want: "udp 192.0.2.3 ids"},
		{name: "we are TCPOnly", from: addrA, change: func(b *station) { b.SetOptions(Options{TCPOnly: true}) }, want: "sptps 2"},
		{name: "queue full", from: addrA, change: func(b *station) {
			b.SetOptions(Options{TCPOnly: true})
			b.metas[2].full = true
		}, want: "sptps 2, drop meta connection full 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b, _ := row(t, nil)
			if c.change != nil {
				c.change(b)
			}
			runs := a.out(ip{dst: "10.2.0.1", payload: 100}.build(), device.Offload{})
			if c.alter != nil {
				c.alter(runs[0].Buf)
			}
			blob := bytes.Clone(runs[0].Buf)
			b.receive(c.from, runs...)
			if got := b.paths(b.sock.take()); got != c.want {
				t.Errorf("from UDP: %q instead of %q", got, c.want)
			}
			if c.from != addrA {
				return
			}
			// The same by SPTPS_PACKET.
			for i := range b.drops {
				b.drops[i].count.Store(0)
			}
			b.FromMeta("a", blob)
			if got := b.paths(b.sock.take()); got != c.want {
				t.Errorf("from meta: %q instead of %q", got, c.want)
			}
		})
	}
}

func TestTCPFallbackThroughARelay(t *testing.T) {
	a, b, c := row(t, nil)
	for _, s := range []*station{a, b, c} {
		for _, n := range []node.Name{"a", "b", "c"} {
			if _, st := s.known(n); st != nil {
				s.republish(n, func(s *mesh.PeerState) { s.Confirmed, s.MinMTU = false, 0 })
			}
		}
	}
	p := ip{dst: "10.2.0.1", payload: 1400}.build()
	a.out(p, device.Offload{})
	for _, blob := range a.metas[1].blobs {
		if blob := blob[:12]; !bytes.Equal(blob, wire.AppendIDs(nil, c.selfID, a.selfID)) {
			t.Errorf("ids %x", blob)
		}
		b.FromMeta("a", blob)
	}
	for _, blob := range b.metas[2].blobs {
		c.FromMeta("b", blob)
	}
	same(t, flat(t, c.dev.take()), [][]byte{p})
	if got, want := c.takeEvents(), []mesh.Event{mesh.CameIndirectly{Node: "a", Hop: "b", TCP: true}}; !reflect.DeepEqual(got, want) {
		t.Errorf("destination reports %v", got)
	}
	if c.Counters("a").InPackets != 1 || c.SelfCounters().OutPackets != 1 {
		t.Error("not counted")
	}
}

func TestRecordInARequest(t *testing.T) {
	a, b, c := row(t, nil)
	a.republish("b", func(s *mesh.PeerState) { s.Options, s.MinMTU = 6<<24, 0 })
	p := ip{dst: "10.2.0.1", payload: 1300}.build()
	a.out(p, device.Offload{})
	req, err := wire.ParseReqKey(a.metas[1].requests[0])
	if err != nil || req.From != "a" || req.To != "c" {
		t.Fatal(req, err)
	}
	record, err := b64.Decode(req.Data)
	if err != nil {
		t.Fatal(err)
	}
	d := mesh.TunnelledData{From: req.From, To: req.To, Hop: "a", Record: record}
	b.SetOptions(Options{Forwarding: route.Off})
	b.Tunnelled(d)
	if got := b.paths(b.sock.take()); got != "drop forwarding is off 1" {
		t.Error(got)
	}
	b.SetOptions(Options{})
	b.Tunnelled(d)
	runs := b.sock.take()
	if len(runs) != 1 {
		t.Fatal("not relayed")
	}
	c.receive(addrB, runs...)
	same(t, flat(t, c.dev.take()), [][]byte{p})

	d.Hop = "b"
	c.Tunnelled(d)
	if c.dropped(Undecodable) != 1 {
		t.Error("the same record was taken twice")
	}
}

func TestProbes(t *testing.T) {
	a, b := pair(t)
	elsewhere := netip.MustParseAddrPort("198.51.100.7:4000")
	data := wire.AppendProbeRequest(nil, 1000, make([]byte, 986))
	a.SendProbe(mesh.SendProbe{Node: "b", Addr: elsewhere, Sock: -1, Data: data})
	runs := a.sock.take()
	if len(runs) != 1 || runs[0].To != elsewhere || len(runs[0].Buf) != 1033 {
		t.Fatalf("%+v", runs)
	}
	b.receive(elsewhere, runs...)
	want := []mesh.Event{
		mesh.HeardFrom{Node: "a", Addr: elsewhere},
		mesh.ProbeIn{Node: "a", Addr: elsewhere, Direct: true, Data: data},
	}
	if got := b.takeEvents(); !reflect.DeepEqual(got, want) {
		t.Errorf("reports %v", got)
	}
	if len(b.dev.take()) != 0 {
		t.Error("a probe reached the device")
	}

	a.SendProbe(mesh.SendProbe{Node: "b", Addr: elsewhere, Data: data})
	blob := a.sock.take()[0].Buf
	copy(blob, b.selfID[:])
	b.FromMeta("a", blob)
	if b.dropped(UnexpectedType) != 1 {
		t.Error("a probe over TCP was taken")
	}

	a.sock.err = &udp.TooLong{To: elsewhere, Size: 1033}
	a.takeEvents()
	a.SendProbe(mesh.SendProbe{Node: "b", Addr: elsewhere, Data: data})
	if got, want := a.takeEvents(), []mesh.Event{mesh.TooLong{Node: "b", Size: 1000}}; !reflect.DeepEqual(got, want) {
		t.Errorf("reports %v", got)
	}
	a.SendProbe(mesh.SendProbe{Node: "b", Addr: netip.MustParseAddrPort("[2001:db8::1]:1"), Data: data})
	if a.dropped(NoSocket) != 1 {
		t.Error("no socket for IPv6 went unnoticed")
	}
}

func TestRefusedDatagramIsReportedByFrameSize(t *testing.T) {
	a, _ := pair(t)
	a.sock.err = &udp.TooLong{To: addrB, Size: 1433}
	for range 5 {
		a.out(ip{payload: 1360}.build(), device.Offload{})
	}
	want := []mesh.Event{mesh.Traffic{Node: "b"}, mesh.TooLong{Node: "b", Size: 1400}}
	if got := a.takeEvents(); !reflect.DeepEqual(got, want) {
		t.Errorf("reports %v", got)
	}
}

func TestReportsAreFew(t *testing.T) {
	a, b := pair(t)
	p := ip{payload: 10}.build()
	elsewhere := netip.MustParseAddrPort("198.51.100.7:4000")
	count := map[string]int{}
	note := func(s *station) {
		for _, e := range s.takeEvents() {
			count[string(s.name)+strings.TrimPrefix(reflect.TypeOf(e).String(), "mesh.")]++
		}
	}
	b.rejectEvents = true // rejected reports do not count
	for i := range 100 {
		runs := a.out(p, device.Offload{})
		b.receive(elsewhere, runs...)
		b.receive(elsewhere, runs...) // a replay
		note(a)
		note(b)
		if i == 0 {
			b.rejectEvents = false
		}
		step := 10 * time.Millisecond
		a.time, b.time = a.time.Add(step), b.time.Add(step)
	}
	want := map[string]int{"aTraffic": 4, "bHeardFrom": 4, "bUndecodable": 1}
	if !reflect.DeepEqual(count, want) {
		t.Errorf("in one second %v", count)
	}
}

func TestUndecodableCountsSinceTheLastGoodRecord(t *testing.T) {
	a, b := pair(t)
	p := ip{payload: 10}.build()
	count := func() int {
		b.time = b.time.Add(2 * time.Second)
		bad := a.out(p, device.Offload{})
		bad[0].Buf[30] ^= 1
		b.receive(addrA, bad...)
		for _, e := range b.takeEvents() {
			if u, ok := e.(mesh.Undecodable); ok && u.Node == "a" {
				return u.Count
			}
		}
		return 0
	}
	if x, y := count(), count(); x != 1 || y != 2 {
		t.Error(x, y)
	}
	b.receive(addrA, a.out(p, device.Offload{})...)
	if x := count(); x != 1 {
		t.Errorf("%d after a good record", x)
	}
	b.republish("a", func(s *mesh.PeerState) { s.Tunnel = nil })
	if x := count(); x != 2 || b.dropped(NoSession) != 1 {
		t.Errorf("%d without session", x)
	}
}

func TestUnusualRecords(t *testing.T) {
	p := ip{payload: 10}.build()
	cases := []struct {
		name string
		typ  byte
		data []byte
		want string
	}{
		{"a frame from a switch", wire.TypeFrame, frame(p), "device"},
		{"an empty frame", wire.TypeFrame, frame(nil)[:14], "drop malformed 1"},
		{"a frame with EtherType 0", wire.TypeFrame, append(make([]byte, 14), p...), "drop unexpected type 1"},
		{"ARP", wire.TypeFrame, append([]byte{12: 8, 13: 6}, p...), "drop unexpected type 1"},
		{"compressed", 1, p, "drop compressed 1"},
		{"a compressed frame", 3, p, "drop compressed 1"},
		{"an unknown type", 77, p, "drop unexpected type 1"},
		{"no data", wire.TypeIP, nil, "drop malformed 1"},
		{"neither IPv4 nor IPv6", wire.TypeIP, []byte{0x50, 1, 2}, "drop malformed 1"},
		{"half an IP header", wire.TypeIP, p[:10], "drop routing: malformed 1"},
		{"shorter than it claims", wire.TypeIP, p[:len(p)-1], "drop routing: malformed 1"},
		{"longer than any frame", wire.TypeIP, make([]byte, 1519), "drop too long 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range []string{"UDP", "meta"} {
				a, b := pair(t)
				_, st := a.known("b")
				r := a.record(st, c.typ, c.data)
				if path == "UDP" {
					b.receive(addrA, r)
				} else {
					copy(r.Buf, b.selfID[:])
					b.FromMeta("a", r.Buf)
				}
				if got := b.paths(nil); got != c.want {
					t.Errorf("by %s: %q instead of %q", path, got, c.want)
				}
			}
		})
	}
}

func TestFramesThatAreNotTaken(t *testing.T) {
	_, b := pair(t)
	b.FrameFromMeta("a", make([]byte, 18+14)) // a misdirected probe
	b.FrameFromMeta("a", frame(make([]byte, 2176)))
	b.FrameFromMeta("a", nil)
	b.FrameFromMeta("nobody", frame(ip{}.build()))
	b.FromMeta("a", nil)
	b.FromMeta("a", make([]byte, 40))
	if got := b.paths(nil); len(b.dev.take()) != 0 || strings.Count(got, "drop") != 5 || b.dropped(UnknownNode) != 2 {
		t.Error(got)
	}
}

func TestTapSeesEveryPacketAsAFrame(t *testing.T) {
	a, b := pair(t)
	var seen [][]byte
	tap := func(f []byte) { seen = append(seen, bytes.Clone(f[14:])) }
	a.SetTap(tap)
	b.SetTap(tap)
	whole := ip{payload: 3000, frag: 0x4000}.build()
	p, off := super(whole, 1380)
	b.receive(addrA, a.out(p, off)...)
	want := segmentReference(whole, 40, 20, 1380)
	same(t, seen, append(append([][]byte{}, want...), want...))
	same(t, flat(t, b.dev.take()), want)
	a.SetTap(nil)
	a.out(whole, device.Offload{})
	if len(seen) != 6 {
		t.Error("a removed tap still sees packets")
	}
}

func TestRemovedPeersLeaveNoState(t *testing.T) {
	a := newStation("a", addrA)
	state := func(i int, known bool) mesh.PeerState {
		s := directPeer(node.Name(fmt.Sprint("n", i)), netip.AddrPortFrom(addrB.Addr(), uint16(i+1)), nil)
		s.Known = known
		return s
	}
	var all []mesh.PeerState
	for i := range 500 {
		all = append(all, state(i, true))
	}
	a.PublishPeers(all)
	r := mesh.Routes{Subnets: owned("n7", "10.7.0.0/16")}
	a.PublishRoutes(r)
	if d := a.dir.Load(); len(d.byID) != 500 || len(d.byAddr) != 500 || len(d.byName) != 500 {
		t.Fatal("not all are known")
	}
	for i := range all {
		all[i].Known = false
	}
	a.PublishPeers(all)
	if d := a.dir.Load(); len(d.byID)+len(d.byAddr)+len(d.byName) != 0 || len(a.names) != 1 {
		t.Errorf("%d names are left", len(a.names))
	}
	// A route to a node that returns leads to it again.
	a.metas[1] = &recordingMeta{}
	a.PublishPeers([]mesh.PeerState{state(7, true)})
	a.out(ip{dst: "10.7.0.1"}.build(), device.Offload{})
	if len(a.metas[1].frames) != 1 {
		t.Error("the old route does not lead to the new peer")
	}
	a.PublishPeers([]mesh.PeerState{state(7, false)})
	a.PublishRoutes(mesh.Routes{})
	if len(a.names) != 0 {
		t.Errorf("%d names are left", len(a.names))
	}
}

// A direct path may still be found; the sender gets an error only if it is not.
func TestDirectOnlyTellsTheSenderAfterAMoment(t *testing.T) {
	a, _, _ := row(t, nil)
	a.SetOptions(Options{DirectOnly: true})
	p := ip{dst: "10.2.0.1", payload: 100}.build()
	for i, want := range []int{0, 0, 0, 0, 1, 1} {
		if runs := a.out(p, device.Offload{}); len(runs) > 0 {
			t.Fatalf("packet %d is relayed", i)
		}
		if got := len(a.dev.take()); got != want {
			t.Errorf("packet %d is answered with %d packets, want %d", i, got, want)
		}
		a.time = a.time.Add(directWait / 4)
	}
}
