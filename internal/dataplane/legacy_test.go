package dataplane

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// oldOptions are those of a tinc 1.0 node.
const oldOptions = uint32(wire.PMTUDiscovery | wire.ClampMSS)

// linksOf returns both ends of the data path between two legacy nodes.
func linksOf(t testing.TB, suite legacy.Suite) (a, b *legacy.Link) {
	t.Helper()
	a, b = legacy.NewLink(4096), legacy.NewLink(4096)
	newKey(t, a, b, suite)
	newKey(t, b, a, suite)
	return a, b
}

func links(t testing.TB) (a, b *legacy.Link) { return linksOf(t, legacy.DefaultSuite) }

// newKey makes a new key for packets from from to to.
func newKey(t testing.TB, from, to *legacy.Link, suite legacy.Suite) {
	t.Helper()
	key, err := to.NewReceiveKey(rand.Reader, suite)
	if err != nil {
		t.Fatal(err)
	}
	if err := from.SetSendKey(key, suite, legacy.Policy{}); err != nil {
		t.Fatal(err)
	}
}

// old is a legacy node that is reached directly by UDP.
func old(name node.Name, addr netip.AddrPort, link *legacy.Link) mesh.PeerState {
	s := directPeer(name, addr, nil)
	s.Options, s.MTU, s.MinMTU, s.Legacy = oldOptions, 1451, 1451, link
	return s
}

// legacyPair is two stations that reach each other directly and know each other as
// legacy nodes.
func legacyPair(t testing.TB) (a, b *station) {
	return legacyPairOf(t, legacy.DefaultSuite)
}

func legacyPairOf(t testing.TB, suite legacy.Suite) (a, b *station) {
	a, b = newStation("a", addrA), newStation("b", addrB)
	la, lb := linksOf(t, suite)
	a.metas[1], b.metas[1] = &recordingMeta{}, &recordingMeta{}
	a.ends[addrB], b.ends[addrA] = lb, la
	a.PublishPeers([]mesh.PeerState{old("b", addrB, la)})
	b.PublishPeers([]mesh.PeerState{old("a", addrA, lb)})
	a.PublishRoutes(plan())
	b.PublishRoutes(plan())
	return a, b
}

// mixedRow is three stations in a row: a and c reach each other only through b. b uses
// SPTPS, and with legacy nodes their protocol. A legacy node treats all others as legacy nodes.
func mixedRow(t testing.TB, oldA, oldC bool) (a, b, c *station) {
	a, b, c = row(t, nil)
	behind := func(name node.Name, l *legacy.Link) mesh.PeerState {
		s := old(name, netip.AddrPort{}, l)
		s.Adjacent, s.NextHop, s.Via, s.Confirmed, s.MinMTU = false, "b", "b", false, 0
		return s
	}
	if oldA {
		ab, ba := links(t)
		a.PublishPeers([]mesh.PeerState{old("b", addrB, ab), behind("c", legacy.NewLink(4096))})
		b.PublishPeers([]mesh.PeerState{old("a", addrA, ba)})
		a.ends[addrB], b.ends[addrA] = ba, ab
		if !oldC {
			c.PublishPeers([]mesh.PeerState{behind("a", legacy.NewLink(4096))})
		}
	}
	if oldC {
		bc, cb := links(t)
		c.PublishPeers([]mesh.PeerState{old("b", addrB, cb), behind("a", legacy.NewLink(4096))})
		onB := old("c", addrC, bc)
		onB.Conn = 2
		b.PublishPeers([]mesh.PeerState{onB})
		b.ends[addrC], c.ends[addrB] = cb, bc
		if !oldA {
			a.PublishPeers([]mesh.PeerState{behind("c", legacy.NewLink(4096))})
		}
	}
	return a, b, c
}

func TestPathOfAnOwnPacketToALegacyNode(t *testing.T) {
	unkeyed := func(s *mesh.PeerState) { s.Legacy.DropSendKey() }
	// c is reached directly by UDP, although b is between them.
	direct := func(minMTU int) func(*mesh.PeerState) {
		return func(s *mesh.PeerState) {
			s.Via, s.Addr, s.Confirmed, s.MTU, s.MinMTU = "c", addrC, true, 1451, minMTU
		}
	}
	cases := []ownPacket{
		{name: "small, to a neighbour", size: 100, want: "udp 192.0.2.2 legacy"},
		{name: "as large as the path", size: 1437, want: "udp 192.0.2.2 legacy"},
		{name: "larger than the path", size: 1438, want: "icmp 3/4 mtu 1437, drop routing: too big 1"},
		{name: "as large as what was probed so far", size: 1000,
			b: func(s *mesh.PeerState) { s.MTU, s.MinMTU = 1518, 1014 }, want: "udp 192.0.2.2 legacy"},
		{name: "larger than what was probed so far", size: 1000,
			b: func(s *mesh.PeerState) { s.MTU, s.MinMTU = 1518, 1013 }, want: "packet 1"},
		{name: "neighbour whose path nobody probes", size: 1500,
			b: func(s *mesh.PeerState) {
				s.MTU, s.MinMTU, s.Confirmed, s.Options = 1518, 1518, false, 0
			}, want: "udp 192.0.2.2 legacy"},
		{name: "neighbour without UDP", size: 100,
			b: func(s *mesh.PeerState) { s.MTU, s.MinMTU, s.Confirmed = 1518, 0, false }, want: "packet 1"},
		{name: "neighbour without key", size: 100, b: unkeyed, want: "packet 1"},
		{name: "neighbour without key or connection", size: 100,
			b: func(s *mesh.PeerState) { s.Legacy.DropSendKey(); s.Conn = 9 }, want: "drop no meta connection 1"},
		{name: "neighbour without address", size: 100,
			b: func(s *mesh.PeerState) { s.Addr = netip.AddrPort{} }, want: "packet 1"},
		{name: "TCPOnly neighbour", size: 100,
			b: func(s *mesh.PeerState) { s.Options |= uint32(wire.TCPOnly) }, want: "packet 1"},
		{name: "we are TCPOnly", size: 100, opts: Options{TCPOnly: true}, want: "packet 1"},
		{name: "not reachable", size: 100,
			b: func(s *mesh.PeerState) { s.Reachable = false }, want: "drop unreachable 1"},
		{name: "multicast", dst: "224.0.0.251", size: 100, want: "udp 192.0.2.2 legacy"},

		{name: "behind a legacy node", dst: "10.2.0.1", size: 100, want: "udp 192.0.2.2 legacy"},
		{name: "behind a legacy node without key", dst: "10.2.0.1", size: 100, b: unkeyed, want: "packet 1"},
		{name: "too large for the way to a relay", dst: "10.2.0.1", size: 1438, want: "icmp 3/4 mtu 1437, drop routing: too big 1"},
		{name: "behind a relay, with DirectOnly", dst: "10.2.0.1", size: 100, opts: Options{DirectOnly: true},
			want: "icmp 3/9, drop routing: not direct 1"},
		{name: "not a neighbour but direct", dst: "10.2.0.1", size: 100, c: direct(1451), want: "udp 192.0.2.3 legacy"},
		{name: "direct, with DirectOnly", dst: "10.2.0.1", size: 100, opts: Options{DirectOnly: true}, c: direct(1451), want: "udp 192.0.2.3 legacy"},
		{name: "direct but for its key", dst: "10.2.0.1", size: 100,
			c: func(s *mesh.PeerState) { direct(1451)(s); s.Legacy.DropSendKey() }, want: "packet 1"},
		{name: "direct but for its size", dst: "10.2.0.1", size: 1000, c: direct(1013), want: "udp 192.0.2.2 legacy"},
		{name: "direct but for its size, which the relay cannot take either", dst: "10.2.0.1", size: 1000, c: direct(1013),
			b: func(s *mesh.PeerState) { s.MinMTU = 0 }, want: "packet 1"},

		{name: "behind a legacy node, with no RSA key here", dst: "10.2.0.1", size: 100,
			c: func(s *mesh.PeerState) { s.PassOnly = true }, want: "drop no session 1"},
		{name: "direct, with no RSA key here", dst: "10.2.0.1", size: 100,
			c: func(s *mesh.PeerState) { direct(1451)(s); s.PassOnly = true }, want: "drop no session 1"},

		{name: "behind a node that speaks SPTPS", dst: "10.2.0.1", size: 100, newB: true, want: "udp 192.0.2.2 direct"},
		{name: "behind a node that speaks SPTPS without UDP", dst: "10.2.0.1", size: 100, newB: true,
			b: func(s *mesh.PeerState) { s.Confirmed, s.MinMTU = false, 0 }, want: "packet 1"},
		{name: "direct but for its key, behind a node that speaks SPTPS", dst: "10.2.0.1", size: 100, newB: true,
			c: func(s *mesh.PeerState) { direct(1451)(s); s.Legacy.DropSendKey() }, want: "packet 1"},
		{name: "direct but for its size, behind a node that speaks SPTPS", dst: "10.2.0.1", size: 1000, newB: true, c: direct(1013),
			want: "udp 192.0.2.2 direct"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, _, _ := mixedRow(t, !c.newB, true)
			lc, end := links(t)
			a.ends[addrC] = end
			a.republish("c", func(s *mesh.PeerState) { s.Legacy = lc })
			c.taken(t, a)
		})
	}
}

func TestPacketForASPTPSNodeBehindALegacyOneGoesInARequest(t *testing.T) {
	a, _, _ := row(t, nil)
	la, _ := links(t)
	a.PublishPeers([]mesh.PeerState{old("b", addrB, la)})
	p := ip{dst: "10.2.0.1", payload: 100}.build()
	if got := a.paths(a.out(p, device.Offload{})); got != "15 a c 21" {
		t.Error(got)
	}
}

func TestTrafficIsReportedForTheNodeThatOpensIt(t *testing.T) {
	a, _, _ := mixedRow(t, true, true)
	for range 2 {
		a.out(ip{dst: "10.2.0.1", payload: 100}.build(), device.Offload{})
		if got, want := a.takeEvents(), []mesh.Event{mesh.Traffic{Node: "b"}}; !reflect.DeepEqual(got, want) {
			t.Errorf("reports %v", got)
		}
		a.time = a.time.Add(time.Second)
		a.republish("b", func(s *mesh.PeerState) { s.Legacy.DropSendKey() })
	}
}

func TestFramesToLegacyNodesHaveAnEthernetHeader(t *testing.T) {
	for _, c := range []ip{{payload: 100}, {payload: 100, v6: true}} {
		a, _ := legacyPair(t)
		p := c.build()
		runs := a.out(p, device.Offload{})
		got, err := a.ends[addrB].Open(nil, runs[0].Buf)
		if want := frame(p); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%x, %v instead of %x", got, err, want)
		}
	}
}

func TestEqualDatagramsToALegacyNodeShareARun(t *testing.T) {
	a, b := legacyPair(t)
	whole := ip{payload: 60000, frag: 0x4000}.build()
	p, off := super(whole, 1380)
	runs := a.out(p, off)
	if len(runs) > 2 {
		t.Errorf("%d runs", len(runs))
	}
	b.receive(addrA, runs...)
	if got := b.dev.take(); len(got) != 1 {
		t.Errorf("%d writes", len(got))
	} else {
		same(t, flat(t, got), segmentReference(whole, 40, 20, 1380))
	}
}

// Between nodes of both kinds a relay opens records and seals them again.
func TestPacketsBetweenNodesOfBothKinds(t *testing.T) {
	for _, kinds := range []struct{ oldA, oldC bool }{{true, true}, {true, false}, {false, true}} {
		t.Run(fmt.Sprintf("legacy %t and %t", kinds.oldA, kinds.oldC), func(t *testing.T) {
			a, b, c := mixedRow(t, kinds.oldA, kinds.oldC)
			for _, v6 := range []bool{false, true} {
				there, back := ip{dst: "10.2.0.1", payload: 20000, frag: 0x4000}, ip{src: "10.2.0.1", dst: "10.0.0.1", payload: 9000, frag: 0x4000}
				hdr := 40
				if v6 {
					there.v6, there.dst, back.v6, back.src, back.dst, hdr = true, "fd00:2::1", true, "fd00:2::1", "fd00::1", 60
				}
				whole := there.build()
				p, off := super(whole, 1300)
				b.receive(addrA, a.out(p, off)...)
				passed := b.sock.take()
				if len(passed) > 2 {
					t.Errorf("the relay sent %d runs", len(passed))
				}
				c.receive(addrB, passed...)
				same(t, flat(t, c.dev.take()), segmentReference(whole, hdr, hdr-20, 1300))

				whole = back.build()
				p, off = super(whole, 1300)
				b.receive(addrC, c.out(p, off)...)
				a.receive(addrB, b.sock.take()...)
				same(t, flat(t, a.dev.take()), segmentReference(whole, hdr, hdr-20, 1300))
			}
			for _, s := range []*station{a, b, c} {
				if len(s.Drops()) > 0 {
					t.Errorf("%s: %v", s.name, s.Drops())
				}
			}
		})
	}
}

func TestWhatCameByPACKETGoesOnByPACKET(t *testing.T) {
	cases := []struct {
		name       string
		oldA, oldC bool
		dst        string
		a, c       func(*mesh.PeerState)
		opts       Options
		want       string
	}{
		{name: "to a legacy node", oldA: true, oldC: true, want: "packet 2"},
		{name: "from a node that speaks SPTPS", oldC: true, want: "packet 2"},
		{name: "to a node that speaks SPTPS", oldA: true, want: "udp 192.0.2.3 direct"},
		{name: "from a TCPOnly node", oldA: true, oldC: true,
			a: func(s *mesh.PeerState) { s.Options |= uint32(wire.TCPOnly) }, want: "udp 192.0.2.3 legacy"},
		{name: "to a node that is reached directly, by its next hop", oldA: true, oldC: true, dst: "10.3.0.1", want: "packet 2"},
		{name: "to us", oldA: true, oldC: true, dst: "10.1.0.1", want: "device"},
		{name: "that would go back", oldA: true, oldC: true,
			c: func(s *mesh.PeerState) { s.NextHop, s.Conn, s.Adjacent = "a", 1, false }, want: "drop loop 1"},
		{name: "that has no owner, the answer to which goes back", oldA: true, dst: "10.9.9.9", want: "packet 1, drop routing: no subnet 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, b, _ := mixedRow(t, c.oldA, c.oldC)
			ld, _ := links(t)
			d := old("d", netip.MustParseAddrPort("192.0.2.4:655"), ld)
			d.NextHop, d.Conn, d.Adjacent = "c", 2, false
			b.PublishPeers([]mesh.PeerState{d})
			r := plan()
			r.Subnets = append(r.Subnets, owned("d", "10.3.0.0/16")...)
			b.PublishRoutes(r)
			b.SetOptions(c.opts)
			if c.a != nil {
				b.republish("a", c.a)
			}
			if c.c != nil {
				b.republish("c", c.c)
			}
			if c.dst == "" {
				c.dst = "10.2.0.1"
			}
			b.FrameFromMeta("a", frame(ip{dst: c.dst, payload: 100}.build()))
			if got := b.paths(b.sock.take()); got != c.want {
				t.Errorf("%q instead of %q", got, c.want)
			}
		})
	}
}

func TestNothingGoesBackToTheLegacyNodeItCameFrom(t *testing.T) {
	cases := []struct {
		name string
		dst  string
		c    func(*mesh.PeerState)
		opts Options
		want string
	}{
		{name: "its own subnet", dst: "10.0.0.7", want: "drop routing: back to its source 1"},
		{name: "it is the relay", c: func(s *mesh.PeerState) { s.Via, s.NextHop = "a", "a" }, want: "drop routing: routing loop 1"},
		{name: "it is the next hop, and the destination has no key",
			c:    func(s *mesh.PeerState) { s.NextHop, s.Conn, s.Adjacent = "a", 1, false; s.Legacy.DropSendKey() },
			want: "drop loop 1"},
		{name: "it is the next hop, and the path to the destination is narrow",
			c:    func(s *mesh.PeerState) { s.NextHop, s.Conn, s.Adjacent, s.MTU, s.MinMTU = "a", 1, false, 1518, 30 },
			want: "drop loop 1"},
		{name: "forwarding is off", opts: Options{Forwarding: route.Off}, want: "udp 192.0.2.1 legacy, drop routing: prohibited 1"},
		{name: "multicast comes here and goes on", dst: "224.0.0.1", want: "udp 192.0.2.3 legacy, device"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b, _ := mixedRow(t, true, true)
			if c.c != nil {
				b.republish("c", c.c)
			}
			b.SetOptions(c.opts)
			r := plan()
			r.Tree = []node.Name{"a", "c"}
			b.PublishRoutes(r)
			if c.dst == "" {
				c.dst = "10.2.0.1"
			}
			b.receive(addrA, a.legacyDatagramTo("b", frame(ip{dst: c.dst, payload: 100}.build())))
			if got := b.paths(b.sock.take()); got != c.want {
				t.Errorf("%q instead of %q", got, c.want)
			}
		})
	}
}

// legacyDatagramTo is a frame sealed for a legacy node, whatever the routes say.
func (s *station) legacyDatagramTo(name node.Name, f []byte) udp.Run {
	_, st := s.known(name)
	b, err := st.Legacy.Seal(nil, f)
	if err != nil {
		panic(err)
	}
	return udp.Run{To: st.Addr, Buf: b, Size: len(b)}
}

// legacyProbe is a probe frame of size bytes.
func legacyProbe(size int) []byte {
	f := make([]byte, size)
	rand.Read(f[14:])
	return f
}

func TestLegacyProbes(t *testing.T) {
	a, b := legacyPair(t)
	elsewhere := netip.MustParseAddrPort("198.51.100.7:4000")
	data := legacyProbe(1000)
	a.SendProbe(mesh.SendProbe{Node: "b", Addr: elsewhere, Sock: -1, Data: data})
	runs := a.sock.take()
	if len(runs) != 1 || runs[0].To != elsewhere || len(runs[0].Buf) != 1008+16 {
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

	// A probe in the middle of a flow does not disturb it.
	first, second := ip{seq: 0, payload: 200, frag: 0x4000}.build(), ip{seq: 200, payload: 200, frag: 0x4000}.build()
	b.receive(addrA, a.out(first, device.Offload{})[0], a.legacyDatagramTo("b", data), a.out(second, device.Offload{})[0])
	if got := b.dev.take(); len(got) != 1 {
		t.Errorf("%d writes", len(got))
	} else {
		same(t, flat(t, got), [][]byte{first, second})
	}

	// Without a UDP key they come as PACKET, and mean only that UDP may not work.
	b.takeEvents()
	b.FrameFromMeta("a", data)
	want = []mesh.Event{mesh.CameIndirectly{Node: "a", Hop: "a", TCP: true}}
	if got := b.takeEvents(); !reflect.DeepEqual(got, want) || b.dropped(UnexpectedType) != 1 {
		t.Errorf("reports %v", got)
	}

	a.takeEvents()
	a.sock.err = &udp.TooLong{To: elsewhere, Size: len(runs[0].Buf)}
	a.SendProbe(mesh.SendProbe{Node: "b", Addr: elsewhere, Data: data})
	if got, want := a.takeEvents(), []mesh.Event{mesh.TooLong{Node: "b", Size: 988}}; !reflect.DeepEqual(got, want) {
		t.Errorf("reports %v", got) // frames of 988 to 1003 bytes make datagrams of that size
	}
	a.republish("b", func(s *mesh.PeerState) { s.Legacy.DropSendKey() })
	a.SendProbe(mesh.SendProbe{Node: "b", Addr: elsewhere, Data: data})
	if a.dropped(NoSession) != 1 {
		t.Error("a probe without a key went unnoticed")
	}
}

func TestRefusedDatagramToALegacyNodeIsReportedByFrameSize(t *testing.T) {
	a, _ := legacyPair(t)
	a.sock.err = &udp.TooLong{To: addrB, Size: 1408 + 16}
	a.out(ip{payload: 1340}.build(), device.Offload{})
	want := []mesh.Event{mesh.Traffic{Node: "b"}, mesh.TooLong{Node: "b", Size: 1388}}
	if got := a.takeEvents(); !reflect.DeepEqual(got, want) {
		t.Errorf("reports %v", got)
	}
}

func TestDatagramsThatLegacyNodesDidNotSend(t *testing.T) {
	p := ip{payload: 100}.build()
	cases := []struct {
		name  string
		from  netip.AddrPort
		alter func(r udp.Run) []udp.Run
		want  string
	}{
		{name: "sent twice", from: addrA, alter: func(r udp.Run) []udp.Run { return []udp.Run{r, r} },
			want: "device, drop undecodable 1"},
		{name: "wrong message code", from: addrA, alter: func(r udp.Run) []udp.Run {
			r.Buf[len(r.Buf)-1] ^= 1
			return []udp.Run{r}
		}, want: "drop undecodable 1"},
		{name: "changed", from: addrA, alter: func(r udp.Run) []udp.Run {
			r.Buf[3] ^= 1
			return []udp.Run{r}
		}, want: "drop undecodable 1"},
		{name: "cut short", from: addrA, alter: func(r udp.Run) []udp.Run {
			r.Buf = r.Buf[:20]
			return []udp.Run{r}
		}, want: "drop undecodable 1"},
		{name: "nearly nothing", from: addrA, alter: func(r udp.Run) []udp.Run {
			r.Buf = r.Buf[:1]
			return []udp.Run{r}
		}, want: "drop undecodable 1"},
		{name: "longer than any", from: addrA, alter: func(r udp.Run) []udp.Run {
			b := make([]byte, maxLegacy+1)
			b[0] = 9
			return []udp.Run{{Buf: b, Size: len(b)}}
		}, want: "drop too long 1"},
		{name: "wrong message code, from elsewhere", from: netip.MustParseAddrPort("198.51.100.7:1"), alter: func(r udp.Run) []udp.Run {
			r.Buf[len(r.Buf)-1] ^= 1
			return []udp.Run{r}
		}, want: "drop unknown sender 1"},
		{name: "cut short, from elsewhere", from: netip.MustParseAddrPort("198.51.100.7:1"), alter: func(r udp.Run) []udp.Run {
			r.Buf = r.Buf[:20]
			return []udp.Run{r}
		}, want: "drop short datagram 1"},
		{name: "damaged in the middle of a flow", from: addrA, alter: func(r udp.Run) []udp.Run {
			bad := udp.Run{Buf: bytes.Clone(r.Buf), Size: r.Size}
			bad.Buf[40] ^= 1
			return []udp.Run{r, bad}
		}, want: "device, drop undecodable 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b := legacyPair(t)
			b.receive(c.from, c.alter(a.out(p, device.Offload{})[0])...)
			if got := b.paths(nil); got != c.want {
				t.Errorf("%q instead of %q", got, c.want)
			}
		})
	}
}

func TestFramesOfLegacyNodesThatAreNotRouted(t *testing.T) {
	p := ip{payload: 10}.build()
	cases := []struct {
		name  string
		frame []byte
		want  string
	}{
		{"a header without packet", frame(p)[:14], "drop malformed 1"},
		{"less than a header", frame(p)[:10], "drop malformed 1"},
		{"ARP", append([]byte{12: 8, 13: 6}, p...), "drop unexpected type 1"},
		{"IPv6 that is IPv4", append([]byte{12: 0x86, 13: 0xdd}, p...), "drop unexpected type 1"},
		{"neither IPv4 nor IPv6", append([]byte{12: 8, 13: 0}, 0x50, 1, 2), "drop unexpected type 1"},
		{"half an IP header", frame(p)[:24], "drop routing: malformed 1"},
		{"shorter than it claims", frame(p)[:len(p)], "drop routing: malformed 1"},
		{"a MAC address in front", append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, p...), "device"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b := legacyPair(t)
			b.receive(addrA, a.legacyDatagramTo("b", c.frame))
			if got := b.paths(nil); got != c.want {
				t.Errorf("%q instead of %q", got, c.want)
			}
		})
	}
}

func TestLegacyNodeIsFoundAtItsNewAddress(t *testing.T) {
	a, b := legacyPair(t)
	p := ip{payload: 10}.build()
	elsewhere := netip.MustParseAddrPort("198.51.100.7:4000")
	for range 3 {
		b.receive(elsewhere, a.out(p, device.Offload{})...)
	}
	same(t, flat(t, b.dev.take()), [][]byte{p, p, p})
	if got, want := b.takeEvents(), []mesh.Event{mesh.HeardFrom{Node: "a", Addr: elsewhere}}; !reflect.DeepEqual(got, want) {
		t.Errorf("reports %v", got)
	}
	b.republish("a", func(s *mesh.PeerState) { s.Addr = elsewhere })
	b.time = b.time.Add(time.Second)
	b.receive(elsewhere, a.out(p, device.Offload{})...)
	if got := b.takeEvents(); got != nil || len(b.dev.take()) != 1 {
		t.Errorf("reports %v", got)
	}
	// The previous address is unknown now.
	b.receive(addrA, a.out(p, device.Offload{})...)
	if got, want := b.takeEvents(), []mesh.Event{mesh.HeardFrom{Node: "a", Addr: addrA}}; !reflect.DeepEqual(got, want) {
		t.Errorf("reports %v", got)
	}
}

func TestSearchForAnUnknownAddressIsBounded(t *testing.T) {
	p := frame(ip{payload: 10}.build())
	b := newStation("b", addrB)
	b.PublishRoutes(plan())
	b.SetOptions(Options{AnySource: true}) // the packets are all alike
	far := make(map[string]*station)
	for i, name := range []node.Name{"a", "n1", "n2", "n3"} {
		s := newStation(name, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i/2)}), uint16(1000+i)))
		mine, theirs := links(t)
		b.PublishPeers([]mesh.PeerState{old(name, s.addr, theirs)})
		s.PublishPeers([]mesh.PeerState{old("b", addrB, mine)})
		far[string(name)] = s
	}
	found := func(name, from string) bool {
		t.Helper()
		b.receive(netip.MustParseAddrPort(from), far[name].legacyDatagramTo("b", p))
		return len(b.dev.take()) == 1
	}
	steps := []struct {
		after      time.Duration
		name, from string
		want       bool
		why        string
	}{
		{0, "a", "198.51.100.1:1", true, "the first search is among all"},
		{0, "a", "198.51.100.1:1", true, "who was found stays found"},
		{0, "n1", "198.51.100.1:2", false, "no second search among all in the same second"},
		{0, "n3", "192.0.2.11:7", true, "the IP address is that of the node"},
		{0, "n2", "192.0.2.11:8", true, "the IP address is that of two nodes"},
		{0, "n1", "192.0.2.11:9", false, "the IP address is that of other nodes"},
		{999 * time.Millisecond, "n1", "198.51.100.1:2", false, "the second is not over"},
		{time.Millisecond, "n1", "198.51.100.1:2", true, "the second is over"},
		{time.Second, "n2", "192.0.2.11:1003", true, "the address is that of another node"},
		{0, "n3", "192.0.2.11:1002", true, "two nodes have swapped addresses"},
	}
	for _, s := range steps {
		b.time = b.time.Add(s.after)
		if got := found(s.name, s.from); got != s.want {
			t.Errorf("%s from %s: found %t (%s)", s.name, s.from, got, s.why)
		}
	}

	// A relay that uses SPTPS is never taken for a legacy node.
	c := directPeer("c", addrC, nil)
	b.PublishPeers([]mesh.PeerState{c})
	b.time = b.time.Add(time.Second)
	if found("a", addrC.String()) {
		t.Error("taken for a legacy node")
	}
}

func TestDatagramsUnderAnOldKeyAreLost(t *testing.T) {
	a, b := legacyPair(t)
	p := ip{payload: 10}.build()
	late := a.out(p, device.Offload{})
	_, atA := a.known("b")
	_, atB := b.known("a")
	newKey(t, atA.Legacy, atB.Legacy, legacy.DefaultSuite)
	b.receive(addrA, a.out(p, device.Offload{})...)
	b.receive(addrA, late...)
	if got := b.paths(nil); got != "device, drop undecodable 1" {
		t.Error(got)
	}
}

func TestUndecodableDatagramsOfALegacyNodeAreReported(t *testing.T) {
	a, b := legacyPair(t)
	p := ip{payload: 10}.build()
	for range 100 {
		runs := a.out(p, device.Offload{})
		runs[0].Buf[20] ^= 1
		b.receive(addrA, runs...)
		b.time = b.time.Add(15 * time.Millisecond)
	}
	want := []mesh.Event{mesh.Undecodable{Node: "a", Count: 1}, mesh.Undecodable{Node: "a", Count: 68}}
	if got := b.takeEvents(); !reflect.DeepEqual(got, want) {
		t.Errorf("reports %v", got)
	}
	b.receive(addrA, a.out(p, device.Offload{})...)
	if pr, _ := b.known("a"); pr.openFailures.Load() != 0 {
		t.Error("a good datagram does not end the count")
	}
}

func TestNodeThatChangesKindIsFollowed(t *testing.T) {
	a, b := legacyPair(t)
	p := ip{payload: 100}.build()
	b.receive(addrA, a.out(p, device.Offload{})...)
	ta, tb := tunnels(t, "a", "b")
	a.PublishPeers([]mesh.PeerState{directPeer("b", addrB, ta)})
	b.PublishPeers([]mesh.PeerState{directPeer("a", addrA, tb)})
	b.receive(addrA, a.out(p, device.Offload{})...)
	same(t, flat(t, b.dev.take()), [][]byte{p, p})
	if b.dir.Load().legacy != nil || b.hopIs(addrA) != "a" {
		t.Error("the directory still knows a legacy node")
	}
	la, lb := links(t)
	a.PublishPeers([]mesh.PeerState{old("b", addrB, la)})
	b.PublishPeers([]mesh.PeerState{old("a", addrA, lb)})
	b.receive(addrA, a.out(p, device.Offload{})...)
	same(t, flat(t, b.dev.take()), [][]byte{p})
	if b.hopIs(addrA) != "" {
		t.Error("a legacy node passes for a relay of SPTPS records")
	}
}

// hopIs is the name of the SPTPS node with that address.
func (s *station) hopIs(addr netip.AddrPort) node.Name {
	if pr := s.dir.Load().byAddr[addr]; pr != nil {
		return pr.name
	}
	return ""
}

func TestFirstPacketsForANodeOfUnknownKindWait(t *testing.T) {
	a, _, _ := mixedRow(t, true, true)
	_, st := a.known("c")
	was := st.Legacy
	a.republish("c", func(s *mesh.PeerState) { s.Legacy = nil })
	a.out(ip{dst: "10.2.0.1", payload: 100}.build(), device.Offload{})
	a.republish("c", func(s *mesh.PeerState) { s.Legacy = was })
	if got := a.paths(a.sock.take()); got != "udp 192.0.2.2 legacy" {
		t.Error(got)
	}
}

func TestMSSIsClampedTowardsALegacyNode(t *testing.T) {
	a, b := legacyPair(t)
	p := ip{flags: packet.FlagSYN, opts: []byte{2, 4, 0x05, 0xb4}}.build()
	b.receive(addrA, a.out(p, device.Offload{})...)
	got := flat(t, b.dev.take())
	if mss := binary.BigEndian.Uint16(got[0][42:]); mss != 1451-14-40 {
		t.Errorf("MSS %d", mss)
	}
}

func TestLegacyPathDoesNotAllocate(t *testing.T) {
	tx, to := legacyBench(t, legacy.DefaultSuite)
	tx.now = tx.p.now()
	p, off := super(ip{payload: 60000, frag: 0x4000}.build(), 1385)
	n := testing.AllocsPerRun(50, func() {
		copy(tx.in[inHead:], p)
		tx.packet(len(p), off)
		tx.out.flush()
	})
	if n != 0 || len(to.Drops()) > 0 {
		t.Errorf("%v allocations, drops %v", n, to.Drops())
	}
}

func TestCompressionIsWhatTheReceiverAsksFor(t *testing.T) {
	for _, level := range []int{1, 6, 9, 10, 11} {
		t.Run(fmt.Sprint("level ", level), func(t *testing.T) {
			suite := legacy.DefaultSuite
			suite.Compression = level
			a, b := legacyPairOf(t, suite)
			whole := ip{payload: 20000, frag: 0x4000}.build()
			p, off := super(whole, 1380)
			runs := a.out(p, off)
			sent := 0
			for _, r := range runs {
				sent += len(r.Buf)
			}
			if level < 10 && sent > len(whole) {
				t.Errorf("%d bytes were sent for %d", sent, len(whole))
			}
			b.receive(addrA, runs...)
			same(t, flat(t, b.dev.take()), segmentReference(whole, 40, 20, 1380))

			// What is so regular makes datagrams shorter than any of SPTPS.
			p = ip{udp: true, payload: 0}.build()
			b.receive(addrA, a.out(p, device.Offload{})...)
			same(t, flat(t, b.dev.take()), [][]byte{p})
			if got := b.paths(nil); strings.Contains(got, "drop") {
				t.Error(got)
			}
		})
	}
}
