//go:build linux

package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tincan/internal/control"
	"tincan/internal/lab"
)

// guards are the networks that the kernel of n keeps for the VPN.
func (n *node) guards() (list []string) {
	n.w.Helper()
	n.w.must(n.Do(func() error {
		routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Type: unix.RTN_UNREACHABLE}, netlink.RT_FILTER_TYPE)
		for _, r := range routes {
			list = append(list, r.Dst.String())
		}
		return err
	}))
	slices.Sort(list)
	return list
}

// setLink sets the VPN's interface of n up or down.
func (n *node) setLink(up bool) {
	n.w.Helper()
	n.w.must(n.Do(func() error {
		link, err := netlink.LinkByName("home")
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	}))
}

// "ip link set home down; up" and the like cost a moment, whatever rights the node has given up.
func TestANodeLooksAfterItsInterface(t *testing.T) {
	t.Parallel()
	for _, extra := range []string{"", "Sandbox = high\n"} {
		name := strings.ReplaceAll(strings.TrimSpace(extra), " ", "")
		t.Run("with"+name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.static(site{name: "a", host: "Subnet = 192.168.77.0/24\n"}, site{name: "b", connect: []string{"a"}, extra: extra})
			a, b := n[0], n[1]
			upAll(n...)
			w.allReach("ip4", n...)
			want := []string{"10.7.0.0/24", "192.168.77.0/24"}
			w.eventually("the guards", patience, func() bool { return slices.Equal(b.guards(), want) })
			b.setLink(false)
			b.reaches(a)
			b.setLink(false)
			b.setLink(true)
			b.reaches(a)

			b.killed()
			if got := b.guards(); !slices.Equal(got, want) {
				t.Errorf("after a crash packets for the VPN may leave in clear: %v", got)
			}
			b.start()
			w.must(b.daemon.WaitLog("Ready", patience))
			b.reaches(a)
			b.killed()
			_, _ = b.try("down")
			if got := b.guards(); got != nil {
				t.Errorf("after down: %v", got)
			}
			b.start()
			w.must(b.daemon.WaitLog("Ready", patience))
			b.stopped()
			if got := b.guards(); got != nil {
				t.Errorf("left behind: %v", got)
			}
		})
	}
}

// A range that the machine is part of already is not taken, and not by accident either.
func TestInitKeepsAwayFromTheLAN(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	gate, err := w.lab.Router("gate")
	w.must(err)
	a := w.nodeAt(gate, "a", "192.168.5.2/24")
	out, err := a.try("init", "a", "--range", "192.168.5.0/24")
	if err == nil || !strings.Contains(err.Error(), "the range 192.168.5.0/24 overlaps with 192.168.5.0/24 of") || !strings.Contains(err.Error(), "--range 10.") {
		t.Errorf("%v: %s", err, out)
	}
	a.tincan("init", "a", "--range", "192.168.5.0/24", "--force")
	if conf := a.file("tinc.conf"); !strings.Contains(conf, "Ifconfig = 192.168.5.3/24") {
		t.Errorf("the address of the router or of this machine was taken:\n%s", conf)
	}

	wide, err := w.lab.Router("wide")
	w.must(err)
	b := w.nodeAt(wide, "b", "10.0.0.2/8")
	b.tincan("init", "b")
	if conf := b.file("tinc.conf"); !strings.Contains(conf, "Ifconfig = 172.") {
		t.Errorf("the range overlaps with the LAN 10.0.0.0/8:\n%s", conf)
	}

	// A newcomer is told that what the inviter has chosen does not fit.
	c := w.node("c")
	c.tincan("init", "c", "--range", "192.168.5.0/24", "--public", c.Addr("ip4").String())
	c.up()
	d := w.gated("d", w.internet.Attach)
	w.must(d.gate.NAT(lab.PortRestricted))
	said, err := d.Run("/bin/sh", "-c", os.Getenv(binaryVar)+" -n home join '"+c.invite("d")+"' 2>&1")
	if err != nil || !strings.Contains(said, "the range 192.168.5.0/24 of the VPN overlaps with 192.168.5.0/24 of") {
		t.Errorf("%v: join says: %s", err, said)
	}
}

// What is wrong on this very machine comes first, and with it what would help.
func TestWhyLooksAtTheKernel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	script := "\nPATH=$PATH:/usr/sbin:/sbin\nip link set $INTERFACE up\nip addr add 10.7.0.2/24 dev $INTERFACE\n"
	n := w.static(site{name: "a", host: "Subnet = 192.168.77.0/24\n"}, site{name: "b", connect: []string{"a"}})
	a, b := n[0], n[1]
	b.write(map[string]string{"tinc-up": "#!/bin/sh" + script}) // so that nobody puts things back
	w.must(b.InFiles(func() error { return os.Chmod(confBase+"/tinc-up", 0o755) }))
	upAll(n...)
	w.allReach("ip4", n...)
	gone := func(code string, about, change string) {
		t.Helper()
		codes, advice := b.why(about)
		if len(codes) == 0 || codes[0] != code || !strings.Contains(advice, change) {
			t.Errorf("%v, %q; want %s, %q", codes, advice, code, change)
		}
	}
	shell := func(command string) {
		t.Helper()
		_, err := b.Run("/bin/sh", "-c", "PATH=$PATH:/usr/sbin:/sbin; "+command)
		w.must(err)
	}
	a.talksDirectly(b)
	if codes, _ := b.why("10.7.0.1"); codes[0] != "direct-udp" {
		t.Errorf("all is well: %v", codes)
	}
	gone("route-elsewhere", "192.168.77.3", "add Route 192.168.77.3/32") // nobody has made a route
	shell("ip route add 192.168.77.0/24 dev home")
	if codes, _ := b.why("192.168.77.3"); codes[0] != "direct-udp" {
		t.Errorf("with a route: %v", codes)
	}
	shell("nft add table inet wall; nft 'add chain inet wall out { type filter hook output priority 0; policy accept; }'; nft add rule inet wall out oifname home drop")
	gone("firewall-drops", "a", "nft insert rule inet wall out oifname \"home\" accept")
	shell("nft delete table inet wall")
	shell("ip addr add 10.7.0.77/24 dev eth0")
	if codes, _ := b.why("a"); !slices.Contains(codes, "range-overlaps") {
		t.Errorf("eth0 has the range, too: %v", codes)
	}
	if said := b.tincan("status"); !strings.Contains(said, "problem: the range 10.7.0.0/24 of the VPN overlaps with 10.7.0.0/24 of eth0") {
		t.Errorf("status says nothing of it:\n%s", said)
	}
	var r control.NetReport
	b.ask(&r, "netcheck")
	if len(r.Problems) == 0 || r.Problems[0].Code != "range-overlaps" {
		t.Errorf("netcheck: %+v", r.Problems)
	}
	shell("ip addr del 10.7.0.77/24 dev eth0; ip addr del 10.7.0.2/24 dev home")
	gone("interface-without-address", "a", "")
	shell("ip link set home down")
	gone("interface-down", "a", "ip link set home up")
}

// A LAN behind this very machine: what it does not pass on is named, and what is advised helps.
func TestWhyLooksAtWhatIsBehindThisMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "a", host: "Subnet = 192.168.77.0/24\n"}, site{name: "b", connect: []string{"a"}})
	a, b := n[0], n[1]
	upAll(n...)
	w.allReach("ip4", n...)
	shell := func(n *node, command string) {
		t.Helper()
		_, err := n.Run("/bin/sh", "-c", "PATH=$PATH:/usr/sbin:/sbin; "+command)
		w.must(err)
	}
	shell(a, "ip link add lan0 type veth peer name lan1; ip addr add 192.168.77.1/24 dev lan0; ip link set lan0 up; ip link set lan1 up")
	w.must(a.Sysctl("net/ipv4/ip_forward", "0"))
	helps := func(code, change string) {
		t.Helper()
		codes, advice := a.why("192.168.77.5")
		if len(codes) == 0 || codes[0] != code || advice != change {
			t.Fatalf("%v, %q; want %s, %q", codes, advice, code, change)
		}
		var r control.NetReport
		a.ask(&r, "netcheck")
		if len(r.Problems) == 0 || r.Problems[0].Code != code {
			t.Errorf("netcheck: %+v", r.Problems)
		}
		shell(a, strings.ReplaceAll(change, `"`, `\"`))
	}
	helps("forwarding-off", "sysctl -w net.ipv4.ip_forward=1")
	if codes, advice := a.why("192.168.77.5"); slices.Contains(codes, "forwarding-off") || advice != "" {
		t.Errorf("when all is well: %v, %q", codes, advice)
	}
	shell(a, "nft add table inet wall; nft 'add chain inet wall through { type filter hook forward priority 0; policy drop; }'; nft add rule inet wall through tcp dport 22 accept")
	helps("firewall-may-drop", `nft insert rule inet wall through iifname "home" oifname "lan0" accept`)
	shell(a, "nft flush chain inet wall through")
	helps("firewall-drops", `nft insert rule inet wall through iifname "home" oifname "lan0" accept`)
	helps("firewall-drops", `nft insert rule inet wall through iifname "lan0" oifname "home" accept`)
	var r control.NetReport
	a.ask(&r, "netcheck")
	if len(r.Problems) != 0 {
		t.Errorf("when all is well again: %+v", r.Problems)
	}
	if codes, _ := a.why("10.7.0.1"); slices.Contains(codes, "forwarding-off") {
		t.Errorf("its own address is not behind it: %v", codes)
	}

	w.must(b.Sysctl("net/ipv4/conf/home/rp_filter", "1"))
	shell(b, "ip route add 192.168.77.0/24 dev eth0")
	if codes, advice := b.why("192.168.77.5"); len(codes) < 2 || codes[0] != "route-elsewhere" || codes[1] != "reverse-path-filter" || !strings.Contains(advice, "add Route") {
		t.Errorf("%v, %q", codes, advice)
	}
}

// README's "up --detach; status" shows the mesh, and who was there before the restart is known.
func TestStatusRightAfterTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "a"}, site{name: "b", connect: []string{"a"}})
	a, b := n[0], n[1]
	a.up()
	for range 3 {
		b.tincan("up", "--detach")
		var s control.Status
		b.ask(&s, "status")
		if len(s.Nodes) != 1 || !s.Nodes[0].Reachable || !s.Nodes[0].Connected {
			t.Errorf("%+v", s.Nodes)
		}
		b.tincan("down")
	}
	a.stopped()
	began := time.Now()
	b.tincan("up", "--detach")
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("with nobody there it took %v", d)
	}
	var s control.Status
	b.ask(&s, "status")
	if len(s.Nodes) != 1 || s.Nodes[0].Reachable || s.Nodes[0].Since == nil {
		t.Errorf("who was there before the restart is forgotten: %+v", s.Nodes)
	}
	b.tincan("down")
}
