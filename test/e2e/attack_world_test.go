//go:build linux

package e2e

import (
	"bytes"
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/lab"
	nodename "tincan/internal/node"
	"tincan/test/attack"
)

// arena is a network with a dishonest member: alice, bob and carol run tincan, as it is by
// default, and are connected with each other; mallory's key is known to all of them. She logs
// in at bob, or at a node of tinc that passes on what she says.
type arena struct {
	*world
	alice, bob, carol *node
	mallory           *node // no daemon runs there
	entry             *node // where she logs in: bob, or the node of tinc
	conn              *attack.Conn

	began  time.Time
	echoes map[string]*lab.Echoes
	before map[*node]*snapshot
	wires  []*tap
	watch  context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	slow   time.Duration // longest that bob took to say his status, without the start of the program
	late   int           // how often that was too long
	answer int
	rss    map[*node]int // largest
}

// snapshot is what must not change on a node.
type snapshot struct {
	hosts map[string]string
	conf  string
	rss   int
	log   int // bytes
}

const (
	// marker is what travels in packets that nobody but their owner may read.
	marker = "CLEAR-TEXT-OF-THE-HONEST"
	// maxStatus is how long a status may take, and machineSlow as many times as the program takes to say its version, which
	// is a hundredth of a second on a machine that has nothing else to do.
	maxStatus, machineSlow = time.Second, 20
	// maxLines is how many lines an attack may add to a log of the default level.
	maxLines = 100
)

func newArena(t *testing.T, through kind, prepare func(*arena)) *arena {
	a := &arena{world: newWorld(t, "ip4"), echoes: map[string]*lab.Echoes{}, before: map[*node]*snapshot{}, rss: map[*node]int{}}
	sites := []site{
		{name: "alice", patient: true, eager: true},
		{name: "bob", patient: true, eager: true, connect: []string{"alice"}},
		{name: "carol", patient: true, eager: true, connect: []string{"alice", "bob"}},
		{name: "mallory", patient: true},
	}
	if through != tincan {
		sites = append(sites, site{name: "stock", kind: through, patient: true, connect: []string{"bob"}})
	}
	var n []*node
	if through == tinc10 {
		n = a.legacy(sites...)
	} else {
		n = a.static(sites...)
	}
	a.alice, a.bob, a.carol, a.mallory, a.entry = n[0], n[1], n[2], n[3], n[1]
	for _, n := range a.honest() {
		n.args = []string{"--debug=0"}
	}
	if prepare != nil {
		prepare(a)
	}
	upAll(a.honest()...)
	if through != tincan {
		a.entry = n[4]
		a.entry.up()
		a.entry.reaches(a.bob)
	}
	a.allReach("ip4", a.honest()...)
	a.alice.talksDirectly(a.carol)
	a.bob.talksDirectly(a.carol)
	a.bob.talksDirectly(a.alice)
	return a
}

func (a *arena) honest() []*node { return []*node{a.alice, a.bob, a.carol} }

// login logs mallory in and announces her end of the connection.
func (a *arena) login() *attack.Conn {
	a.Helper()
	c, err := a.logsIn(a.member(a.mallory), a.entry)
	a.must(err)
	return c
}

// logsIn logs a member in at a node, from mallory's machine, and announces its end of the connection.
func (a *arena) logsIn(m attack.Member, n *node) (*attack.Conn, error) {
	a.Helper()
	at := netip.AddrPortFrom(n.Addr("ip4"), 655)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tcp, err := a.mallory.Dial(ctx, "tcp", at.String())
	if err != nil {
		return nil, err
	}
	c, err := attack.Login(tcp, m, a.peer(n))
	if err != nil {
		return nil, err
	}
	a.Cleanup(c.Close)
	return c, c.Announce(at)
}

// member is who has the private keys of a node.
func (a *arena) member(n *node) (m attack.Member) {
	a.Helper()
	m.Name = nodename.Name(n.Name())
	var err error
	if text := n.file("ed25519_key.priv"); text != "" {
		m.Key, err = keys.ParsePrivatePEM([]byte(text))
		a.must(err)
	}
	if text := n.file("rsa_key.priv"); text != "" {
		m.RSA, err = keys.ParseRSAPrivate([]byte(text))
		a.must(err)
	}
	return m
}

func (a *arena) peer(n *node) attack.Peer {
	m := a.member(n)
	p := attack.Peer{Name: m.Name}
	if n.kind == tinc10 {
		public := m.RSA.Public()
		p.RSA = &public
	} else {
		p.Key = m.Key.Public()
	}
	return p
}

// say sends requests; a connection that the other side has ended is no failure of the test.
func (a *arena) say(lines ...string) bool {
	if err := a.conn.Send(lines...); err != nil {
		a.Logf("mallory cannot go on: %v", err)
		return false
	}
	return true
}

// at is an address where mallory could be met.
func (a *arena) at() netip.AddrPort { return netip.AddrPortFrom(a.mallory.Addr("ip4"), 655) }

// observe begins to look at what must hold during the attack.
func (a *arena) observe() {
	a.Helper()
	a.began = time.Now()
	for _, p := range [][2]*node{{a.alice, a.carol}, {a.bob, a.carol}, {a.alice, a.bob}} {
		e, err := p[0].Echo(p[1].vpn("ip4"), 20*time.Millisecond)
		a.must(err)
		a.echoes[p[0].Name()+" to "+p[1].Name()] = e
	}
	for _, n := range append(a.honest(), a.mallory) {
		w := &tap{name: n.Name()}
		n.frames(w.look)
		a.wires = append(a.wires, w)
	}
	for _, n := range a.honest() {
		rss := n.memory()
		a.before[n] = &snapshot{a.hostFiles(n), n.file("tinc.conf"), rss, len(n.log())}
		a.rss[n] = rss
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.watch, a.done = cancel, make(chan struct{})
	go func() {
		defer close(a.done)
		for ctx.Err() == nil {
			version := func() time.Duration {
				start := time.Now()
				_, _ = a.bob.try("version")
				return time.Since(start)
			}
			idle := version()
			start := time.Now()
			_, err := a.bob.try("status")
			took := time.Since(start) - idle
			if took > maxStatus {
				idle = max(idle, version()) // the machine may have become busy meanwhile
			}
			a.mu.Lock()
			if took > max(maxStatus, machineSlow*idle) {
				a.late++
			}
			if err == nil {
				a.answer++
			}
			a.slow = max(a.slow, took)
			for _, n := range a.honest() {
				if rss, err := n.daemon.RSS(); err == nil {
					a.rss[n] = max(a.rss[n], rss)
				}
			}
			a.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
}

// judge checks what must hold, of every attack.
func (a *arena) judge() {
	a.Helper()
	a.watch()
	<-a.done
	for name, e := range a.echoes {
		if c := e.Stop(); c.Lost() > c.Sent/100 {
			a.Errorf("of the echoes from %s are lost: %s", name, c)
		}
	}
	if a.late > 1 || a.answer == 0 { // the machine may stand still for a moment
		a.Errorf("bob took up to %v to say his status, too long %d times (%d answers)", a.slow, a.late, a.answer)
	}
	for _, n := range a.honest() {
		was := a.before[n]
		if n.daemon.Ended() {
			a.Errorf("%s has ended:\n%s", n.Name(), n.daemon.Tail(20))
			continue
		}
		if a.rss[n] > 2*was.rss {
			a.Errorf("%s has grown from %d to %d KiB", n.Name(), was.rss>>10, a.rss[n]>>10)
		}
		if lines := strings.Count(n.log()[was.log:], "\n"); lines > maxLines {
			a.Errorf("%d lines in the log of %s, the last:\n%s", lines, n.Name(), n.daemon.Tail(10))
		}
		if now := a.hostFiles(n); !maps.Equal(now, was.hosts) {
			for name, text := range now {
				if was.hosts[name] != text {
					a.Errorf("hosts/%s of %s has become\n%s", name, n.Name(), text)
					break
				}
			}
			a.Errorf("%s has %d host files, and had %d", n.Name(), len(now), len(was.hosts))
		}
		if now := n.file("tinc.conf"); now != was.conf {
			a.Errorf("tinc.conf of %s has become\n%s", n.Name(), now)
		}
	}
	for _, w := range a.wires {
		if n := w.seen.Load(); n > 0 {
			a.Errorf("%d packets in clear text were seen at %s", n, w.name)
		}
	}
	a.Logf("status within %v, memory %v", a.slow, slices.Collect(maps.Values(a.rss)))
}

func (a *arena) hostFiles(n *node) map[string]string {
	all := map[string]string{}
	for _, name := range n.files(confBase + "/hosts") {
		all[name] = n.file("hosts/" + name)
	}
	return all
}

// forDuration repeats what f does every so often.
func (a *arena) forDuration(d, every time.Duration, f func(i int)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
		f(i)
		<-tick.C
	}
}

// writes sends datagrams with the marker from the node to an address in the network, a few a
// second, until the test ends.
func (a *arena) writes(from *node, to string) {
	a.Helper()
	conn, err := from.Dial(context.Background(), "udp", net.JoinHostPort(to, "9"))
	if err != nil {
		return // no route: then nothing leaves
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.Cleanup(cancel)
	go func() {
		defer conn.Close()
		for ctx.Err() == nil {
			_, _ = conn.Write(bytes.Repeat([]byte(marker), 4))
			time.Sleep(100 * time.Millisecond)
		}
	}()
}

// tap counts what passes a host's first link in clear text.
type tap struct {
	name string
	seen atomic.Int64
}

func (w *tap) look(frame []byte) {
	if bytes.Contains(frame, []byte(marker)) {
		w.seen.Add(1)
	}
}
