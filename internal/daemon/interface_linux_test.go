package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tincan/internal/fixture"
)

// inNamespaceVar tells the test program that it has a network of its own.
const inNamespaceVar = "TINCAN_DAEMON_TEST_NAMESPACE"

// inNamespace runs the test in a copy of this program with private networks and
// mounts, and reports whether this is the copy.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespaceVar) != "" {
		must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		lo, err := netlink.LinkByName("lo")
		must(t, err)
		must(t, netlink.LinkSetUp(lo))
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespaceVar+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		fmt.Fprintf(os.Stderr, "\n*** %s WAS NOT RUN: no namespaces here (%v); run it as root ***\n\n", t.Name(), err)
		t.Skip(err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Fatalf("the test did not run:\n%s", out)
	}
	t.Logf("%s", out)
	return false
}

// withInterface makes a node with a real interface called vpn0.
func withInterface(t *testing.T, name string, conf ...string) *testNode {
	n := newcomer(t, "m")
	n.replace("tinc.conf", "DeviceType = dummy", "Interface = "+name)
	for _, c := range conf {
		n.add("tinc.conf", c)
	}
	return n
}

// addrs are the addresses of an interface, link-local ones left out; nil if there is no such interface.
func addrs(t *testing.T, name string) (list []string) {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	all, err := i.Addrs()
	must(t, err)
	for _, a := range all {
		if p := netip.MustParsePrefix(a.String()); !p.Addr().IsLinkLocalUnicast() {
			list = append(list, p.String())
		}
	}
	slices.Sort(list)
	return list
}

func TestTheInterface(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	m := withInterface(t, "vpn0", "Ifconfig = 10.7.0.5/16", "Ifconfig = fd07::5/64", "Route = 10.99.0.0/16")
	m.add("hosts/m", "Subnet = 10.7.0.5\nSubnet = fd07::5")
	check := func(what string, wantAddrs, wantRoutes []string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s: addresses %v, routes %v", what, wantAddrs, wantRoutes), func() bool {
			return slices.Equal(addrs(t, "vpn0"), wantAddrs) && slices.Equal(fixture.Routes(t, "vpn0"), wantRoutes)
		})
	}

	// A site: some of its networks get a route by themselves.
	site := newNode(t, "z")
	for _, s := range []string{"192.168.77.0/24", "192.168.88.0/24#3", "10.7.3.0/24", "8.8.8.0/24", "127.0.0.0/16", "fd88::/48"} {
		site.add("hosts/z", "Subnet = "+s)
	}
	site.knows(m)
	site.start()
	m.knows(site)
	m.add("tinc.conf", "ConnectTo = z")
	m.start()
	c := m.client()
	check("together", []string{"10.7.0.5/16", "fd07::5/64"}, []string{"10.99.0.0/16", "192.168.77.0/24", "192.168.88.0/24", "fd88::/48"})
	m.says("no route to 8.8.8.0/24 of z: it is not a private network")

	// A reload brings other addresses and routes; what others have stays routed.
	good := m.read("tinc.conf")
	m.replace("tinc.conf", "10.7.0.5/16", "10.8.0.5/16")
	m.replace("tinc.conf", "Route = 10.99.0.0/16", "Route = 10.98.0.0/16")
	m.replace("hosts/m", "10.7.0.5", "10.8.0.5")
	must(t, c.Reload())
	check("after the reload", []string{"10.8.0.5/16", "fd07::5/64"}, []string{"10.7.3.0/24", "10.98.0.0/16", "192.168.77.0/24", "192.168.88.0/24", "fd88::/48"})

	// One that the kernel refuses changes nothing.
	lan := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "lan0"}}
	if err := netlink.LinkAdd(lan); err != nil { // not every kernel has these
		t.Logf("no interface of kind dummy here (%v): using a tun", err)
		must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "lan0"}, Mode: netlink.TUNTAP_MODE_TUN}))
	}
	lan0, err := netlink.LinkByName("lan0")
	must(t, err)
	must(t, netlink.AddrAdd(lan0, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 6, 0, 5), Mask: net.CIDRMask(24, 32)}}))
	m.replace("tinc.conf", "10.8.0.5/16", "10.6.0.5/16")
	if err := c.Reload(); err == nil || !strings.Contains(err.Error(), "lan0 has it already") {
		t.Errorf("an address of another interface: %v", err)
	}
	check("after the refusal", []string{"10.8.0.5/16", "fd07::5/64"}, []string{"10.7.3.0/24", "10.98.0.0/16", "192.168.77.0/24", "192.168.88.0/24", "fd88::/48"})
	m.write("tinc.conf", good, 0o644)
	m.replace("hosts/m", "10.8.0.5", "10.7.0.5")
	must(t, c.Reload())
	check("as at first", []string{"10.7.0.5/16", "fd07::5/64"}, []string{"10.99.0.0/16", "192.168.77.0/24", "192.168.88.0/24", "fd88::/48"})

	// Another node has our address: the interface gets another one.
	a := newcomer(t, "a", "10.7.0.5/16")
	a.replace("tinc.conf", "10.7.0.5/16", "10.7.0.5/32") // its device is no real one
	site.knows(a)
	must(t, site.client().Reload())
	a.knows(site)
	m.knows(a) // nobody gives way to a node without a key
	must(t, c.Reload())
	a.add("tinc.conf", "ConnectTo = z")
	a.start()
	eventually(t, "m has moved", func() bool { return m.said("this node now has") })
	eventually(t, "the interface has moved", func() bool {
		now := addrs(t, "vpn0")
		return len(now) == 2 && now[0] != "10.7.0.5/16" && strings.HasSuffix(now[0], "/16") && now[1] == "fd07::5/64"
	})
	check("after the move", addrs(t, "vpn0"), []string{"10.99.0.0/16", "192.168.77.0/24", "192.168.88.0/24", "fd88::/48"})

	// When the others go, so do the routes to them.
	site.stop()
	check("alone", addrs(t, "vpn0"), []string{"10.99.0.0/16"})
	m.stop()
	if _, err := net.InterfaceByName("vpn0"); err == nil {
		t.Error("the interface is still there")
	}
}

func TestAReloadChangesTheGateway(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	m := withInterface(t, "vpn0", "Mode = switch", "Ifconfig = 10.7.0.5/16", "Route = 10.99.0.0/16 10.7.0.1")
	m.replace("tinc.conf", "DeviceType = tun", "DeviceType = tap")
	m.start()
	c := m.client()
	gateway := func(want string) {
		t.Helper()
		link, err := netlink.LinkByName("vpn0")
		must(t, err)
		list, err := netlink.RouteList(link, netlink.FAMILY_V4)
		must(t, err)
		for _, r := range list {
			if r.Dst.String() == "10.99.0.0/16" && r.Gw.String() == want {
				return
			}
		}
		t.Errorf("no route to 10.99.0.0/16 through %s: %v", want, list)
	}
	gateway("10.7.0.1")
	m.replace("tinc.conf", "10.7.0.1", "10.7.0.2")
	must(t, c.Reload())
	gateway("10.7.0.2")
	m.replace("tinc.conf", "10.7.0.2", "192.0.2.1") // which nothing leads to
	if c.Reload() == nil {
		t.Error("a gateway that cannot be reached was taken")
	}
	gateway("10.7.0.2")
}

func TestAnInterfaceThatVanishesEndsTheNode(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	noLeaks(t)
	m := withInterface(t, "vpn0", "Ifconfig = 10.7.0.5/16")
	m.add("hosts/m", "Subnet = 10.7.0.5")
	m.start()
	link, err := netlink.LinkByName("vpn0")
	must(t, err)
	must(t, netlink.LinkDel(link))
	m.ended()
	if m.err == nil || !strings.Contains(m.err.Error(), "virtual interface") {
		t.Errorf("error %v", m.err)
	}
	if slices.Contains(m.files(), "pid") {
		t.Error("the pid file is still there")
	}
}

func TestTincUpAndTincDownSeeTheInterface(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	m := withInterface(t, "vpn0", "Ifconfig = 10.7.0.5/16")
	for _, s := range []string{"tinc-up", "tinc-down", "subnet-down"} {
		m.write(s, "#!/bin/sh\necho "+s+" $(grep -c \"$INTERFACE:\" /proc/net/dev) >>"+m.path("saw")+"\n", 0o755)
	}
	m.add("hosts/m", "Subnet = 10.7.0.5")
	m.start()
	if got := addrs(t, "vpn0"); got != nil {
		t.Errorf("there is a tinc-up, and yet the interface has %v", got)
	}
	m.stop()
	if got := m.read("saw"); got != "tinc-up 1\nsubnet-down 1\ntinc-down 1\n" {
		t.Errorf("the scripts saw\n%s", got)
	}
}

func TestAFailedStartLeavesNoInterface(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	full := t.TempDir()
	must(t, unix.Mount("none", full, "tmpfs", 0, "size=4k"))
	t.Cleanup(func() { must(t, unix.Unmount(full, 0)) })
	must(t, os.WriteFile(full+"/fill", make([]byte, 4096), 0o600))
	for _, c := range []struct {
		name       string
		spoil      func(n *testNode)
		says, hint string
	}{
		{"no device file", func(n *testNode) { n.add("tinc.conf", "Device = /nosuch") }, "/nosuch", "modprobe tun"},
		{"a device file of another kind", func(n *testNode) { n.add("tinc.conf", "Device = /dev/null") }, "/dev/null", "remove Device"},
		{"an interface that is in use", func(n *testNode) {
			other := withInterface(t, "vpn0", "Ifconfig = 10.9.0.5/16")
			other.start()
			n.Cleanup(other.stop)
		}, "vpn0", "Interface"},
		{"an address of another interface", func(n *testNode) { n.replace("tinc.conf", "10.7.0.5/16", "127.0.0.1/16") }, "127.0.0.1", ""},
		{"the address of the network itself", func(n *testNode) { n.replace("tinc.conf", "10.7.0.5/16", "10.7.0.0/16") }, "10.7.0.0", "another address"},
		{"a route to everything", func(n *testNode) { n.add("tinc.conf", "Route = 0.0.0.0/0") }, "0.0.0.0/0 cannot be routed into the VPN", ""},
		{"a port in use", func(n *testNode) { n.occupy("udp") }, "UDP", "another program"},
		{"a full disk", func(n *testNode) { n.layout.PidFile = full + "/pid" }, "no space left", "the disk is full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeaks(t)
			n := withInterface(t, "vpn0", "Ifconfig = 10.7.0.5/16")
			n.write("tinc-down", "#!/bin/sh\ntouch "+n.path("down")+"\n", 0o755)
			c.spoil(n)
			was := addrs(t, "vpn0")
			err := n.tryStart(Options{})
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, should be one line that says %q", err, c.says)
			}
			if !strings.Contains(hintOf(err), c.hint) {
				t.Errorf("hint %q, should say %q", hintOf(err), c.hint)
			}
			if left := addrs(t, "vpn0"); !slices.Equal(left, was) {
				t.Errorf("the interface had %v and has %v", was, left)
			}
			if files := n.files(); slices.Contains(files, "pid") || slices.Contains(files, "down") {
				t.Errorf("files: %v", files)
			}
			for _, f := range []string{full + "/pid", full + "/pid.socket"} {
				if _, err := os.Stat(f); err == nil {
					t.Errorf("%s is still there", f)
				}
			}
		})
	}
}

// unreachable are the networks that the kernel has been told not to reach.
func unreachable(t *testing.T) (list []string) {
	t.Helper()
	for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.RouteListFiltered(f, &netlink.Route{Type: unix.RTN_UNREACHABLE}, netlink.RT_FILTER_TYPE)
		must(t, err)
		for _, r := range all {
			if r.Priority > 1<<30 {
				list = append(list, r.Dst.String())
			}
		}
	}
	slices.Sort(list)
	return list
}

// ip link set vpn0 down, a network manager that flushes addresses: the node puts it back by itself,
// and until then nothing that is the VPN's leaves by the default route.
func TestTheInterfaceIsLookedAfter(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	m := withInterface(t, "vpn0", "Ifconfig = 10.7.0.5/16", "Route = 10.99.0.0/16")
	m.add("hosts/m", "Subnet = 10.7.0.5")
	site := newNode(t, "z")
	site.add("hosts/z", "Subnet = 192.168.77.0/24")
	site.knows(m)
	site.start()
	m.knows(site)
	m.add("tinc.conf", "ConnectTo = z")
	m.start()
	guards := []string{"10.7.0.0/16", "10.99.0.0/16", "192.168.77.0/24"}
	whole := func(when string) {
		t.Helper()
		eventually(t, when, func() bool {
			i, err := net.InterfaceByName("vpn0")
			return err == nil && i.Flags&net.FlagUp != 0 && slices.Equal(addrs(t, "vpn0"), []string{"10.7.0.5/16"}) &&
				slices.Equal(fixture.Routes(t, "vpn0"), []string{"10.99.0.0/16", "192.168.77.0/24"}) && slices.Equal(unreachable(t), guards)
		})
	}
	whole("at first")
	link, err := netlink.LinkByName("vpn0")
	must(t, err)
	must(t, netlink.LinkSetDown(link))
	m.says("another program changed the interface vpn0; restored: its state up, 2 routes")
	whole("after it was taken down")
	addr, err := netlink.ParseAddr("10.7.0.5/16")
	must(t, err)
	must(t, netlink.AddrDel(link, addr))
	whole("after its address was deleted")
	routed, err := netlink.RouteList(link, netlink.FAMILY_V4)
	must(t, err)
	for _, r := range routed {
		if r.Protocol == unix.RTPROT_STATIC {
			must(t, netlink.RouteDel(&r))
		}
	}
	whole("after its routes were deleted")

	// What belongs to a node that is away still belongs to the VPN.
	site.stop()
	eventually(t, "no route to the site that is away", func() bool { return slices.Equal(fixture.Routes(t, "vpn0"), []string{"10.99.0.0/16"}) })
	if got := unreachable(t); !slices.Equal(got, guards) {
		t.Errorf("unreachable: %v, want %v", got, guards)
	}
	m.stop()
	if got := unreachable(t); got != nil {
		t.Errorf("left behind: %v", got)
	}
}

// Somebody who insists is not fought for ever.
func TestAnInterfaceThatIsTakenDownAgainAndAgain(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	m := withInterface(t, "vpn0", "Ifconfig = 10.7.0.5/16")
	m.add("hosts/m", "Subnet = 10.7.0.5")
	m.start()
	link, err := netlink.LinkByName("vpn0")
	must(t, err)
	eventually(t, "the node has given up for now", func() bool {
		must(t, netlink.LinkSetDown(link))
		return m.said("another program keeps changing the interface vpn0")
	})
}

// Another interface with the network of the VPN: the machines there and those of the VPN can both be reached.
func TestTheRangeOfTheVPNIsThatOfTheLAN(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	m := withInterface(t, "vpn0", "Ifconfig = 192.168.1.5/24")
	m.add("hosts/m", "Subnet = 192.168.1.5")
	site := newNode(t, "z")
	site.add("hosts/z", "Subnet = 192.168.1.9\nSubnet = 192.168.1.1\nSubnet = 192.168.1.64/26")
	site.knows(m)
	site.start()
	m.knows(site)
	m.add("tinc.conf", "ConnectTo = z")
	m.start()
	leadsTo := func(to string) string {
		r, err := netlink.RouteGet(net.ParseIP(to))
		if err != nil {
			return err.Error()
		}
		link, err := netlink.LinkByIndex(r[0].LinkIndex)
		must(t, err)
		return link.Attrs().Name
	}
	eventually(t, "the VPN has its range", func() bool { return leadsTo("192.168.1.1") == "vpn0" })

	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "lan0"}, Mode: netlink.TUNTAP_MODE_TAP}))
	lan, err := netlink.LinkByName("lan0")
	must(t, err)
	must(t, netlink.LinkSetUp(lan))
	a, err := netlink.ParseAddr("192.168.1.20/24")
	must(t, err)
	must(t, netlink.AddrAdd(lan, a))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: lan.Attrs().Index, Gw: net.IPv4(192, 168, 1, 1)}))
	m.says("the range 192.168.1.0/24 of the VPN overlaps with 192.168.1.0/24 of lan0")
	eventually(t, "both work", func() bool {
		return leadsTo("192.168.1.9") == "vpn0" && leadsTo("192.168.1.1") == "lan0" && leadsTo("192.168.1.77") == "lan0" && leadsTo("192.168.1.30") == "lan0"
	})
	must(t, netlink.LinkDel(lan))
	m.says("the range of the VPN does not overlap with another network any more")
	eventually(t, "the VPN has its range again", func() bool { return leadsTo("192.168.1.1") == "vpn0" })
}

// What the log advises is accepted by the next start, and is not advised once it is there.
func TestAdviceAboutRoutesIsAccepted(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	m := withInterface(t, "vpn0", "Ifconfig = 10.7.0.5/16")
	m.add("hosts/m", "Subnet = 10.7.0.5")
	site := newNode(t, "z")
	for _, s := range []string{"0.0.0.0/0", "8.8.8.0/24", "203.0.113.0/24", "127.0.0.0/16"} {
		site.add("hosts/z", "Subnet = "+s)
	}
	site.knows(m)
	site.start()
	m.knows(site)
	m.add("tinc.conf", "ConnectTo = z")
	m.start()
	m.says("no route to 203.0.113.0/24 of z: it is not a private network; if it is wanted, add a line Route = 203.0.113.0/24 to tinc.conf")
	m.says("no route to 0.0.0.0/0 of z: it is not a private network; a subnet-up script can add one, with care")
	advice := regexp.MustCompile(`add a line (Route = \S+) to tinc.conf`)
	lines := advice.FindAllStringSubmatch(strings.Join(m.lines(), "\n"), -1)
	if len(lines) != 2 {
		t.Errorf("advice: %v", lines)
	}
	for _, l := range lines {
		m.add("tinc.conf", l[1])
	}
	m.stop()
	before := len(m.lines())
	m.start()
	eventually(t, "the routes of the advice", func() bool { return slices.Equal(fixture.Routes(t, "vpn0"), []string{"203.0.113.0/24", "8.8.8.0/24"}) })
	since := func() string { return strings.Join(m.lines()[before:], "\n") }
	eventually(t, "the other subnets are judged", func() bool { return strings.Contains(since(), "no route to 0.0.0.0/0 of z") })
	if advice.MatchString(since()) {
		t.Errorf("the advice is repeated:\n%s", since())
	}
}

// On a machine without IPv6 an address of IPv6 does not cost that of IPv4.
func TestAnIPv6AddressWithoutIPv6(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	must(t, unix.Mount("proc", "/proc", "proc", 0, ""))
	for _, which := range []string{"all", "default"} {
		must(t, os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0))
	}
	m := withInterface(t, "vpn0", "Ifconfig = fd07::5/64", "Ifconfig = 10.7.0.5/16", "Route = fd99::/64", "Route = 10.99.0.0/16")
	m.add("hosts/m", "Subnet = 10.7.0.5\nSubnet = fd07::5")
	m.start()
	if got := addrs(t, "vpn0"); !slices.Equal(got, []string{"10.7.0.5/16"}) {
		t.Errorf("addresses %v", got)
	}
	if got := fixture.Routes(t, "vpn0"); !slices.Equal(got, []string{"10.99.0.0/16"}) {
		t.Errorf("routes %v", got)
	}
	m.says("IPv6 is switched off for vpn0: going on without the address fd07::5/64")
}
