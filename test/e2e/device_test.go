//go:build linux

package e2e

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tincan/internal/lab"
)

// TestRoutedBroadcast: in router mode, too, what is for everybody reaches everybody.
func TestRoutedBroadcast(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, extra, group string
		want               bool
	}{
		{"limited broadcast", "", "255.255.255.255", true},
		{"multicast", "", "239.1.2.3", true},
		{"multicast of IPv6", "", "ff15::7", true},
		{"none of it", "Broadcast = no\n", "239.1.2.3", false},
		{"by its sender", "Broadcast = direct\n", "239.1.2.3", true},
		{"a broadcast subnet", "BroadcastSubnet = 10.7.0.255\n", "10.7.0.255", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.legacy(
				site{name: "alpha", extra: c.extra, connect: []string{"beta"}},
				site{name: "beta", extra: c.extra},
				site{name: "gamma", extra: c.extra, connect: []string{"beta"}},
				site{name: "delta", kind: tinc10, extra: strings.ReplaceAll(c.extra, "BroadcastSubnet", "#BroadcastSubnet"), connect: []string{"beta"}},
			)
			upAll(n...)
			w.allReach("ip4", n[0], n[1], n[2], n[3])
			group := netip.MustParseAddr(c.group)
			for _, r := range n[1:] {
				if r.kind == tinc10 && c.group == "10.7.0.255" {
					continue // which it does not know
				}
				if got := hearsGroup(w, n[0], r, group); got != c.want {
					t.Errorf("%s hears it: %v, want %v", r.Name(), got, c.want)
				}
			}
		})
	}
}

// hearsGroup tells whether what from sends to a group, or to everybody, comes to to.
func hearsGroup(w *world, from, to *node, group netip.Addr) bool {
	w.Helper()
	network, port := "udp4", uint16(4321)
	if group.Is6() {
		network = "udp6"
	}
	iface := func(n *node) *net.Interface {
		w.Helper()
		var i *net.Interface
		w.must(n.Do(func() (err error) { i, err = net.InterfaceByName("home"); return err }))
		return i
	}
	var in, out *net.UDPConn
	w.must(to.Do(func() (err error) {
		if group.IsMulticast() {
			in, err = net.ListenMulticastUDP(network, iface(to), net.UDPAddrFromAddrPort(netip.AddrPortFrom(group, port)))
		} else {
			in, err = net.ListenUDP(network, &net.UDPAddr{Port: int(port)})
		}
		return err
	}))
	defer in.Close()
	// By its address the kernel finds the interface for what has no route.
	w.must(from.Do(func() (err error) {
		out, err = net.ListenUDP(network, &net.UDPAddr{IP: from.vpn(map[bool]string{false: "ip4", true: "ip6"}[group.Is6()]).AsSlice()})
		return err
	}))
	defer out.Close()
	w.must(outThrough(out, iface(from), group))
	var buf [100]byte
	for range 5 {
		w.must(second(out.WriteToUDPAddrPort([]byte("all of you"), netip.AddrPortFrom(group, port))))
		w.must(in.SetReadDeadline(time.Now().Add(300 * time.Millisecond)))
		if n, err := in.Read(buf[:]); err == nil && string(buf[:n]) == "all of you" {
			return true
		}
	}
	return false
}

func second(_ int, err error) error { return err }

// TestDeviceTypes: devices other than tun and tap.
func TestDeviceTypes(t *testing.T) {
	t.Parallel()
	t.Run("tap in router mode", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "ip4")
		n := w.legacy(site{name: "alpha", extra: "DeviceType = tap\n", connect: []string{"beta"}}, site{name: "beta"},
			site{name: "gamma", kind: tinc10, extra: "DeviceType = tap\n", connect: []string{"alpha"}})
		upAll(n...)
		w.allReach("ip4", n...)
		w.allReach("ip6", n...)
		w.must(send(n[0], n[1], n[1].vpn("ip4"), 2<<20))
		w.must(send(n[1], n[0], n[0].vpn("ip6"), 2<<20))
	})
	t.Run("packet socket", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "ip4")
		raw := "Mode = switch\nDeviceType = raw_socket\nInterface = pca\n"
		n := w.legacy(site{name: "alpha", extra: raw}, site{name: "beta", extra: bridged, connect: []string{"alpha"}})
		// A host on a cable; alpha takes all that it says.
		br, err := n[0].Bridge("br0")
		w.must(err)
		pc, err := w.lab.Host("pca")
		w.must(err)
		w.must(br.Plug(pc, "10.7.0.100/24", "fd07::100/64"))
		w.must(second(0, run(n[0].Host, "ip", "link", "set", "pca", "nomaster")))
		n[0].start()
		n[1].up()
		for _, family := range []string{"ip4", "ip6"} {
			_, err := pc.Reach(n[1].vpn(family), patience)
			w.must(err)
		}
		host := &node{Host: pc, w: w}
		w.must(send(host, n[1], n[1].vpn("ip4"), 2<<20))
		w.must(send(n[1], host, pc.Addr("ip4"), 2<<20))
	})
	t.Run("multicast group", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "ip4")
		// Two nodes of different networks share a group on one machine; here: two daemons
		// on a host would need two networks, so the group is joined by hand.
		n := w.legacy(site{name: "alpha", extra: "Mode = switch\nDeviceType = multicast\nDevice = 239.1.2.3 7000\n"},
			site{name: "beta", extra: bridged, connect: []string{"alpha"}})
		n[0].start()
		n[1].up()
		c := &card{s: &segments{world: w}}
		joined, frame := groupMember(w, n[0].Host), etherFrame(broadcastMAC, macOf(1), 0x88b5, []byte("by multicast"))
		c.dev = rawOn(w, n[1], "home")
		c.awaits(frame, func() { w.must(second(joined.out.Write(frame))) })
		answer := etherFrame(macOf(1), macOf(2), 0x88b5, []byte("to the group"))
		w.eventually("a frame comes to the group", patience, func() bool {
			c.sends(answer)
			return joined.hears(answer)
		})
	})
	t.Run("descriptor", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "ip4")
		n := w.legacy(site{name: "alpha", extra: "DeviceType = fd\nDevice = @tap-for-alpha\n"}, site{name: "beta", connect: []string{"alpha"}})
		giveTun(w, n[0], "@tap-for-alpha", "given")
		n[0].up()
		n[1].up()
		w.allReach("ip4", n...)
	})
}

// TestStandby: tinc-up runs when another node can be reached, and tinc-down when none can any more.
func TestStandby(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.legacy(site{name: "alpha", extra: "DeviceStandby = yes\n"}, site{name: "beta", connect: []string{"alpha"}})
	n[0].start()
	w.must(n[0].daemon.WaitLog("Ready", patience))
	if a, err := n[0].TunnelAddr("ip4", 300*time.Millisecond); err == nil {
		t.Errorf("the interface has the address %v although there is nobody", a)
	}
	n[1].up()
	w.allReach("ip4", n...)
	n[1].stopped()
	w.eventually("the interface is down", patience, func() bool {
		_, err := n[0].TunnelAddr("ip4", 0)
		return err != nil
	})
	n[1].up()
	w.allReach("ip4", n...)
	n[0].stopped()
}

// TestKernelForwards: with Forwarding = kernel packets from one node to another take the
// way through the interface of the one between, where its firewall sees them.
func TestKernelForwards(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.legacy(
		site{name: "alpha", connect: []string{"beta"}, extra: "IndirectData = yes\n", host: "IndirectData = yes\n"},
		site{name: "beta", extra: "Forwarding = kernel\n"},
		site{name: "gamma", kind: tinc10, connect: []string{"beta"}, host: "IndirectData = yes\n"},
	)
	upAll(n...)
	w.allReach("ip4", n[0], n[1])
	w.allReach("ip4", n[1], n[2])
	n[0].cannotReach(n[2].vpn("ip4"))
	w.must(n[1].Sysctl("net/ipv4/ip_forward", "1"))
	w.must(n[1].Sysctl("net/ipv4/conf/all/send_redirects", "0"))
	w.must(n[1].Sysctl("net/ipv4/conf/home/send_redirects", "0"))
	w.allReach("ip4", n[0], n[2])
}

func run(h *lab.Host, name string, args ...string) error {
	_, err := h.Run(name, args...)
	return err
}
