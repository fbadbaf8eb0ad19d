//go:build linux

package e2e

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/device"
)

// TestWhatTheNodeBetweenDecides: packets from alpha for gamma, which are opened on the way
// because tinc 1.0 has no sessions from end to end.
func TestWhatTheNodeBetweenDecides(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, alpha, beta string
		ttl               string
		want              bool
	}{
		{name: "forwarded", ttl: "64", want: true},
		{name: "forwarded, not counted as a hop", ttl: "1", want: true},
		{name: "counted as a hop", beta: "DecrementTTL = yes\n", ttl: "64", want: true},
		{name: "counted as the last hop", beta: "DecrementTTL = yes\n", ttl: "1", want: false},
		{name: "refused", beta: "Forwarding = off\n", ttl: "64", want: false},
		{name: "not wanted by the sender", alpha: "DirectOnly = yes\n", ttl: "64", want: false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.legacy(
				site{name: "alpha", connect: []string{"beta"}, extra: "IndirectData = yes\n" + c.alpha, host: "IndirectData = yes\n"},
				site{name: "beta", extra: c.beta},
				site{name: "gamma", kind: tinc10, connect: []string{"beta"}, host: "IndirectData = yes\n"},
			)
			upAll(n...)
			w.allReach("ip4", n[0], n[1])
			w.allReach("ip4", n[1], n[2])
			ping := func() error {
				return run(n[0].Host, "busybox", "ping", "-c", "1", "-W", "1", "-t", c.ttl, n[2].vpn("ip4").String())
			}
			if c.want {
				w.eventually("an answer", patience, func() bool { return ping() == nil })
				return
			}
			for range 2 {
				if ping() == nil {
					t.Error("there was an answer")
				}
			}
		})
	}
}

// TestPriorityOnTheWire: the datagrams have the type of service of the packets in them.
func TestPriorityOnTheWire(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		peer  kind
		extra string
		want  byte
	}{
		{"inherited", tincan, "PriorityInheritance = yes\n", 0xb8},
		{"inherited, to tinc 1.0", tinc10, "PriorityInheritance = yes\n", 0xb8},
		{"inherited, in frames", tincan, "PriorityInheritance = yes\n" + bridged, 0xb8},
		{"not inherited", tincan, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			mode := ""
			if strings.Contains(c.extra, bridged) {
				mode = bridged
			}
			n := w.legacy(site{name: "alpha", extra: c.extra, connect: []string{"beta"}}, site{name: "beta", kind: c.peer, extra: mode})
			upAll(n...)
			talksByUDP(w, n[0], n[1])
			var wire device.Device
			w.must(w.internet.Do(func() (err error) { wire, err = device.OpenRaw("alpha"); return err }))
			defer wire.Close()
			var conn net.Conn
			w.must(n[0].Do(func() (err error) {
				conn, err = net.Dial("udp4", netip.AddrPortFrom(n[1].vpn("ip4"), 9).String())
				return err
			}))
			defer conn.Close()
			raw, err := conn.(*net.UDPConn).SyscallConn()
			w.must(err)
			w.must(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TOS, 0xb8) }))
			w.must(err)
			w.eventually("a datagram with the right TOS", patience, func() bool {
				w.must(second(conn.Write(make([]byte, 700))))
				return sizedDatagram(wire, 700, 800) == int(c.want)
			})
		})
	}
}

// sizedDatagram is the TOS of the next IPv4 UDP packet with so many bytes, -1 if none comes.
func sizedDatagram(wire device.Device, least, most int) int {
	buf := make([]byte, device.MaxPacket)
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		n, _, err := wire.TryRead(buf)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		p := buf[:n]
		if n > 34 && binary.BigEndian.Uint16(p[12:]) == 0x0800 && p[14+9] == 17 && n-42 > least && n-42 < most+60 {
			return int(p[15])
		}
	}
	return -1
}
