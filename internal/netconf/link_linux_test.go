package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tincan/internal/fixture"
)

// tun makes a tun interface that lasts as long as the test.
func tun(t *testing.T, name string) netlink.Link {
	t.Helper()
	link := &netlink.Tuntap{
		LinkAttrs:  netlink.LinkAttrs{Name: name},
		Mode:       netlink.TUNTAP_MODE_TUN,
		Flags:      netlink.TUNTAP_NO_PI | netlink.TUNTAP_ONE_QUEUE,
		NonPersist: true,
		Queues:     1,
	}
	if err := netlink.LinkAdd(link); err != nil {
		fmt.Fprintf(os.Stderr, "*** %s DID NOT RUN: no tun interface: %v\n", t.Name(), err)
		t.Skip("no tun interface: ", err)
	}
	t.Cleanup(func() {
		for _, f := range link.Fds {
			_ = f.Close()
		}
	})
	found, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// state is what the kernel has for the interface: up or down, MTU, addresses, routes.
func state(t *testing.T, link netlink.Link) []string {
	t.Helper()
	link, err := netlink.LinkByIndex(link.Attrs().Index)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{fmt.Sprintf("up %v mtu %d", link.Attrs().Flags&net.FlagUp != 0, link.Attrs().MTU)}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if !a.IP.IsLinkLocalUnicast() {
			if a.Flags&unix.IFA_F_TENTATIVE != 0 {
				t.Errorf("%v cannot be used yet", a.IPNet)
			}
			out = append(out, "addr "+a.IPNet.String())
		}
	}
	routes, err := netlink.RouteList(link, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if r.Protocol == unix.RTPROT_STATIC {
			out = append(out, fmt.Sprintf("route %v from %v", r.Dst, r.Src))
		}
	}
	slices.Sort(out)
	return out
}

func expect(t *testing.T, when string, link netlink.Link, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := state(t, link); !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func prefixes(s ...string) (out []netip.Prefix) {
	for _, s := range s {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheInterfaceIsSetUpAndPutBack(t *testing.T) {
	fixture.InNamespace(t, func() {
		dev := tun(t, "vpn0")
		before := state(t, dev)
		cfg := Config{Interface: "vpn0", Addresses: prefixes("10.7.0.2/16", "fd07::2/64"), MTU: 1400}
		l, err := Up(cfg)
		must(t, err)
		basic := []string{"up true mtu 1400", "addr 10.7.0.2/16", "addr fd07::2/64"}
		expect(t, "after Up", dev, basic...)

		for _, p := range prefixes("10.7.3.0/24", "10.8.0.0/16", "10.8.0.1/16", "fd08::/32", "fd07::5/128", "192.0.2.9/32") {
			must(t, l.AddRoute(p))
		}
		expect(t, "with routes", dev, append(basic, "route 10.8.0.0/16 from 10.7.0.2",
			"route fd08::/32 from fd07::2", "route 192.0.2.9/32 from 10.7.0.2")...)

		must(t, l.RemoveRoute(netip.MustParsePrefix("10.8.0.0/16")))
		must(t, l.RemoveRoute(netip.MustParsePrefix("192.0.2.9/32")))
		must(t, l.RemoveRoute(netip.MustParsePrefix("198.51.100.0/24"))) // never added
		expect(t, "one of two wishes for 10.8.0.0/16 taken back", dev,
			append(basic, "route 10.8.0.0/16 from 10.7.0.2", "route fd08::/32 from fd07::2")...)
		must(t, l.RemoveRoute(netip.MustParsePrefix("10.8.0.0/16")))
		expect(t, "both taken back", dev, append(basic, "route fd08::/32 from fd07::2")...)

		must(t, l.Close())
		expect(t, "after Close", dev, before...)
		must(t, l.Close())
		if err := l.AddRoute(netip.MustParsePrefix("10.9.0.0/16")); err == nil {
			t.Error("a route was added after Close")
		}
	})
}

func TestWhatWasThereBeforeStays(t *testing.T) {
	fixture.InNamespace(t, func() {
		dev := tun(t, "vpn0")
		cfg := Config{Interface: "vpn0", Addresses: prefixes("10.7.0.2/16")}
		first, err := Up(cfg)
		must(t, err)
		must(t, first.AddRoute(netip.MustParsePrefix("10.8.0.0/16")))
		want := state(t, dev)

		second, err := Up(cfg) // as after a crash, on a persistent interface
		must(t, err)
		must(t, second.AddRoute(netip.MustParsePrefix("10.8.0.0/16")))
		expect(t, "the second time", dev, want...)
		must(t, second.Close())
		expect(t, "after the second has gone", dev, want...)
	})
}

func TestAnAddressOfAnotherInterfaceIsNotTaken(t *testing.T) {
	fixture.InNamespace(t, func() {
		dev, other := tun(t, "vpn0"), tun(t, "lan0")
		must(t, netlink.AddrAdd(other, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 7, 0, 2), Mask: net.CIDRMask(24, 32)}}))
		before := state(t, dev)
		_, err := Up(Config{Interface: "vpn0", Addresses: prefixes("10.6.0.1/24", "10.7.0.2/16"), MTU: 1400})
		if err == nil || !strings.HasSuffix(err.Error(), "lan0 has it already") || hint(err) == "" {
			t.Errorf("error %v, hint %q", err, hint(err))
		}
		expect(t, "after the refusal", dev, before...)
	})
}

func TestAFailureHalfwayIsTakenBack(t *testing.T) {
	fixture.InNamespace(t, func() {
		dev := tun(t, "vpn0")
		must(t, os.WriteFile("/proc/sys/net/ipv6/conf/vpn0/disable_ipv6", []byte("1"), 0))
		before := state(t, dev)
		_, err := Up(Config{Interface: "vpn0", Addresses: prefixes("10.7.0.2/16", "fd07::2/64"), MTU: 1400})
		if err == nil || !strings.Contains(err.Error(), "IPv6 is switched off") {
			t.Errorf("error %v", err)
		}
		expect(t, "after the failure", dev, before...)
	})
}

func TestARouteOfAnotherNetworkIsNotTaken(t *testing.T) {
	fixture.InNamespace(t, func() {
		tun(t, "vpn0")
		tun(t, "vpn1")
		one, err := Up(Config{Interface: "vpn0", Addresses: prefixes("10.7.0.2/16")})
		must(t, err)
		two, err := Up(Config{Interface: "vpn1", Addresses: prefixes("10.6.0.2/16")})
		must(t, err)
		must(t, one.AddRoute(netip.MustParsePrefix("10.9.0.0/16")))
		err = two.AddRoute(netip.MustParsePrefix("10.9.0.0/16"))
		if err == nil || !strings.Contains(err.Error(), "vpn0 has the same route already") {
			t.Errorf("error %v", err)
		}
	})
}

func TestALocalNetworkWinsOverTheSameSubnetInTheMesh(t *testing.T) {
	fixture.InNamespace(t, func() {
		tun(t, "vpn0")
		lan := tun(t, "lan0")
		must(t, netlink.AddrAdd(lan, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 168, 1, 2), Mask: net.CIDRMask(24, 32)}}))
		must(t, netlink.LinkSetUp(lan))
		l, err := Up(Config{Interface: "vpn0", Addresses: prefixes("10.7.0.2/16")})
		must(t, err)
		must(t, l.AddRoute(netip.MustParsePrefix("192.168.1.0/24")))
		routes, err := netlink.RouteGet(net.IPv4(192, 168, 1, 7))
		must(t, err)
		if routes[0].LinkIndex != lan.Attrs().Index {
			t.Error("packets for the local network go into the VPN")
		}
	})
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	fixture.InNamespace(t, func() {
		if _, err := Up(Config{Interface: "nowhere"}); err == nil || err.Error() != "cannot find the interface nowhere: there is no such interface" {
			t.Errorf("missing interface: %v", err)
		}
		tun(t, "vpn0")
		l, err := Up(Config{Interface: "vpn0", Addresses: prefixes("10.7.0.2/16")})
		must(t, err)
		if err := l.AddRoute(netip.MustParsePrefix("0.0.0.0/0")); err == nil || !strings.Contains(err.Error(), "a subnet-up script") {
			t.Errorf("default route: %v", err)
		}
	})
	err := explain("do this", unix.EPERM)
	if err.Error() != "cannot do this: operation not permitted" || hint(err) != "run as root, or give the program CAP_NET_ADMIN" {
		t.Errorf("%q, hint %q", err, hint(err))
	}
}

// hint is the advice that comes with an error.
func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

func TestCloseAfterTheInterfaceHasGone(t *testing.T) {
	fixture.InNamespace(t, func() {
		dev := tun(t, "vpn0")
		l, err := Up(Config{Interface: "vpn0", Addresses: prefixes("10.7.0.2/16")})
		must(t, err)
		must(t, l.AddRoute(netip.MustParsePrefix("10.8.0.0/16")))
		must(t, netlink.LinkDel(dev))
		must(t, l.RemoveRoute(netip.MustParsePrefix("10.8.0.0/16")))
		must(t, l.Close())
	})
}

// What users and network managers do to an interface does not last.
func TestWhatOthersTakeAwayIsPutBack(t *testing.T) {
	fixture.InNamespace(t, func() {
		dev := tun(t, "vpn0")
		l, err := Up(Config{Interface: "vpn0", Addresses: prefixes("10.7.0.2/16", "fd07::2/64")})
		must(t, err)
		for _, p := range prefixes("10.8.0.0/16", "fd08::/32") {
			must(t, l.AddRoute(p))
		}
		want := state(t, dev)
		if got, err := l.Restore(); err != nil || got != nil {
			t.Errorf("nothing has happened: %v, %v", got, err)
		}
		for _, c := range []struct {
			name, says string
			harm       func()
		}{
			{"the interface is taken down", "[the address fd07::2/64 its state up 2 routes]", func() { must(t, netlink.LinkSetDown(dev)) }},
			{"down and up again", "[the address fd07::2/64 2 routes]", func() { must(t, netlink.LinkSetDown(dev)); must(t, netlink.LinkSetUp(dev)) }},
			{"an address is deleted", "[the address 10.7.0.2/16 1 route]", func() {
				must(t, netlink.AddrDel(dev, &netlink.Addr{IPNet: ipNet(prefixes("10.7.0.2/16")[0])}))
			}},
			{"a route is deleted", "[1 route]", func() { must(t, netlink.RouteDel(l.route(prefixes("10.8.0.0/16")[0]))) }},
		} {
			c.harm()
			got, err := l.Restore()
			if fmt.Sprint(got) != c.says || err != nil {
				t.Errorf("%s: %v, %v; want %s", c.name, got, err, c.says)
			}
			expect(t, c.name, dev, want...)
		}
		must(t, l.Close())
		if got, err := l.Restore(); err != nil || got != nil {
			t.Errorf("after Close: %v, %v", got, err)
		}
	})
}

// While the VPN's route is missing, the default route does not get its packets.
func TestAGuardKeepsPacketsFromTheDefaultRoute(t *testing.T) {
	fixture.InNamespace(t, func() {
		lo, err := netlink.LinkByName("lo")
		must(t, err)
		must(t, netlink.LinkSetUp(lo))
		lan := tun(t, "lan0")
		for _, a := range prefixes("192.0.2.2/24", "2001:db8::2/64") {
			must(t, netlink.AddrAdd(lan, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD}))
		}
		must(t, netlink.LinkSetUp(lan))
		for _, p := range []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")} {
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: lan.Attrs().Index, Dst: ipNet(p), Family: family(p)}))
		}
		dev := tun(t, "vpn0")
		l, err := Up(Config{Interface: "vpn0", Addresses: prefixes("10.7.0.2/16", "fd07::2/64")})
		must(t, err)
		leads := func(when string, want map[string]string) {
			t.Helper()
			for to, iface := range want {
				got := "nowhere"
				if r, err := netlink.RouteGet(net.ParseIP(to)); err == nil {
					got = l.nameOf(r[0].LinkIndex)
				}
				if got != iface {
					t.Errorf("%s: packets for %s go to %s, want %s", when, to, got, iface)
				}
			}
		}
		guarded := prefixes("10.7.0.0/16", "fd07::/64", "10.8.0.0/16", "fd08::/32", "192.0.2.0/24")
		g, err := NewGuard("vpn0")
		must(t, err)
		must(t, g.Set(guarded))
		must(t, l.AddRoute(prefixes("10.8.0.0/16")[0]))
		must(t, l.AddRoute(prefixes("fd08::/32")[0]))
		leads("all is well", map[string]string{"10.7.0.9": "vpn0", "fd07::9": "vpn0", "10.8.0.9": "vpn0", "fd08::9": "vpn0", "192.0.2.9": "lan0", "10.9.0.1": "lan0"})
		must(t, netlink.LinkSetDown(dev))
		gone := map[string]string{"10.7.0.9": "nowhere", "fd07::9": "nowhere", "10.8.0.9": "nowhere", "fd08::9": "nowhere", "192.0.2.9": "lan0", "10.9.0.1": "lan0"}
		leads("the interface is down", gone)

		must(t, netlink.RouteDel(g.route(prefixes("10.8.0.0/16")[0])))
		if n, err := g.Restore(); n != 1 || err != nil {
			t.Errorf("a guard was removed: %d put back, %v", n, err)
		}
		other, err := NewGuard("vpn1") // another network of the same machine
		must(t, err)
		must(t, other.Set(prefixes("10.8.0.0/16")))
		must(t, other.Close())
		leads("another network has ended", gone)

		again, err := NewGuard("vpn0") // after a crash
		must(t, err)
		if got := again.Networks(); len(got) != len(guarded) {
			t.Errorf("found %v", got)
		}
		must(t, again.Close())
		leads("the end", map[string]string{"10.7.0.9": "lan0", "fd08::9": "lan0"})
	})
}

// Two interfaces with the same network: the other one keeps it, ours gets what has a route of its own.
func TestANetworkCanBeLeftToAnotherInterface(t *testing.T) {
	fixture.InNamespace(t, func() {
		lan := tun(t, "lan0")
		must(t, netlink.LinkSetUp(lan))
		dev := tun(t, "vpn0")
		l, err := Up(Config{Interface: "vpn0", Addresses: prefixes("192.168.1.7/24", "fd07::2/64")})
		must(t, err)
		must(t, netlink.AddrAdd(lan, &netlink.Addr{IPNet: ipNet(prefixes("192.168.1.20/24")[0])}))
		leads := func(to string) string {
			r, err := netlink.RouteGet(net.ParseIP(to))
			if err != nil {
				return err.Error()
			}
			return l.nameOf(r[0].LinkIndex)
		}
		must(t, l.SetHostOnly(true))
		must(t, l.AddRoute(prefixes("192.168.1.9/32")[0]))
		if a, b := leads("192.168.1.9"), leads("192.168.1.1"); a != "vpn0" || b != "lan0" {
			t.Errorf("a node is at %s, the LAN at %s", a, b)
		}
		must(t, netlink.LinkSetDown(dev))
		must(t, netlink.LinkSetUp(dev))
		_, err = l.Restore()
		must(t, err)
		if a, b := leads("192.168.1.9"), leads("192.168.1.1"); a != "vpn0" || b != "lan0" {
			t.Errorf("after it was put back: a node is at %s, the LAN at %s", a, b)
		}
		must(t, netlink.LinkDel(lan))
		must(t, l.SetHostOnly(false))
		if a, b := leads("192.168.1.1"), leads("fd07::5"); a != "vpn0" || b != "vpn0" {
			t.Errorf("without a LAN: %s, %s", a, b)
		}
		must(t, l.Close())
	})
}
