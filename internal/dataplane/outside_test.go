package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/subnet"
)

func viaTable(lines ...string) *subnet.Table[int] {
	var list []ViaPrefix
	for i, l := range lines {
		if l == "default" {
			list = append(list, ViaPrefix{netip.MustParsePrefix("0.0.0.0/0"), i}, ViaPrefix{netip.MustParsePrefix("::/0"), i})
			continue
		}
		list = append(list, ViaPrefix{netip.MustParsePrefix(l), i})
	}
	return BuildVia(list)
}

// What a member claims must not take packets away from the exit node, and the mesh must not be lost to it either.
func TestWhoPacketsGoToThatLeaveTheMesh(t *testing.T) {
	for _, c := range []struct {
		name, addr string
		lines      []string
		exits      []ViaExit
		routes     func(*mesh.Routes)
		granted    bool
		want       node.Name // "" : refused
	}{
		{name: "the internet", addr: "203.0.113.9", lines: []string{"default"}, want: "b"},
		{name: "the internet, IPv6", addr: "2001:db8::9", lines: []string{"default"}, want: "b"},
		{name: "no IPv6 there", addr: "2001:db8::9", lines: []string{"default"}, exits: []ViaExit{{Node: "b", IPv4: true}}},
		{name: "no exit node works", addr: "203.0.113.9", lines: []string{"default"}, exits: []ViaExit{{}}},
		{name: "a node in the mesh", addr: "10.2.0.1", lines: []string{"default"}, want: "c"},
		{name: "a network behind a node, which is narrower", addr: "10.2.0.1", lines: []string{"10.0.0.0/8"}, want: "c"},
		{name: "a network that the line has a part of", addr: "10.2.0.1", lines: []string{"10.2.0.0/24"}, want: "b"},
		{name: "a private network of nobody", addr: "192.168.7.7", lines: []string{"default"}, want: "b"},
		{name: "the narrowest line", addr: "203.0.113.9", lines: []string{"default", "203.0.113.0/24"}, exits: []ViaExit{{Node: "b", IPv4: true}, {Node: "c", IPv4: true}}, want: "c"},
		{name: "the first of equal lines", addr: "203.0.113.9", lines: []string{"203.0.113.0/24", "203.0.113.0/24"}, exits: []ViaExit{{Node: "c", IPv4: true}, {Node: "b", IPv4: true}}, want: "c"},
		{name: "no line", addr: "198.51.100.1", lines: []string{"203.0.113.0/24"}},
		{name: "a member claims everything", addr: "203.0.113.9", lines: []string{"default"}, want: "b",
			routes: func(r *mesh.Routes) { r.Subnets = append(r.Subnets, owned("c", "0.0.0.0/0")...) }},
		{name: "a member claims a public network", addr: "203.0.113.9", lines: []string{"default"}, want: "b",
			routes: func(r *mesh.Routes) { r.Subnets = append(r.Subnets, owned("c", "203.0.113.0/24")...) }},
		{name: "it stands in its host file", addr: "203.0.113.9", lines: []string{"default"}, want: "c",
			routes: func(r *mesh.Routes) {
				s := owned("c", "203.0.113.0/24")
				s[0].Rank = subnet.Written
				r.Subnets = append(r.Subnets, s...)
			}},
		{name: "the owners have granted it", addr: "203.0.113.9", lines: []string{"default"}, granted: true, want: "c",
			routes: func(r *mesh.Routes) { r.Subnets = append(r.Subnets, owned("c", "203.0.113.0/24")...) }},
	} {
		a, _ := pair(t)
		r := plan()
		if c.routes != nil {
			c.routes(&r)
		}
		a.PublishRoutes(r)
		if c.granted {
			a.ChangeGrants(mesh.ChangeGrants{Set: owned("c", "203.0.113.0/24")})
		}
		if c.exits == nil {
			for range c.lines {
				c.exits = append(c.exits, ViaExit{Node: "b", IPv4: true, IPv6: true})
			}
		}
		a.Outside.SetVia(viaTable(c.lines...), c.exits)
		owner, _ := a.routes.Load().outbound(netip.MustParseAddr(c.addr))
		got := node.Name("")
		if owner != nil {
			got = owner.name
		}
		if got != c.want {
			t.Errorf("%s: goes to %q, want %q", c.name, got, c.want)
		}
		// Packets of peers never take that way.
		if owner, _ := a.routes.Load().inbound(netip.MustParseAddr(c.addr), a.self); owner != nil && owner.name == "b" {
			t.Errorf("%s: packets of a peer go to the exit node", c.name)
		}
	}
}

// An exit node lets packets of others out, to where they may go, and replies come back only to who has chosen it.
func TestThroughAnExitNode(t *testing.T) {
	const old = time.Hour
	for _, c := range []struct {
		name   string
		mode   ExitMode
		p      []byte
		passes bool
	}{
		{"no exit node", ExitOff, from("10.0.0.1", "203.0.113.9"), false},
		{"the internet", ExitPublic, from("10.0.0.1", "203.0.113.9"), true},
		{"the internet, IPv6", ExitPublic, from("fd00::1", "2001:db8::9"), true},
		{"somebody else's address", ExitPublic, from("10.2.0.1", "203.0.113.9"), false},
		{"a private network", ExitPublic, from("10.0.0.1", "192.168.7.7"), false},
		{"a private network, allowed", ExitPrivate, from("10.0.0.1", "192.168.7.7"), true},
		{"its own loopback", ExitPrivate, from("10.0.0.1", "127.0.0.1"), false},
		{"a link-local address", ExitPrivate, from("10.0.0.1", "169.254.169.254"), false},
		{"nowhere", ExitPublic, from("10.0.0.1", "0.1.2.3"), false},
		{"the loopback, IPv6", ExitPrivate, from("fd00::1", "::1"), false},
		{"a private network, IPv6", ExitPublic, from("fd00::1", "fd99::1"), false},
		{"IPv4 in IPv6", ExitPrivate, from("fd00::1", "::ffff:127.0.0.1"), false},
		{"a DNS server of the client's network", ExitPublic, query("10.0.0.1", "192.168.1.1"), true},
		{"a DNS server without an exit node", ExitOff, query("10.0.0.1", "192.168.1.1"), false},
		{"a DNS server on the loopback", ExitPublic, query("10.0.0.1", "127.0.0.1"), false},
	} {
		for how, arrive := range arrivals {
			a, b := pair(t)
			a.Outside.SetVia(viaTable("default"), []ViaExit{{Node: "b", IPv4: true, IPv6: true}})
			b.Outside.SetExit(c.mode)
			r := plan()
			r.Tree = []node.Name{"b"}
			a.PublishRoutes(r)
			b.time = b.time.Add(old)
			arrive(a, b, c.p)
			if got := len(b.dev.take()) == 1; got != c.passes {
				t.Errorf("%s, %s: passes %v: %v", c.name, how, got, b.Drops())
			}
		}
	}
}

func query(src, dst string) []byte {
	p := from(src, dst)
	p[packet.IPv4Len+2], p[packet.IPv4Len+3] = 0, 53
	return p
}

func TestRepliesComeFromTheChosenExitNodeOnly(t *testing.T) {
	for _, c := range []struct {
		name   string
		exits  []ViaExit
		signed bool
		src    string
		passes bool
	}{
		{"chosen", []ViaExit{{Node: "a", IPv4: true}}, false, "203.0.113.9", true},
		{"chosen, in a signed network", []ViaExit{{Node: "a", IPv4: true}}, true, "203.0.113.9", true},
		{"another is chosen", []ViaExit{{Node: "c", IPv4: true}}, false, "203.0.113.9", false},
		{"none works", []ViaExit{{}}, true, "203.0.113.9", false},
		{"there is no line", nil, true, "203.0.113.9", false},
		{"chosen, and in the name of another node", []ViaExit{{Node: "a", IPv4: true}}, false, "10.2.0.1", false},
		{"chosen, and in our own name", []ViaExit{{Node: "a", IPv4: true}}, false, "10.1.0.1", false},
	} {
		for how, arrive := range arrivals {
			a, b := pair(t)
			b.time = b.time.Add(time.Hour)
			if c.signed {
				b.ChangeGrants(mesh.ChangeGrants{Set: owned("a", "10.0.0.0/16")})
			}
			if c.exits != nil {
				b.Outside.SetVia(viaTable("default"), c.exits)
			}
			arrive(a, b, from(c.src, "10.1.0.1"))
			if got := len(b.dev.take()) == 1; got != c.passes {
				t.Errorf("%s, %s: passes %v: %v", c.name, how, got, b.Drops())
			}
		}
	}
}

// The way out of a packet costs two lookups instead of one, for the first packet of a flow; nothing is allocated.
func BenchmarkOutbound(b *testing.B) {
	a, _ := pair(b)
	var list []ViaPrefix
	for i := range 10_000 {
		list = append(list, ViaPrefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{5, byte(i >> 8), byte(i), 0}), 24), 0})
	}
	a.Outside.SetVia(BuildVia(list), []ViaExit{{Node: "b", IPv4: true}})
	addr := netip.MustParseAddr("5.7.7.7")
	b.ReportAllocs()
	for b.Loop() {
		a.routes.Load().outbound(addr)
	}
}
