//go:build linux

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"tincan/internal/lab"
)

const tenMegabytes = 10 << 20

func TestOldTincMeetsTincan(t *testing.T) {
	t.Parallel()
	for name, sites := range map[string][]site{
		"tincan connects to tinc 1.0": {{name: "old", kind: tinc10}, {name: "ours", connect: []string{"old"}}},
		"tinc 1.0 connects to tincan": {{name: "ours"}, {name: "old", kind: tinc10, connect: []string{"ours"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.legacy(sites...)
			upAll(n...)
			w.allReach("ip4", n...)
			w.allReach("ip6", n...)
			talksByUDP(w, n[0], n[1])
			for _, family := range []string{"ip4", "ip6"} {
				n[0].sends(tenMegabytes, n[1], n[1].vpn(family))
				n[1].sends(tenMegabytes, n[0], n[0].vpn(family))
			}

			// Whoever dies comes back.
			for i := range n {
				n[i].killed()
				n[i].up()
				w.allReach("ip4", n...)
			}
		})
	}
}

func TestOldTincAndTincanWithoutUDP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.legacy(
		site{name: "old", kind: tinc10},
		site{name: "ours", connect: []string{"old"}})
	old, ours := n[0], n[1]
	unblock := w.block(lab.UDP)
	upAll(n...)
	w.allReach("ip4", n...)
	old.sends(tenMegabytes, ours, ours.vpn("ip4"))
	ours.sends(tenMegabytes, old, old.vpn("ip4"))
	for _, p := range [][2]*node{{old, ours}, {ours, old}} {
		if p[0].hasUDP(p[1]) {
			t.Errorf("%s claims that UDP works, but it is blocked", p[0].Name())
		}
	}

	// tinc 1.0 gives up after thirty attempts and does not try again by itself;
	// until then both find UDP as soon as it works.
	unblock()
	talksByUDP(w, ours, old)

	// Blocked again: TCP takes over, as soon as tinc 1.0 has ended its thirty
	// probes, one a second, and then misses the answers.
	w.block(lab.UDP)
	w.eventually("pings pass by TCP again", 4*patience, func() bool {
		_, there := ours.Ping(old.vpn("ip4"), 1000, time.Second)
		_, back := old.Ping(ours.vpn("ip4"), 1000, time.Second)
		return there == nil && back == nil
	})
}

func TestOldTincWithTCPOnly(t *testing.T) {
	t.Parallel()
	for name, only := range map[string]string{"old": "tinc 1.0 wants only TCP", "ours": "tincan wants only TCP"} {
		t.Run(only, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			sites := []site{{name: "old", kind: tinc10}, {name: "ours", connect: []string{"old"}}}
			for i := range sites {
				if sites[i].name == name {
					sites[i].extra = "TCPOnly = yes\n"
				}
			}
			n := w.legacy(sites...)
			w.block(lab.UDP)
			upAll(n...)
			w.allReach("ip4", n...)
			n[0].sends(tenMegabytes/4, n[1], n[1].vpn("ip4"))
			n[1].sends(tenMegabytes/4, n[0], n[0].vpn("ip4"))
		})
	}
}

func TestOldTincAndTincanRelayForEachOther(t *testing.T) {
	t.Parallel()
	for _, kinds := range [][3]kind{
		{tinc10, tincan, tincan}, {tincan, tinc10, tincan}, {tincan, tincan, tinc10},
		{tincan, tinc10, tinc10}, {tinc10, tincan, tinc10}, {tinc10, tinc10, tincan},
	} {
		for how, blocked := range map[string]lab.Traffic{"no UDP between the ends": lab.UDP, "nothing between the ends": lab.All} {
			t.Run(fmt.Sprintf("%v - %v - %v, %s", kinds[0], kinds[1], kinds[2], how), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "ip4")
				n := w.legacy(
					site{name: "left", kind: kinds[0], connect: []string{"middle"}},
					site{name: "middle", kind: kinds[1]},
					site{name: "right", kind: kinds[2], connect: []string{"middle"}})
				w.block(blocked, n[0], n[2])
				upAll(n...)
				left, middle, right := n[0], n[1], n[2]
				w.allReach("ip4", n...)
				talksByUDP(w, left, middle)
				talksByUDP(w, right, middle)
				w.allReach("ip6", n...)
				e, err := left.Echo(right.vpn("ip4"), 20*time.Millisecond)
				w.must(err)
				left.sends(tenMegabytes/4, right, right.vpn("ip4"))
				right.sends(tenMegabytes/4, left, left.vpn("ip4"))
				time.Sleep(2 * time.Second)
				if count := e.Stop(); count.Lost() > count.Sent/20 {
					w.Errorf("through the relay: %s", count)
				}
				if left.hasUDP(right) || right.hasUDP(left) {
					w.Error("they claim that UDP works between them, but it is blocked")
				}
			})
		}
	}
}

func TestTincanTakesTheplaceOfOldTinc(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.legacy(
		site{name: "hub", kind: tinc10},
		site{name: "moving", kind: tinc10, connect: []string{"hub"}},
		site{name: "leaf", kind: tinc10, connect: []string{"hub"}})
	hub, moving, leaf := n[0], n[1], n[2]
	upAll(n...)
	w.allReach("ip4", n...)
	talksByUDP(w, leaf, moving)
	addr := moving.vpn("ip4")

	hubSaid, leafSaid := len(hub.log()), len(leaf.log())
	e, err := leaf.Echo(addr, 20*time.Millisecond)
	w.must(err)
	began := time.Now()
	moving.stopped()
	moving.kind = tincand
	moving.start()
	for _, other := range []*node{hub, leaf} {
		_, err := other.Reach(addr, patience)
		w.must(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the switch took %v", took)
	}
	time.Sleep(3 * time.Second)
	count := e.Stop()
	t.Log(count)
	if count.LongestGap > 10*time.Second {
		t.Errorf("it was away for %v", count.LongestGap)
	}
	w.allReach("ip4", n...)
	w.allReach("ip6", n...)
	talksByUDP(w, leaf, moving)
	moving.sends(tenMegabytes, leaf, leaf.vpn("ip4"))

	// The others noticed a reconnect and nothing else.
	for other, said := range map[*node]string{hub: hub.log()[hubSaid:], leaf: leaf.log()[leafSaid:]} {
		reconnects := 0
		if other == hub {
			reconnects = 1
		}
		if got := strings.Count(said, " activated"); got != reconnects {
			t.Errorf("%s has %d new connections, not %d:\n%s", other.Name(), got, reconnects, said)
		}
		if bad := regexp.MustCompile(`(?m)^.*(Bad|bad|[Ee]rror|Failed|Unexpected|Possible|Bogus).*$`).FindString(said); bad != "" {
			t.Errorf("%s complains: %s", other.Name(), bad)
		}
	}
}
