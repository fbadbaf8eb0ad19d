//go:build linux

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"tincan/internal/lab"
)

// TestLongLink compares TCP through a VPN with TCP beside it, on a link with a round trip of
// 50 ms: what is lost there must not hurt twice. "make soak" makes that 100 Mbit/s and long rounds,
// compares the medians, and shows tinc 1.0 as well. Otherwise one round of three has to be good: it
// is short, and the machine may stand still during it. Nothing runs beside this test.
func TestLongLink(t *testing.T) {
	rounds, each, rate, kinds := 3, 1500*time.Millisecond, 30e6, []kind{tincan}
	if soakTrials > 0 {
		rounds, each, rate, kinds = 5, 15*time.Second, 100e6, []kind{tincan, tinc10}
	}
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "loss\tway\tMbit/s (median)\tlongest stall")
	for _, loss := range []float64{0, 1} {
		w := newWorld(t, "ip4")
		q := lab.Quality{Delay: 25 * time.Millisecond, Loss: loss, Rate: int(rate)}
		var links []*longLink
		for _, k := range kinds {
			links = append(links, w.longLink(k, q))
		}
		ours := links[0]
		bare := &longLink{name: "bare", from: ours.from, to: ours.to, addr: ours.to.Addr("ip4")}
		links = append([]*longLink{bare}, links...)
		for range rounds {
			if soakTrials == 0 { // each round counts by itself
				bare.forget()
				ours.forget()
			}
			for _, link := range links { // in turn, since the machine may be busy
				link.measure(w, each)
			}
			if soakTrials == 0 && ours.slower(bare) == "" {
				break
			}
		}
		for _, link := range links {
			fmt.Fprintf(tw, "%.0f %%\t%s\t%.1f\t%v\n", loss, link.name, link.median()/1e6, link.stall.Round(time.Millisecond))
		}
		if why := ours.slower(bare); why != "" {
			t.Errorf("with %.0f %% loss: %s", loss, why)
		}
	}
	tw.Flush()
	t.Log("\n" + b.String())
}

// longLink is TCP between two hosts and what was measured.
type longLink struct {
	name     string
	from, to *node
	addr     netip.Addr
	rates    []float64 // bits a second
	stall    time.Duration
}

// longLink makes two nodes of a kind that talk by UDP over a link of the given quality.
func (w *world) longLink(kind kind, q lab.Quality) *longLink {
	w.Helper()
	name := fmt.Sprintf("kind%d", kind) // the names of hosts are theirs alone
	w.cables = true
	n := w.legacy(site{name: name + "from", kind: kind}, site{name: name + "to", kind: kind, connect: []string{name + "from"}})
	w.must(n[0].link.Quality(q))
	upAll(n...)
	w.allReach("ip4", n...)
	w.eventually("large packets pass by UDP", 2*patience, func() bool {
		_, _ = n[0].Ping(n[1].vpn("ip4"), 56, 200*time.Millisecond)
		return n[0].hasUDP(n[1]) && n[1].hasUDP(n[0]) && n[0].sees(n[1].Name()).minMTU > 1400
	})
	return &longLink{name: kind.String(), from: n[0], to: n[1], addr: n[1].vpn("ip4")}
}

func (l *longLink) forget() { l.rates, l.stall = nil, 0 }

// slower says by how much TCP through tincan is worse than beside it; "" if that is little.
func (l *longLink) slower(bare *longLink) string {
	if l.median() < bare.median()/3 {
		return fmt.Sprintf("%.1f Mbit/s through tincan, %.1f beside it", l.median()/1e6, bare.median()/1e6)
	}
	if l.stall > bare.stall+time.Second {
		return fmt.Sprintf("stalled for %v through tincan, %v beside it", l.stall, bare.stall)
	}
	return ""
}

func (l *longLink) measure(w *world, d time.Duration) {
	w.Helper()
	f, err := lab.Stream(l.from.Host, l.to.Host, l.addr)
	w.must(err)
	defer f.Stop()
	time.Sleep(300 * time.Millisecond) // until TCP has found its pace
	f.Restart()
	before := f.Bytes()
	time.Sleep(d)
	l.rates = append(l.rates, float64(f.Bytes()-before)*8/d.Seconds())
	l.stall = max(l.stall, f.Longest())
}

// median is in bits a second.
func (l *longLink) median() float64 {
	slices.Sort(l.rates)
	return l.rates[len(l.rates)/2]
}
