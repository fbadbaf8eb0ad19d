//go:build linux

package e2e

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"tincan/internal/lab"
)

// With DirectOnly packets for a node to which there is no direct path are not relayed, and their
// sender is told. Where there is one, all is as ever.
func TestDirectOnlyDoesNotRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(
		site{name: "alice", connect: []string{"bob"}},
		site{name: "bob"},
		site{name: "carol", connect: []string{"bob"}},
		site{name: "dave", connect: []string{"bob"}})
	alice, bob, carol, dave := n[0], n[1], n[2], n[3]
	w.block(lab.All, alice, carol)
	alice.tincan("set", "DirectOnly", "yes")
	upAll(n...)
	alice.reaches(bob)
	bob.reaches(carol)

	out, err := alice.Dial(context.Background(), "udp", netip.AddrPortFrom(carol.vpn("ip4"), 9).String())
	w.must(err)
	defer out.Close()
	w.eventually("the sender is told", patience, func() bool {
		_, err := out.Write([]byte("hello")) // says what became of the one before
		return errors.Is(err, syscall.ENETUNREACH)
	})
	alice.cannotReach(carol.vpn("ip4"))
	alice.reaches(bob)
	alice.reaches(dave)
	alice.talksDirectly(dave)
	alice.reaches(dave)
}
