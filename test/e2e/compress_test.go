//go:build linux

package e2e

import (
	"fmt"
	"regexp"
	"testing"
	"time"
)

// Every level in both directions: what one wants to receive the other has to send.
func TestOldTincAndTincanCompress(t *testing.T) {
	t.Parallel()
	for level := 0; level <= 11; level++ {
		other := 11 - level
		t.Run(fmt.Sprintf("tinc 1.0 wants level %d, tincan %d", level, other), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			w.compress(w.legacy(
				site{name: "old", kind: tinc10, extra: compression(level)},
				site{name: "ours", connect: []string{"old"}, extra: compression(other)}), level, other)
		})
	}
}

func TestTincansCompress(t *testing.T) {
	t.Parallel()
	for _, levels := range [][2]int{{6, 12}, {11, 0}} {
		t.Run(fmt.Sprint(levels), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			w.compress(w.static(
				site{name: "a", extra: compression(levels[0])},
				site{name: "b", connect: []string{"a"}, extra: compression(levels[1])}), levels[:]...)
		})
	}
}

func TestTincAndTincanCompress(t *testing.T) {
	t.Parallel()
	needTinc(t)
	lz4 := tincHasLZ4(t)
	for level := 0; level <= 12; level++ {
		other := 12 - level
		t.Run(fmt.Sprintf("tinc wants level %d, tincan %d", level, other), func(t *testing.T) {
			if !lz4 && max(level, other) == 12 {
				t.Skip("this tinc 1.1 was built without LZ4")
			}
			t.Parallel()
			w := newWorld(t, "ip4")
			w.compress(w.static(
				site{name: "real", kind: tinc11, extra: compression(level)},
				site{name: "ours", connect: []string{"real"}, extra: compression(other)}), level, other)
		})
	}
}

// tincHasLZ4 tells whether the real tinc 1.1 was built with LZ4: otherwise it ends at once.
func tincHasLZ4(t *testing.T) bool {
	n := newWorld(t, "ip4").static(site{name: "real", kind: tinc11, extra: compression(12)})[0]
	n.start()
	return n.daemon.Wait(time.Second) != nil && !n.daemon.Ended()
}

func compression(level int) string { return fmt.Sprintf("Compression = %d\n", level) }

// compress runs two nodes, which want to receive these levels, and sends from each to the other.
func (w *world) compress(n []*node, level ...int) {
	upAll(n...)
	w.allReach("ip4", n...)
	talksByUDP(w, n[0], n[1])
	for i, one := range n {
		if other := n[1-i]; one.kind == tincan {
			want := regexp.MustCompile(fmt.Sprintf(`(?m)^%s .* compression %d `, other.Name(), level[1-i]))
			if got := one.dump("nodes"); !want.MatchString(got) {
				w.Errorf("%s does not compress for %s: no %s in %s", one.Name(), other.Name(), want, got)
			}
		}
	}
	n[0].sends(1<<20, n[1], n[1].vpn("ip4"))
	n[1].sends(1<<20, n[0], n[0].vpn("ip4"))
}
