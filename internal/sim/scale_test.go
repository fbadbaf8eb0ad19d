package sim

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// Large meshes: what "make sim" runs, and here in small. A run that fails says how it is
// repeated.
var (
	nodesFlag = flag.Int("nodes", 0, "size of the large meshes; 0: small enough for every day")
	fromFlag  = flag.Uint64("from", 1, "the first seed of the large meshes")
)

// large runs a scenario with all seeds that are asked for. It gets the number of nodes, or that for
// every day.
func large(t *testing.T, everyDay int, scenario func(t *testing.T, seed uint64, n int)) {
	n, count := *nodesFlag, *seedsFlag
	switch {
	case n == 0 && testing.Short():
		n, count = 40, 1 // a multiple of 20, which TestTwoHalvesJoinAgain needs
	case n == 0:
		n, count = everyDay, 1
	case count == 0:
		count = 25
	}
	for seed := *fromFlag; seed < *fromFlag+count; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("repeat with: go test ./internal/sim -v -timeout 0 -run '^%s$' -nodes %d -from %d -seeds 1",
						strings.Split(t.Name(), "/")[0], n, seed)
				}
			}()
			scenario(t, seed, n)
		})
	}
}

// crowd is a world with many nodes, of which every tenth has an address that all know. Delays are
// 5 to 65 ms, and differ from message to message.
func crowd(seed uint64, n int, configure func(*mesh.Config)) (*World, []*Host) {
	w := New(seed)
	w.Batch = 5 * time.Millisecond
	w.Delay = func(_, _ *Host) time.Duration { return time.Duration(5+w.Rand.IntN(60)) * time.Millisecond }
	var hs []*Host
	for i := range n {
		h := w.Add(node.Name(fmt.Sprintf("n%04d", i)))
		h.Configure = configure
		hs = append(hs, h)
	}
	for i, h := range hs {
		for j, o := range hs {
			if i != j {
				h.Knows(o, j%10 == 0)
			}
		}
	}
	return w, hs
}

// start starts all nodes within a second, as after a power cut. Each is configured to connect to one
// of those with an address.
func start(w *World, hs []*Host) {
	for i, h := range hs {
		var connectTo []node.Name
		if i > 0 {
			connectTo = []node.Name{hs[w.Rand.IntN((i+9)/10)*10].Name}
		}
		w.After(time.Duration(w.Rand.IntN(1000))*time.Millisecond, func() { h.Start(connectTo...) })
	}
}

func auto(c *mesh.Config) { c.AutoConnect = true }

// allReachAll tells whether each node sees each other one as reachable.
func allReachAll(hs []*Host) bool { return reaching(hs, len(hs)-1) }

// reaching tells whether each node reaches exactly k others.
func reaching(hs []*Host, k int) bool {
	for _, h := range hs {
		reached := 0
		for _, p := range h.peers {
			if p.Reachable {
				reached++
			}
		}
		if reached != k {
			return false
		}
	}
	return true
}

// views says how many nodes each of hs reaches, and how many see it that way.
func views(hs []*Host) string {
	seen := map[string]int{}
	for _, h := range hs {
		reached, dead := 0, 0
		for name, p := range h.peers {
			switch {
			case !p.Reachable:
			case h.w.hosts[name].Up:
				reached++
			default:
				dead++
			}
		}
		seen[fmt.Sprintf("%d who live and %d who are dead", reached, dead)]++
	}
	return fmt.Sprint(seen)
}

// converge lets time pass until all reach all. It fails the test if that takes longer than limit.
func converge(t *testing.T, w *World, hs []*Host, limit time.Duration) time.Duration {
	t.Helper()
	took, ok := every(w, 100*time.Millisecond, 2*limit, func() bool { return allReachAll(hs) })
	switch {
	case !ok:
		t.Fatalf("not every node reaches every other after %s", took)
	case took > limit:
		t.Errorf("it took %s until every node reached every other, want at most %s", took, limit)
	}
	return took
}

// every asks now and then whether ok, for at most so long.
func every(w *World, step, limit time.Duration, ok func() bool) (time.Duration, bool) {
	begin := w.Now
	for w.Now.Sub(begin) < limit {
		if ok() {
			return w.Now.Sub(begin), true
		}
		w.Run(step)
	}
	return w.Now.Sub(begin), ok()
}

// packetsPass lets pairs that are drawn by chance send packets there and back until all have had
// an answer, and returns how long the slowest one took.
func packetsPass(t *testing.T, w *World, hs []*Host, pairs int, limit time.Duration) time.Duration {
	t.Helper()
	type pair struct{ a, b *Host }
	waiting := map[pair]bool{}
	for range pairs {
		if a, b := hs[w.Rand.IntN(len(hs))], hs[w.Rand.IntN(len(hs))]; a != b {
			waiting[pair{a, b}] = true
		}
	}
	took, ok := every(w, 100*time.Millisecond, limit, func() bool {
		for _, p := range slices.SortedFunc(maps.Keys(waiting), func(x, y pair) int {
			return strings.Compare(string(x.a.Name+" "+x.b.Name), string(y.a.Name+" "+y.b.Name))
		}) {
			w.Ping(p.a, p.b, func(_, _ Trace) { delete(waiting, p) })
		}
		return len(waiting) == 0
	})
	if !ok {
		t.Errorf("%d of %d pairs have no packet there and back within %s", len(waiting), pairs, took)
	}
	return took
}

// counts sums up what was sent, and what stands.
type counts struct{ requests, made, links int }

func count(w *World, hs []*Host) (c counts) {
	for kind, k := range w.Sent {
		c.requests += k
		if wire.Kind(kind) == wire.KindAck {
			c.made = k / 2
		}
	}
	for _, h := range hs {
		for _, x := range h.Core.Conns() {
			if x.Active {
				c.links++
			}
		}
	}
	c.links /= 2
	return c
}

// calm demands that what was sent since the start is in proportion to what there was to tell.
func (c counts) calm(t *testing.T, n int) {
	t.Helper()
	// Both ends tell of each connection. Such news crosses every connection once or twice, and
	// what is known is told once on each new connection.
	if limit := 4 * (c.links + c.made) * c.links; c.requests > limit {
		t.Errorf("%d requests are a storm: there are %d connections, and %d were made (limit %d)", c.requests, c.links, c.made, limit)
	}
	// What AutoConnect makes too much of is closed again, and everybody hears of that too.
	if c.made > c.links*5/4+10 {
		t.Errorf("%d connections were made for %d that stay", c.made, c.links)
	}
}

// coldStartLimit is the virtual time that a simultaneous start of n nodes may take.
func coldStartLimit(n int) time.Duration {
	if n <= 100 {
		return 15 * time.Second
	}
	return 90 * time.Second
}

func TestColdStart(t *testing.T) {
	large(t, 80, func(t *testing.T, seed uint64, n int) {
		began := time.Now()
		w, hs := crowd(seed, n, auto)
		start(w, hs)
		begin := w.Now
		took := converge(t, w, hs, coldStartLimit(n))
		packets := packetsPass(t, w, hs, 50, 15*time.Second)
		if n < 500 { // with more that would be most of the time of the test
			w.Run(max(0, 10*time.Second-w.Now.Sub(begin))) // AutoConnect settles
		}
		if !allReachAll(hs) {
			t.Error("it did not stay like that")
		}
		c := count(w, hs)
		c.calm(t, n)
		for _, h := range hs {
			bounded(t, h, n)
		}
		t.Logf("%d nodes: all reach all after %s, 50 pairs have packets through %s later; %d requests a node, %d connections made, %d stand; %s of real time",
			n, took, packets, c.requests/n, c.made, c.links, time.Since(began).Round(time.Millisecond))
	})
}

// bounded demands that a protocol core holds no more than what there is.
func bounded(t *testing.T, h *Host, n int) {
	t.Helper()
	if s := h.Core.Size(); s.Nodes != n || s.Subnets > n || s.Edges > 12*n || s.DialTargets > 10 || s.Timers > 8+3*s.Conns+n/10 {
		t.Errorf("%s holds more than there is: %+v", h.Name, s)
	}
}

func TestTwoHalvesJoinAgain(t *testing.T) {
	large(t, 60, func(t *testing.T, seed uint64, n int) {
		w, hs := crowd(seed, n, auto)
		start(w, hs)
		converge(t, w, hs, coldStartLimit(n))
		settle, wait := 20*time.Second, 2*time.Minute
		if n >= 500 { // that would be most of the time of the test
			settle, wait = 5*time.Second, 10*time.Second
		}
		w.Run(settle)
		before := count(w, hs)

		half := map[*Host]bool{}
		for i, h := range hs {
			half[h] = i%20 < 10
		}
		together := false
		reaches := func(a, b *Host) bool { return together || half[a] == half[b] }
		w.TCP, w.UDP = reaches, reaches
		cut := w.Now
		if took, ok := every(w, time.Second, 3*time.Minute, func() bool { return reaching(hs, n/2-1) }); !ok {
			t.Fatalf("%s after the cut the halves are not apart", took)
		}
		w.Run(wait)
		apart := w.Now.Sub(cut)
		between := count(w, hs)

		together = true
		took := converge(t, w, hs, 10*time.Second)
		w.Run(settle)
		after := count(w, hs)
		t.Logf("%d nodes: joined again after %s (they had been apart for %s); requests a node: %d to start, %d to part, %d to join",
			n, took, apart, before.requests/n, (between.requests-before.requests)/n, (after.requests-between.requests)/n)
		// The halves have forgotten each other: what changed while they were apart is told, too.
		made := after.made - before.made
		if limit := 4 * (after.links + made) * after.links; after.requests-between.requests > limit {
			t.Errorf("%d requests to join are a storm: there are %d connections, and %d were made", after.requests-between.requests, after.links, made)
		}
	})
}

// One connection ends and is made again. Each end tells of it with one DEL_EDGE, and later with
// one ADD_EDGE. Each of these four messages crosses each connection at most once in each
// direction, and nothing else is told to anybody, but for what the two ends tell each other when
// they meet again.
func TestFlapOfOneLink(t *testing.T) {
	large(t, 80, func(t *testing.T, seed uint64, n int) {
		w, hs := crowd(seed, n, nil)
		connectTo := map[*Host][]node.Name{}
		for i, h := range hs {
			for range min(i, 2) {
				o := hs[w.Rand.IntN(i)]
				h.Knows(o, true)
				if !slices.Contains(connectTo[h], o.Name) {
					connectTo[h] = append(connectTo[h], o.Name)
				}
			}
			w.After(time.Duration(w.Rand.IntN(1000))*time.Millisecond, func() { h.Start(connectTo[h]...) })
		}
		converge(t, w, hs, coldStartLimit(n))
		w.Run(20 * time.Second)

		a := hs[1+w.Rand.IntN(n-1)]
		b := w.hosts[connectTo[a][0]]
		type crossing struct {
			from, to *Host
			what     string
		}
		crossed, totals := map[crossing]int{}, map[string]int{}
		w.OnSend = func(from, to *Host, text string) {
			between := from == a && to == b || from == b && to == a
			kind, _ := wire.RequestKind(text)
			words := strings.Fields(text)
			var what string
			switch kind {
			case wire.KindAddEdge, wire.KindDelEdge:
				what = words[0] + " " + words[2] + " " + words[3]
				edge := words[2] + " " + words[3]
				if edge != string(a.Name+" "+b.Name) && edge != string(b.Name+" "+a.Name) {
					if !between {
						t.Errorf("%s tells %s %q", from.Name, to.Name, text)
					}
					return
				}
			case wire.KindAddSubnet, wire.KindDelSubnet:
				if !between {
					t.Errorf("%s tells %s %q", from.Name, to.Name, text)
				}
				return
			default:
				return
			}
			totals[what]++
			if crossed[crossing{from, to, what}]++; crossed[crossing{from, to, what}] > 1 {
				t.Errorf("%s tells %s twice: %q", from.Name, to.Name, text)
			}
		}
		a.Cut(b)
		w.Run(20 * time.Second)
		links := count(w, hs).links
		if len(totals) != 4 {
			t.Errorf("want two messages of the end and two of the beginning: %v", totals)
		}
		for what, k := range totals {
			if k < links-1 || k > 2*links {
				t.Errorf("%q was sent %d times over %d links", what, k, links)
			}
		}
		t.Logf("%d nodes, %d links: messages by what they say: %v", n, links, totals)
		if !allReachAll(hs) {
			t.Error("not all reach all")
		}
	})
}

// All nodes lose the one neighbour that they have, and get it back.
func TestNodesThatLostTheirHubComeBackWithoutAStampede(t *testing.T) {
	large(t, 60, func(t *testing.T, seed uint64, n int) {
		w, hs := crowd(seed, n, nil)
		w.Accept = 10
		hub := hs[0]
		hub.Start()
		for _, h := range hs[1:] {
			w.After(time.Duration(w.Rand.IntN(1000))*time.Millisecond, func() { h.Start(hub.Name) })
		}
		first, ok := every(w, time.Second, time.Hour, func() bool { return allReachAll(hs) })
		if !ok {
			t.Fatal("they do not come together")
		}
		w.Run(time.Minute)
		hub.Kill()
		w.Run(5 * time.Minute)
		dials := w.Dials
		hub.Start()
		back, ok := every(w, time.Second, time.Hour, func() bool { return allReachAll(hs) })
		if !ok {
			t.Fatal("they do not come together again")
		}
		t.Logf("%d nodes: together after %s, and again after %s with %d attempts", n, first, back, w.Dials-dials)
		if limit := 10 * n; w.Dials-dials > limit {
			t.Errorf("%d attempts to connect are a stampede", w.Dials-dials)
		}
	})
}

func TestMemoryOfACore(t *testing.T) {
	n := *nodesFlag
	if n == 0 {
		n = 100
	}
	if testing.Short() {
		t.Skip("what the race detector adds says nothing about memory")
	}
	heap := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	w, hs := crowd(1, n, auto)
	start(w, hs)
	converge(t, w, hs, coldStartLimit(n))
	each := int(heap()-before) / n
	t.Logf("a protocol core among %d holds %d KiB, all that the simulator keeps for it included", n, each>>10)
	if each > 64<<20 {
		t.Errorf("that is more than 64 MiB")
	}
	runtime.KeepAlive(w)
}

// Those whom everybody connects to die at once. The others make new connections while the news of that
// travel, and tell each other what they have known before; nobody may keep an edge that is gone.
func TestNobodyKeepsTheDead(t *testing.T) {
	large(t, 100, func(t *testing.T, seed uint64, n int) {
		w, hs := crowd(seed, n, auto)
		start(w, hs)
		converge(t, w, hs, coldStartLimit(n))
		w.Run(15 * time.Second)
		var rest []*Host
		for i, h := range hs {
			if i%10 == 0 {
				h.Kill()
			} else {
				rest = append(rest, h)
			}
		}
		took, ok := every(w, 100*time.Millisecond, 30*time.Second, func() bool { return reaching(rest, len(rest)-1) })
		if !ok {
			wrong := 0
			for _, h := range rest {
				if !reaching([]*Host{h}, len(rest)-1) {
					wrong++
				}
			}
			t.Errorf("%s later %d nodes do not reach exactly those who live: %s", took, wrong, views(rest))
			return
		}
		t.Logf("all reach exactly those who live after %s", took)
	})
}
