package mesh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"tincan/internal/mesh/seen"
	"tincan/internal/node"
)

// big returns a protocol core with conns neighbours on the connections 2, 4, …, behind which are
// nodes more nodes with three edges each.
func big(tb testing.TB, conns, nodes int) (*Mesh, time.Time) {
	now := time.Unix(1_900_000_000, 0)
	cfg := Config{Name: "me", Key: testKey("me"), Port: 655, Broadcast: true, Hosts: map[node.Name]Host{}}
	key := testKey("peer").Public()
	name := func(i int) node.Name { return node.Name(fmt.Sprintf("n%04d", i)) }
	for i := range conns {
		cfg.Hosts[name(i)] = Host{Key: &key}
	}
	m := New(cfg, Deps{Rand: rand.New(rand.NewPCG(1, 2)), Secrets: rand.NewChaCha8([32]byte{1})}, now)
	for i := range conns {
		c := ConnID(2 * (i + 1))
		m.Handle(now, Accepted{Conn: c, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 4000)})
		m.Handle(now, Line{Conn: c, Text: "0 " + string(name(i)) + " 17.7"})
		m.Handle(now, Secured{Conn: c})
		m.Handle(now, Request{Conn: c, Text: "4 655 10 700000c"})
		m.Handle(now, Request{Conn: c, Text: fmt.Sprintf("12 %x %s me 10.9.9.9 655 700000c 5", i, name(i))})
	}
	m.Flush(now)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range conns + nodes {
		c := ConnID(2 * (1 + i%conns))
		m.Handle(now, Request{Conn: c, Text: fmt.Sprintf("10 %x %s 10.%d.%d.0/24", i, name(i), i>>8, i&255)})
		for range 3 {
			if o := r.IntN(i + 1); o != i {
				w := r.IntN(100)
				m.Handle(now, Request{Conn: c, Text: fmt.Sprintf("12 %x %s %s 10.9.9.9 655 700000c %d", r.Uint32(), name(i), name(o), w)})
				m.Handle(now, Request{Conn: c, Text: fmt.Sprintf("12 %x %s %s 10.9.9.9 655 700000c %d", r.Uint32(), name(o), name(i), w)})
			}
		}
	}
	m.Flush(now)
	return m, now
}

func BenchmarkThousandNodes(b *testing.B) {
	for _, c := range []struct {
		name string
		do   func(m *Mesh, now time.Time, i int)
	}{
		{"subnet", func(m *Mesh, now time.Time, i int) {
			m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf("%d %x n0500 10.200.0.0/24", 10+i%2, 1<<30+i)})
		}},
		{"edge flap", func(m *Mesh, now time.Time, i int) {
			text := "13 %x n0500 n0400"
			if i%2 == 0 {
				text = "12 %x n0500 n0400 10.9.9.9 655 700000c 50"
			}
			m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf(text, 1<<30+i)})
		}},
		{"node flap", func(m *Mesh, now time.Time, i int) {
			text := "13 %x flapper n0400"
			if i%2 == 0 {
				text = "12 %x flapper n0400 10.9.9.9 655 700000c 50"
			}
			m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf(text, 1<<30+i)})
		}},
		{"known news", func(m *Mesh, now time.Time, i int) {
			m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf("10 %x n0500 10.1.244.0/24", 1<<30+i)})
		}},
		{"routed request", func(m *Mesh, now time.Time, i int) {
			m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf("16 n0000 n0001 AAAA%d -1 -1 -1 0", i)})
		}},
		{"traffic", func(m *Mesh, now time.Time, i int) {
			m.Handle(now, Traffic{Node: "n0500"})
		}},
		{"second", func(m *Mesh, now time.Time, i int) {
			m.paths.checkPeers()
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			m, now := big(b, 10, 990)
			m.Handle(now, Request{Conn: 2, Text: "12 abcdef n0400 flapper 10.9.9.9 655 700000c 50"})
			m.Flush(now)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c.do(m, now, i)
				m.Flush(now)
				i++
			}
		})
	}
}

func BenchmarkThreeHundredNeighbours(b *testing.B) {
	b.Run("cold start", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			big(b, 300, 0)
		}
	})
	b.Run("flooded news", func(b *testing.B) {
		m, now := big(b, 300, 0)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf("%d %x n0100 10.200.0.0/24", 10+i%2, 1<<30+i)})
			m.Flush(now)
			i++
		}
	})
}

// heapOf returns how many bytes the heap grows by what build makes.
func heapOf(build func() any) int {
	size := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := size()
	x := build()
	after := size()
	runtime.KeepAlive(x)
	return int(after) - int(before)
}

func TestACoreAmongAThousandNodesIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector makes it slow, and large")
	}
	const limit = 64 << 20
	var m *Mesh
	var now time.Time
	calm := heapOf(func() any { m, now = big(t, 10, 990); return m })
	stormy := calm + heapOf(func() any { // as much news as it remembers at all
		for i := range 2 * seen.Limit {
			m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf("%d %x n0500 n0400 10.9.9.9 655 700000c %d", 13-i%2, 1<<30+i, i%50)})
			m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf("16 n0000 n0001 A%d -1 -1 -1 0", i)})
			if i%100 == 0 {
				m.Flush(now)
			}
		}
		m.Flush(now)
		return m
	})
	t.Logf("%d KiB, and %d KiB after a storm", calm>>10, stormy>>10)
	if stormy > limit {
		t.Errorf("%d MiB are more than %d", stormy>>20, limit>>20)
	}
}

func TestOneChangeAmongTenThousandNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector makes it slow")
	}
	m, now := big(t, 10, 9990)
	if k := len(m.nodes); k < 10_000 {
		t.Fatalf("only %d nodes", k)
	}
	best := time.Hour // of several: others use this machine, too
	for i := range 10 {
		text := "13 %x n0500 n0400"
		if i%2 == 0 {
			text = "12 %x n0500 n0400 10.9.9.9 655 700000c 50"
		}
		now = now.Add(time.Second)
		m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf(text, 1<<30+i)})
		searches := m.reach.searches
		began := time.Now()
		m.Flush(now)
		best = min(best, time.Since(began))
		if m.reach.searches == searches {
			t.Fatal("the paths were not recomputed")
		}
	}
	t.Logf("%s, with %d edges", best, m.graph.Len())
	if best > 50*time.Millisecond {
		t.Error("that is more than 50 ms")
	}
}

// What large meshes cost must not be paid by small ones: there, news are acted upon at once.
func TestSearchesKeepADistanceInAStormOnly(t *testing.T) {
	for _, c := range []struct{ nodes, most int }{{40, 1000}, {990, 12}} {
		m, now := big(t, 5, c.nodes)
		now = now.Add(time.Second)
		m.Tick(now)
		m.Flush(now)
		before := m.reach.searches
		for i := range 1000 { // one change each millisecond
			now = now.Add(time.Millisecond)
			if at := m.Deadline(); !at.After(now) {
				m.Tick(now)
			}
			m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf("%d %x n0020 n0030 10.9.9.9 655 700000c 50", 12+i%2, 1<<30+i)})
			m.Flush(now)
		}
		if k := int(m.reach.searches - before); k > c.most || k < 8 {
			t.Errorf("%d nodes: %d searches in a second of changes, want 8 to %d", c.nodes, k, c.most)
		}
		now = now.Add(maxSearchWait)
		m.Tick(now)
		m.Flush(now)
		if m.reach.graphDirty {
			t.Error("the last change was forgotten")
		}
	}
}

// BenchmarkHostileNeighbour is what a neighbour costs that has announced 56,000 subnets and goes on with one more, one less
// and a PING.
func BenchmarkHostileNeighbour(b *testing.B) {
	p := newPlayer(&testing.T{})
	p.input("node alice")
	p.neighbours()
	for o := range 7 {
		for i := range 8000 {
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("10 %x n%d 10.%d.%d.%d", o<<16+i+16, o, o, i>>8, i&255)})
		}
	}
	p.m.Flush(p.now)
	for i := 0; b.Loop(); i++ {
		p.now = p.now.Add(time.Millisecond)
		p.m.Tick(p.now)
		for k, text := range []string{"10 %x bob 10.9.9.9", "11 %x bob 10.9.9.9", "8 %x -"} {
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf(text, i*3+k+1<<24)})
			p.m.Flush(p.now)
		}
	}
}
