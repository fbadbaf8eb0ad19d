//go:build linux

package e2e

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tincan/internal/control"
)

// floods opens connections to an address, so many a second, says text on each and keeps it open,
// until the test ends or stop is called. made tells how many there were.
func (n *node) floods(to netip.AddrPort, rate int, text string) (made func() int, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var count atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var open []net.Conn
		defer func() {
			for _, c := range open {
				c.Close()
			}
		}()
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			dial, done := context.WithTimeout(ctx, 200*time.Millisecond)
			c, err := n.Dial(dial, "tcp", to.String())
			done()
			count.Add(1)
			if err != nil {
				continue
			}
			c.Write([]byte(text))
			if open = append(open, c); len(open) > 500 {
				open[0].Close()
				open = open[1:]
			}
		}
	}()
	stop = func() { cancel(); <-ended }
	n.w.Cleanup(stop)
	return func() int { return int(count.Load()) }, stop
}

// TestAConnectionFloodKeepsNobodyOut: 200 connections a second from one address, of each kind
// that an outsider can make; others log in and join meanwhile. Nothing runs beside this test.
func TestAConnectionFloodKeepsNobodyOut(t *testing.T) {
	for what, text := range map[string]string{
		"silent":                  "",
		"with the name of a node": "0 bob 17.7\n",
		"as a newcomer":           "0 ?kzNBBrcXMpkwYDGIMyyEGnrOEcJmxCHaPOUKZyUJAlE 17.7\n",
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, "ip4")
			alice, bob, carol, mallory := w.node("alice"), w.node("bob"), w.node("carol"), w.node("mallory")
			alice.found()
			alice.up()
			bob.joins(alice.invite("bob"))
			bob.reaches(alice)
			url := alice.invite("carol")
			before := alice.memory()
			made, _ := mallory.floods(netip.AddrPortFrom(alice.Addr("ip4"), 655), 200, text)
			time.Sleep(2 * time.Second)

			took := bestOf(3, func(int) time.Duration {
				bob.stopped()
				bob.up()
				began := time.Now()
				bob.reaches(alice)
				return time.Since(began)
			}, 2*time.Second)
			if t.Logf("bob needs %s to log in", took); took > 2*time.Second {
				t.Error("that is more than 2 s")
			}
			began := time.Now()
			carol.tincan("join", url)
			if took = time.Since(began); took > 8*time.Second {
				t.Errorf("carol needs %s to join", took)
			} else {
				t.Logf("carol needs %s to join", took)
			}
			var s control.Status
			alice.ask(&s, "status")
			if n := s.Limits.Connections; n.Count == 0 || len(n.From) != 1 || n.From[0].Address != mallory.Addr("ip4").String() {
				t.Errorf("the status has as refused connections: %+v", n)
			}
			if text == "" { // somebody beside a node may be the reason why it cannot log in
				bob.stopped()
				_, stop := bob.floods(netip.AddrPortFrom(alice.Addr("ip4"), 655), 200, text)
				w.eventually("why names who was refused", patience, func() bool {
					return strings.Contains(alice.tincan("why", "bob"), " connections from "+bob.Addr("ip4").String()+", where bob is, were refused")
				})
				stop()
			}
			after := alice.memory()
			t.Logf("%d connections were made; alice has %d KiB, and had %d before", made(), after>>10, before>>10)
			if after > 2*before {
				t.Errorf("alice has grown from %d to %d KiB", before>>10, after>>10)
			}
		})
	}
}
