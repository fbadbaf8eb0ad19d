//go:build linux

package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"tincan/internal/lab"
	"tincan/internal/wire"
)

// Two nodes that cannot meet have two relays, a near one and a far one.
func TestTheNearestRelayIsTakenAndReplacedWhenItDies(t *testing.T) {
	t.Parallel()
	for what, fail := range map[string]func(relay *node){
		"falls silent": func(relay *node) { relay.w.must(relay.link.Cut()) },
		"is killed":    (*node).killed,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			w.cables = true
			both := []string{"near", "far"}
			n := w.static(site{name: "left", connect: both}, site{name: "right", connect: both}, site{name: "near"}, site{name: "far"})
			left, right, near, far := n[0], n[1], n[2], n[3]
			for _, x := range n {
				w.must(x.link.Delay(5 * time.Millisecond))
			}
			w.must(far.link.Delay(40 * time.Millisecond))
			w.block(lab.All, left, right)
			upAll(n...)
			left.reaches(right)
			relayedBy := func(relay *node) bool {
				for _, p := range [][2]*node{{left, right}, {right, left}} {
					if how, via := p[0].path(p[1]); how != "relayed" || via != relay.Name() {
						return false
					}
				}
				return true
			}
			e, err := left.Echo(right.vpn("ip4"), flowPace)
			w.must(err)
			defer e.Stop()
			time.Sleep(3 * time.Second) // both relays are measured
			w.eventually("the near relay is in use", patience, func() bool { return relayedBy(near) })

			e.Restart()
			fail(near)
			w.eventually("the far relay is in use", patience, func() bool { return relayedBy(far) })
			time.Sleep(time.Second)
			gap := e.Longest()
			t.Logf("the near relay %s: no answer for %v", what, gap.Round(time.Millisecond))
			if gap > 6*time.Second { // 1 s on a machine with time to spare
				t.Errorf("the near relay %s: no answer for %v", what, gap)
			}
		})
	}
}

// The option bits of ours pass through real nodes, which take no offence at them.
func TestRealNodesPassOurOptionsOn(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]kind{"tinc 1.1": tinc11, "tinc 1.0": tinc10} {
		t.Run(name, func(t *testing.T) {
			if k == tinc11 {
				needTinc(t)
			}
			t.Parallel()
			w := newWorld(t, "ip4")
			middle := site{name: "real", kind: k}
			ends := []site{{name: "left", connect: []string{"real"}}, {name: "right", connect: []string{"real"}, extra: "Relay = no\n"}}
			if k == tinc10 {
				middle.rsa = rsaKey(w, 0)
				ends[0].rsa, ends[1].rsa = rsaKey(w, 1), rsaKey(w, 2)
			}
			n := w.static(middle, ends[0], ends[1])
			upAll(n...)
			w.allReach("ip4", n...)
			left := n[1]
			for to, want := range map[string]wire.Options{"right": wire.Echoes | wire.NoRelay, "real": 0} {
				if got := left.options(to) & (wire.Echoes | wire.NoRelay); got != want {
					t.Errorf("%s sees for %s the bits %x of our own, want %x", left.Name(), to, uint32(got), uint32(want))
				}
			}
		})
	}
}

// options are those of a node as n knows them.
func (n *node) options(name string) (o wire.Options) {
	n.w.Helper()
	for line := range strings.Lines(n.dump("nodes")) {
		words := strings.Fields(line)
		for i, word := range words {
			if words[0] == name && word == "options" {
				o = hexOptions(n.w, words[i+1])
			}
		}
	}
	return o
}

func hexOptions(w *world, word string) wire.Options {
	w.Helper()
	v, err := strconv.ParseUint(word, 16, 32)
	w.must(err)
	return wire.Options(v)
}
