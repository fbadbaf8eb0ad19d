package dataplane

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/flow"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/policy"
	"tincan/internal/route"
	"tincan/internal/udp"
)

// rules compiles a policy for the nodes of the tests.
func rules(t testing.TB, text string) *policy.Compiled {
	t.Helper()
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p.Compile(policy.NewMembers([]policy.Member{{Name: "a", Groups: []string{"admin"}}, {Name: "b"}, {Name: "c"}}), nil)
}

// reply is the packet p the other way.
func reply(p []byte) []byte {
	p = bytes.Clone(p)
	src, size, head := 12, 4, 20
	if p[0]>>4 == 6 {
		src, size, head = 8, 16, 40
	}
	swap := func(at, n int) {
		one := bytes.Clone(p[at : at+n])
		copy(p[at:], p[at+n:at+2*n])
		copy(p[at+n:], one)
	}
	swap(src, size)
	swap(head, 2)
	finish(p)
	return p
}

// icmpOf describes an ICMP message that was written to a device, "" if it is none.
func icmpOf(w written) string {
	h, ok := packet.Parse(w.pkt)
	if !ok || h.Proto != packet.ProtoICMP && h.Proto != packet.ProtoICMPv6 {
		return ""
	}
	src, _ := packet.Src(w.pkt)
	dst, _ := packet.Dst(w.pkt)
	return fmt.Sprintf("%v -> %v type %d code %d", src, dst, w.pkt[h.Transport], w.pkt[h.Transport+1])
}

func TestPolicyWherePacketsEnd(t *testing.T) {
	for how, arrive := range arrivals {
		t.Run(how, func(t *testing.T) {
			for _, c := range []struct {
				name  string
				rules string
				p     []byte
				want  bool
			}{
				{"allowed", "allow a -> b udp:80", ip{udp: true}.build(), true},
				{"allowed by group, IPv6", "allow group:admin -> b udp:80", ip{udp: true, v6: true}.build(), true},
				{"another port", "allow a -> b udp:81", ip{udp: true}.build(), false},
				{"another protocol", "allow a -> b udp:80", ip{flags: packet.FlagSYN}.build(), false},
				{"from another member", "allow c -> * *\nallow b -> a *", ip{udp: true}.build(), false},
				{"a SYN", "allow a -> b tcp:80", ip{flags: packet.FlagSYN}.build(), true},
				{"nobody may anything", "", ip{flags: packet.FlagSYN}.build(), false},
			} {
				a, b := pair(t)
				b.Policy().SetPolicy(rules(t, c.rules))
				arrive(a, b, c.p)
				refused := uint64(1)
				if c.want {
					refused = 0
				}
				if got := len(b.dev.take()); got != 1-int(refused) || b.dropped(RefusedIn) != refused {
					t.Errorf("%s: %d packets arrived, %d are counted as refused", c.name, got, b.dropped(RefusedIn))
				}
				b.Policy().SetPolicy(nil)
				arrive(a, b, c.p)
				if got := len(b.dev.take()); got != 1 {
					t.Errorf("%s, without a policy: %d packets arrived", c.name, got)
				}
			}
		})
	}
}

func TestPolicyWherePacketsStart(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		p           []byte
		answer      string // "": it is sent
	}{
		{"allowed", "allow a -> b udp:80", ip{udp: true}.build(), ""},
		{"refused", "allow a -> c udp:80", ip{udp: true}.build(), "10.1.0.1 -> 10.0.0.1 type 3 code 13"},
		{"refused, IPv6", "allow a -> c udp:80", ip{udp: true, v6: true}.build(), "fd00:1::1 -> fd00::1 type 1 code 1"},
		{"a refused connection", "allow b -> a tcp:80", ip{flags: packet.FlagSYN}.build(), "10.1.0.1 -> 10.0.0.1 type 3 code 13"},
		{"a route that does not exist", "", ip{udp: true, dst: "10.77.0.1"}.build(), "10.77.0.1 -> 10.0.0.1 type 3 code 6"},
	} {
		a, _ := pair(t)
		a.Policy().SetPolicy(rules(t, c.rules))
		runs, w := a.out(c.p, device.Offload{}), a.dev.take()
		switch {
		case c.answer == "":
			if len(runs) != 1 || len(w) != 0 || a.dropped(RefusedOut) != 0 {
				t.Errorf("%s: %d datagrams, %d answers, %d refused", c.name, len(runs), len(w), a.dropped(RefusedOut))
			}
		case len(runs) != 0 || len(w) != 1 || icmpOf(w[0]) != c.answer:
			t.Errorf("%s: %d datagrams, %d answers: %v", c.name, len(runs), len(w), w)
		}
	}
	// There are not more answers than of other errors, and none to packets for many.
	a, _ := pair(t)
	a.Policy().SetPolicy(rules(t, ""))
	a.SetOptions(Options{Broadcast: route.Direct})
	a.out(ip{udp: true, dst: "224.0.0.251"}.build(), device.Offload{})
	if w := a.dev.take(); len(w) != 0 || a.dropped(RefusedOut) != 1 {
		t.Errorf("a multicast packet was answered: %v, or not refused: %d", w, a.dropped(RefusedOut))
	}
	a.time = a.time.Add(time.Second)
	for range 50 {
		a.out(ip{udp: true}.build(), device.Offload{})
	}
	if n := len(a.dev.take()); n != 3 || a.dropped(RefusedOut) != 51 {
		t.Errorf("%d answers to 50 packets, %d refused", n, a.dropped(RefusedOut))
	}
	list := a.Policy().Refused()
	if len(list) != 2 || list[0].Peer != "b" || list[0].Count != 50 || list[0].Port != 80 || list[0].Dir != flow.Out || !list[0].Last.Equal(a.time) {
		t.Errorf("%+v", list)
	}
}

func TestPolicyLetsRepliesPass(t *testing.T) {
	for _, c := range []struct {
		name string
		ip
		size int
	}{
		{"UDP", ip{udp: true, payload: 100}, 0},
		{"UDP over IPv6", ip{udp: true, v6: true, payload: 100}, 0},
		{"TCP", ip{payload: 30_000}, 1300},
		{"TCP over IPv6", ip{payload: 30_000, v6: true}, 1300},
	} {
		bothKinds(t, c.name, func(t *testing.T, pair pairOf) {
			a, b := pair(t)
			a.Policy().SetPolicy(rules(t, "allow a -> b tcp:80 udp:80"))
			b.Policy().SetPolicy(rules(t, "allow a -> b tcp:80 udp:80"))
			carry := func(from, to *station, p []byte, want bool) {
				t.Helper()
				off, count := device.Offload{}, 1
				data := bytes.Clone(p)
				if c.size > 0 && len(p) > 1500 {
					data, off = super(data, c.size)
					count = (len(p) - int(off.HdrLen) + c.size - 1) / c.size
				}
				if !want {
					count = 0
				}
				to.receive(from.addr, from.out(data, off)...)
				if got := flat(t, to.dev.take()); len(got) != count {
					t.Fatalf("%d packets arrived, want %d; drops %v and %v", len(got), count, from.Drops(), to.Drops())
				}
			}
			there := c.build()
			if !c.udp {
				syn := c.ip
				syn.payload, syn.flags = 0, packet.FlagSYN
				carry(b, a, reply(there), false)
				carry(a, b, syn.build(), true)
				synAck := syn
				synAck.flags |= packet.FlagACK
				carry(b, a, reply(synAck.build()), true)
			}
			carry(a, b, there, true)
			carry(b, a, reply(there), true)
			carry(b, a, there, false)
			if uses := a.Policy().Uses(); len(uses) != 1 || uses[0] != (policy.Use{Line: 1, Flows: 1}) {
				t.Errorf("counted: %v", uses)
			}
		})
	}
}

// TestPolicyWithinABatch: what is refused leaves what lies around it as it is.
func TestPolicyWithinABatch(t *testing.T) {
	bothKinds(t, "", func(t *testing.T, pair pairOf) {
		a, b := pair(t)
		b.Policy().SetPolicy(rules(t, "allow a -> 10.1.0.1,10.1.0.2 tcp"))
		var runs []udp.Run
		var want [][]byte
		seq := map[int]int{}
		for i := range 300 {
			host := i*i%7%3 + 1
			p := ip{dst: fmt.Sprint("10.1.0.", host), payload: 200 + host, seq: uint32(seq[host]), frag: 0x4000}.build()
			seq[host] += 200 + host
			if host < 3 {
				want = append(want, bytes.Clone(p))
			}
			runs = append(runs, a.out(p, device.Offload{})...)
		}
		b.receive(addrA, runs...)
		same(t, flat(t, b.dev.take()), want)
		if n := b.dropped(RefusedIn); n != uint64(300-len(want)) {
			t.Errorf("%d of %d refused packets are counted", n, 300-len(want))
		}
	})
}

func TestPolicyOfFlowsThatLookAlike(t *testing.T) {
	// c sends what continues a connection of a, which source checks would notice.
	a, b := pair(t)
	ca, cb := tunnels(t, "c", "b")
	c := newStation("c", addrC)
	c.PublishPeers([]mesh.PeerState{directPeer("b", addrB, ca)})
	c.PublishRoutes(plan())
	b.PublishPeers([]mesh.PeerState{directPeer("c", addrC, cb)})
	b.SetOptions(Options{AnySource: true})
	b.Policy().SetPolicy(rules(t, "allow a -> b tcp"))
	batch := func(s *station, seq uint32) []udp.Arrival {
		var list []udp.Arrival
		for _, r := range s.out(ip{payload: 100, seq: seq, frag: 0x4000}.build(), device.Offload{}) {
			list = append(list, udp.Arrival{From: s.addr, Buf: r.Buf, Size: r.Size})
		}
		return list
	}
	b.rx.batch(slices.Concat(batch(a, 0), batch(c, 100), batch(a, 100)))
	if got := flat(t, b.dev.take()); len(got) != 2 || b.dropped(RefusedIn) != 1 {
		t.Errorf("%d packets arrived, %d were refused", len(got), b.dropped(RefusedIn))
	}
}

func TestPolicyChangesAtOnce(t *testing.T) {
	a, b := pair(t)
	b.Policy().SetPolicy(rules(t, "allow a -> b udp"))
	send := func() int {
		b.receive(addrA, a.out(ip{udp: true, payload: 10}.build(), device.Offload{})...)
		return len(b.dev.take())
	}
	if send() != 1 {
		t.Fatal("refused")
	}
	b.Policy().SetPolicy(rules(t, "allow a -> b tcp"))
	if send() != 0 {
		t.Error("the flow goes on")
	}
	b.Policy().SetPolicy(nil)
	if send() != 1 {
		t.Error("no policy refuses")
	}
}

// TestPolicyOfBroadcasts: those come by whoever is next in the tree, and are those of their source.
func TestPolicyOfBroadcasts(t *testing.T) {
	for _, c := range []struct {
		name, rules, src string
		want             int
	}{
		{"of the neighbour itself", "allow a -> * udp", "10.0.0.1", 1},
		{"of another node, who may", "allow c -> b udp", "10.2.0.1", 1},
		{"of another node, who may not", "allow a -> b udp", "10.2.0.1", 0},
	} {
		a, b := pair(t)
		b.Policy().SetPolicy(rules(t, c.rules))
		a.SetOptions(Options{Broadcast: route.Direct})
		b.receive(addrA, a.out(ip{udp: true, src: c.src, dst: "224.0.0.251"}.build(), device.Offload{})...)
		if got := len(b.dev.take()); got != c.want {
			t.Errorf("%s: %d packets arrived; drops %v, %v", c.name, got, a.Drops(), b.Drops())
		}
	}
}

// TestPolicyOfRelayedNodes: a node of tinc 1.0 that a neighbour passes on is still the one whose address it is.
func TestPolicyOfRelayedNodes(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		want        int
	}{
		{"the node may", "allow c -> b udp", 1},
		{"only its neighbour may", "allow a -> b udp", 0},
	} {
		a, b := legacyPair(t)
		far := old("c", addrC, nil)
		far.Adjacent, far.NextHop, far.Via = false, "a", "a"
		link, _ := links(t)
		far.Legacy = link
		b.PublishPeers([]mesh.PeerState{far})
		b.Policy().SetPolicy(rules(t, c.rules))
		b.receive(addrA, sealEach(a, ip{udp: true, src: "10.2.0.1"}.build())...)
		if got := len(b.dev.take()); got != c.want {
			t.Errorf("%s: %d packets arrived; drops %v", c.name, got, b.Drops())
		}
	}
}

func TestPolicyOfFrames(t *testing.T) {
	arp := make([]byte, 28)
	udp80 := ip{udp: true, payload: 20}.build()
	big := ip{payload: 20_000}.build()
	tags := []byte{0x81, 0, 0, 9}
	for _, c := range []struct {
		name  string
		rules string
		frame []byte
		super bool
		want  bool
	}{
		{"ARP", "", etherFrame(macAll, macA, packet.TypeARP, arp), false, true},
		{"another type", "allow a -> b udp tcp icmp", etherFrame(macB, macA, 0x88b5, arp), false, false},
		{"another type for who may all", "allow a -> b *", etherFrame(macB, macA, 0x88b5, arp), false, true},
		{"a packet", "allow a -> b udp:80", etherFrame(macB, macA, packet.TypeIPv4, udp80), false, true},
		{"a refused packet", "allow a -> b udp:81", etherFrame(macB, macA, packet.TypeIPv4, udp80), false, false},
		{"a refused packet in a VLAN", "allow a -> b udp:81", slices.Concat(macB[:], macA[:], tags, []byte{8, 0}, udp80), false, false},
		{"a packet in a VLAN", "allow a -> b udp:80", slices.Concat(macB[:], macA[:], tags, []byte{8, 0}, udp80), false, true},
		{"to an unknown address", "allow a -> b udp:80", etherFrame(macNew, macA, packet.TypeIPv4, udp80), false, true},
		{"to an unknown address, for nobody", "allow c -> b udp:80", etherFrame(macNew, macA, packet.TypeIPv4, udp80), false, false},
		{"a super-packet", "allow a -> b tcp:80", etherFrame(macB, macA, packet.TypeIPv4, big), true, true},
		{"a refused super-packet", "allow a -> b tcp:81", etherFrame(macB, macA, packet.TypeIPv4, big), true, false},
	} {
		for _, where := range []string{"start", "end"} {
			a, b := bridgedPair(t, route.ByMAC)
			s := a
			if where == "end" {
				s = b
			}
			s.Policy().SetPolicy(rules(t, c.rules))
			f, off := bytes.Clone(c.frame), device.Offload{}
			if c.super {
				var p []byte
				p, off = super(f[ethernetLen:], 1300)
				f, off = inFrame(f[:ethernetLen], p, off)
			}
			b.receive(addrA, a.out(f, off)...)
			arrived, refused := len(b.dev.take()) > 0, s.dropped(RefusedIn)+s.dropped(RefusedOut) > 0
			if arrived != c.want || refused == c.want {
				t.Errorf("%s, at the %s: arrived %v, refused %v; drops %v, %v", c.name, where, arrived, refused, a.Drops(), b.Drops())
			}
			w := a.dev.take()
			if told := len(w) > 0 && icmpOf(written{pkt: w[0].pkt[l2Len(w[0].pkt):]}) == "10.1.0.1 -> 10.0.0.1 type 3 code 13"; told && (c.want || where == "end") {
				t.Errorf("%s, at the %s: answered", c.name, where)
			} else if !told && !c.want && where == "start" && bytes.HasPrefix(c.frame[12:], []byte{8, 0}) {
				t.Errorf("%s: not answered: %v", c.name, w)
			}
		}
	}
}

// TestPolicyWhereEverythingGoesToAll: in hub mode nobody knows where an address is, and replies pass all the same.
func TestPolicyWhereEverythingGoesToAll(t *testing.T) {
	a, b := bridgedPair(t, route.ToAll)
	a.SetOptions(Options{Broadcast: route.Direct})
	b.SetOptions(Options{Broadcast: route.Direct})
	for _, s := range []*station{a, b} {
		s.Policy().SetPolicy(rules(t, "allow a -> b udp:80"))
	}
	there := ip{udp: true, payload: 20}.build()
	carry := func(from, to *station, f []byte, want int) {
		t.Helper()
		to.receive(from.addr, from.out(f, device.Offload{})...)
		if got := len(to.dev.take()); got != want {
			t.Errorf("%d frames arrived, want %d; drops %v and %v", got, want, from.Drops(), to.Drops())
		}
		from.dev.take()
	}
	carry(b, a, etherFrame(macA, macB, packet.TypeIPv4, reply(there)), 0)
	carry(a, b, etherFrame(macB, macA, packet.TypeIPv4, there), 1)
	carry(b, a, etherFrame(macA, macB, packet.TypeIPv4, reply(there)), 1)
	carry(a, b, etherFrame(macB, macA, packet.TypeIPv4, there), 1)
}

func TestFragmentsUnderAPolicy(t *testing.T) {
	a, b := pair(t)
	both := rules(t, "allow a -> b udp:80")
	a.Policy().SetPolicy(both)
	b.Policy().SetPolicy(both)
	whole := ip{udp: true, payload: 3000}.build()
	send := func(p []byte) (arrived int) {
		for next := 0; ; {
			f, to, ok := packet.AppendFragment(nil, p, 1400, next)
			if !ok {
				t.Fatal("not cut")
			}
			b.receive(addrA, a.out(f, device.Offload{})...)
			arrived += len(b.dev.take())
			if next = to; next == 0 {
				return arrived
			}
		}
	}
	if n := send(whole); n != 3 {
		t.Errorf("%d of 3 fragments arrived; drops %v, %v", n, a.Drops(), b.Drops())
	}
	binary.BigEndian.PutUint16(whole[22:], 81)
	binary.BigEndian.PutUint16(whole[4:], 7)
	finish(whole)
	if n := send(whole); n != 0 {
		t.Errorf("%d fragments of a refused packet arrived", n)
	}
}

func TestFastPathWithAPolicyDoesNotAllocate(t *testing.T) {
	tx, to := bench(t)
	c := rules(t, "allow a -> b tcp:80 udp:80")
	tx.p.Policy().SetPolicy(c)
	to.Policy().SetPolicy(c)
	tx.now = tx.p.now()
	p, off := super(ip{payload: 60000, frag: 0x4000}.build(), 1385)
	single := ip{payload: 100, udp: true}.build()
	n := testing.AllocsPerRun(50, func() {
		copy(tx.in[inHead:], p)
		tx.packet(len(p), off)
		copy(tx.in[inHead:], single)
		tx.packet(len(single), device.Offload{})
		tx.out.flush()
	})
	if n != 0 || len(to.Drops()) > 0 {
		t.Errorf("%v allocations, drops %v", n, to.Drops())
	}
}

// withPolicy is bench with a policy at both ends.
func withPolicy(t testing.TB) (*transmitter, *Plane) {
	tx, to := bench(t)
	var text bytes.Buffer
	for i := range 90 {
		fmt.Fprintf(&text, "allow %s -> b tcp:%d\n", node.Name(fmt.Sprint("n", i)), i+1000)
	}
	text.WriteString("allow a -> b tcp:80 udp:80") // naming ports, so that connections are taken over in the middle
	c := rules(t, text.String())
	tx.p.Policy().SetPolicy(c)
	to.Policy().SetPolicy(c)
	return tx, to
}

// BenchmarkPolicy is BenchmarkDeviceToDevice with a policy at both ends.
func BenchmarkPolicy(b *testing.B) { deviceToDevice(b, withPolicy) }

// BenchmarkSignedInPairs sends one TCP flow with policy, grants and source check, and without, in turns of 50 super-packets. "ratio"
// is the median of the pairs: how much gets through with them, relative to without.
func BenchmarkSignedInPairs(b *testing.B) {
	const turn = 50
	p, off := super(ip{payload: 60 * 1024, frag: 0x4000, opts: timestamps}.build(), 1373)
	with, toWith := withPolicy(b)
	grants := mesh.ChangeGrants{Set: slices.Concat(owned("a", "10.0.0.0/16"), owned("b", "10.1.0.0/16"), owned("c", "10.0.0.0/8"))}
	with.p.ChangeGrants(grants)
	toWith.ChangeGrants(grants)
	without, toWithout := bench(b)
	without.p.SetOptions(Options{AnySource: true})
	toWithout.SetOptions(Options{AnySource: true})
	send := func(t *transmitter) time.Duration {
		t.now = t.p.now()
		began := time.Now()
		for range turn {
			copy(t.in[inHead:], p)
			t.packet(len(p), off)
			t.out.flush()
		}
		return time.Since(began)
	}
	var ratios []float64
	for b.Loop() {
		var took [2]time.Duration
		if len(ratios)%2 == 0 {
			took[0], took[1] = send(with), send(without)
		} else {
			took[1], took[0] = send(without), send(with)
		}
		ratios = append(ratios, float64(took[1])/float64(took[0]))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	for _, to := range []*Plane{toWith, toWithout} {
		if got := to.SelfCounters(); got.OutPackets < uint64(turn*len(ratios)) || len(to.Drops()) > 0 {
			b.Fatalf("%d packets delivered; drops %v", got.OutPackets, to.Drops())
		}
	}
}
