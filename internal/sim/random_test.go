package sim

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run random networks with this seed only, and log what the nodes say")
	seedsFlag = flag.Uint64("seeds", 0, "how many random networks and large meshes to run; 0: a few, for every day")
)

// randomSeeds are the first and the last seed of the random networks.
func randomSeeds() (first, last uint64) {
	switch {
	case *seedFlag != 0:
		return *seedFlag, *seedFlag
	case *seedsFlag != 0:
		return *fromFlag, *fromFlag + *seedsFlag - 1
	}
	return 1, seeds(20)
}

// TestRandomNetworks makes networks by chance, lets things go wrong for some minutes, and
// then, when all is well again, looks whether everything has come together.
func TestRandomNetworks(t *testing.T) {
	first, last := randomSeeds()
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, seed, 0)
			defer func() {
				if r := recover(); r != nil {
					t.Fatalf("seed %d: panic: %v", seed, r)
				}
				if t.Failed() {
					t.Logf("repeat with: go test ./internal/sim -run TestRandomNetworks -seed %d -v", seed)
				}
			}()
			n.trouble(2 * time.Minute)
			n.heal()
			n.converges(5 * time.Minute)
			n.wasCalm()
			n.talks(40 * time.Second)
			n.isQuiet(time.Minute)
		})
	}
}

// network is a world with hosts that were made by chance.
type network struct {
	t         *testing.T
	w         *World
	hosts     []*Host
	dials     map[*Host][]node.Name             // ConnectTo
	side      map[*Host]int                     // of the partition, all the same if there is none
	files     map[*Host]map[node.Name]mesh.Host // host files as they were at first
	dup, late float64                           // part of the datagrams that arrive twice, or late
	slow      map[*Host]bool                    // whose meta connections are slow
}

// newNetwork makes a network in which so large a part of the nodes speak only tinc 1.0.
func newNetwork(t *testing.T, seed uint64, old float64) *network {
	return newNetworkWith(t, seed, old, func(*World) {})
}

// newNetworkWith calls begin before anything happens in the network.
func newNetworkWith(t *testing.T, seed uint64, old float64, begin func(*World)) *network {
	w := New(seed)
	begin(w)
	n := &network{t: t, w: w, dials: map[*Host][]node.Name{}, side: map[*Host]int{}, files: map[*Host]map[node.Name]mesh.Host{}, slow: map[*Host]bool{}}
	chance := func(p float64) bool { return w.Rand.Float64() < p }
	if *seedFlag != 0 {
		w.Log = func(h *Host, l mesh.Log) { t.Logf("%s %s: %s", w.Now.Format("04:05.000"), h.Name, l.Text) }
	}

	loss, jitter := 0.0, 1+w.Rand.IntN(30)
	if chance(0.5) {
		loss = 0.2 * w.Rand.Float64()
	}
	distance := map[[2]*Host]time.Duration{}
	oneWay, blocked := map[[2]*Host]bool{}, map[*Host]bool{}
	mtu := map[*Host]int{}
	w.Delay = func(a, b *Host) time.Duration {
		return distance[[2]*Host{a, b}] + time.Duration(w.Rand.IntN(jitter))*time.Millisecond
	}
	w.TCP = func(a, b *Host) bool { return n.side[a] == n.side[b] }
	w.UDP = func(a, b *Host) bool {
		return n.side[a] == n.side[b] && !blocked[a] && !blocked[b] && !oneWay[[2]*Host{a, b}]
	}
	w.Loss = func(_, _ *Host) float64 { return loss }
	if chance(0.3) {
		n.dup, n.late = 0.2*w.Rand.Float64(), 0.2*w.Rand.Float64()
	}
	w.Duplicate = func(_, _ *Host) float64 { return n.dup }
	w.Reorder = func(_, _ *Host) float64 { return n.late }
	w.Rate = func(a, b *Host) int {
		if n.slow[a] || n.slow[b] {
			return 2000 + 50*len(w.hosts) // bytes a second
		}
		return 0
	}
	w.PathMTU = func(a, b *Host) int { return min(mtu[a], mtu[b]) }

	count, public := 3+w.Rand.IntN(8), 0
	auto, allKnown := chance(0.6), chance(0.6)
	for i := range count {
		h := w.Add(node.Name(fmt.Sprintf("n%d", i)))
		if old > 0 {
			h.MakeRSA()
			h.Old = chance(old)
		}
		mtu[h] = 1280 + w.Rand.IntN(221)
		blocked[h] = chance(0.1)
		switch {
		case i == 0 || chance(0.4):
			public++
		default:
			h.BehindNAT()
		}
		tcpOnly, indirect := chance(0.05), chance(0.05)
		h.Configure = func(c *mesh.Config) {
			c.AutoConnect = auto && !h.Old // tinc 1.0 does not have it
			c.TCPOnly, c.Indirect = tcpOnly, indirect
			c.KeyExpire = 50 * time.Second
			c.StaleAfter = 2 * time.Minute
		}
		n.hosts = append(n.hosts, h)
	}
	for i, h := range n.hosts {
		for j, o := range n.hosts {
			distance[[2]*Host{h, o}] = time.Duration(w.Rand.IntN(150)) * time.Millisecond
			oneWay[[2]*Host{h, o}] = chance(0.1)
			if i != j && allKnown {
				h.Knows(o, !o.NAT.IsValid() && chance(0.7))
			}
		}
		// each dials a node before it that can be reached, so that all hang together
		for tries := 1 + w.Rand.IntN(2); i > 0 && tries > 0; tries-- {
			o := n.hosts[w.Rand.IntN(i)]
			if o.NAT.IsValid() {
				o = n.hosts[0]
			}
			h.Knows(o, true)
			if _, known := o.known[h.Name]; !known {
				o.Knows(h, false)
			}
			n.dials[h] = append(n.dials[h], o.Name)
		}
	}
	for _, h := range n.hosts {
		n.files[h] = maps.Clone(h.known)
		w.After(time.Duration(w.Rand.IntN(5000))*time.Millisecond, func() { h.Start(n.dials[h]...) })
	}
	w.Run(6 * time.Second)
	return n
}

func (n *network) any() *Host { return n.hosts[n.w.Rand.IntN(len(n.hosts))] }

// trouble restarts nodes, cuts the network in two and joins it again, while everybody talks.
func (n *network) trouble(d time.Duration) {
	w := n.w
	end := w.Now.Add(d)
	for w.Now.Before(end) {
		switch w.Rand.IntN(11) {
		case 0, 5: // a node is killed and comes back, at times without what it has learned
			h := n.any()
			if h.Up {
				h.Kill()
				if w.Rand.IntN(3) == 0 {
					h.known = maps.Clone(n.files[h])
				}
				w.After(time.Duration(1+w.Rand.IntN(20000))*time.Millisecond, func() {
					if !h.Up {
						h.Start(n.dials[h]...)
					}
				})
			}
		case 1: // a partition
			for _, h := range n.hosts {
				n.side[h] = w.Rand.IntN(2)
			}
		case 2, 3:
			clear(n.side)
		case 4: // a node comes back under another address
			if h := n.any(); h.NAT.IsValid() {
				delete(w.byNAT, h.NAT)
				h.NAT = netip.AddrPortFrom(h.NAT.Addr(), 40000+uint16(w.Rand.IntN(20000)))
				w.byNAT[h.NAT] = h
				h.opened = map[netip.AddrPort]bool{}
			}
		case 6: // connections that stand, but carry nothing any more
			n.any().Stall(n.any())
		case 7: // a connection is reset
			n.any().Cut(n.any())
		case 8: // a machine sleeps, or its clock is set
			n.any().Jump(time.Duration(w.Rand.IntN(150)-30) * time.Second)
		case 9:
			n.slow[n.any()] = true
		case 10:
			clear(n.slow)
		}
		for range 5 {
			w.Ping(n.any(), n.any(), func(_, _ Trace) {})
		}
		w.Run(time.Duration(w.Rand.IntN(6000)) * time.Millisecond)
	}
}

func (n *network) heal() {
	clear(n.side)
	clear(n.slow)
	n.dup, n.late = 0, 0
	n.w.Run(21 * time.Second) // the last killed node is back
	for _, h := range n.hosts {
		h.cfg.KeyExpire = time.Hour
		h.event(mesh.Reconfigured{Config: h.cfg})
		h.event(mesh.Retry{})
	}
}

// wasCalm demands that what was said is in proportion to what happened.
func (n *network) wasCalm() {
	n.t.Helper()
	k, flooded, routed := len(n.hosts), 0, 0
	for kind, count := range n.w.Sent {
		switch kind := wire.Kind(kind); {
		case kind >= wire.KindAddSubnet && kind <= wire.KindDelEdge:
			flooded += count
		case kind >= wire.KindKeyChanged && kind != wire.KindPacket:
			routed += count
		}
	}
	// Four messages tell of the beginning and end of a connection, each crosses all connections at
	// most twice, and at its beginning each end tells the other all there is. Some such
	// beginnings are told again by repairs.
	links := k * (k - 1) / 2
	made := n.w.Sent[int(wire.KindAck)]/2 + k
	if limit := 2 * made * (8*links + 2*(2*links+k)); flooded > limit {
		n.t.Errorf("%d requests were flooded for %d connections between %d nodes (limit %d)", flooded, made, k, limit)
	}
	seconds := int(n.w.Now.Sub(epoch).Seconds())
	if limit := 4 * k * k * seconds; routed > limit {
		n.t.Errorf("%d requests from node to node in %d s between %d nodes (limit %d)", routed, seconds, k, limit)
	}
	// On a connection that carries nothing the news gather until a PING finds it dead.
	if n.w.Stuck > 200*k {
		n.t.Errorf("%d messages waited on one connection", n.w.Stuck)
	}
}

// converges waits until all nodes see the same mesh, which is the one that exists.
func (n *network) converges(d time.Duration) {
	n.t.Helper()
	took, ok := n.until(d, func() bool { return n.disagreement() == "" })
	if !ok {
		n.t.Fatalf("after %s: %s", took, n.disagreement())
	}
}

func (n *network) until(d time.Duration, ok func() bool) (time.Duration, bool) {
	begin := n.w.Now
	for n.w.Now.Sub(begin) < d {
		if ok() {
			return n.w.Now.Sub(begin), true
		}
		n.w.Run(time.Second)
	}
	return d, ok()
}

// disagreement says in what the views of the nodes differ, from each other or from
// the connections that exist; "" if they do not.
func (n *network) disagreement() string {
	var first string
	links := map[string]bool{}
	for _, h := range n.hosts {
		for _, c := range h.Core.Conns() {
			if c.Active {
				links[string(h.Name+"-"+c.Node)] = true
			}
		}
	}
	for _, h := range n.hosts {
		var b strings.Builder
		edges := 0
		for _, e := range h.Core.Edges() {
			edges++
			if !links[string(e.From+"-"+e.To)] {
				return fmt.Sprintf("%s knows the edge %s-%s, which does not exist", h.Name, e.From, e.To)
			}
			fmt.Fprintln(&b, e.From, e.To, e.Weight, e.Options, e.Addr, e.Local)
		}
		if edges != len(links) {
			return fmt.Sprintf("%s knows %d of %d edges", h.Name, edges, len(links))
		}
		for _, s := range h.Core.Subnets() {
			fmt.Fprintln(&b, s.Subnet, s.Owner, s.Reachable)
		}
		for _, i := range h.Core.Nodes() {
			if !i.Reachable {
				return fmt.Sprintf("%s does not reach %s", h.Name, i.Name)
			}
		}
		if len(h.Core.Nodes()) != len(n.hosts) {
			return fmt.Sprintf("%s knows %d of %d nodes", h.Name, len(h.Core.Nodes()), len(n.hosts))
		}
		if first == "" {
			first = b.String()
		} else if first != b.String() {
			return fmt.Sprintf("%s sees %q, %s sees %q", n.hosts[0].Name, minus(first, b.String()), h.Name, minus(b.String(), first))
		}
	}
	return ""
}

// minus returns the lines of a that b has not.
func minus(a, b string) (out []string) {
	have := strings.Split(b, "\n")
	for _, line := range strings.Split(a, "\n") {
		if !slices.Contains(have, line) {
			out = append(out, line)
		}
	}
	return out
}

// talks lets every pair talk for a while, and then demands that nearly all that they
// say arrives.
func (n *network) talks(warmUp time.Duration) {
	n.t.Helper()
	type pair struct{ a, b *Host }
	arrived, sent := map[pair]int{}, map[pair]int{}
	traces := map[pair]Trace{}
	say := func(count bool) {
		for _, a := range n.hosts {
			for _, b := range n.hosts {
				if a == b {
					continue
				}
				p := pair{a, b}
				if count {
					sent[p]++
				}
				n.w.Send(a, b, 64, func(r Trace) {
					if count {
						arrived[p]++
						traces[p] = r
					}
				})
			}
		}
		n.w.Run(500 * time.Millisecond)
	}
	for range int(warmUp / (500 * time.Millisecond)) {
		say(false)
	}
	const rounds = 20
	for range rounds {
		say(true)
	}
	n.w.Run(2 * time.Second)
	for _, a := range n.hosts {
		for _, b := range n.hosts {
			if p := (pair{a, b}); a != b && arrived[p] < rounds/3 {
				n.t.Errorf("%s to %s: %d of %d packets arrived (last by %v)\n%s: %+v", a.Name, b.Name, arrived[p], sent[p], traces[p].Hops, a.Name, a.peers[b.Name])
			}
		}
	}
}

// isQuiet demands that a mesh in which nothing happens stays as it is and says little, and
// that nobody holds more than there is.
func (n *network) isQuiet(d time.Duration) {
	n.t.Helper()
	said := func() (k int) {
		for kind, count := range n.w.Sent {
			if k2 := wire.Kind(kind); k2 != wire.KindPing && k2 != wire.KindPong {
				k += count
			}
		}
		return k
	}
	for tries := 1; ; tries++ { // AutoConnect may need time to settle
		before, conns := said(), n.conns()
		n.w.Run(d)
		diff := said() - before
		if diff == 0 {
			break
		}
		if tries == 10 {
			n.t.Errorf("%d requests other than PING and PONG were sent although nothing happened; connections before and now:\n%s\n%s", diff, conns, n.conns())
			break
		}
	}
	k := len(n.hosts)
	for _, h := range n.hosts {
		s := h.Core.Size()
		if s.Nodes != k || s.Edges > k*(k-1) || s.Subnets != k || s.Conns > 2*k || s.DialTargets > k ||
			s.Timers > 6+3*k || s.Dirty != 0 || s.Orphans != 0 || s.Repeats > 100*k {
			n.t.Errorf("%s holds more than there is: %+v", h.Name, s)
		}
	}
}

func (n *network) conns() string {
	var out []string
	for _, h := range n.hosts {
		for _, c := range h.Core.Conns() {
			if c.Active && c.Outgoing {
				out = append(out, string(h.Name+"-"+c.Node))
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
