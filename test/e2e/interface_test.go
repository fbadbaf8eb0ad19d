//go:build linux

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// guards are the networks that the kernel of n keeps for the VPN.
func (n *node) guards() (list []string) {
	n.w.Helper()
	n.w.must(n.Do(func() error {
		routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Type: unix.RTN_UNREACHABLE}, netlink.RT_FILTER_TYPE)
		for _, r := range routes {
			list = append(list, r.Dst.String())
		}
		return err
	}))
	slices.Sort(list)
	return list
}

// setLink sets the VPN's interface of n up or down.
func (n *node) setLink(up bool) {
	n.w.Helper()
	n.w.must(n.Do(func() error {
		link, err := netlink.LinkByName("home")
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	}))
}

// "ip link set home down; up" and the like cost a moment, whatever rights the node has given up.
func TestANodeLooksAfterItsInterface(t *testing.T) {
	t.Parallel()
	for _, extra := range []string{"", "Sandbox = high\n"} {
		name := strings.ReplaceAll(strings.TrimSpace(extra), " ", "")
		t.Run("with"+name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.static(site{name: "a", host: "Subnet = 192.168.77.0/24\n"}, site{name: "b", connect: []string{"a"}, extra: extra})
			a, b := n[0], n[1]
			upAll(n...)
			w.allReach("ip4", n...)
			want := []string{"10.7.0.0/24", "192.168.77.0/24"}
			w.eventually("the guards", patience, func() bool { return slices.Equal(b.guards(), want) })
			b.setLink(false)
			b.reaches(a)
			b.setLink(false)
			b.setLink(true)
			b.reaches(a)

			b.killed()
			if got := b.guards(); !slices.Equal(got, want) {
				t.Errorf("after a crash packets for the VPN may leave in clear: %v", got)
			}
			b.start()
			w.must(b.daemon.WaitLog("Ready", patience))
			b.reaches(a)
			b.killed()
			_, _ = b.try("down")
			if got := b.guards(); got != nil {
				t.Errorf("after down: %v", got)
			}
			b.start()
			w.must(b.daemon.WaitLog("Ready", patience))
			b.stopped()
			if got := b.guards(); got != nil {
				t.Errorf("left behind: %v", got)
			}
		})
	}
}
