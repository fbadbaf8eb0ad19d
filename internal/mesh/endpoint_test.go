package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/node"
)

// located makes the player's machine have 192.0.2.1 and 10.0.1.1, the one in the VPN, and a route to
// 10.0.0.0/8 through the interface of the VPN.
func located(a netip.Addr) Location {
	switch {
	case a.IsLoopback(), a == netip.MustParseAddr("192.0.2.1"), a == netip.MustParseAddr("10.0.1.1"):
		return Here
	case netip.MustParsePrefix("10.0.0.0/8").Contains(a):
		return Inside
	}
	return Elsewhere
}

// places are the addresses that effects make us connect to or ask.
func places(effects []Effect) (tcp, udp []string) {
	for _, e := range effects {
		switch e := e.(type) {
		case Dial:
			for _, to := range append([]Endpoint{e.To}, e.Others...) {
				tcp = append(tcp, to.Host)
			}
		case SendProbe:
			udp = append(udp, e.Addr.Addr().String())
		case PublishPeers:
			for _, p := range e.Peers {
				if p.Addr.IsValid() {
					udp = append(udp, p.Addr.Addr().String())
				}
			}
		}
	}
	return tcp, udp
}

var forbidden = []string{"127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "169.254.169.254", "fe80::1", "192.0.2.1", "10.0.1.1", "10.0.2.2"}

func TestNobodyMakesUsConnectToOurselves(t *testing.T) {
	for _, at := range forbidden {
		t.Run(at, func(t *testing.T) {
			p := newPlayer(t)
			p.input("node alice file=eve")
			p.m.deps.Locate = located
			p.neighbours()
			var all []Effect
			for _, line := range []string{
				"request 2 12 a1 bob eve " + at + " 2222 700000c 5 " + at + " 2222",
				"request 2 12 a2 eve bob 203.0.113.1 655 700000c 5 " + at + " 2222",
				"session eve 2", "request 2 22 eve alice " + at + " 2222", "wait 30s",
				"request 2 13 a3 bob eve", "wait 60s",
			} {
				all = append(all, p.input(line)...)
			}
			p.m.Handle(p.now, ConnectNow{Node: "eve"})
			all = append(all, p.flush()...)
			tcp, udp := places(all)
			is := func(s string) bool { return netip.MustParseAddr(s).Unmap() == netip.MustParseAddr(at).Unmap() }
			if slices.ContainsFunc(tcp, func(s string) bool { return s != "bob.example" && is(s) }) {
				t.Errorf("dialled: %v", tcp)
			}
			if slices.ContainsFunc(udp, is) {
				t.Errorf("probed: %v", udp)
			}
		})
	}
}

func TestFromWhereAnAddressComes(t *testing.T) {
	for _, at := range forbidden {
		a := netip.MustParseAddr(at)
		at := a.Unmap().String()
		p := newPlayer(t)
		p.input("node alice file=eve@" + at + ":2222 connect=eve")
		p.m.deps.Locate = located
		for _, told := range []bool{false, true} {
			h := p.m.nodes["eve"].trust.host
			h.Told = told
			if told {
				h.Cached = []netip.AddrPort{netip.AddrPortFrom(a, 2222)}
			}
			h.Addresses = []Endpoint{{Host: at, Port: "2222"}}
			p.m.nodes["eve"].trust.host = h
			got := len(p.m.dialer.addressesOf(p.m.nodes["eve"])) > 0
			if want := !told && located(a.Unmap()) != Inside; got != want {
				t.Errorf("%s, told by others %v: dialled %v, want %v", at, told, got, want)
			}
		}
	}
}

// Several nodes on one machine, each with an address of its own.
func TestANeighbourOnThisMachineVouchesForItsAddresses(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice file=eve")
	p.m.deps.Locate = func(a netip.Addr) Location {
		if netip.MustParsePrefix("10.77.0.0/16").Contains(a) {
			return Here
		}
		return Elsewhere
	}
	for _, line := range []string{
		"accepted 2 10.77.0.2:4000", "line 2 0 bob 17.7", "secured 2", "request 2 4 655 10 700000c",
		"request 2 12 1 bob alice 10.77.0.1 655 700000c 5", "request 2 12 a1 bob eve 10.77.0.3 655 700000c 5",
	} {
		p.input(line)
	}
	if got := p.m.dialer.addressesOf(p.m.peer("eve")); len(got) != 1 {
		t.Errorf("addresses %v", got)
	}
	p.input("request 2 12 a2 bob frank 127.0.0.1 2222 700000c 5")
	if got := p.m.dialer.addressesOf(p.m.peer("frank")); len(got) != 0 {
		t.Errorf("loopback addresses are believed, too: %v", got)
	}
}

func TestANodeThatListensAtLoopbackOnlyFindsOthersThere(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.m.deps.Locate = located
	at := netip.MustParseAddrPort("127.0.0.1:2222")
	for _, c := range []struct {
		sockets string
		want    bool
	}{{"127.0.0.1:655", true}, {"[::]:655", false}, {"127.0.0.1:655 192.0.2.1:655", false}} {
		p.m.cfg.Sockets = nil
		for _, s := range strings.Fields(c.sockets) {
			p.m.cfg.Sockets = append(p.m.cfg.Sockets, netip.MustParseAddrPort(s))
		}
		if got := p.m.addresses.believable(at); got != c.want {
			t.Errorf("listening at %s: %v", c.sockets, got)
		}
	}
}

func TestAnAddressThatLeadsToOurselvesIsNotDialledAgain(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice file=eve@203.0.113.5:655 connect=eve")
	first := p.input("wait 1ms")
	tcp, _ := places(first)
	if !slices.Equal(tcp, []string{"203.0.113.5"}) {
		t.Fatalf("dialled %v", tcp)
	}
	var all []Effect
	for _, line := range []string{
		"dialed 1 203.0.113.5:655", "accepted 2 198.51.100.9:7000", "line 2 0 alice 17.7", "closed 1 closed by the peer", "wait 5m",
	} {
		all = append(all, p.input(line)...)
	}
	if tcp, _ = places(all); len(tcp) > 0 {
		t.Errorf("dialled again: %v", tcp)
	}
	p.m.Handle(p.now, Retry{})
	p.flush()
	if tcp, _ = places(p.input("wait 1s")); len(tcp) != 1 {
		t.Errorf("dialled after a request to retry: %v", tcp)
	}
}

// One made-up address for very many nodes is dialled about as often as one for a single node.
func TestBackOffIsByAddressToo(t *testing.T) {
	p := newPlayer(t)
	const nodes = 37
	options := ""
	for i := range nodes {
		options += fmt.Sprintf(" file=l%d", i)
	}
	p.input("node alice" + options)
	p.neighbours()
	for i := range nodes {
		p.input(fmt.Sprintf("request 2 12 %x bob l%d 203.0.113.66 2222 700000c 5", 0xa000+i, i))
	}
	dials := 0
	for i := range nodes {
		p.m.Handle(p.now, ConnectNow{Node: node.Name(fmt.Sprintf("l%d", i))})
		for _, e := range append(p.flush(), p.input("wait 300ms")...) {
			if d, ok := e.(Dial); ok && strings.HasPrefix(string(d.Node), "l") {
				dials++
				p.m.Handle(p.now, Closed{Conn: d.Conn, Err: fmt.Errorf("connection refused")})
				p.flush()
			}
		}
	}
	if dials < 1 || dials > 5 {
		t.Errorf("%d attempts within 11 s", dials)
	}
	if n := len(p.m.addresses.failedAt); n != 1 {
		t.Errorf("%d addresses are remembered", n)
	}
	p.input("wait 2m")
	if len(p.m.dialer.addressesOf(p.m.nodes["l1"])) != 1 {
		t.Error("the address is never tried again")
	}
	for i := range 3 * maxFailedAt {
		p.m.addresses.notAt(p.m.nodes["bob"], netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 655))
	}
	if n := len(p.m.addresses.failedAt); n > maxFailedAt {
		t.Errorf("%d addresses are remembered", n)
	}
	if d := p.now.Add(time.Hour); p.m.addresses.failedAt[netip.AddrPort{}].until.After(d) {
		t.Error("a wait without end")
	}
}
