package sim

import (
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// couple makes two connected nodes that reach each other by UDP.
func couple(t *testing.T, w *World) (a, b *Host) {
	t.Helper()
	a, b = w.Add("a"), w.Add("b")
	a.Knows(b, true)
	b.Knows(a, false)
	b.Start()
	a.Start("b")
	if _, ok := w.Until(20*time.Second, func() bool {
		return a.peers["b"].MinMTU > 1000 && b.peers["a"].MinMTU > 1000
	}); !ok {
		t.Fatal("they do not meet by UDP")
	}
	w.Run(3 * time.Second)
	return a, b
}

// flow sends packets one way each 20 ms, and measures the longest gap. If echo is true
// each is answered and the answers are measured.
type flow struct {
	last   time.Time
	gap    time.Duration
	sent   int
	came   int
	traces []Trace
}

func (w *World) flow(a, b *Host, size int, echo bool) *flow {
	f := &flow{last: w.Now}
	got := func(r Trace) {
		f.came++
		f.gap = max(f.gap, w.Now.Sub(f.last))
		f.last = w.Now
		f.traces = append(f.traces, r)
	}
	var next func()
	next = func() {
		f.sent++
		w.Send(a, b, size, func(r Trace) {
			if !echo {
				got(r)
				return
			}
			w.Send(b, a, size, got)
		})
		w.After(20*ms, next)
	}
	next()
	return f
}

func (f *flow) fresh(now time.Time) { *f = flow{last: now} }

func (f *flow) lastTrace() Trace {
	if len(f.traces) == 0 {
		return Trace{}
	}
	return f.traces[len(f.traces)-1]
}

// gaveUp counts how often h stops to use UDP to the node called n.
func gaveUp(h *Host, n node.Name) (count int) {
	confirmed := true
	for _, e := range h.Effects {
		if p, ok := e.(mesh.PublishPeers); ok {
			for _, st := range p.Peers {
				if st.Node == n {
					if confirmed && !st.Confirmed {
						count++
					}
					confirmed = st.Confirmed
				}
			}
		}
	}
	return count
}

func TestAPathThatGoesBlackIsReplacedInATrice(t *testing.T) {
	for _, c := range []struct {
		name string
		echo bool
		dead func(from, to *Host) bool
	}{
		{"both ways, echoes", true, func(_, _ *Host) bool { return true }},
		{"both ways, one way flow", false, func(_, _ *Host) bool { return true }},
		{"one way, echoes", true, func(from, _ *Host) bool { return from.Name == "a" }},
		{"the way back, echoes", true, func(from, _ *Host) bool { return from.Name == "b" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var worst, back time.Duration
			for seed := range seeds(30) {
				w := New(seed)
				a, b := couple(t, w)
				f := w.flow(a, b, 200, c.echo)
				w.Run(time.Second + time.Duration(w.Rand.IntN(1000))*ms)
				f.fresh(w.Now)
				w.UDP = func(from, to *Host) bool { return !c.dead(from, to) }
				w.Run(3 * time.Second)
				worst = max(worst, f.gap, w.Now.Sub(f.last))
				if f.lastTrace().UDP {
					t.Errorf("seed %d: still by UDP", seed)
				}
				times := a.Core.Totals().Failovers
				if n := b.Core.Totals().Failovers; n.Count > times.Count {
					times = n
				}
				if times.Count == 0 || times.Sum > time.Duration(times.Count)*time.Second {
					t.Errorf("seed %d: %d failovers in %s are counted", seed, times.Count, times.Sum)
				}
				w.UDP = func(_, _ *Host) bool { return true }
				took, ok := w.Until(10*time.Second, func() bool { return f.lastTrace().UDP })
				if !ok {
					t.Errorf("seed %d: does not come back to UDP", seed)
				}
				back = max(back, took)
			}
			t.Logf("gap up to %s, back after %s at most", worst, back)
			if worst > 700*ms {
				t.Errorf("a gap of %s", worst)
			}
			if back > 2*time.Second {
				t.Errorf("came back after %s", back)
			}
		})
	}
}

// A path that loses packets is no dead path: three in ten, each way, in flows of all kinds.
func TestALossyPathIsNotGivenUp(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]struct{ echo, both bool }{
		"one way": {}, "echoes": {echo: true}, "both": {both: true},
	} {
		t.Run(name, func(t *testing.T) {
			total := 0
			for seed := range seeds(20) {
				w := New(seed)
				a, b := couple(t, w)
				loss := 0.0
				w.Loss = func(_, _ *Host) float64 { return loss }
				w.flow(a, b, 200, kind.echo)
				if kind.both {
					w.flow(b, a, 200, false)
				}
				w.Run(2 * time.Second)
				loss = 0.3
				w.Run(20 * time.Second) // to get to know it
				a.Record = true
				a.Effects = nil
				w.Run(time.Minute)
				total += gaveUp(a, "b")
			}
			t.Logf("given up %d times in 20 minutes", total)
			if total > 10 {
				t.Errorf("given up %d times in 20 minutes", total)
			}
		})
	}
}

func TestAHealthyPathIsNeitherGivenUpNorFloodedWithProbes(t *testing.T) {
	w := New(1)
	w.Loss = func(_, _ *Host) float64 { return 0.01 }
	w.Delay = func(_, _ *Host) time.Duration { return 30*ms + time.Duration(w.Rand.IntN(20))*ms }
	a, b := couple(t, w)
	f := w.flow(a, b, 200, false)
	a.Record = true
	before := w.Datagrams
	w.Run(time.Minute)
	if n := gaveUp(a, "b"); n > 0 {
		t.Errorf("given up %d times", n)
	}
	if probes := w.Datagrams - before - f.sent; probes > 60*20 {
		t.Errorf("%d probes and answers in a minute of traffic that needs no answers", probes)
	}
	if f.came < f.sent*95/100 {
		t.Errorf("%d of %d packets came", f.came, f.sent)
	}
}

func TestAPathThatShrinksStopsLargePacketsForLessThanASecond(t *testing.T) {
	for _, echo := range []bool{true, false} {
		var worst time.Duration
		for seed := range seeds(20) {
			w := New(seed)
			mtu := 1500
			w.PathMTU = func(_, _ *Host) int { return mtu }
			a, b := couple(t, w)
			f := w.flow(a, b, 1380, echo)
			small := w.flow(a, b, 100, true)
			w.Run(2 * time.Second)
			f.fresh(w.Now)
			small.fresh(w.Now)
			mtu = 1280
			if took, ok := w.Until(3*time.Second, func() bool { return a.peers["b"].MTU <= 1280-61 }); !ok || took > time.Second {
				t.Errorf("seed %d: after %s the sender is told to send %d bytes", seed, took, a.peers["b"].MTU)
			} else {
				worst = max(worst, took)
			}
			w.Run(2 * time.Second)
			if st := a.peers["b"]; st.MTU != 1280-61 || st.MinMTU != 1280-61 || !st.Confirmed {
				t.Errorf("seed %d: MTU %d, proved %d", seed, st.MTU, st.MinMTU)
			}
			if small.gap > 100*ms {
				t.Errorf("seed %d: small packets were held up for %s", seed, small.gap)
			}
			// It grows again.
			mtu = 1500
			if _, ok := w.Until(70*time.Second, func() bool { return a.peers["b"].MTU >= 1400 }); !ok {
				t.Errorf("seed %d: it has grown, but the MTU is %d", seed, a.peers["b"].MTU)
			}
		}
		t.Logf("echo %t: noticed after %s at most", echo, worst)
	}
}

func TestALostProbeDoesNotHoldUpTheFirstMTUSearch(t *testing.T) {
	var worst time.Duration
	for seed := range seeds(100) {
		w := New(seed)
		w.Loss = func(_, _ *Host) float64 { return 0.1 }
		a, b := w.Add("a"), w.Add("b")
		a.Knows(b, true)
		b.Knows(a, false)
		b.Start()
		a.Start("b")
		if _, ok := w.Until(20*time.Second, func() bool { return a.peers["b"].Confirmed }); !ok {
			t.Fatalf("seed %d: they do not meet", seed)
		}
		took, ok := w.Until(20*time.Second, func() bool { return a.peers["b"].MinMTU > 1350 })
		if !ok {
			t.Errorf("seed %d: proved only %d", seed, a.peers["b"].MinMTU)
		}
		worst = max(worst, took)
	}
	t.Logf("at most %s", worst)
	if worst > 1500*ms {
		t.Errorf("it took up to %s until large packets could go by UDP", worst)
	}
}

func TestASilentRelayIsReplaced(t *testing.T) {
	t.Parallel()
	var worst time.Duration
	for seed := range seeds(8) {
		w := New(seed)
		az := map[[2]node.Name]bool{{"a", "z"}: false}
		gone := node.Name("")
		link := func(a, b *Host) bool {
			return between(true, az)(a, b) && a.Name != gone && b.Name != gone
		}
		w.UDP, w.TCP = link, link
		a, z, _ := star(w, "r0", "r1")
		a.Plain, z.Plain = true, true
		w.Run(10 * time.Second)
		f := w.flow(a, z, 200, true)
		w.Run(10 * time.Second)
		f.fresh(w.Now)
		gone = "r0"
		w.Run(5 * time.Second)
		first := max(f.gap, w.Now.Sub(f.last))
		gone = ""
		w.Run(20 * time.Second)
		f.fresh(w.Now)
		gone = "r1"
		w.Run(5 * time.Second)
		worst = max(worst, first, f.gap, w.Now.Sub(f.last))
	}
	t.Logf("a gap of %s at most", worst)
	if worst > 1500*ms {
		t.Errorf("a gap of %s", worst)
	}
}

func TestAChangedNetworkDoesNotDisturbWhatWorks(t *testing.T) {
	w := New(1)
	a, b := couple(t, w)
	f := w.flow(a, b, 200, true)
	w.Run(time.Second)
	a.Record = true
	sent := w.Datagrams
	for range 100 {
		a.event(mesh.NetworkChanged{Reason: "the machine was asleep"})
		w.Run(50 * ms)
	}
	if f.gap > 100*ms || gaveUp(a, "b") > 0 {
		t.Errorf("a gap of %s, given up %d times", f.gap, gaveUp(a, "b"))
	}
	if n := w.Datagrams - sent - 500; n > 100 {
		t.Errorf("%d probes for a hundred changes in five seconds", n)
	}
}

func TestAChangedNetworkFindsDeadConnectionsAtOnce(t *testing.T) {
	w := New(1)
	a, b := couple(t, w)
	tcp := false
	w.TCP = func(_, _ *Host) bool { return tcp }
	a.event(mesh.NetworkChanged{Reason: "test"})
	took, ok := w.Until(5*time.Second, func() bool { return !a.peers["b"].Adjacent })
	if !ok || took > 1500*ms {
		t.Errorf("a connection that was cut is found dead after %s", took)
	}
	tcp = true
	if _, ok := w.Until(10*time.Second, func() bool { return a.peers["b"].Adjacent && b.peers["a"].Adjacent }); !ok {
		t.Error("it is not recreated")
	}
}
