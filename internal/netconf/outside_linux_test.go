package netconf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tincan/internal/fixture"
)

const testMark = 0x74696e63

// inLAN runs test on a machine with the interfaces eth0, which leads to the internet and a LAN, and vpn0.
func inLAN(t *testing.T, test func(vpn netlink.Link)) {
	fixture.InNamespace(t, func() {
		eth, vpn := tun(t, "eth0"), tun(t, "vpn0")
		if lo, err := netlink.LinkByName("lo"); err != nil || netlink.LinkSetUp(lo) != nil {
			t.Fatal("there is no loopback")
		}
		for link, addrs := range map[netlink.Link][]string{eth: {"192.168.1.5/24", "2001:db8:1::5/64"}, vpn: {"10.7.0.1/16", "fd07::1/64"}} {
			for _, a := range addrs {
				p := netip.MustParsePrefix(a)
				if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD * btoi(p.Addr().Is6())}); err != nil {
					t.Fatal(err)
				}
			}
			if err := netlink.LinkSetUp(link); err != nil {
				t.Fatal(err)
			}
		}
		for _, gw := range []string{"192.168.1.1", "2001:db8:1::1"} {
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.ParseIP(gw)}); err != nil {
				t.Fatal(err)
			}
		}
		test(vpn)
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// leaves is the interface by which packets leave, or why they do not, and the source address. what is an address, after it
// "dns" for queries, "mark" for the VPN's own.
func leaves(t *testing.T, what string) string {
	t.Helper()
	words := strings.Fields(what)
	args := []string{"route", "get", words[0]}
	for _, w := range words[1:] {
		switch w {
		case "dns":
			args = append(args, "ipproto", "udp", "dport", "53")
		case "mark":
			args = append(args, "mark", fmt.Sprint(testMark))
		}
	}
	// The library's own request knows neither ports nor protocols.
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		if strings.Contains(string(out), "No route to host") {
			return "unreachable"
		}
		return string(out)
	}
	fields := strings.Fields(string(out))
	dev, src := "", ""
	for i, w := range fields[:len(fields)-1] {
		switch w {
		case "dev":
			dev = fields[i+1]
		case "src":
			src = fields[i+1]
		}
	}
	return dev + " " + src
}

func needIP(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("SKIP: there is no ip command")
	}
}

func check(t *testing.T, when string, want map[string]string) {
	t.Helper()
	for what, by := range want {
		if got := leaves(t, what); got != by {
			t.Errorf("%s: %s leaves by %q, want %q", when, what, got, by)
		}
	}
}

const lan4, lan6, vpn4, vpn6 = "eth0 192.168.1.5", "eth0 2001:db8:1::5", "vpn0 10.7.0.1", "vpn0 fd07::1"

// before is where packets go without an Outside.
var before = map[string]string{
	"203.0.113.9": lan4, "2001:db8:9::9": lan6, "192.168.1.1": lan4, "10.7.0.2": vpn4, "fd07::2": vpn6,
	"203.0.113.9 dns": lan4, "192.168.1.1 dns": lan4, "2001:db8:1::1 dns": lan6, "203.0.113.9 mark": lan4,
}

func outsideConfig(prefixes ...string) OutsideConfig {
	c := OutsideConfig{Interface: "vpn0", Mark: testMark, Sources: []netip.Addr{netip.MustParseAddr("10.7.0.1"), netip.MustParseAddr("fd07::1")}}
	for _, p := range prefixes {
		c.Prefixes = append(c.Prefixes, netip.MustParsePrefix(p))
	}
	c.Default = len(prefixes) == 0
	return c
}

func TestEverythingIntoTheVPN(t *testing.T) {
	needIP(t)
	for _, guard := range []bool{false, true} {
		inLAN(t, func(vpn netlink.Link) {
			check(t, "before", before)
			cfg := outsideConfig()
			cfg.Guard = guard
			o, err := NewOutside(cfg)
			if err != nil {
				t.Fatal(err)
			}
			inside := map[string]string{
				"203.0.113.9": vpn4, "2001:db8:9::9": vpn6, "10.7.0.2": vpn4, "fd07::2": vpn6, "192.168.1.1": lan4, "2001:db8:1::1": lan6,
				"203.0.113.9 dns": vpn4, "192.168.1.1 dns": vpn4, "2001:db8:1::1 dns": vpn6, "127.0.0.53 dns": "lo 127.0.0.1",
				"203.0.113.9 mark": lan4, "2001:db8:9::9 mark": lan6, "192.168.1.1 dns mark": lan4,
			}
			check(t, "with it", inside)

			// Another program removes some of it.
			for _, args := range []string{"rule del pref 26553", "-6 rule del pref 26549", "route flush table " + fmt.Sprint(o.table())} {
				if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
					t.Fatalf("%s: %s", args, out)
				}
			}
			if n, err := o.Restore(); err != nil || n < 3 {
				t.Errorf("restored %d, %v", n, err)
			}
			check(t, "restored", inside)
			if n, err := o.Restore(); err != nil || n != 0 {
				t.Errorf("nothing was missing, and %d were restored, %v", n, err)
			}

			// The process is killed: the interface goes, the rest stays.
			if err := netlink.LinkSetDown(vpn); err != nil {
				t.Fatal(err)
			}
			killed := map[string]string{"203.0.113.9": lan4, "2001:db8:9::9": lan6, "192.168.1.1": lan4, "192.168.1.1 dns": lan4, "203.0.113.9 mark": lan4}
			if guard {
				for _, what := range []string{"203.0.113.9", "2001:db8:9::9", "192.168.1.1 dns"} {
					killed[what] = "unreachable"
				}
			}
			check(t, "killed", killed)

			// The next one takes over, and ends cleanly. It wants less.
			if err := netlink.LinkSetUp(vpn); err != nil {
				t.Fatal(err)
			}
			next, err := NewOutside(outsideConfig("203.0.113.0/24"))
			if err != nil {
				t.Fatal(err)
			}
			check(t, "the next one", map[string]string{"203.0.113.9": vpn4, "203.0.114.9": lan4, "2001:db8:9::9": lan6, "192.168.1.1 dns": lan4})
			if err := next.Close(); err != nil {
				t.Error(err)
			}
			delete(before, "fd07::2") // an interface that is taken down loses its addresses of IPv6
			check(t, "at the end", before)
			before["fd07::2"] = vpn6
			left := 0
			for _, f := range outsideFamilies {
				rules, err := netlink.RuleList(f)
				if err != nil {
					t.Fatal(err)
				}
				left += len(rules)
			}
			if left != 5 { // local, main, default; local, main
				t.Errorf("%d rules are left", left)
			}
			_ = o
		})
	}
}

func TestClearOutside(t *testing.T) {
	needIP(t)
	inLAN(t, func(netlink.Link) {
		cfg := outsideConfig()
		cfg.Guard = true
		if _, err := NewOutside(cfg); err != nil {
			t.Fatal(err)
		}
		if err := ClearOutside("other0"); err != nil {
			t.Error(err)
		}
		check(t, "another network was cleared", map[string]string{"203.0.113.9": vpn4, "192.168.1.1": lan4})
		if err := ClearOutside("vpn0"); err != nil {
			t.Error(err)
		}
		check(t, "cleared", before)
	})
}

// IPv6 that is switched off on the interface must not leave by another one.
func TestOutsideWithoutIPv6OnTheInterface(t *testing.T) {
	needIP(t)
	inLAN(t, func(netlink.Link) {
		if out, err := exec.Command("sysctl", "-w", "net.ipv6.conf.vpn0.disable_ipv6=1").CombinedOutput(); err != nil {
			t.Skipf("SKIP: %s", out)
		}
		o, err := NewOutside(outsideConfig())
		if err != nil {
			t.Fatal(err)
		}
		check(t, "with it", map[string]string{"203.0.113.9": vpn4, "2001:db8:9::9": "unreachable", "2001:db8:9::9 mark": lan6})
		if n, err := o.Restore(); err != nil || n != 0 {
			t.Errorf("restored %d, %v", n, err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		check(t, "at the end", map[string]string{"203.0.113.9": lan4, "2001:db8:9::9": lan6})
	})
}

func TestTenThousandPrefixesInTheKernel(t *testing.T) {
	needIP(t)
	inLAN(t, func(netlink.Link) {
		var list []string
		for i := range 10_000 {
			list = append(list, fmt.Sprintf("100.%d.%d.0/24", 128+i>>8, i&255))
		}
		cfg := outsideConfig(list...)
		cfg.Guard = true
		start := time.Now()
		o, err := NewOutside(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("10,000 prefixes with guards: %v", time.Since(start))
		check(t, "with it", map[string]string{"100.128.0.9": vpn4, "100.167.15.9": vpn4, "100.167.16.9": lan4})
		start = time.Now()
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("removed: %v", time.Since(start))
		check(t, "at the end", before)
	})
}

func TestChangesOfRulesAreReported(t *testing.T) {
	needIP(t)
	inLAN(t, func(netlink.Link) {
		ctx, cancel := context.WithCancel(context.Background())
		seen, ended := make(chan struct{}, 100), make(chan struct{})
		ready := make(chan struct{})
		ns := currentNamespace(t)
		go func() {
			defer close(ended)
			ns.enter(t)
			close(ready)
			WatchRules(ctx, func() { seen <- struct{}{} })
		}()
		<-ready
		for end := time.After(30 * time.Second); ; {
			if out, err := exec.Command("ip", "rule", "add", "pref", "7", "lookup", "main").CombinedOutput(); err != nil {
				t.Fatalf("%s", out)
			}
			_ = exec.Command("ip", "rule", "del", "pref", "7").Run()
			select {
			case <-seen:
				cancel()
				<-ended
				return
			case <-end:
				t.Fatal("nobody has seen it")
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
}

// namespace is that of a test's thread.
type namespace struct{ fd int }

func currentNamespace(t *testing.T) namespace {
	t.Helper()
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return namespace{fd}
}

// enter moves the goroutine that calls it there, for ever.
func (n namespace) enter(t *testing.T) {
	runtime.LockOSThread()
	if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
		t.Error(err)
	}
}
