package sim

import (
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// article is the world of the article that tincan comes from: a border that lets nothing
// through between China and Russia or Manila, a poor line between Russia and Manila, a quick
// relay in Singapore that comes and goes, and a slower one in Frankfurt.
type article struct {
	*World
	hosts   map[node.Name]*Host
	streams map[[2]node.Name]*stream
	dark    bool // Singapore is cut off
}

func newArticle(seed uint64) *article {
	x := &article{World: New(seed), hosts: map[node.Name]*Host{}, streams: map[[2]node.Name]*stream{}}
	w := x.World
	border := between(true, map[[2]node.Name]bool{{"china", "russia"}: false, {"china", "manila"}: false})
	open := func(a, b *Host) bool {
		return border(a, b) && !(x.dark && (a.Name == "singapore" || b.Name == "singapore"))
	}
	w.UDP, w.TCP = open, open
	delay := between(10*ms, map[[2]node.Name]time.Duration{
		{"china", "singapore"}: 35 * ms, {"manila", "singapore"}: 25 * ms, {"russia", "singapore"}: 80 * ms,
		{"china", "frankfurt"}: 150 * ms, {"manila", "frankfurt"}: 120 * ms, {"russia", "frankfurt"}: 25 * ms,
		{"singapore", "frankfurt"}: 80 * ms, {"russia", "manila"}: 170 * ms,
	})
	w.Delay = func(a, b *Host) time.Duration { return delay(a, b) + time.Duration(w.Rand.IntN(5))*ms }
	w.Loss = between(0.005, map[[2]node.Name]float64{{"russia", "manila"}: 0.3})
	names := []node.Name{"singapore", "frankfurt", "china", "russia", "manila"}
	for _, n := range names {
		x.hosts[n] = w.Add(n)
		x.hosts[n].Configure = func(c *mesh.Config) { c.AutoConnect = true }
	}
	for _, a := range names {
		for _, b := range names {
			if a != b {
				x.hosts[a].Knows(x.hosts[b], true)
			}
		}
	}
	for _, n := range names {
		x.hosts[n].Start()
	}
	return x
}

// talk lets all three sites talk with each other.
func (x *article) talk() {
	for _, p := range [][2]node.Name{{"china", "russia"}, {"china", "manila"}, {"russia", "manila"}} {
		x.streams[p] = x.slowStream(x.hosts[p[0]], x.hosts[p[1]], 50*ms)
	}
}

// after lets time pass and then checks each pair: the share that arrives, and the path there.
func (x *article) after(t *testing.T, what string, settle time.Duration, longest time.Duration, relay string) {
	t.Helper()
	for _, s := range x.streams {
		s.fresh()
	}
	x.Run(settle)
	for p, s := range x.streams {
		if longest > 0 && s.gap > longest {
			t.Errorf("%s: %s to %s was silent for %s", what, p[0], p[1], s.gap)
		}
		s.fresh()
	}
	x.Run(40 * time.Second)
	for p, s := range x.streams {
		if s.came < s.sent*9/10 {
			t.Errorf("%s: %s to %s: %d of %d packets arrived, by %v", what, p[0], p[1], s.came, s.sent, s.last.Hops)
		}
		if s.through[relay] < s.came/2 || !s.last.UDP { // a few echoes may be lost by chance, and have the other tried for a while
			t.Errorf("%s: %s to %s goes by %v (UDP: %t), want %s", what, p[0], p[1], s.through, s.last.UDP, relay)
		}
	}
}

func TestChinaRussiaSingaporeManila(t *testing.T) {
	t.Parallel()
	for seed := range seeds(2) {
		x := newArticle(seed)
		x.Run(30 * time.Second)
		x.talk()
		x.after(t, "at first", 90*time.Second, 0, "singapore")
		x.dark = true
		x.after(t, "Singapore falls silent", 20*time.Second, 1500*ms, "frankfurt")
		x.dark = false
		x.after(t, "Singapore is back", 90*time.Second, 1500*ms, "singapore")
		x.hosts["singapore"].Kill()
		x.after(t, "Singapore is killed", 20*time.Second, 1500*ms, "frankfurt")
		x.hosts["singapore"].Start()
		x.after(t, "Singapore has been restarted", 90*time.Second, 1500*ms, "singapore")
		for range 5 { // it comes and goes
			x.dark = true
			x.Run(8 * time.Second)
			x.dark = false
			x.Run(8 * time.Second)
		}
		x.after(t, "Singapore has become stable", 2*time.Minute, 1500*ms, "singapore")
		if t.Failed() {
			t.Fatal("seed ", seed)
		}
	}
}
