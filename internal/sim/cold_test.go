package sim

import (
	"fmt"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// coldStart makes n nodes, of which every tenth has a known address, and starts all of them
// within a second, as after a power cut. It returns when each reaches each, and how many
// requests each node has sent on average until then.
func coldStart(t testing.TB, n int, limit time.Duration) (took time.Duration, perNode int) {
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
	check := time.Second
	for took = 0; took < limit; took += check {
		w.Run(check)
		all := true
		for _, h := range hs {
			reached := 0
			for _, p := range h.peers {
				if p.Reachable {
					reached++
				}
			}
			if all = reached == n-1; !all {
				break
			}
		}
		if all {
			total := 0
			for _, k := range w.Sent {
				total += k
			}
			return took + check, total / n
		}
	}
	t.Fatalf("not every node reaches every other after %s", limit)
	return 0, 0
}

func TestColdStartOfThreeHundredNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	const n = 300
	began := time.Now()
	took, perNode := coldStart(t, n, 2*time.Minute)
	t.Logf("%d nodes: all reach all after %s of virtual time, %d requests a node, %s of real time", n, took, perNode, time.Since(began).Round(time.Millisecond))
	if took > 30*time.Second {
		t.Errorf("convergence took %s, want at most 30 s", took)
	}
	// Each node tells of a subnet and some edges, and each such news crosses every connection
	// once or twice.
	if limit := 8 * n; perNode > limit {
		t.Errorf("%d requests a node are a storm (limit %d)", perNode, limit)
	}
}
