//go:build linux

package e2e

import "testing"

const tenMegabytes = 10 << 20

func TestOldTincMeetsTincan(t *testing.T) {
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
