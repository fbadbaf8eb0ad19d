package report

import (
	"testing"

	"tincan/internal/control"
)

func TestWhyAnExitNodeIsNotTaken(t *testing.T) {
	exits := []control.Candidate{
		{Node: "a", Works: true, Known: true}, {Node: "b", Works: true, Known: true}, {Node: "c", Problem: "c is not reachable"}, {Node: "d"},
	}
	for want, v := range map[string]control.Via{
		"default by a, with IPv4 only; b works; c: c is not reachable; d: it was not asked yet; kill switch": {What: "default", Exits: exits, Chosen: "a", IPv4: true},
		"@list.txt (7 prefixes) is refused: no exit node works; c: c is not reachable; kill switch":          {What: "@list.txt", Prefixes: 7, Exits: exits[2:3]},
	} {
		if got := ViaText(v, true); got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}
