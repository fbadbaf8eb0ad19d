package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/node"
)

// addresses are the subnets of each node, as n sees them.
func (n *testNode) addresses(c *control.Client) map[node.Name][]string {
	n.Helper()
	list, err := c.Subnets("")
	must(n, err)
	m := map[node.Name][]string{}
	for _, s := range list {
		m[s.Owner] = append(m[s.Owner], s.Subnet.String())
	}
	return m
}

// newcomer makes a node as an invitation does.
func newcomer(t *testing.T, name node.Name, addrs ...string) *testNode {
	t.Helper()
	n := newNode(t, name, "# chosen by the inviter", "AutoAddress = yes")
	for _, a := range addrs {
		p := netip.MustParsePrefix(a)
		n.add("tinc.conf", "Ifconfig = "+a+"\n# below "+a)
		n.add("hosts/"+string(name), "Subnet = "+p.Addr().String()+"\n# below "+p.Addr().String())
	}
	return n
}

// meet starts nodes that all dial the first one.
func meet(nodes ...*testNode) (clients []*control.Client) {
	for i, n := range nodes {
		if i > 0 {
			n.Helper()
			nodes[0].knows(n)
			n.knows(nodes[0])
			n.add("tinc.conf", "ConnectTo = "+string(nodes[0].name))
		} else {
			n.start()
		}
	}
	for _, n := range nodes[1:] {
		n.start()
	}
	for _, n := range nodes {
		clients = append(clients, n.client())
	}
	return clients
}

// settled waits until all nodes agree on the addresses of all and nobody shares one.
func settled(t *testing.T, nodes []*testNode, clients []*control.Client, each int) (now map[node.Name][]string) {
	t.Helper()
	eventually(t, "everybody has an address of its own, and all agree", func() bool {
		for i, n := range nodes {
			seen := n.addresses(clients[i])
			delete(seen, "")
			if i == 0 {
				now = seen
			}
			if fmt.Sprint(seen) != fmt.Sprint(now) || len(seen) != len(nodes) {
				return false
			}
		}
		all := map[string]bool{}
		for _, list := range now {
			if len(list) != each {
				return false
			}
			for _, a := range list {
				all[a] = true
			}
		}
		return len(all) == each*len(nodes)
	})
	return now
}

// moved counts how often a node took another address.
func (n *testNode) moved() int {
	return strings.Count(strings.Join(n.lines(), "\n"), "this node now has")
}

func TestOfTwoNodesWithOneAddressTheLargerNameMoves(t *testing.T) {
	noLeaks(t)
	for _, addr := range []string{"10.7.0.5/16", "fd07::5/64", "10.7.0.1/30"} {
		t.Run(addr, func(t *testing.T) {
			a, b := newcomer(t, "a", addr), newcomer(t, "b", addr)
			old := netip.MustParsePrefix(addr)
			before := b.read("tinc.conf")
			clients := meet(a, b)
			now := settled(t, []*testNode{a, b}, clients, 1)
			if got := now["a"][0]; got != old.Addr().String() {
				t.Errorf("a moved to %s", got)
			}
			to := netip.MustParseAddr(now["b"][0])
			if !old.Masked().Contains(to) {
				t.Errorf("b moved to %s, outside of %s", to, old.Masked())
			}
			// The files differ in the address alone: comments are where they were.
			if got, want := b.read("hosts/b"), fmt.Sprintf("Subnet = %s\n# below %s\n", to, old.Addr()); !strings.HasSuffix(got, want) || strings.Contains(got, "Subnet = "+old.Addr().String()+"\n") {
				t.Errorf("host file of b:\n%s", got)
			}
			want := strings.Replace(before, "Ifconfig = "+addr, "Ifconfig = "+netip.PrefixFrom(to, old.Bits()).String(), 1) + "ConnectTo = a\n"
			if got := b.read("tinc.conf"); got != want {
				t.Errorf("tinc.conf of b:\n%swant:\n%s", got, want)
			}
			// And that is the end of it, also after a restart.
			b.stop()
			b.start()
			c := b.client()
			eventually(t, "they are connected", func() bool { return b.sees(c, "a") })
			time.Sleep(200 * time.Millisecond)
			if a.moved() != 0 || b.moved() != 1 {
				t.Errorf("a moved %d times, b %d times", a.moved(), b.moved())
			}
		})
	}
}

func TestThreeNodesWithOneAddress(t *testing.T) {
	noLeaks(t)
	nodes := []*testNode{newcomer(t, "m", "10.7.0.5/16", "fd07::5/64"), newcomer(t, "a", "10.7.0.5/16", "fd07::5/64"), newcomer(t, "z", "10.7.0.5/16", "fd07::5/64")}
	clients := meet(nodes...)
	now := settled(t, nodes, clients, 2)
	if got := now["a"]; !slices.Equal(got, []string{"10.7.0.5", "fd07::5"}) {
		t.Errorf("a has %v", got)
	}
	time.Sleep(200 * time.Millisecond)
	for i, n := range nodes {
		// Both of two that move at once may choose the same place, which is one more move.
		if least := []int{2, 0, 2}[i]; n.moved() < least || n.moved() > 2*least {
			t.Errorf("%s moved %d times", n.name, n.moved())
		}
	}
}

func TestAnAddressThatAPersonChoseStays(t *testing.T) {
	noLeaks(t)
	a, b := newcomer(t, "a", "10.7.0.5/16"), newcomer(t, "b", "10.7.0.5/16")
	b.replace("tinc.conf", "AutoAddress = yes", "AutoAddress = no")
	meet(a, b)
	eventually(t, "both say what is wrong", func() bool {
		return b.said("a has the address 10.7.0.5, which is ours too") && a.said("b has our address 10.7.0.5")
	})
	if a.moved()+b.moved() != 0 {
		t.Error("one has moved")
	}
}

func TestANodeThatIsFollowedMovesOnce(t *testing.T) {
	noLeaks(t)
	a, b := newcomer(t, "a", "10.7.0.5/16"), newcomer(t, "b", "10.7.0.5/16")
	clients := meet(a, b)
	now := settled(t, []*testNode{a, b}, clients, 1)
	a.replace("hosts/a", "Subnet = 10.7.0.5\n", "Subnet = "+now["b"][0]+"\n")
	must(t, clients[0].Reload())
	eventually(t, "b stays", func() bool { return b.said("a says that it has our address " + now["b"][0] + ", too; this node stays") })
	b.stop()
	b.start() // which is not its first start
	b.client()
	eventually(t, "b stays after a restart", func() bool { return strings.Count(strings.Join(b.lines(), "\n"), "this node stays") > 1 })
	if b.moved() != 1 {
		t.Errorf("b moved %d times", b.moved())
	}
}

func TestWhoHasBeenThereForLongStays(t *testing.T) {
	noLeaks(t)
	a, b := newcomer(t, "a", "10.7.0.5/16"), newcomer(t, "b", "10.7.0.5/16")
	must(t, os.MkdirAll(b.path("cache"), 0o755))
	b.write("cache/"+settlingFile, time.Now().Add(-settlingFor).UTC().Format(time.RFC3339)+"\n", 0o644)
	meet(a, b)
	eventually(t, "b stays", func() bool { return b.said("this node stays") })
	if b.moved() != 0 {
		t.Error("b has moved")
	}
}

func TestFilesWithoutTheAddressAreLeftAlone(t *testing.T) {
	n := newcomer(t, "a", "10.7.0.5/16")
	conf, host := n.read("tinc.conf"), n.read("hosts/a")
	old, to := netip.MustParseAddr("10.7.0.6"), netip.MustParseAddr("10.7.0.7")
	if err := replaceAddress(n.layout, "a", old, to); err == nil || !strings.Contains(err.Error(), "10.7.0.6") {
		t.Errorf("error %v", err)
	}
	n.add("hosts/a", "Subnet = 10.7.0.6") // and no Ifconfig
	host += "Subnet = 10.7.0.6\n"
	if err := replaceAddress(n.layout, "a", old, to); err == nil {
		t.Error("no error without Ifconfig")
	}
	if n.read("tinc.conf") != conf || n.read("hosts/a") != host {
		t.Error("the files were changed")
	}

	// Wherever the lines are, and whatever they look like.
	must(t, os.Mkdir(n.path("conf.d"), 0o755))
	n.write("conf.d/x.conf", "# mine\nifconfig=FD07:0::6/64\n# end", 0o640)
	n.add("tinc.conf", "subnet fd07::6#5")
	must(t, replaceAddress(n.layout, "a", netip.MustParseAddr("fd07::6"), netip.MustParseAddr("fd07::7")))
	if got := n.read("conf.d/x.conf"); got != "# mine\nIfconfig = fd07::7/64\n# end" {
		t.Errorf("conf.d: %q", got)
	}
	if got := n.read("tinc.conf"); got != conf+"Subnet = fd07::7#5\n" {
		t.Errorf("tinc.conf: %q", got)
	}
}

// An upgrade does not give a node another ten minutes in which it takes another address.
func TestNodeThatIsOlderThanItsMemoryIsSettled(t *testing.T) {
	now := time.Now()
	for cached, want := range map[time.Duration]bool{0: true, time.Minute: true, time.Hour: false} {
		l := confdir.Layout{ConfBase: t.TempDir()}
		if cached > 0 {
			if err := os.MkdirAll(l.Cache(), 0o755); err != nil {
				t.Fatal(err)
			}
			file := l.CacheOf("bob")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, now.Add(-cached), now.Add(-cached)); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second time it is remembered
			s := loadSettling(l, now)
			if got := s.mayMove(netip.MustParseAddr("10.0.0.1"), now); got != want {
				t.Errorf("with a cache that is %v old it may move: %v, want %v", cached, got, want)
			}
		}
	}
}
