package sim

import (
	"fmt"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// autoMesh makes n hosts that know each other and use AutoConnect. UDP between a and z is blocked.
func autoMesh(w *World, n int) (a, z *Host, all []*Host) {
	w.UDP = between(true, map[[2]node.Name]bool{{"a", "z"}: false})
	names := []node.Name{"a", "z"}
	for i := range n - 2 {
		names = append(names, node.Name(fmt.Sprintf("n%02d", i)))
	}
	for _, name := range names {
		h := w.Add(name)
		h.Configure = func(c *mesh.Config) { c.AutoConnect = true }
		all = append(all, h)
	}
	for _, x := range all {
		for _, y := range all {
			if x != y {
				x.Knows(y, true)
			}
		}
	}
	for _, h := range all {
		h.Start()
	}
	return w.hosts["a"], w.hosts["z"], all
}

func (h *Host) connected(to node.Name) bool {
	for _, c := range h.Core.Conns() {
		if c.Active && c.Node == to {
			return true
		}
	}
	return false
}

func TestAPairThatTalksALotGetsAConnection(t *testing.T) {
	t.Parallel()
	tried := 0
	for seed := range seeds(3) {
		w := New(seed)
		a, z, all := autoMesh(w, 16)
		w.Run(2 * time.Minute)
		if a.connected("z") {
			continue
		}
		tried++
		s := w.stream(a, z)
		took, ok := w.Until(30*time.Second, func() bool { return a.connected("z") })
		if !ok {
			t.Errorf("seed %d: no connection", seed)
			continue
		}
		t.Logf("seed %d: connected after %s", seed, took)
		w.Run(4 * time.Minute)
		if !a.connected("z") {
			t.Errorf("seed %d: the connection was dropped under traffic", seed)
		}
		s.fresh()
		w.Run(10 * time.Second)
		if s.came < s.sent*99/100 {
			t.Errorf("seed %d: %d of %d arrived", seed, s.came, s.sent)
		}
		// When all is said nobody keeps more connections than needed for ever.
		s.on = false
		w.Run(15 * time.Minute)
		for _, h := range all {
			if n := len(h.links); n > 8 {
				t.Errorf("seed %d: %s has %d connections in the end", seed, h.Name, n)
			}
		}
	}
	if tried == 0 {
		t.Fatal("a and z were always connected already")
	}
}

// What is dropped, since there are connections enough, is none that packets need: all go by TCP here.
func TestNoConnectionIsDroppedUnderTraffic(t *testing.T) {
	for name, byTCP := range map[string]func(w *World){
		"no UDP passes":         func(w *World) { w.UDP = func(_, _ *Host) bool { return false } },
		"only small UDP passes": func(w *World) { w.PathMTU = func(_, _ *Host) int { return 400 } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range seeds(4) {
				w := New(seed)
				a, z, all := autoMesh(w, 10)
				w.UDP = func(_, _ *Host) bool { return true }
				byTCP(w)
				w.Run(time.Minute)
				s := w.stream(a, z)
				s.size = 1000
				w.Run(30 * time.Second)
				s.fresh()
				for _, h := range all { // more connections than needed
					for i, o := range all {
						if o != h && i%2 == 0 && !h.connected(o.Name) {
							h.event(mesh.ConnectNow{Node: o.Name})
						}
					}
				}
				w.Run(5 * time.Minute)
				if w.DroppedInUse > 0 {
					t.Errorf("seed %d: %d connections were dropped though packets travelled over them", seed, w.DroppedInUse)
				}
				if s.gap > 500*ms || s.came < s.sent*98/100 {
					t.Errorf("seed %d: silence of %s, %d of %d arrived", seed, s.gap, s.came, s.sent)
				}
			}
		})
	}
}

// Many pairs that talk at once do not make a mesh of everybody with everybody.
func TestHotPairsAreBounded(t *testing.T) {
	t.Parallel()
	w := New(3)
	_, _, all := autoMesh(w, 20)
	w.UDP = func(_, _ *Host) bool { return false }
	w.Run(2 * time.Minute)
	for range 45 {
		for _, x := range all {
			for _, y := range all {
				if x.Name < y.Name {
					w.Send(x, y, 100, func(Trace) {})
				}
			}
		}
		w.Run(time.Second)
	}
	total := 0
	for _, h := range all {
		total += len(h.links)
	}
	// Each makes at most four beyond the three, each of which has two ends.
	if limit := len(all) * 2 * (3 + 4); total > limit {
		t.Errorf("%d ends of connections, more than %d", total, limit)
	}
	t.Logf("%d nodes have %d connections", len(all), total/2)
}

// A pair that talks now and then gets its connection each time: what has worked is not put off.
func TestAPairThatTalksNowAndThenGetsAConnectionEachTime(t *testing.T) {
	t.Parallel()
	for seed := range seeds(2) {
		w := New(seed)
		a, z, _ := autoMesh(w, 16)
		w.Run(2 * time.Minute)
		for round := range 8 {
			for _, h := range []*Host{a, z} { // whose turn it was to let go of it
				h.event(mesh.Disconnect{Node: "a"})
				h.event(mesh.Disconnect{Node: "z"})
			}
			w.Run(5 * time.Minute)
			for range 60 { // only a talks, so it is always its turn to connect
				w.Send(a, z, 100, func(Trace) {})
				w.Run(500 * ms)
			}
			if !a.connected("z") {
				t.Errorf("seed %d: no connection the time %d", seed, round+1)
			}
		}
	}
}

// A firewall may let through small datagrams only: then a pair has as good as no path by UDP.
func TestAPairBetweenWhomOnlySmallDatagramsPassGetsAConnection(t *testing.T) {
	t.Parallel()
	for seed := range seeds(3) {
		w := New(seed)
		a, z, _ := autoMesh(w, 16)
		w.UDP = func(_, _ *Host) bool { return true }
		w.PathMTU = between(1500, map[[2]node.Name]int{{"a", "z"}: 400})
		w.Run(2 * time.Minute)
		for _, h := range []*Host{a, z} {
			h.event(mesh.Disconnect{Node: "a"})
			h.event(mesh.Disconnect{Node: "z"})
		}
		w.Run(time.Minute)
		s := w.stream(a, z)
		s.size = 1000
		if _, ok := w.Until(30*time.Second, func() bool { return a.connected("z") }); !ok {
			t.Errorf("seed %d: no connection", seed)
			continue
		}
		w.Run(30 * time.Second)
		s.fresh()
		a.Stall(z)
		z.Stall(a)
		w.Run(10 * time.Second)
		if s.gap > 3*time.Second || s.came == 0 {
			t.Errorf("seed %d: silence of %s when the connection died, %d came", seed, s.gap, s.came)
		}
	}
}

// A node whose pairs have fallen silent, but whose connections nobody can spare, makes others for
// other pairs.
func TestConnectionsOfSilentPairsDoNotKeepOutOthers(t *testing.T) {
	t.Parallel()
	w := New(1)
	a, h1, h2 := w.Add("a"), w.Add("h1"), w.Add("h2")
	var leaves []*Host
	for i := range 8 {
		leaves = append(leaves, w.Add(node.Name(fmt.Sprint("l", i))))
	}
	w.UDP = func(x, y *Host) bool { return x != a && y != a }
	for _, h := range append([]*Host{h1, h2}, leaves...) {
		for _, hub := range []*Host{h1, h2} {
			if h != hub {
				h.Knows(hub, true)
				hub.Knows(h, false)
			}
		}
		a.Knows(h, true)
		h.Knows(a, false)
	}
	h1.Start()
	h2.Start("h1")
	for _, l := range leaves {
		l.Start("h1", "h2")
	}
	a.Configure = func(c *mesh.Config) { c.AutoConnect = true }
	a.Start()
	w.Run(time.Minute)
	for _, l := range leaves {
		for range 60 {
			w.Send(a, l, 100, func(Trace) {})
			w.Run(500 * ms)
		}
		if !a.connected(l.Name) {
			t.Errorf("no connection with %s", l.Name)
		}
		w.Run(6 * time.Minute)
	}
}

// What comes over a connection to be passed on needs it, too, although its sender could be reached
// otherwise: a node of tinc chooses no relay.
func TestNoConnectionIsDroppedOverWhichOthersSend(t *testing.T) {
	t.Parallel()
	w := New(1)
	w.UDP = between(true, map[[2]node.Name]bool{{"n", "z"}: false, {"o", "y"}: false, {"n", "y"}: false})
	w.TCP = between(true, map[[2]node.Name]bool{{"o", "z"}: false})
	o, n, z, y := w.Add("o"), w.Add("n"), w.Add("z"), w.Add("y")
	o.Plain = true
	o.Knows(n, true)
	n.Knows(o, false)
	n.Knows(z, false)
	z.Knows(n, true)
	z.Knows(y, false)
	y.Knows(z, true)
	z.Configure = func(c *mesh.Config) { c.AutoConnect = true }
	n.Start()
	z.Start()
	o.Start("n")
	y.Start("z")
	w.Run(20 * time.Second)
	f := w.flow(o, y, 100, false)
	w.Run(10 * time.Second)
	for i := range 4 {
		k := w.Add(node.Name(fmt.Sprint("k", i)))
		for _, h := range []*Host{n, z} {
			k.Knows(h, true)
			h.Knows(k, false)
			h.event(mesh.HostLoaded{Node: k.Name, Known: true, Host: h.known[k.Name]})
		}
		k.Start("n", "z")
	}
	w.Run(2 * time.Minute)
	if w.DroppedInUse > 0 || !z.connected("n") {
		t.Errorf("the connection was dropped; %d packets came, the last by %+v", f.came, f.lastTrace())
	}
}
