package daemon

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"tincan/internal/mesh"
)

// Where an address leads is asked for again at once when the kernel has reported a change, and else seldom; where
// changes are not reported, after a moment.
func TestWhereaboutsAreKeptUntilSomethingMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, inside := 0, false
		w := newWhereabouts("vpn", 0)
		w.route = func(netip.Addr) (bool, string) {
			asked++
			if inside {
				return false, "vpn"
			}
			return false, "eth0"
		}
		look := func(what string, want mesh.Location, times int) {
			t.Helper()
			if got := w.locate(netip.MustParseAddr("192.0.2.1")); got != want || asked != times {
				t.Errorf("%s: %v after %d questions, want %v after %d", what, got, asked, want, times)
			}
		}
		look("at first", mesh.Elsewhere, 1)
		look("at once", mesh.Elsewhere, 1)
		time.Sleep(askedEvery + 1)
		look("changes are not reported", mesh.Elsewhere, 2)

		w.moved(true)
		look("now they are", mesh.Elsewhere, 3)
		time.Sleep(toldEvery)
		look("nothing is reported", mesh.Elsewhere, 3)
		inside = true
		w.moved(true)
		look("a route has changed", mesh.Inside, 4)
		time.Sleep(toldEvery + 1)
		look("rules are not reported", mesh.Inside, 5)

		w.moved(false)
		look("the reports have ended", mesh.Inside, 6)
		time.Sleep(askedEvery + 1)
		look("they have not come back", mesh.Inside, 7)
	})
}
