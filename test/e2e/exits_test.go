//go:build linux

package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/lab"
	"tincan/internal/packet"
)

// The internet of these tests.
var (
	web4, web6 = netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("2001:db8:77::2")
	outside    = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}
)

// capture looks at all packets of the uplink of a node for such as should have gone into the VPN.
type capture struct {
	mu sync.Mutex
	// leaks are packets to or from the internet, and queries for DNS servers; others are all the rest.
	leaks  []string
	others int
}

func (n *node) capture() *capture {
	n.w.Helper()
	c := &capture{}
	n.frames(c.look)
	return c
}

func (c *capture) look(frame []byte) {
	if len(frame) < packet.EthernetLen {
		return
	}
	ip := frame[packet.EthernetLen:]
	h, ok := packet.Parse(ip)
	src, ok1 := packet.Src(ip)
	dst, ok2 := packet.Dst(ip)
	if !ok || !ok1 || !ok2 {
		return
	}
	leak := false
	for _, p := range outside {
		leak = leak || p.Contains(src) || p.Contains(dst)
	}
	if (h.Proto == packet.ProtoUDP || h.Proto == packet.ProtoTCP) && !h.Later && len(ip) >= h.Transport+4 {
		from, to := binary.BigEndian.Uint16(ip[h.Transport:]), binary.BigEndian.Uint16(ip[h.Transport+2:])
		leak = leak || from == 53 || to == 53
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !leak {
		c.others++
	} else if len(c.leaks) < 20 {
		c.leaks = append(c.leaks, fmt.Sprintf("%v > %v, protocol %d, %d bytes", src, dst, h.Proto, len(ip)))
	}
}

// none checks that nothing has leaked so far, and that something was seen at all.
func (c *capture) none(t *testing.T, when string) {
	t.Helper()
	time.Sleep(150 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.leaks) > 0 {
		t.Errorf("%s: leaked: %s", when, strings.Join(c.leaks, "; "))
	}
	if c.others == 0 {
		t.Errorf("%s: nothing was captured at all", when)
	}
	c.leaks = nil
}

// took is what has leaked since the last time, which is forgotten.
func (c *capture) took() int {
	time.Sleep(150 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.leaks)
	c.leaks = nil
	return n
}

// exitWorld is a client and two exit nodes, the second of which has no IPv6, and a node of tinc 1.0, if it is installed. web is in the
// internet.
type exitWorld struct {
	*world
	client, exit1, exit2, old *node
	web                       *lab.Host
}

// newExitWorld makes it. extra are more lines of tinc.conf of the client.
func newExitWorld(t *testing.T, extra string) *exitWorld {
	t.Helper()
	w := newWorld(t)
	const exit = "Exit = yes\nExitDNS = 203.0.113.2\nExitConnections = 20\n"
	nodes := w.legacy(
		site{name: "client", connect: []string{"exit1", "exit2"}, extra: extra},
		site{name: "exit1", extra: exit},
		site{name: "exit2", connect: []string{"exit1"}, extra: exit},
		site{name: "old", kind: tinc10, connect: []string{"exit1"}},
	)
	web, err := w.lab.Host("web")
	w.must(err)
	_, err = w.internet.Attach(web, "203.0.113.2/24", "2001:db8:77::2/64")
	w.must(err)
	x := &exitWorld{world: w, client: nodes[0], exit1: nodes[1], exit2: nodes[2], old: nodes[3], web: web}
	x.exit2.ip("-6", "route", "del", "default")
	return x
}

// ip changes addresses and routes of a node.
func (n *node) ip(args ...string) {
	n.w.Helper()
	_, err := n.Run("/usr/sbin/ip", args...)
	n.w.must(err)
}

// sourceAt is the address by which web sees a packet of the client; "" if none arrives.
func (x *exitWorld) sourceAt(to netip.Addr) string {
	in, err := x.web.ListenPacket("udp", netip.AddrPortFrom(to, 0).String())
	x.must(err)
	defer in.Close()
	out, err := x.client.Dial(x.Context(), "udp", in.LocalAddr().String())
	if err != nil {
		return ""
	}
	defer out.Close()
	if _, err := out.Write([]byte("hello")); err != nil {
		return ""
	}
	_ = in.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	b := make([]byte, 100)
	n, from, err := in.ReadFrom(b)
	if err != nil {
		return ""
	}
	if _, err := in.WriteTo(b[:n], from); err != nil { // and back
		return ""
	}
	_ = out.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := out.Read(b); err != nil {
		return ""
	}
	return from.(*net.UDPAddr).AddrPort().Addr().Unmap().String()
}

// leavesBy waits until the packets of the client for an address leave by an exit node; nil: they reach the internet no more.
func (x *exitWorld) leavesBy(exit *node, to netip.Addr) {
	x.Helper()
	want := ""
	if exit != nil {
		want = exit.Addr(map[bool]string{true: "ip4", false: "ip6"}[to.Is4()]).String()
	}
	got := ""
	x.eventually(fmt.Sprintf("%v sees the client as %q, and answers; last as %q", to, want, got), patience, func() bool { got = x.sourceAt(to); return got == want })
}

// starts starts the client, and waits until it knows of both exit nodes.
func (x *exitWorld) starts() {
	x.Helper()
	x.client.up()
	x.eventually("both exit nodes work", patience, func() bool {
		s, _ := x.client.try("status")
		return strings.Contains(s, "via: ") && strings.Contains(s, "exit2 works")
	})
}

func TestPacketsLeaveByExitNodes(t *testing.T) {
	t.Parallel()
	x := newExitWorld(t, "Via = default exit1,exit2\n")
	upAll(x.exit1, x.exit2, x.old)
	x.starts()
	c := x.client.capture()
	x.leavesBy(x.exit1, web4)
	x.leavesBy(x.exit1, web6)
	c.none(t, "by exit1")
	x.client.reaches(x.exit2) // the mesh, and the local network
	if _, err := x.client.Reach(netip.MustParseAddr("10.99.1.1"), patience); err != nil {
		t.Error(err)
	}

	// The exit is killed while something goes through it. Its neighbour in order has no IPv6.
	flow, err := lab.Datagrams(x.client.Host, x.web, web4, 10*time.Millisecond)
	x.must(err)
	defer flow.Stop()
	x.eventually("datagrams arrive", patience, func() bool { return flow.Arrived() > 50 })
	flow.Restart()
	x.exit1.killed()
	x.leavesBy(x.exit2, web4)
	x.eventually("datagrams arrive again", patience, func() bool { return flow.Arrived() > 100 })
	if gap := flow.Longest(); gap > time.Second {
		t.Errorf("nothing arrived for %v when the exit node was killed", gap)
	} else {
		t.Logf("when the exit node was killed nothing arrived for %v", gap)
	}
	c.none(t, "while the exit node is killed")
	x.leavesBy(nil, web6)
	c.none(t, "with an exit node that has no IPv6")
	if conn, err := x.client.Dial(x.Context(), "tcp", "[2001:db8:77::2]:80"); err == nil {
		conn.Close()
	} else if !strings.Contains(err.Error(), "unreachable") && !strings.Contains(err.Error(), "no route") {
		t.Errorf("IPv6 is not refused at once: %v", err)
	}

	// It keeps the second, although the first one is back; until it is dead, too, but says nothing.
	x.exit1.up()
	x.eventually("exit1 is back", patience, func() bool { return x.client.sees("exit1").reachable })
	time.Sleep(time.Second)
	x.leavesBy(x.exit2, web4)
	flow.Restart()
	x.must(x.exit2.daemon.Signal(unix.SIGSTOP))
	x.leavesBy(x.exit1, web4)
	x.eventually("datagrams arrive again", patience, func() bool { return flow.Arrived() > 100 })
	t.Logf("when the exit node has fallen silent nothing arrived for %v", flow.Longest())
	x.must(x.exit2.daemon.Signal(unix.SIGCONT))
	c.none(t, "while the exit node is silent")

	// The uplink of the exit goes, and not the exit itself.
	x.leavesBy(x.exit1, web6)
	x.exit1.ip("-6", "route", "del", "default")
	x.leavesBy(nil, web6)
	x.leavesBy(x.exit1, web4)
	c.none(t, "while the uplink goes")

	// Nobody of tinc 1.0 hears of any of that.
	x.old.reaches(x.exit1)
	if subnets := x.old.oldDump(unix.SIGUSR2, "Subnet list", "End of subnet list"); strings.Contains(subnets, "0.0.0.0") || strings.Contains(subnets, "::/0") {
		t.Errorf("routes to the internet were announced: %s", subnets)
	}
	if warn := x.old.log(); strings.Contains(warn, "Bogus") {
		t.Errorf("tinc 1.0 complains: %s", x.old.daemon.Tail(50))
	}

	// All exit nodes are dead.
	x.exit2.killed()
	x.exit1.killed()
	x.leavesBy(nil, web4)
	x.leavesBy(nil, web6)
	c.none(t, "without an exit node")

	// Without a kill switch the machine is online again as before.
	x.client.killed()
	x.leavesBy(x.client, web4)
	x.leavesBy(x.client, web6)
	if c.took() == 0 {
		t.Error("the capture does not see leaks")
	}
}

// answersQueries has web answer DNS queries, in so far as these tests need that: with what it was asked.
func (x *exitWorld) answersQueries() {
	x.Helper()
	in, err := x.web.ListenPacket("udp", netip.AddrPortFrom(web4, 53).String())
	x.must(err)
	x.Cleanup(func() { in.Close() })
	go func() {
		for b := make([]byte, 1000); ; {
			n, from, err := in.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = in.WriteTo(b[:n], from)
		}
	}()
}

// asks tells whether a DNS server answers the client.
func (x *exitWorld) asks(server string) bool {
	x.Helper()
	out, err := x.client.Dial(x.Context(), "udp", net.JoinHostPort(server, "53"))
	if err != nil {
		return false
	}
	defer out.Close()
	for range 3 {
		_ = out.SetDeadline(time.Now().Add(300 * time.Millisecond))
		b := make([]byte, 100)
		if _, err := out.Write([]byte("what?")); err != nil {
			continue
		}
		if n, err := out.Read(b); err == nil && string(b[:n]) == "what?" {
			return true
		}
	}
	return false
}

func TestKillSwitch(t *testing.T) {
	t.Parallel()
	x := newExitWorld(t, "Via = default exit1,exit2\nKillSwitch = yes\n")
	x.answersQueries()
	upAll(x.exit1, x.exit2)
	x.starts()
	c := x.client.capture()
	x.leavesBy(x.exit1, web4)
	x.leavesBy(x.exit1, web6)
	router := netip.MustParseAddr("10.99.1.1")

	// Queries for the DNS server of the LAN are answered by that of the exit node, also when it has changed.
	for _, server := range []string{"10.99.1.1", "10.99.1.53", "192.168.99.1", "203.0.113.2"} {
		if !x.asks(server) {
			t.Errorf("nobody answers queries for %s", server)
		}
	}
	c.none(t, "with queries")

	// Each client has its share of an exit node.
	ln, err := x.web.Listen("tcp", netip.AddrPortFrom(web4, 0).String())
	x.must(err)
	defer ln.Close()
	var made []net.Conn
	for range 22 { // each that is refused takes a second
		conn, err := net.Conn(nil), error(nil)
		if conn, err = x.client.Dial(x.Context(), "tcp", ln.Addr().String()); err != nil {
			continue
		}
		made = append(made, conn)
	}
	if len(made) > 20 || len(made) == 0 {
		t.Errorf("%d connections at a time were made", len(made))
	}
	for _, conn := range made { // the exit node would remember them for long after the client was killed
		x.must(conn.(*net.TCPConn).SetLinger(0))
		conn.Close()
	}

	// It is killed: nothing leaves, but the LAN is there.
	blocked := func(when string) {
		t.Helper()
		for _, to := range []netip.Addr{web4, web6} {
			if got := x.sourceAt(to); got != "" {
				t.Errorf("%s: %v sees the client as %s", when, to, got)
			}
		}
		for _, server := range []string{"10.99.1.1", "203.0.113.2", "2001:db8:77::2"} {
			if x.asks(server) {
				t.Errorf("%s: %s answers queries", when, server)
			}
		}
		if _, err := x.client.Reach(router, patience); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		c.none(t, when)
	}
	x.client.killed()
	blocked("killed")
	x.starts()
	x.leavesBy(x.exit1, web4)
	x.leavesBy(x.exit1, web6)
	c.none(t, "started again")
	x.client.killed()
	x.client.tincan("down")
	x.leavesBy(x.client, web4)
	x.leavesBy(x.client, web6)
	if c.took() == 0 {
		t.Error("the capture does not see leaks")
	}

	// A clean end leaves nothing behind either.
	x.starts()
	x.leavesBy(x.exit1, web4)
	x.client.stopped()
	x.leavesBy(x.client, web4)
	if rules, err := x.client.Run("/usr/sbin/ip", "rule"); err != nil || strings.Count(rules, "\n") != 3 {
		t.Errorf("rules at the end: %s %v", rules, err)
	}
	x.exit1.stopped()
	if rules, err := x.exit1.Run("nft", "list", "ruleset"); err != nil || strings.TrimSpace(rules) != "" {
		t.Errorf("the exit node leaves rules behind: %s %v", rules, err)
	}
}

func TestPrefixesThatLeaveByExitNodes(t *testing.T) {
	t.Parallel()
	var list strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&list, "100.%d.%d.0/24\n", 128+i>>8, i&255)
	}
	x := newExitWorld(t, "Via = @list.txt exit1\nVia = 2001:db8:77::/64 exit2,exit1\n")
	x.client.write(map[string]string{"list.txt": list.String() + "203.0.113.0/24 # web\n"})
	upAll(x.exit1, x.exit2)
	began := time.Now()
	x.client.up()
	t.Logf("the client was up after %v", time.Since(began))
	x.leavesBy(x.exit1, web4)
	x.leavesBy(nil, web6) // exit2 is the first that works, and has no IPv6
	if why := x.client.tincan("why", "203.0.113.9"); !strings.Contains(why, "leave the mesh by exit1") {
		t.Errorf("why:\n%s", why)
	}
	if s := x.client.tincan("status"); !strings.Contains(s, "list.txt (10001 prefixes) by exit1") {
		t.Errorf("status:\n%s", s)
	}
	x.client.write(map[string]string{"list.txt": list.String()})
	x.client.hangUp()
	x.leavesBy(x.client, web4)
}
