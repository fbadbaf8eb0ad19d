package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"tincan/internal/node"
)

// However many claimants somebody makes up, the real one is looked at, and is asked for its proof in its turn.
func TestMadeUpClaimantsHideNoRealOne(t *testing.T) {
	const madeUp = 1000
	addr := netip.MustParseAddr("10.7.0.5")
	l := newClaims()
	for i := range madeUp {
		l.add(addressConflict{node.Name(fmt.Sprintf("n%d", i)), addr})
	}
	real := addressConflict{"alice", addr}
	l.next(l.all()) // some were asked already
	l.add(real)
	l.add(real) // says it twice
	if list := l.all(); len(list) != madeUp+1 || !slices.Contains(list, real) {
		t.Fatalf("%d claims are held, the real one among them: %v", len(list), slices.Contains(list, real))
	}
	times := map[node.Name]int{}
	for round := range 2 * (madeUp/askedAtOnce + 1) {
		asked := l.next(l.all())
		if len(asked) != askedAtOnce {
			t.Fatalf("%d are asked in round %d", len(asked), round)
		}
		for _, o := range asked {
			times[o]++
		}
	}
	if n := times["alice"]; n < 2 {
		t.Errorf("alice was asked %d times in two turns", n)
	}

	// What is decided, or claimed no longer, is not held.
	for _, c := range l.all() {
		l.remove(c)
	}
	if n, asked := len(l.all()), l.next([]addressConflict{real}); n != 0 || len(asked) != 0 {
		t.Errorf("%d claims are left, and %v are asked", n, asked)
	}
}
