//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/lab"
)

var routeMTU = regexp.MustCompile(`mtu ([0-9]+)`)

// A slow uplink is full of UDP. Small probes find room in its queue, large ones do not, but its MTU is what it was:
// programs get no EMSGSIZE, and the kernel does not remember a smaller MTU.
func TestCongestionIsNoSmallerMTU(t *testing.T) {
	for _, c := range []struct {
		line, sent int // bits a second
		queue      int // bytes
	}{{2e6, 4e6, 30000}, {5e6, 8e6, 30000}, {1e6, 1.5e6, 15000}} {
		t.Run(fmt.Sprintf("%v of %v Mbit per second", float64(c.sent)/1e6, float64(c.line)/1e6), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			w.cables = true
			n := w.static(site{name: "alice"}, site{name: "bob", connect: []string{"alice"}})
			alice, bob := n[0], n[1]
			upAll(n...)
			alice.talksDirectly(bob)
			w.eventually("large packets pass by UDP", patience, func() bool { return alice.sees("bob").minMTU > 1400 })
			w.must(alice.link.Quality(lab.Quality{
				Rate: c.line, Queue: time.Duration(c.queue) * 8 * time.Second / time.Duration(c.line)}, lab.ToRouter))

			in, err := bob.ListenPacket("udp", netip.AddrPortFrom(bob.vpn("ip4"), 0).String())
			w.must(err)
			defer in.Close()
			out, err := alice.Dial(context.Background(), "udp", in.LocalAddr().String())
			w.must(err)
			defer out.Close()
			msg := make([]byte, 1200)
			sent, refused := 0, 0
			for began := time.Now(); time.Since(began) < 10*time.Second; sent++ {
				if _, err := out.Write(msg); errors.Is(err, syscall.EMSGSIZE) {
					refused++
				}
				next := began.Add(time.Duration(sent+1) * time.Duration(len(msg)) * 8 * time.Second / time.Duration(c.sent))
				time.Sleep(time.Until(next))
			}
			if refused > 0 {
				t.Errorf("%d of %d datagrams refused with EMSGSIZE", refused, sent)
			}
			route, err := alice.Run("ip", "route", "get", bob.vpn("ip4").String())
			w.must(err)
			if m := routeMTU.FindStringSubmatch(route); m != nil {
				if mtu, _ := strconv.Atoi(m[1]); mtu < 1300 {
					t.Errorf("the kernel remembers an MTU of %d", mtu)
				}
			}
			for line := range strings.Lines(alice.daemon.Log()) {
				if strings.Contains(line, "frames of") || strings.Contains(line, "no longer answers by UDP") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}
