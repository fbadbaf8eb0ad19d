package sim

import (
	"fmt"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// coldStart makes n nodes, of which every tenth has a known address, and starts all of them
// within a second, as after a power cut.
type coldStart struct {
	converged time.Duration // until each reaches each
	requests  int           // sent by each node on average in 40 s, when AutoConnect has settled
	made      int           // connections that were made
	links     int           // connections that stayed
	real      time.Duration
}

func (c coldStart) String() string {
	return fmt.Sprintf("all reach all after %s; in 40 s %d requests a node, %d connections made, of which %d stay; %s of real time",
		c.converged, c.requests, c.made, c.links, c.real.Round(time.Millisecond))
}

func runColdStart(t testing.TB, n int) (c coldStart) {
	began := time.Now()
	w := New(uint64(n))
	w.Batch = 5 * time.Millisecond
	w.Delay = func(_, _ *Host) time.Duration { return time.Duration(5+w.Rand.IntN(60)) * time.Millisecond }
	var hs []*Host
	for i := range n {
		h := w.Add(node.Name(fmt.Sprintf("n%03d", i)))
		h.Configure = func(c *mesh.Config) { c.AutoConnect = true }
		hs = append(hs, h)
	}
	for i, h := range hs {
		for j, o := range hs {
			if i != j {
				h.Knows(o, j%10 == 0)
			}
		}
	}
	for i, h := range hs {
		var connectTo []node.Name
		if i > 0 {
			connectTo = []node.Name{hs[w.Rand.IntN((i+9)/10)*10].Name}
		}
		w.After(time.Duration(w.Rand.IntN(1000))*time.Millisecond, func() { h.Start(connectTo...) })
	}
	begin := w.Now
	for w.Now.Sub(begin) < 40*time.Second {
		w.Run(time.Second)
		if c.converged == 0 && allReachAll(hs) {
			c.converged = w.Now.Sub(begin)
		}
	}
	if c.converged == 0 {
		t.Fatal("not every node reaches every other after 40 s")
	}
	for kind, k := range w.Sent {
		c.requests += k
		if wire.Kind(kind) == wire.KindAck {
			c.made = k / 2
		}
	}
	c.requests /= n
	for _, h := range hs {
		c.links += len(h.Brain.Conns())
	}
	c.links /= 2
	c.real = time.Since(began)
	return c
}

func allReachAll(hs []*Host) bool {
	for _, h := range hs {
		reached := 0
		for _, p := range h.peers {
			if p.Reachable {
				reached++
			}
		}
		if reached != len(hs)-1 {
			return false
		}
	}
	return true
}

func TestColdStart(t *testing.T) {
	const n = 80
	c := runColdStart(t, n)
	t.Logf("%d nodes: %v", n, c)
	if c.converged > 10*time.Second {
		t.Errorf("convergence took %s, want at most 10 s", c.converged)
	}
	// Both ends tell of each connection. Such news crosses every connection once or twice, and
	// what is known is told once on each new connection.
	if limit := 4 * (c.links + c.made) * c.links / n; c.requests > limit {
		t.Errorf("%d requests a node are a storm (limit %d)", c.requests, limit)
	}
	// What AutoConnect makes too much of is closed again, and everybody hears of that too.
	if c.made > c.links*5/4+10 {
		t.Errorf("%d connections were made for %d that stay", c.made, c.links)
	}
}

// BenchmarkColdStart takes minutes of real time.
func BenchmarkColdStart(b *testing.B) {
	for b.Loop() {
		c := runColdStart(b, 300)
		b.Logf("300 nodes: %v", c)
		b.ReportMetric(c.converged.Seconds(), "virtual-s")
		b.ReportMetric(float64(c.requests), "requests/node")
	}
}
