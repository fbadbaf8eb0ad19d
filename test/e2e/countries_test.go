//go:build linux

package e2e

import (
	"testing"
	"time"

	"tincan/internal/lab"
)

// TestFourCountries is the case that tinc-boot was written for: far away from
// each other, unstable links, borders that are closed in part, and no node whose
// loss would part the others.
func TestFourCountries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	singapore := w.country("singapore", open, lab.Quality{Delay: 10 * time.Millisecond})
	russia := w.country("russia", open, lab.Quality{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 1})
	china := w.country("china", open, lab.Quality{Delay: 40 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 2})
	manila := w.country("manila", lab.Symmetric, lab.Quality{Delay: 20 * time.Millisecond, Loss: 1, Reorder: 1, Rate: 50e6})
	w.fails(w.only(lab.All, china, russia))()
	w.fails(w.only(lab.UDP, china, manila))()

	singapore.found()
	singapore.up()
	for _, n := range []*node{russia, china, manila} {
		n.joins(singapore.invite(n.Name()))
	}
	w.allReach("ip4", w.nodes...)
	for _, p := range [][2]*node{{singapore, russia}, {singapore, china}, {singapore, manila}, {russia, manila}} {
		p[0].talksDirectly(p[1])
	}

	// What passes two links in each direction is lost with 6 %. A relay adds a
	// little time, no loss. The machine may stand still for a moment, so a few attempts are allowed.
	var count lab.EchoCount
	for range 3 {
		count = w.echoed(china, russia, 2*time.Second)
		t.Logf("china and russia, by singapore: %s", count)
		if count.Lost() <= count.Sent*15/100 {
			break
		}
	}
	if count.Lost() > count.Sent*15/100 {
		t.Errorf("china and russia, by singapore: %s", count)
	}
	if _, via := china.path(russia); via != singapore.Name() {
		t.Errorf("china reaches russia by %q, not by singapore", via)
	}
	rtt := time.Hour
	for range 10 {
		if one, err := china.Ping(russia.vpn("ip4"), 56, time.Second); err == nil {
			rtt = min(rtt, one)
		}
	}
	if least := 2 * (40 + 10 + 10 + 50) * time.Millisecond; rtt < least || rtt > least+100*time.Millisecond {
		t.Errorf("the round trip from china to russia takes %v; the links take at least %v", rtt, least)
	}
	w.must(send(china, russia, russia.vpn("ip4"), 64<<10))

	w.eventually("china and manila are connected, in case singapore is lost", 2*patience, func() bool {
		return china.linked(manila) || china.linked(russia)
	})
	w.eventually("russia and manila are connected", 2*patience, func() bool { return russia.linked(manila) })
	singapore.killed()
	w.allReach("ip4", china, russia, manila)
	count = w.echoed(china, russia, 2*time.Second)
	t.Logf("china and russia, by manila: %s", count)
	if count.Answered == 0 {
		t.Errorf("china and russia, by manila: %s", count)
	}
}

// country adds a node at the end of a cable of the given quality, which is its own
// or that of the NAT in front of it.
func (w *world) country(name string, kind lab.NAT, q lab.Quality) *node {
	w.Helper()
	w.cables = true
	n := w.natted(name, kind)
	cable := n.link
	if n.gate != nil {
		cable = n.uplink
	}
	w.must(cable.Quality(q))
	return n
}

// echoed counts echoes for a while.
func (w *world) echoed(a, b *node, d time.Duration) lab.EchoCount {
	w.Helper()
	e, err := a.Echo(b.vpn("ip4"), 2*flowPace)
	w.must(err)
	time.Sleep(d)
	return e.Stop()
}
