//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/lab"
)

// segments are nodes that bridge the Ethernet behind them with that behind the others: each
// has one host there, with the addresses 192.168.50.i and fd50::i, or none.
type segments struct {
	*world
	nodes []*node
	pcs   []*lab.Host
}

// bridgeUp puts the interface of a node into its bridge.
const bridgeUp = "#!/bin/sh\nPATH=$PATH:/usr/sbin:/sbin\nip link set $INTERFACE up\nip link set $INTERFACE master br0\n"

func (w *world) segments(sites ...site) *segments {
	w.Helper()
	for i := range sites {
		sites[i].extra += bridged
	}
	s := &segments{world: w, nodes: w.legacy(sites...)}
	for i, n := range s.nodes {
		br, err := n.Bridge("br0")
		w.must(err)
		pc, err := w.lab.Host("pc" + n.Name()[:1])
		w.must(err)
		w.must(br.Plug(pc, fmt.Sprintf("192.168.50.%d/24", i+1), fmt.Sprintf("fd50::%d/64", i+1)))
		s.pcs = append(s.pcs, pc)
		n.write(map[string]string{"tinc-up": bridgeUp})
		n.start()
	}
	return s
}

// allReach waits until every host reaches every other one by both families.
func (s *segments) allReach() {
	s.Helper()
	for _, family := range []string{"ip4", "ip6"} {
		for _, a := range s.pcs {
			for _, b := range s.pcs {
				if a != b {
					_, err := a.Reach(b.Addr(family), patience)
					s.must(err)
				}
			}
		}
	}
}

// TestBridgedSegments: three Ethernets become one, through nodes of different programs.
func TestBridgedSegments(t *testing.T) {
	t.Parallel()
	third := tinc11
	if tincDir == "" {
		third = tincan
	}
	w := newWorld(t, "ip4")
	s := w.segments(
		site{name: "alpha"},
		site{name: "beta", kind: tinc10, connect: []string{"alpha"}},
		site{name: "gamma", kind: third, connect: []string{"alpha"}},
		site{name: "delta", connect: []string{"beta"}},
	)
	s.allReach()

	t.Run("large packets", func(t *testing.T) {
		for _, pair := range [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 0}} {
			from, to := s.pcs[pair[0]], s.pcs[pair[1]]
			w.must(send(&node{Host: from}, &node{Host: to}, to.Addr("ip4"), 1<<20))
			w.must(send(&node{Host: from}, &node{Host: to}, to.Addr("ip6"), 1<<20))
			// The first may be answered by the message that it was too large.
			w.eventually("a ping of the largest size is answered", patience, func() bool {
				_, err := from.Ping(to.Addr("ip4"), 1472, time.Second)
				return err == nil
			})
		}
	})
	t.Run("DHCP", func(t *testing.T) {
		server, client := s.pcs[1], s.pcs[3]
		w.must(server.WriteFile("/run/udhcpd.conf", []byte("start 192.168.50.100\nend 192.168.50.110\ninterface eth0\nlease_file /run/leases\npidfile /run/udhcpd.pid\noption subnet 255.255.255.0\n")))
		w.must(server.WriteFile("/run/leases", nil))
		_, err := server.Start("busybox", "udhcpd", "-f", "/run/udhcpd.conf")
		w.must(err)
		w.must(client.InFiles(func() error {
			return os.WriteFile("/run/lease", []byte("#!/bin/sh\necho $1 $ip\n"), 0o755)
		}))
		out, err := client.Run("busybox", "udhcpc", "-f", "-q", "-n", "-t", "10", "-T", "1", "-i", "eth0", "-s", "/run/lease")
		w.must(err)
		if !strings.Contains(out, "bound 192.168.50.1") {
			t.Errorf("the client got: %s", out)
		}
	})
	t.Run("VLAN tags", func(t *testing.T) {
		for _, pair := range [][2]int{{0, 1}, {1, 0}, {0, 2}, {3, 2}} {
			from, to := s.card(pair[0]), s.card(pair[1])
			frame := etherFrame(broadcastMAC, macOf(pair[0]), 0x8100, append([]byte{0x20, 5, 0x88, 0xb5}, "tagged"...))
			to.awaits(frame, func() { from.sends(frame) })
		}
	})
}

var broadcastMAC = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// macOf is an invented address for station i.
func macOf(i int) [6]byte { return [6]byte{2, 0x50, 0, 0, byte(i >> 8), byte(i)} }

func etherFrame(dst, src [6]byte, typ uint16, payload []byte) []byte {
	f := append(append(dst[:], src[:]...), 0, 0)
	binary.BigEndian.PutUint16(f[12:], typ)
	return append(f, payload...)
}

// card is the network card of a host, for frames of our own making.
type card struct {
	s   *segments
	dev device.Device
}

func (s *segments) card(i int) *card {
	s.Helper()
	c := &card{s: s}
	s.must(s.pcs[i].Do(func() (err error) { c.dev, err = device.OpenRaw("eth0"); return err }))
	s.Cleanup(func() { c.dev.Close() })
	return c
}

func (c *card) sends(frame []byte) {
	c.s.Helper()
	c.s.must(c.dev.Write(append(make([]byte, device.Headroom), frame...), device.Headroom, device.Offload{}))
}

// hears tells whether the frame comes in within the given time.
func (c *card) hears(frame []byte, within time.Duration) bool {
	buf := make([]byte, device.MaxPacket)
	for end := time.Now().Add(within); ; {
		n, _, err := c.dev.TryRead(buf)
		if err == nil && bytes.HasPrefix(buf[:n], frame) {
			return true
		}
		if err != nil {
			if !errors.Is(err, device.ErrAgain) || time.Now().After(end) {
				return false
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// awaits repeats send until the frame comes in.
func (c *card) awaits(frame []byte, send func()) {
	c.s.Helper()
	c.s.eventually("a frame comes through", patience, func() bool {
		send()
		return c.hears(frame, 200*time.Millisecond)
	})
}

// floods sends rate frames per second, made by next, for d, and returns their number.
func (c *card) floods(rate int, d time.Duration, next func(i int) []byte) int {
	c.s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	began, n := time.Now(), 0
	for ctx.Err() == nil {
		for ; n < int(time.Since(began).Seconds()*float64(rate)); n++ {
			c.sends(next(n))
		}
		time.Sleep(time.Millisecond)
	}
	return n
}

// TestRouteThroughAGateway: on an Ethernet a Route line may name a gateway.
func TestRouteThroughAGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.legacy(
		site{name: "alpha", extra: bridged + "Route = 10.8.0.0/24 10.7.0.2\n", connect: []string{"beta"}},
		site{name: "beta", extra: bridged},
	)
	n[0].up()
	n[1].up()
	w.must(run(n[1].Host, "ip", "addr", "add", "10.8.0.1/32", "dev", "lo"))
	_, err := n[0].Reach(netip.MustParseAddr("10.8.0.1"), patience)
	w.must(err)
	if out, err := n[0].Run("ip", "route", "get", "10.8.0.1"); err != nil || !strings.Contains(out, "via 10.7.0.2") {
		t.Errorf("%s, %v", out, err)
	}
}
