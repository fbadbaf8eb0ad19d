//go:build linux

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"tincan/internal/lab"
)

// open is the lack of a NAT.
const open lab.NAT = ""

// pairing is a case of the matrix: two nodes that know each other by a public
// third one, called meet.
type pairing struct {
	left, right string
	want        string
	build       func(w *world) (a, b *node)
}

// The paths between two nodes.
const (
	directUDP  = "direct by UDP"
	directTCP  = "direct by TCP"
	relayedUDP = "relayed by UDP"
	relayedTCP = "relayed by TCP"
)

// TestWhoMeetsWhom asserts which pairs of nodes reach each other directly, and
// prints the matrix.
func TestWhoMeetsWhom(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	rows := map[int]string{}
	pairings := append(natPairings(), otherPairings()...)
	t.Run("pairs", func(t *testing.T) {
		for i, p := range pairings {
			t.Run(p.left+" and "+p.right, func(t *testing.T) {
				t.Parallel()
				row := p.run(t)
				mu.Lock()
				defer mu.Unlock()
				rows[i] = row
			})
		}
	})
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "one side\tother side\tthere\tback\tfirst echo\tpath found\techoes lost then")
	for i := range pairings {
		if rows[i] != "" { // a part of the cases may have been asked for
			fmt.Fprintln(tw, rows[i])
		}
	}
	tw.Flush()
	t.Log("\n" + b.String())
}

// natPairings are all kinds of NAT with each other.
func natPairings() (list []pairing) {
	kinds := []lab.NAT{open, lab.FullCone, lab.AddressRestricted, lab.PortRestricted, lab.NoFirewall, lab.Symmetric}
	for i, left := range kinds {
		for _, right := range kinds[i:] {
			want := directUDP
			if right == lab.Symmetric && (left == lab.Symmetric || left == lab.PortRestricted || left == lab.NoFirewall) {
				want = relayedUDP // neither can know the port at which the other will be seen
			}
			list = append(list, pairing{
				left: cmp.Or(string(left), "none"), right: cmp.Or(string(right), "none"),
				want:  want,
				build: func(w *world) (a, b *node) { return w.natted("left", left), w.natted("right", right) },
			})
		}
	}
	return list
}

// otherPairings are networks that make it hard in other ways.
func otherPairings() []pairing {
	return []pairing{
		{"no UDP", "none", directTCP, func(w *world) (a, b *node) {
			a, b = w.node("left"), w.node("right")
			w.block(lab.UDP, a)
			return a, b
		}},
		{"no UDP", "port-restricted", directTCP, func(w *world) (a, b *node) {
			a, b = w.node("left"), w.natted("right", lab.PortRestricted)
			w.block(lab.UDP, a)
			return a, b
		}},
		{"NAT and no UDP", "port-restricted", directTCP, func(w *world) (a, b *node) {
			a, b = w.natted("left", lab.PortRestricted), w.natted("right", lab.PortRestricted)
			w.block(lab.UDP)
			return a, b
		}},
		{"only TCP 443", "port-restricted", relayedTCP, func(w *world) (a, b *node) {
			a, b = w.node("left"), w.natted("right", lab.PortRestricted)
			w.block(lab.NotTCP, a)
			w.block(lab.OtherTCP(443), a)
			return a, b
		}},
		{"IPv6 only", "IPv6 only", directUDP, func(w *world) (a, b *node) {
			return w.node("left"), w.node("right")
		}},
		{"a NAT behind a NAT", "port-restricted", directUDP, func(w *world) (a, b *node) {
			return w.nested("left"), w.natted("right", lab.PortRestricted)
		}},
		{"a NAT behind a NAT", "a NAT behind a NAT", directUDP, func(w *world) (a, b *node) {
			return w.nested("left"), w.nested("right")
		}},
		{"same LAN behind NAT", "port-restricted", directUDP, func(w *world) (a, b *node) {
			a = w.natted("left", lab.PortRestricted)
			return a, w.beside(a, "right")
		}},
		{"same LAN behind NAT", "symmetric", directUDP, func(w *world) (a, b *node) {
			a = w.natted("left", lab.Symmetric)
			return a, w.beside(a, "right")
		}},
	}
}

// run builds the case and returns its line of the table.
func (p pairing) run(t *testing.T) string {
	family := "ip4"
	if strings.HasPrefix(p.left, "IPv6") {
		family = "ip6"
	}
	w := newWorld(t, family)
	meet := w.node("meet")
	meet.found()
	meet.tincan("set", "Port", "443") // what hotels let through
	meet.up()
	a, b := p.build(w)
	a.joins(meet.invite(a.Name()))
	b.joins(meet.invite(b.Name()))
	began := time.Now()
	first := a.reaches(b)
	e, err := a.Echo(b.vpn("ip4"), 20*time.Millisecond)
	w.must(err)
	there, back := "", ""
	for there != p.want || back != p.want {
		if time.Since(began) > patience {
			break
		}
		time.Sleep(100 * time.Millisecond)
		there, back = a.pathTo(b, meet), b.pathTo(a, meet)
	}
	took := time.Since(began)
	e.Stop()
	if there != p.want || back != p.want {
		t.Errorf("they talk %s and %s, wanted %s", there, back, p.want)
	}

	e, err = a.Echo(b.vpn("ip4"), 20*time.Millisecond)
	w.must(err)
	time.Sleep(time.Second)
	count := e.Stop()
	if count.Answered < count.Sent*9/10 {
		t.Errorf("at the end: %s", count)
	}
	// A path that was found must stay, or be found again: when the machine stands still for
	// a moment the nodes may take it for dead.
	w.eventually("they still talk "+there, patience, func() bool {
		_, _ = a.Ping(b.vpn("ip4"), 56, 200*time.Millisecond)
		return a.pathTo(b, meet) == there
	})
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%v\t%v\t%d of %d", p.left, p.right, there, back,
		first.Round(10*time.Millisecond), took.Round(100*time.Millisecond), count.Lost(), count.Sent)
}

// pathTo says how the node's packets go to another, which may be by the relay.
func (n *node) pathTo(to, relay *node) string {
	n.w.Helper()
	switch path, via := n.path(to); path {
	case "direct-udp":
		return directUDP
	case "direct-tcp":
		return directTCP
	case "relayed":
		if via != relay.Name() {
			return "relayed via " + via
		}
		near, _ := n.path(relay)
		far, _ := relay.path(to)
		if near == "direct-udp" && far == "direct-udp" {
			return relayedUDP
		}
		return relayedTCP
	default:
		return path
	}
}

// path is what "status --json" says about the path to another node.
func (n *node) path(to *node) (path, via string) {
	n.w.Helper()
	var status struct {
		Nodes []struct{ Name, Path, Via string }
	}
	n.w.must(json.Unmarshal([]byte(n.tincan("status", "--json")), &status))
	for _, s := range status.Nodes {
		if s.Name == to.Name() {
			return s.Path, s.Via
		}
	}
	return "unknown", ""
}

// natted adds a node behind a router of its own with a NAT of the given kind,
// or a public one.
func (w *world) natted(name string, kind lab.NAT) *node {
	w.Helper()
	if kind == open {
		return w.node(name)
	}
	n := w.gated(name, w.internet.Cable)
	w.must(n.uplink.Delay(10 * time.Millisecond)) // nobody is next door
	w.must(n.gate.NAT(kind))
	return n
}

// nested adds a node behind a NAT at home, whose address comes from the NAT of its
// provider. Both are port-restricted.
func (w *world) nested(name string) *node {
	w.Helper()
	provider, err := w.lab.Router(name + "isp")
	w.must(err)
	n := w.gated(name, func(home *lab.Host, public ...string) (*lab.Link, error) {
		if _, err := provider.Cable(home, "100.64.7.2/24"); err != nil {
			return nil, err
		}
		return w.internet.Cable(provider.Host, public...)
	})
	for _, gate := range []*lab.Router{provider, n.gate} {
		w.must(gate.NAT(lab.PortRestricted))
	}
	n.gate = provider
	return n
}

// beside adds a node behind the same NAT as another.
func (w *world) beside(other *node, name string) *node {
	w.Helper()
	n := w.nodeAt(other.gate, name, "192.168.6.2/24")
	n.uplink = other.uplink
	return n
}
