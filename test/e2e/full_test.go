//go:build linux

package e2e

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A telephone sends everything into the VPN (device add --full): it leaves by the exit node that the door has chosen, or by the door itself
// if that is an exit node.
func TestATelephoneLeavesByAnExitNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const exit = "Exit = yes\nExitDNS = 203.0.113.2\n"
	n := w.legacy(
		site{name: "alice", connect: []string{"exit"}, extra: "Door = yes\nVia = default exit\n"},
		site{name: "exit", extra: exit + "Door = yes\nDoorPort = 51821\n"},
	)
	web, err := w.lab.Host("web")
	w.must(err)
	_, err = w.internet.Attach(web, "203.0.113.2/24", "2001:db8:77::2/64")
	w.must(err)
	alice, out := n[0], n[1]
	w.signed(alice, out)
	alice.tincan("admit", "alice", "--door")
	upAll(n...)
	alice.tincan("admit", "exit", "--door", "--exit")
	conf := alice.tincan("device", "add", "phone", "--full", "--endpoint", alice.Addr("ip4").String())
	if !strings.Contains(conf, "AllowedIPs = 0.0.0.0/0, ::/0\n") {
		t.Errorf("configuration:\n%s", conf)
	}
	phone := w.telephone("phone", strings.Replace(conf, "AllowedIPs = 0.0.0.0/0, ::/0", "AllowedIPs = 10.7.0.0/24, fd07::/64, 203.0.113.0/24, 2001:db8:77::/64, 192.168.99.0/24", 1))
	for _, o := range n {
		w.eventually("the door of "+o.Name()+" is open", patience, func() bool { return strings.Contains(o.log(), "the door for devices is open") })
	}
	w.eventually("the exit node works", patience, func() bool { return strings.Contains(alice.tincan("status"), "by exit") })
	phone.on()
	// seen is by which address web sees the telephone, and answers it; "": not at all.
	seen := func(port uint16, to, ask netip.Addr) string {
		in, err := web.ListenPacket("udp", netip.AddrPortFrom(to, port).String())
		w.must(err)
		defer in.Close()
		c, err := phone.Dial(w.Context(), "udp", netip.AddrPortFrom(ask, uint16(in.LocalAddr().(*net.UDPAddr).Port)).String())
		if err != nil {
			return ""
		}
		defer c.Close()
		_, _ = c.Write([]byte("hello"))
		b := make([]byte, 100)
		_ = in.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		size, from, err := in.ReadFrom(b)
		if err != nil {
			return ""
		}
		_, _ = in.WriteTo(b[:size], from)
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := c.Read(b); err != nil {
			return ""
		}
		return from.(*net.UDPAddr).AddrPort().Addr().Unmap().String()
	}
	for _, door := range []netip.AddrPort{netip.AddrPortFrom(alice.Addr("ip4"), 51820), netip.AddrPortFrom(out.Addr("ip4"), 51821)} {
		phone.at(door)
		for family, to := range map[string]netip.Addr{"ip4": web4, "ip6": web6} {
			got := ""
			w.eventually("the telephone leaves by the exit node, with "+family, patience, func() bool { got = seen(0, to, to); return got == out.Addr(family).String() })
		}
		w.eventually("queries for the DNS server of its network are answered by that of the exit node", patience, func() bool { return seen(53, web4, netip.MustParseAddr("192.168.99.1")) != "" })
		phone.reaches(alice)
		phone.reaches(out)
	}

	// From no other address than its own.
	_, err = phone.Run("ip", "addr", "add", "10.7.0.77/32", "dev", "wg0")
	w.must(err)
	_, err = phone.Run("ip", "route", "replace", "203.0.113.0/24", "dev", "wg0", "src", "10.7.0.77")
	w.must(err)
	if got := seen(0, web4, web4); got != "" {
		t.Errorf("with a foreign source it leaves by %s", got)
	}
}
