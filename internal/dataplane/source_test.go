package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
	"tincan/internal/subnet"
)

// from is a small packet with these addresses.
func from(src, dst string) []byte {
	return ip{src: src, dst: dst, v6: strings.Contains(dst, ":"), udp: true, payload: 8}.build()
}

// arrivals are the paths by which a packet of a can arrive at b.
var arrivals = map[string]func(a, b *station, p []byte){
	"by UDP": func(a, b *station, p []byte) { b.receive(addrA, sealEach(a, p)...) },
	"over the meta connection": func(a, b *station, p []byte) {
		run := sealEach(a, p)[0]
		blob := append([]byte(nil), run.Buf...)
		copy(blob, b.selfID[:])
		copy(blob[6:], a.selfID[:])
		b.FromMeta("a", blob)
	},
	"as PACKET": func(a, b *station, p []byte) {
		f := append(make([]byte, ethernetLen), p...)
		typ, _ := packet.EtherTypeOf(p)
		binary.BigEndian.PutUint16(f[ethernetLen-2:], typ)
		b.FrameFromMeta("a", f)
	},
}

func TestSourceAddressMustBelongToTheSender(t *testing.T) {
	const old = time.Hour // how long b has known a
	// icmpError is what a router at src says to b about a packet from one address to another; "": it does not say to which.
	icmpError := func(src, quotedSrc, quotedDst string) []byte {
		p := ip{src: src, dst: "10.1.0.1", payload: 8 + packet.IPv4Len, udp: true}.build()
		if quotedDst == "" {
			p = from(src, "10.1.0.1")
		}
		p[9], p[packet.IPv4Len] = packet.ProtoICMP, 3
		if quotedDst == "" {
			return p
		}
		copy(p[packet.IPv4Len+8:], from(quotedSrc, quotedDst)[:packet.IPv4Len])
		return p
	}
	icmpError6 := func(src, quotedSrc, quotedDst string) []byte {
		p := ip{src: src, dst: "fd00:1::1", payload: 8 + packet.IPv6Len, v6: true, udp: true}.build()
		p[6], p[packet.IPv6Len] = packet.ProtoICMPv6, 2
		copy(p[packet.IPv6Len+8:], from(quotedSrc, quotedDst)[:packet.IPv6Len])
		return p
	}
	for _, c := range []struct {
		name   string
		p      []byte
		since  time.Duration
		opts   Options
		routes func(*mesh.Routes)
		passes bool
	}{
		{name: "its own", p: from("10.0.0.1", "10.1.0.1"), passes: true},
		{name: "its own, IPv6", p: from("fd00::1", "fd00:1::1"), passes: true},
		{name: "that of another node", p: from("10.2.0.1", "10.1.0.1")},
		{name: "that of another node, IPv6", p: from("fd00:2::1", "fd00:1::1")},
		{name: "ours", p: from("10.1.0.1", "10.1.0.1")},
		{name: "nobody's", p: from("192.168.7.7", "10.1.0.1"), since: old},
		{name: "nobody's, from a newcomer", p: from("192.168.7.7", "10.1.0.1"), since: time.Second, passes: true},
		{name: "another node's, from a newcomer", p: from("10.2.0.1", "10.1.0.1"), since: time.Second},
		{name: "nobody's, from a node without subnets", p: from("192.168.7.7", "10.1.0.1"), since: old,
			routes: func(r *mesh.Routes) { r.Subnets = r.Subnets[2:] }, passes: true},
		{name: "another's, from a node without subnets", p: from("10.2.0.1", "10.1.0.1"), since: old,
			routes: func(r *mesh.Routes) { r.Subnets = r.Subnets[2:] }},
		{name: "that of another node, switched off", p: from("10.2.0.1", "10.1.0.1"), opts: Options{AnySource: true}, passes: true},
		{name: "that of another node, and the kernel routes", p: from("10.2.0.1", "10.1.0.1"), opts: Options{Forwarding: route.Kernel}},
		{name: "its own, and the kernel routes", p: from("10.0.0.1", "10.1.9.1"), opts: Options{Forwarding: route.Kernel}, passes: true},
		{name: "a link-local one", p: from("fe80::1", "fd00:1::1"), since: old, passes: true},
		{name: "a broadcast that others pass on", p: from("10.2.0.1", "224.0.0.5"), since: old, passes: true},
		{name: "a broadcast straight from its sender", p: from("10.2.0.1", "224.0.0.5"), since: old, opts: Options{Broadcast: route.Direct}},
		{name: "a broadcast in our own name", p: from("10.1.0.1", "224.0.0.5"), since: old},
		{name: "a broadcast of a second gateway of our network", p: from("10.1.0.1", "224.0.0.5"), since: old, passes: true,
			routes: func(r *mesh.Routes) { r.Subnets = append(r.Subnets, owned("c", "10.1.0.0/16")...) }},
		{name: "an ICMP error of a router behind it", p: icmpError("192.168.7.7", "10.1.0.1", "10.0.0.9"), since: old, passes: true},
		{name: "the same, IPv6", p: icmpError6("fd77::7", "fd00:1::1", "fd00::9"), since: old, passes: true},
		{name: "the same from an address of another node", p: icmpError("10.2.0.1", "10.1.0.1", "10.0.0.9"), since: old, passes: true},
		{name: "an ICMP error about a packet to another node", p: icmpError("192.168.7.7", "10.1.0.1", "10.2.0.1"), since: old},
		{name: "the same, IPv6 ", p: icmpError6("fd77::7", "fd00:1::1", "fd00:2::1"), since: old},
		{name: "an ICMP error in the name of another node, about a packet to that", p: icmpError("10.2.0.1", "10.1.0.1", "10.2.0.1"), since: old},
		{name: "an ICMP error about a packet of somebody else", p: icmpError("192.168.7.7", "10.1.0.2", "10.0.0.9"), since: old},
		{name: "an ICMP error about nothing", p: icmpError("192.168.7.7", "10.1.0.1", ""), since: old},
		{name: "a second gateway of a network", p: from("10.2.0.1", "10.1.0.1"), passes: true,
			routes: func(r *mesh.Routes) { r.Subnets = append(r.Subnets, owned("a", "10.2.0.0/16#50")...) }},
		{name: "who only claims it, beside one who has it in writing", p: from("10.2.0.1", "10.1.0.1"),
			routes: func(r *mesh.Routes) {
				r.Subnets[4].Rank = subnet.Written
				r.Subnets = append(r.Subnets, owned("a", "10.2.0.0/16#1", "10.2.0.1")...)
			}},
		{name: "a way to everywhere", p: from("192.0.2.77", "10.1.0.1"), since: old, passes: true,
			routes: func(r *mesh.Routes) { r.Subnets = append(r.Subnets, owned("a", "0.0.0.0/0")...) }},
		{name: "a way to everywhere does not lead to another node", p: from("10.2.0.1", "10.1.0.1"),
			routes: func(r *mesh.Routes) { r.Subnets = append(r.Subnets, owned("a", "0.0.0.0/0")...) }},
	} {
		for how, arrive := range arrivals {
			t.Run(c.name+" "+how, func(t *testing.T) {
				a, b := pair(t)
				tree := plan()
				tree.Tree = []node.Name{"b"}
				a.PublishRoutes(tree)
				b.SetOptions(c.opts)
				r := plan()
				if c.routes != nil {
					c.routes(&r)
				}
				b.PublishRoutes(r)
				b.time = b.time.Add(c.since)
				arrive(a, b, c.p)
				if got := len(b.dev.take()); got != map[bool]int{true: 1}[c.passes] {
					t.Errorf("%d packets reached the device: %v", got, b.Drops())
				}
				if got := b.dropped(InvalidSource); (got == 0) != c.passes {
					t.Errorf("%d were counted", got)
				}
			})
		}
	}
}

// A batch in which another node's address follows one of the sender's own, in an otherwise identical flow.
func TestInvalidSourceWithinAFlow(t *testing.T) {
	a, b := pair(t)
	good, bad := from("10.0.0.1", "10.1.0.1"), from("10.2.0.1", "10.1.0.1")
	b.receive(addrA, sealEach(a, good, good, bad, good, bad)...)
	if got, n := len(flat(t, b.dev.take())), b.dropped(InvalidSource); got != 3 || n != 2 {
		t.Errorf("%d delivered, %d dropped", got, n)
	}
}

// In a signed network grants count, not announcements, and from the first packet.
func TestSourcesThatWereGranted(t *testing.T) {
	for _, c := range []struct {
		name   string
		src    string
		passes bool
	}{
		{"its own", "10.0.0.1", true},
		{"announced, and not granted", "10.0.1.1", false},
		{"of a member that is away", "10.3.0.1", false},
		{"nobody's", "192.168.7.7", false},
		{"of the gateway, which is another", "172.16.0.1", false},
		{"a link-local one", "169.254.1.1", true},
	} {
		a, b := pair(t)
		tree := plan()
		tree.Tree = []node.Name{"b"}
		a.PublishRoutes(tree)
		r := plan()
		r.Subnets = r.Subnets[2:] // a announces nothing, and has just come
		b.PublishRoutes(r)
		b.ChangeGrants(mesh.ChangeGrants{Set: slices.Concat(owned("a", "10.0.0.0/24"), owned("b", "10.1.0.0/16"), owned("d", "10.3.0.0/16"), owned("c", "172.16.0.0/12"))})
		b.receive(addrA, sealEach(a, from(c.src, "10.1.0.1"))...)
		if got := len(b.dev.take()) == 1; got != c.passes {
			t.Errorf("%s: passes %v, %v", c.name, got, b.Drops())
		}
		// A broadcast may be another member's, which a passes on if that one lies behind a in the tree.
		for _, hops := range [][2]node.Name{{}, {"a"}, {"x", "a"}, {"x"}, {}} {
			for _, name := range []node.Name{"c", "d"} {
				b.PublishPeers([]mesh.PeerState{{Node: name, Known: true, Reachable: true, TreeHops: hops}})
			}
			member := c.passes || slices.Contains(hops[:], "a") && !slices.Contains([]string{"nobody's", "announced, and not granted"}, c.name)
			b.receive(addrA, sealEach(a, from(c.src, "224.0.0.5"))...)
			if got := len(b.dev.take()) == 1; got != member {
				t.Errorf("a broadcast, %s, by %v: passes %v, %v", c.name, hops, got, b.Drops())
			}
		}
		b.ChangeGrants(mesh.ChangeGrants{Gone: owned("a", "10.0.0.0/24")})
		b.receive(addrA, sealEach(a, from("10.0.0.1", "10.1.0.1"))...)
		if got := len(b.dev.take()); got != 0 {
			t.Errorf("%s: %d passed after the grant has ended", c.name, got)
		}
		b.ChangeGrants(mesh.ChangeGrants{Open: true})
		b.receive(addrA, sealEach(a, from("192.168.7.7", "10.1.0.1"))...)
		if got := len(b.dev.take()); got != 1 {
			t.Errorf("%s: %d passed in an open network", c.name, got)
		}
	}
}

// Packets for other nodes are not checked.
func TestPacketsForOthersMayHaveAnySource(t *testing.T) {
	_, b, _ := row(t, nil)
	a, _ := pair(t)
	a.PublishRoutes(mesh.Routes{Subnets: owned("b", "10.2.0.0/16")}) // so a seals for b what is for c
	tun, mine := tunnels(t, "a", "b")
	a.republish("b", func(s *mesh.PeerState) { s.Tunnel = tun })
	b.republish("a", func(s *mesh.PeerState) { s.Tunnel = mine })
	b.receive(addrA, sealEach(a, from("10.9.0.1", "10.2.0.1"))...)
	if n := b.dropped(InvalidSource); n != 0 || len(b.sock.take()) != 1 {
		t.Errorf("%d dropped: %v", n, b.Drops())
	}
}

// Packets of a node of tinc 1.0 may come from any node on its path, unless it is a neighbour.
func TestSourcesOfNodesThatHaveNoSessions(t *testing.T) {
	for _, adjacent := range []bool{false, true} {
		a, b := pair(t)
		_, link := links(t)
		s := old("c", addrC, link)
		s.Adjacent = adjacent
		b.PublishPeers([]mesh.PeerState{s})
		b.receive(addrA, sealEach(a, from("10.2.0.1", "10.1.0.1"))...)
		if got := len(b.dev.take()) == 1; got == adjacent {
			t.Errorf("a neighbour: %v, delivered: %v", adjacent, got)
		}
	}
}

func TestRoutesChangeStepByStep(t *testing.T) {
	a, b := pair(t)
	p := from("10.0.0.1", "10.1.0.1")
	b.ChangeRoutes(mesh.ChangeRoutes{Gone: owned("a", "10.0.0.0/16"), Set: owned("c", "10.0.0.1")})
	b.receive(addrA, sealEach(a, p)...)
	if n := b.dropped(InvalidSource); n != 1 {
		t.Fatalf("%d dropped", n)
	}
	b.ChangeRoutes(mesh.ChangeRoutes{Gone: owned("c", "10.0.0.1"), Set: owned("a", "10.0.0.0/24"), Tree: nil})
	b.receive(addrA, sealEach(a, p)...)
	if got := len(b.dev.take()); got != 1 {
		t.Fatalf("%d delivered: %v", got, b.Drops())
	}
	if owner, ok := b.Owner(netip.MustParseAddr("10.0.0.1")); owner != "a" || !ok {
		t.Errorf("the owner is %q", owner)
	}
	if n := b.names["a"].subnets.Load(); n != 2 {
		t.Errorf("a has %d subnets", n)
	}
}
