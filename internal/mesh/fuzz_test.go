package mesh

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/b64"
	"tincan/internal/mesh/pmtu"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// FuzzMesh turns bytes into a sequence of events, as they may come from hostile members,
// and watches over the effects as the I/O layer would: nothing panics, effects concern
// only connections that exist, there are not too many of them, and what is remembered
// is bounded.
func FuzzMesh(f *testing.F) {
	f.Add([]byte("login and some edges \x00\x01\x02\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0"))
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	r := rand.New(rand.NewPCG(5, 6))
	for _, size := range []int{50, 200, 800, 1500} {
		seed := make([]byte, size)
		for i := range seed {
			seed[i] = byte(r.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1500 { // a hundred events: more inputs find more than longer ones
			return
		}
		newFuzzer(t, data).run()
	})
}

// fuzzer makes events of bytes and plays the I/O layer.
type fuzzer struct {
	*player
	data []byte

	next   ConnID           // to be accepted
	conns  map[ConnID]state // that exist for the I/O layer
	last   []string         // requests that were played, to be played again
	states map[node.Name]PeerState
	limit  int // of effects at once
}

type state uint8

const (
	dialing state = iota
	open          // no line yet
	greeted       // SPTPS was not asked for
	securingNow
	secure
	attached // ACK has come
	lenient  // any
)

var fuzzNames = []node.Name{"alice", "bob", "carol", "dave", "nokey", "eve", "fred", "g"}

func newFuzzer(t *testing.T, data []byte) *fuzzer {
	f := &fuzzer{player: newPlayer(t), data: data, conns: map[ConnID]state{}, states: map[node.Name]PeerState{}, limit: 10_000}
	f.lenient, f.watch, f.self = true, f.check, "alice"
	var options []string
	for i, o := range []string{"connect=bob", "connect=carol", "auto", "strict", "tunnelserver", "tcponly", "indirect", "hostsubnet=bob@10.0.2.0/24",
		"rsa", "oldfile=dave", "oldfile=eve", "rsafile=carol", "noed25519", "keyexpire=10s", "echoes"} {
		if f.byte()>>(i%8)&1 == 1 {
			options = append(options, o)
		}
	}
	f.m = New(f.config("alice", options), Deps{Rand: rand.New(rand.NewPCG(1, 2)), Secrets: rand.NewChaCha8([32]byte{1})}, f.now)
	f.m.nodes["bob"].trust.host.Carriers = []Endpoint{bobsCarrier}
	f.flush()
	if f.byte()%4 != 0 {
		f.next = 4
		f.conns[2], f.conns[4] = lenient, lenient // until they are attached
		f.neighbours()
		for c, s := range f.conns {
			if s == lenient {
				f.conns[c] = attached
			}
		}
	}
	return f
}

// byte is the next byte of the input, 0 at its end.
func (f *fuzzer) byte() byte {
	if len(f.data) == 0 {
		return 0
	}
	b := f.data[0]
	f.data = f.data[1:]
	return b
}

func (f *fuzzer) name() node.Name { return fuzzNames[int(f.byte())%len(fuzzNames)] }

func (f *fuzzer) addr() netip.AddrPort {
	b := f.byte()
	switch b % 8 {
	case 0:
		return netip.AddrPort{}
	case 1:
		return netip.MustParseAddrPort("[2001:db8::1]:655")
	case 2:
		return netip.MustParseAddrPort("0.0.0.0:0")
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, b}), 655)
}

// conn is one of the connections that exist, 0 if there is none.
func (f *fuzzer) conn(want ...state) ConnID {
	var list []ConnID
	for c, s := range f.conns {
		if slices.Contains(want, s) {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	if len(list) == 0 {
		return 0
	}
	return list[int(f.byte())%len(list)]
}

func (f *fuzzer) run() {
	for steps := 0; len(f.data) > 0; {
		if f.byte()%4 == 0 {
			if steps++; steps < 20 { // timers take longer than events
				f.step()
			}
			continue
		}
		if e := f.event(); e != nil {
			f.limit = 200 + 4*(f.m.Size().Edges+f.m.Size().Nodes+f.m.Size().Subnets)*(1+len(f.conns))
			f.m.Handle(f.now, e)
			f.flush()
			f.limit = 10_000
		}
	}
	f.m.Handle(f.now, Shutdown{})
	f.flush()
	if len(f.conns) != 0 {
		f.t.Errorf("%d connections are left after the shutdown", len(f.conns))
	}
	for n, p := range f.states {
		if p.Reachable {
			f.t.Errorf("%s is reachable after the shutdown", n)
		}
	}
}

// step lets time pass.
func (f *fuzzer) step() {
	d := [...]time.Duration{time.Millisecond, 300 * time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second, time.Minute}[int(f.byte())%6]
	for end := f.now.Add(d); ; {
		at := f.m.Deadline()
		if at.IsZero() || at.After(end) {
			f.now = end
			return
		}
		if at.Before(f.now) {
			at = f.now
		}
		f.now = at
		f.m.Tick(f.now)
		f.flush()
	}
}

func (f *fuzzer) event() Event {
	kind := f.byte() % 34
	if c := f.conn(secure, attached); c != 0 && kind < 12 {
		if f.conns[c] == secure && f.byte()%8 != 0 {
			return Request{Conn: c, Text: []string{"4 655 5 700000c", "4 655 5 700000c", "4 655 5 c", "4 " + testKey("dave").Public().String()}[f.byte()%4]}
		}
		return Request{Conn: c, Text: f.request()}
	}
	switch kind {
	case 12, 13, 0, 1:
		f.next += 2
		f.conns[f.next] = open
		a := Accepted{Conn: f.next, Remote: f.addr(), Local: f.addr()}
		a.Carrier = a.Remote.Port()%2 == 1
		return a
	case 14, 15, 2, 3:
		c := f.conn(dialing)
		if c == 0 {
			return nil
		}
		f.conns[c] = open
		d := Dialed{Conn: c, Remote: f.addr(), Local: f.addr()}
		if d.Local.Addr().IsValid() && d.Local.Addr().AsSlice()[0]%2 == 1 {
			d.To = bobsCarrier
		}
		return d
	case 16, 17, 4, 5, 6:
		c := f.conn(open)
		if c == 0 {
			return nil
		}
		f.conns[c] = greeted
		return Line{Conn: c, Text: f.line()}
	case 18, 19, 7, 8, 9:
		c := f.conn(securingNow)
		if c == 0 {
			return nil
		}
		f.conns[c] = secure
		return Secured{Conn: c}
	case 20:
		c := f.conn(dialing, open, greeted, securingNow, secure, attached)
		if c == 0 {
			return nil
		}
		delete(f.conns, c)
		if f.byte()%2 == 0 {
			return Closed{Conn: c}
		}
		return Closed{Conn: c, Err: errors.New("connection reset by peer")}
	case 21:
		host := f.config("alice", []string{[]string{"nofile=bob", "newkey=bob", "dropkey=bob", "file=eve", "hostsubnet=bob@10.0.3.0/24", "oldfile=dave", "oldfile=bob"}[f.byte()%7]}).Hosts
		if n := f.name(); f.byte()%2 == 0 {
			h, ok := host[n]
			return HostLoaded{Node: n, Known: ok, Host: h}
		}
		return Reconfigured{Config: f.config("alice", []string{[]string{"connect=bob", "connect=dave", "nofile=carol", "newkey=bob", "dropkey=bob", "subnet=10.9.0.0/16", "auto", "oldfile=dave", "blowfish=dave"}[f.byte()%9]})}
	case 22:
		return Traffic{Node: f.name()}
	case 23:
		switch n := f.name(); f.byte() % 4 {
		case 0:
			return Silent{Node: n, For: time.Duration(f.byte()) * 10 * time.Millisecond}
		case 1:
			return Heard{Node: n}
		case 2:
			return Large{Node: n, Size: 6 * int(f.byte())}
		default:
			return NetworkChanged{Reason: "fuzz"}
		}
	case 24:
		return f.probe()
	case 25:
		return HeardFrom{Node: f.name(), Addr: f.addr(), Sock: int(f.byte()) % 3}
	case 26:
		return CameIndirectly{Node: f.name(), Hop: f.name(), TCP: f.byte()%2 == 0}
	case 27:
		return Relayed{From: f.name(), To: f.name()}
	case 28:
		return Undecodable{Node: f.name(), Count: int(f.byte())}
	case 29:
		return TooLong{Node: f.name(), Size: int(f.byte()) * 8}
	case 32:
		e := wire.Echo{Kind: f.byte() % 6, Flags: f.byte(), Hop: f.name().ID(), Number: uint64(f.byte()), Size: int(f.byte())}
		return EchoIn{Node: f.name(), Hop: f.name(), TCP: e.Flags&64 != 0, Direct: e.Flags&128 != 0, Data: e.Append(nil)}
	case 33:
		switch f.byte() % 4 {
		case 0:
			return AskPaths{ID: 1, Node: f.name(), After: f.name().ID(), Timeout: time.Duration(f.byte()) * time.Millisecond}
		case 1:
			return TellPaths{Node: f.name(), Number: uint64(f.byte()), Size: 24 + int(f.byte()), More: true, Data: make([]byte, f.byte())}
		}
		return Echo{ID: 1, Node: f.name(), Path: EchoPath(f.byte() % 3), Via: f.name(), Size: int(f.byte()) * 8, Timeout: time.Duration(f.byte()) * time.Millisecond}
	case 31:
		if c := f.conn(attached); c != 0 {
			if n := f.name(); n != "alice" {
				f.makeSession(n, fmt.Sprint(c))
			}
		}
	case 30:
		return []Event{Retry{}, Purge{}, Disconnect{Node: f.name()}, ConnectNow{Node: f.name()},
			LearnMAC{MAC: [6]byte{2, 5: f.byte() % 4}}}[f.byte()%5]
	}
	return nil
}

func (f *fuzzer) probe() Event {
	p := ProbeIn{Node: f.name(), Addr: f.addr(), Direct: f.byte()%4 != 0}
	switch f.byte() % 4 {
	case 0:
		p.Data = wire.AppendProbeRequest(nil, 18+int(f.byte())*6, []byte{1})
	case 1:
		p.Data = wire.AppendProbeNotice(nil, int(f.byte())*257, []byte{1})
	case 2:
		p.Data = wire.AppendProbeReply(nil, 2, wire.AppendProbeRequest(nil, 18+int(f.byte())*6, []byte{1}))
	default:
		p.Data = make([]byte, f.byte()%32)
		for i := range p.Data {
			p.Data[i] = f.byte()
		}
	}
	return p
}

func (f *fuzzer) line() string {
	switch f.byte() % 8 {
	case 4:
		return "0 " + string(f.name()) + []string{" 17", " 17.1"}[f.byte()%2]
	case 0:
		return "0 ?" + testKey("x").Public().String() + " 17.7"
	case 1:
		return "0 ^cookie 0"
	case 2:
		return fmt.Sprintf("0 %s %d.%d", f.name(), f.byte()%19, f.byte()%9)
	case 3:
		return "rubbish"
	}
	return "0 " + string(f.name()) + " 17.7"
}

// request is a request built of fragments, or one that was there before.
func (f *fuzzer) request() string {
	if b := f.byte(); b%8 == 0 && len(f.last) > 0 {
		return f.last[int(f.byte())%len(f.last)]
	}
	text := f.newRequest()
	if len(f.last) < 16 {
		f.last = append(f.last, text)
	} else {
		f.last[int(f.byte())%len(f.last)] = text
	}
	return text
}

func (f *fuzzer) newRequest() string {
	name := func() string { return string(f.name()) }
	nonce := fmt.Sprintf("%x", uint(f.byte())<<8|uint(f.byte()))
	address := []string{"192.0.2.7 655", "unspec unspec", "example.org 655", "2001:db8::7 655", "0.0.0.0 0"}[f.byte()%5]
	sub := []string{"10.0.1.0/24", "10.0.2.0/24", "10.0.0.0/8#3", "2001:db8::/32", "1:2:3:4:5:6", "10.0.0.0/33"}[f.byte()%6]
	options := []string{"700000c", "700000d", "7000003", "0", "200000c", "ffffffff", "c", "8"}[f.byte()%8]
	weight := []string{"5", "-2147483648", "2147483647", "0", "100"}[f.byte()%5]
	record := make([]byte, 5+int(f.byte())%80)
	for i := range record {
		record[i] = f.byte()
		if i < 3 && record[i] < 200 {
			record[i] = 0
		}
	}
	data := b64.Encode(record)
	words := []string{
		"4 655 5 700000c", "8", "9", "10 " + nonce + " " + name() + " " + sub, "11 " + nonce + " " + name() + " " + sub,
		"12 " + nonce + " " + name() + " " + name() + " " + address + " " + options + " " + weight,
		"12 " + nonce + " " + name() + " " + name() + " " + address + " " + options + " " + weight + " " + address,
		"13 " + nonce + " " + name() + " " + name(), "14 " + nonce + " " + name(),
		"15 " + name() + " alice 15 " + data, "15 " + name() + " " + name() + " 15 " + data, "15 " + name() + " alice 19",
		"15 " + name() + " alice 20 " + testKey(node.Name(name())).Public().String(), "15 " + name() + " " + name() + " 21 " + data,
		"16 " + name() + " alice " + data + " -1 -1 -1 0", "16 " + name() + " " + name() + " " + data + " -1 -1 -1 0 " + address,
		"15 " + name() + " alice", "15 " + name() + " " + name(), f.oldKey(f.name(), nil), f.oldKey(f.name(), nil) + " " + address, f.oldKey(f.name(), []string{"91"}),
		"16 " + name() + " " + name() + " 00FF 427 672 4 0", "16 " + name() + " alice " + data + " 91 64 4 0",
		"22 " + name() + " " + name() + " " + address, "23 " + name() + " " + name() + " " + fmt.Sprint(int(f.byte())*8),
		"8 - - 0123456789abcdef fedcba9876543210", "7", "17 10", "", string(record),
		"10 " + nonce + " " + strings.Repeat("n", 300) + " " + sub, "10 " + nonce + " bob " + sub + strings.Repeat(" x", 3000),
	}
	return words[int(f.byte())%len(words)]
}

// check looks at effects.
func (f *fuzzer) check(effects []Effect) {
	if len(effects) > f.limit {
		f.t.Fatalf("%d effects at once, more than %d", len(effects), f.limit)
	}
	must := func(c ConnID, what Effect, states ...state) {
		s, ok := f.conns[c]
		for _, w := range states {
			if ok && (s == w || s == lenient) {
				return
			}
		}
		f.t.Fatalf("%T %+v, but the connection is in state %d (exists: %t)", what, what, s, ok)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case Dial:
			if _, ok := f.conns[e.Conn]; ok || e.Conn%2 != 1 {
				f.t.Fatalf("%+v has a number that is taken or even", e)
			}
			if e.Node == "alice" {
				f.t.Fatal("dials itself")
			}
			f.conns[e.Conn] = dialing
		case SendLine:
			must(e.Conn, e, open, greeted)
		case Secure:
			must(e.Conn, e, greeted)
			if f.conns[e.Conn] != lenient {
				f.conns[e.Conn] = securingNow
			}
		case SecureLegacy:
			must(e.Conn, e, greeted)
			if f.conns[e.Conn] != lenient {
				f.conns[e.Conn] = securingNow
			}
		case Send:
			must(e.Conn, e, secure, attached)
			if strings.ContainsAny(e.Text, "\n\x00") || len(e.Text) > maxLine {
				f.t.Fatalf("sends %q", e.Text)
			}
		case CloseConn:
			must(e.Conn, e, dialing, open, greeted, securingNow, secure, attached)
			delete(f.conns, e.Conn)
		case Attach:
			must(e.Conn, e, secure)
			if f.conns[e.Conn] != lenient {
				f.conns[e.Conn] = attached
			}
		case HandOver:
			must(e.Conn, e, greeted)
			delete(f.conns, e.Conn)
		case SendEcho:
			if len(e.Data) < wire.MinEcho || len(e.Data) > wire.MaxEcho || e.Node == "alice" || e.Via == "alice" {
				f.t.Fatalf("%+v", e)
			}
		case SendProbe:
			if !usable(e.Addr) || len(e.Data) < minProbe || len(e.Data) > pmtu.MaxFrame || e.Node == "alice" {
				f.t.Fatalf("%+v", e)
			}
		case PublishPeers:
			for _, p := range e.Peers {
				if p.Conn != 0 && f.conns[p.Conn] < attached {
					f.t.Fatalf("publishes %+v with a connection that does not exist", p)
				}
				f.states[p.Node] = p
				if !p.Known {
					delete(f.states, p.Node)
				}
			}
		case PublishRoutes, ChangeRoutes:
			for _, n := range f.published(e).Tree {
				if f.m.nodes[n].link.conn == nil {
					f.t.Fatalf("%s is in the tree but no neighbour", n)
				}
			}
		}
	}
	f.invariants()
}

// invariants of the protocol core between events.
func (f *fuzzer) invariants() {
	m := f.m
	for n, p := range f.states {
		if p.Conn != 0 && f.conns[p.Conn] < attached {
			f.t.Fatalf("the last that was published of %s has connection %d, which is gone", n, p.Conn)
		}
	}
	s := m.Size()
	if s.Dirty != 0 || s.Orphans != 0 || s.Nodes > 100 || s.Conns > len(f.conns) || s.DialTargets > len(fuzzNames) ||
		s.Timers > 20+3*len(fuzzNames)+s.DialTargets+s.Conns+50 || len(m.links.lines) != len(m.links.conns) || len(m.order) != len(m.nodes) {
		f.t.Fatalf("%+v for %d connections", s, len(f.conns))
	}
	total := 0
	for i, p := range m.order {
		total += len(p.owns.subnets)
		if i > 0 && m.order[i-1].name >= p.name || m.nodes[p.name] != p {
			f.t.Fatal("the list of nodes is out of order")
		}
		if c := p.link.conn; c != nil && (c.peer != p || c.stage != active || m.links.conns[c.id] != c) {
			f.t.Fatalf("%s has a connection that is not its own", p.name)
		}
		if p != m.self && p.reach.reachable != p.reach.path.Reachable {
			f.t.Fatalf("%s: reachable %t, path %t", p.name, p.reach.reachable, p.reach.path.Reachable)
		}
		if p.reach.reachable && p != m.self && (m.reach.nextHopConn(p) == nil || f.states[p.name].Conn != m.reach.hopConn(p)) {
			f.t.Fatalf("%s is reachable over connection %d, published was %d", p.name, m.reach.hopConn(p), f.states[p.name].Conn)
		}
		if (p.keys.session.ready() || p.keys.session.pending()) && !p.reach.reachable {
			f.t.Fatalf("session with %s, which is unreachable", p.name)
		}
		if !m.sessions.sessionFits(p) || p.keys.session.hopByHop() && p.key() != nil && m.cfg.Key != nil {
			f.t.Fatalf("%s has a session of the wrong kind", p.name)
		}
		if st := f.states[p.name]; p != m.self && p.reach.reachable && (st.Legacy != nil) != p.keys.session.hopByHop() {
			f.t.Fatalf("%s was published as the wrong kind", p.name)
		}
	}
	want := sums{}
	for e := range m.graph.All() {
		if m.nodes[e.From] != nil && m.nodes[e.From].reach.reachable {
			want.edges += hashOf(e.From, e.To, e.Addr, e.Options, e.Weight)
		}
	}
	for _, p := range m.order {
		for s := range p.owns.subnets {
			if p.reach.reachable {
				want.subnets += hashOf(p.name, s)
			}
		}
	}
	if m.topology.sums != want {
		f.t.Fatalf("digests %x, should be %x", m.topology.sums, want)
	}
	if total != m.subnets.total {
		f.t.Fatalf("%d subnets, counted %d", total, m.subnets.total)
	}
	if now := m.subnets.allRoutes(); !m.subnets.routes.dirty && !slices.Equal(now.Subnets, f.routed) {
		f.t.Fatalf("published\n%v, but there are\n%v", f.routed, now.Subnets)
	}
	for e := range m.graph.All() {
		if m.nodes[e.From] == nil || m.nodes[e.To] == nil {
			f.t.Fatalf("edge %s-%s without nodes", e.From, e.To)
		}
		if e.From == m.cfg.Name && (m.nodes[e.To].link.conn == nil) {
			f.t.Fatalf("own edge to %s without a connection", e.To)
		}
	}
	for _, c := range m.links.activeConns() {
		if _, ok := m.graph.Get(m.cfg.Name, c.peer.name); !ok {
			f.t.Fatalf("connection with %s without an edge", c.peer.name)
		}
	}
	for n, o := range m.dialer.dials {
		if o.name != n || o.conn != nil && (o.conn.dial.out != o || m.links.conns[o.conn.id] != o.conn) {
			f.t.Fatalf("wish for %s: %+v", n, o)
		}
		if o.conn == nil && !o.timer.Waiting() && !m.down {
			f.t.Fatalf("nobody will dial %s any more", n)
		}
	}
}
