package sim

import (
	"fmt"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// smallerMTUs counts how often h is told to send smaller frames to the node called n than before.
func smallerMTUs(h *Host, n node.Name) (count int) {
	before := 0
	for _, e := range h.Effects {
		if p, ok := e.(mesh.PublishPeers); ok {
			for _, st := range p.Peers {
				if st.Node != n {
					continue
				}
				if st.MTU < before {
					count++
				}
				before = st.MTU
			}
		}
	}
	return count
}

// fill sends packets of that size one way, so that they make up that many bytes a second on the line.
func (w *World) fill(a, b *Host, size, rate int) {
	every := time.Duration(size+recordOverhead+12+28) * time.Second / time.Duration(rate)
	var next func()
	next = func() {
		w.Send(a, b, size, func(Trace) {})
		w.After(time.Duration(float64(every)*(0.7+0.6*w.Rand.Float64())), next)
	}
	next()
}

// A line carries less than is sent. Its queue loses most large datagrams and few small ones, as a smaller path MTU would.
func TestAFullQueueIsNoSmallerMTU(t *testing.T) {
	t.Parallel()
	runs, wrong := 0, 0
	for _, line := range []struct{ mbit, queue int }{{1, 15000}, {2, 30000}, {5, 30000}, {5, 120000}, {10, 30000}} {
		for _, load := range []float64{1.5, 4} {
			for _, size := range []int{1200, 700} {
				t.Run(fmt.Sprintf("%d Mbit per second, queue of %d bytes, %v times as much in packets of %d", line.mbit, line.queue, load, size), func(t *testing.T) {
					for seed := range seeds(3) {
						w := New(seed)
						a, b := couple(t, w)
						a.Record, a.Effects = true, nil
						a.Uplink = Uplink{Rate: line.mbit * 1e6 / 8, Queue: line.queue}
						w.fill(a, b, size, int(float64(a.Uplink.Rate)*load))
						w.Run(20 * time.Second)
						runs++
						if n := smallerMTUs(a, "b"); n > 0 {
							t.Logf("seed %d: its MTU shrank %d times", seed, n)
							wrong++
						}
						if mtu := a.peers["b"].MTU; mtu < size {
							t.Logf("seed %d: it is %d in the end", seed, mtu)
						}
					}
				})
			}
		}
	}
	t.Logf("in %d of %d runs of 20 s the MTU shrank", wrong, runs)
	if wrong > runs/20 {
		t.Errorf("in %d of %d runs the MTU shrank", wrong, runs)
	}
}

// A path MTU does shrink: on an idle line at once, and where a queue or a shaky line could be the reason, a little later.
func TestASmallerMTUIsFoundOnEveryKindOfLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		jitter time.Duration
		uplink Uplink
		load   float64
		longer time.Duration // how much the path becomes longer when it shrinks
		stalls bool          // the sender tries again now and then only, as TCP does
		within time.Duration
	}{
		{name: "idle", within: time.Second},
		{name: "longer, a stalled TCP connection", longer: 12 * ms, stalls: true, within: 2 * time.Second},
		{name: "shaky, a stalled TCP connection", jitter: 60 * ms, stalls: true, within: 2 * time.Second},
		{name: "shaky", jitter: 60 * ms, within: 12 * time.Second},
		{name: "full", uplink: Uplink{Rate: 250000, Queue: 30000}, load: 2, within: 15 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			var worst time.Duration
			for seed := range seeds(10) {
				w := New(seed)
				mtu, delay := 1500, 10*ms
				w.Delay = func(_, _ *Host) time.Duration { return delay + time.Duration(w.Rand.Float64()*float64(c.jitter)) }
				w.PathMTU = func(_, _ *Host) int { return mtu }
				a, b := couple(t, w)
				a.Uplink = c.uplink
				if c.stalls {
					w.fill(a, b, 1380, 5*1380)
				} else {
					w.flow(a, b, 1380, true)
				}
				if c.load > 0 {
					w.fill(a, b, 1000, int(c.load*float64(c.uplink.Rate)))
				}
				w.Run(2 * time.Second)
				mtu, delay = 1280, delay+c.longer
				took, ok := w.Until(30*time.Second, func() bool { return a.peers["b"].MTU <= 1280-61 })
				if worst = max(worst, took); !ok || took > c.within {
					t.Errorf("seed %d: after %s the sender is told to send %d bytes", seed, took, a.peers["b"].MTU)
				}
			}
			t.Logf("noticed after %s at most", worst)
		})
	}
}
