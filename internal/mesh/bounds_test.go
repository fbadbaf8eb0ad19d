package mesh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh/seen"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// neighbours lets bob and carol log in on connections 2 and 4.
func (p *player) neighbours() {
	for _, line := range []string{
		"accepted 2 198.51.100.2:4000", "line 2 0 bob 17.7", "secured 2", "request 2 4 655 10 700000c",
		"request 2 12 1 bob alice 192.0.2.1 655 700000c 5",
		"accepted 4 198.51.100.3:4000", "line 4 0 carol 17.7", "secured 4", "request 4 4 655 10 700000c",
		"request 4 12 2 carol alice 192.0.2.1 655 700000c 5",
	} {
		p.input(line)
	}
}

// sends counts the requests sent on a connection that begin with prefix.
func sends(effects []Effect, conn ConnID, prefix string) (n int) {
	for _, e := range effects {
		if s, ok := e.(Send); ok && s.Conn == conn && strings.HasPrefix(s.Text, prefix) {
			n++
		}
	}
	return n
}

// closes lists the connections that are closed.
func closes(effects []Effect) (conns []ConnID) {
	for _, e := range effects {
		if c, ok := e.(CloseConn); ok {
			conns = append(conns, c.Conn)
		}
	}
	return conns
}

func TestMemberCannotFillOurMemory(t *testing.T) {
	cases := map[string]struct {
		request func(i int) string
		count   func(m *Mesh) int
		limit   int
	}{
		"nodes": {
			func(i int) string { return fmt.Sprintf("10 %x n%d 10.0.0.0/8", i, i) },
			func(m *Mesh) int { return len(m.nodes) }, maxUnknown + 10,
		},
		"subnets of one node": {
			func(i int) string { return fmt.Sprintf("10 %x bob 10.%d.%d.0/24", i, i>>8&255, i&255) },
			func(m *Mesh) int { return m.subnets.total }, maxSubnetsOf + 10,
		},
		"edges of one node": {
			func(i int) string { return fmt.Sprintf("12 %x bob n%d 192.0.2.1 655 0 1", i, i) },
			func(m *Mesh) int { return m.graph.Len() }, maxEdgesOf + 10,
		},
		"edges of ours that do not exist": {
			func(i int) string { return fmt.Sprintf("12 %x alice n%d 192.0.2.1 655 0 1", i, i) },
			func(m *Mesh) int { return len(m.nodes) }, 10,
		},
		"texts": {
			func(i int) string { return fmt.Sprintf("14 %x bob", i) },
			func(m *Mesh) int { return m.topology.seen.Size() }, 2*seen.Limit + 10,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPlayer(t)
			p.input("node alice")
			p.neighbours()
			passedOn, total := 0, 0
			for i := range maxUnknown + 5000 {
				p.m.Handle(p.now, Request{Conn: 2, Text: c.request(i + 16)})
				if i%256 == 0 {
					passedOn += sends(p.m.Flush(p.now), 4, "")
				}
				total++
			}
			passedOn += sends(p.m.Flush(p.now), 4, "")
			if n := c.count(p.m); n > c.limit {
				t.Errorf("%d remembered, want at most %d", n, c.limit)
			}
			if name != "texts" && passedOn > c.limit {
				t.Errorf("%d of %d requests were passed on to others, want at most %d", passedOn, total, c.limit)
			}
			if p.m.links.conns[2] == nil {
				t.Error("the connection was closed: the neighbour may only have passed it on")
			}
		})
	}
}

func TestWhatOthersMayPassOnDoesNotCloseTheConnection(t *testing.T) {
	for name, text := range map[string]string{
		"line that is too long": "10 aa bob 10.9.0.0/16 " + strings.Repeat("x", 60_000),
		"name that is too long": "10 ab " + strings.Repeat("n", 300) + " 10.9.0.0/16",
	} {
		p := newPlayer(t)
		p.input("node alice")
		p.neighbours()
		effects := p.input("request 2 " + text)
		if p.m.links.conns[2] == nil {
			t.Errorf("%s: the connection was closed", name)
		}
		if sends(effects, 4, "10") != 0 || len(p.m.nodes["bob"].owns.subnets) != 0 {
			t.Errorf("%s: it was accepted", name)
		}
	}
}

func TestRequestInCirclesEnds(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	passedOn := 0
	for range 100 {
		passedOn += sends(p.input("request 2 15 bob carol 19"), 4, "15 bob carol 19")
	}
	if passedOn != seen.MaxRepeats {
		t.Errorf("the same request was passed on %d times in a moment, want %d", passedOn, seen.MaxRepeats)
	}
	p.now = p.now.Add(2 * seen.RepeatPeriod)
	if sends(p.input("request 2 15 bob carol 19"), 4, "15 bob carol 19") != 1 {
		t.Error("it is not passed on later either")
	}
}

func TestOnePairCannotUseUpItsRelay(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	passedOn := 0
	for i := range 1000 {
		passedOn += sends(p.input(fmt.Sprintf("request 2 15 bob carol 15 AAAA%04d", i)), 4, "15 bob carol")
	}
	if passedOn != seen.MaxOfPair {
		t.Errorf("%d requests of one pair were passed on in a moment, want %d", passedOn, seen.MaxOfPair)
	}
}

// Three nodes in a ring, each of which has been told that the path to dest leads over the next one.
// The daemons that told them so are not there to learn better.
func TestRequestInARingOfWrongViewsEnds(t *testing.T) {
	for _, delay := range []time.Duration{0, 10 * time.Millisecond, 300 * time.Millisecond} {
		names := []node.Name{"alice", "bob", "carol"}
		now := time.Unix(1_900_000_000, 0)
		key := testKey("peer").Public()
		var ring []*Mesh
		for i, self := range names {
			next, last := names[(i+1)%3], names[(i+2)%3]
			m := New(Config{Name: self, Key: testKey(self), Port: 655, Hosts: map[node.Name]Host{
				next: {Key: &key}, last: {Key: &key},
			}}, Deps{Rand: rand.New(rand.NewPCG(1, 2)), Secrets: rand.NewChaCha8([32]byte{1})}, now)
			for j, n := range []node.Name{next, last} { // connection 2 leads on, 4 back
				c := ConnID(2 * (j + 1))
				m.Handle(now, Accepted{Conn: c, Remote: netip.MustParseAddrPort("192.0.2.1:4000")})
				m.Handle(now, Line{Conn: c, Text: "0 " + string(n) + " 17.7"})
				m.Handle(now, Secured{Conn: c})
				m.Handle(now, Request{Conn: c, Text: "4 655 10 700000c"})
				m.Handle(now, Request{Conn: c, Text: fmt.Sprintf("12 %d %s %s 192.0.2.2 655 700000c 10", j, n, self)})
			}
			for k, e := range []string{"dest " + string(next), string(next) + " dest", "src " + string(last), string(last) + " src"} {
				m.Handle(now, Request{Conn: 2, Text: fmt.Sprintf("12 7%d %s 192.0.2.3 655 700000c 10", k, e)})
			}
			m.Flush(now)
			ring = append(ring, m)
		}
		for _, text := range []string{"15 src dest", "15 src dest 15 AAAA", "16 src dest AAAA -1 -1 -1 0"} {
			crossed := 0
			at, waiting := 0, []string{text}
			for len(waiting) > 0 && crossed < 1000 {
				now = now.Add(delay)
				var on []string
				for _, x := range waiting {
					ring[at].Handle(now, Request{Conn: 4, Text: x})
				}
				for _, e := range ring[at].Flush(now) {
					if s, ok := e.(Send); ok && s.Conn == 2 && strings.HasPrefix(s.Text, text[:11]) {
						on = append(on, s.Text)
					}
				}
				crossed += len(on)
				at, waiting = (at+1)%3, on
			}
			if crossed < 3 || crossed > 3*(seen.MaxRepeats+1) {
				t.Errorf("delay %s: %q was passed on %d times, want at most %d", delay, text, crossed, 3*(seen.MaxRepeats+1))
			}
		}
	}
}

func TestSessionStartsAreAnsweredWithinReason(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	for i := range 100 {
		p.now = p.now.Add(50 * time.Millisecond)
		effects := p.input("request 2 15 bob alice 15 AAAAA" + strings.Repeat("A", i))
		if len(effects) > 10 {
			t.Fatalf("%d effects", len(effects))
		}
	}
	if p.m.nodes["bob"].contact().starts.direct <= maxStarts {
		t.Error("the starts were not counted")
	}
}

func TestStaleNewsIsForgotten(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	for _, line := range []string{
		"request 2 12 a1 bob eve 203.0.113.1 655 700000c 5",
		"request 2 12 a2 eve bob 203.0.113.2 655 700000c 5",
		"request 2 12 a3 eve mallory 203.0.113.3 655 700000c 5",
		"request 2 10 a4 eve 10.66.0.0/16",
		"request 2 10 a5 dave 10.67.0.0/16",
		"request 2 13 a6 bob eve",
	} {
		p.input(line)
	}
	has := func() [5]bool {
		_, back := p.m.graph.Get("eve", "bob")
		_, side := p.m.graph.Get("eve", "mallory")
		return [5]bool{back, side, p.m.nodes["eve"] != nil, p.m.nodes["mallory"] != nil, len(p.m.nodes["dave"].owns.subnets) == 1}
	}
	if got := has(); got != [5]bool{true, true, true, true, true} {
		t.Fatalf("at first: %v", got)
	}
	hour := func() {
		for range 1200 {
			p.input("wait 3s")
			for _, c := range []ConnID{2, 4} { // neighbours answer pings
				p.m.Handle(p.now, Request{Conn: c, Text: "9"})
			}
		}
	}
	for range 23 {
		hour()
	}
	if got := has(); got != [5]bool{true, true, true, true, true} {
		t.Errorf("after 23 hours: %v", got)
	}
	hour()
	hour()
	if got := has(); got != [5]bool{false, false, false, false, true} {
		t.Errorf("after 25 hours: %v; want all to be gone but the subnet of a node with a host file", got)
	}
	if p.m.nodes["bob"] == nil || !p.m.nodes["bob"].reach.reachable {
		t.Error("bob is gone too")
	}
}

func TestFloodOfMACAddressesIsBounded(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice macexpire=20s")
	p.neighbours()
	announced, withdrawn := 0, 0
	for i := range 3 * maxLearned {
		p.m.Handle(p.now, LearnMAC{MAC: [6]byte{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}})
		if i%256 == 0 {
			announced += sends(p.m.Flush(p.now), 2, "10 ")
		}
	}
	announced += sends(p.m.Flush(p.now), 2, "10 ")
	if announced != maxLearned || len(p.m.subnets.learned.until) != maxLearned {
		t.Errorf("%d addresses announced and %d remembered, want %d", announced, len(p.m.subnets.learned.until), maxLearned)
	}
	withdrawn += sends(p.input("wait 30s"), 2, "11 ")
	if withdrawn != maxLearned || len(p.m.subnets.learned.until) != 0 {
		t.Errorf("%d addresses withdrawn and %d remembered, want %d and none", withdrawn, len(p.m.subnets.learned.until), maxLearned)
	}
}

func TestMemberCannotHideTheConfiguredAddressOfANode(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	for i := range 100 {
		p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("12 %x n%d dave 203.0.113.%d 655 700000c 1", i, i, i+1)})
	}
	p.flush()
	dave := p.m.nodes["dave"]
	want := Endpoint{Host: "dave.example.org", Port: "655"}
	dave.trust.host.Addresses = []Endpoint{want}
	if list := p.m.dialer.addressesOf(dave); !slices.Contains(list, want) || len(list) < 5 {
		t.Errorf("addresses to dial: %v, want %v among them", list, want)
	}
}

// Who has just come is not told of nodes that have been away for long: he would keep the news for
// as long again, and tell others.
func TestOldNewsOfLostNodesIsNotTold(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	for _, line := range []string{
		"request 2 12 a1 bob eve 203.0.113.1 655 700000c 5",
		"request 2 12 a2 eve bob 203.0.113.2 655 700000c 5",
		"request 2 10 a4 eve 10.66.0.0/16",
		"request 2 13 a6 bob eve",
	} {
		p.input(line)
	}
	told := func() (n int) {
		p.input("accepted 6 198.51.100.9:4000")
		p.input("line 6 0 dave 17.7")
		p.input("secured 6")
		effects := p.input("request 6 4 655 10 700000c")
		p.input("closed 6")
		for _, e := range effects {
			if s, ok := e.(Send); ok && s.Conn == 6 && strings.Contains(s.Text, " eve ") {
				n++
			}
		}
		return n
	}
	if n := told(); n != 2 {
		t.Errorf("soon afterwards dave was told %d things of eve, want its subnet and its edge", n)
	}
	for range 250 {
		p.input("wait 3s")
		for _, c := range []ConnID{2, 4} {
			p.m.Handle(p.now, Request{Conn: c, Text: "9"})
		}
	}
	if n := told(); n != 0 {
		t.Errorf("long afterwards dave was told %d things of eve", n)
	}
	// eve comes back, and the paths are not searched yet.
	p.m.Handle(p.now, Request{Conn: 2, Text: "12 a7 bob eve 203.0.113.1 655 700000c 5"})
	for _, e := range []Event{
		Accepted{Conn: 6, Remote: netip.MustParseAddrPort("198.51.100.9:4000")}, Line{Conn: 6, Text: "0 dave 17.7"},
		Secured{Conn: 6}, Request{Conn: 6, Text: "4 655 10 700000c"},
	} {
		p.m.Handle(p.now, e)
	}
	if n := sends(p.flush(), 6, "12 a2 eve bob"); n != 1 {
		t.Errorf("when eve was coming back its edge was told %d times", n)
	}
}

// A node that is forgotten and comes back in the same moment is there for the data plane.
func TestANodeThatIsForgottenAndComesBackIsPublished(t *testing.T) {
	for range 20 {
		p := newPlayer(t)
		p.input("node alice")
		p.neighbours()
		for _, line := range []string{
			"request 2 12 a1 bob eve 203.0.113.1 655 700000c 5", "request 2 12 a2 eve bob 203.0.113.2 655 700000c 5", "request 2 13 a6 bob eve",
		} {
			p.input(line)
		}
		p.m.Handle(p.now, Purge{})
		p.m.Handle(p.now, Request{Conn: 2, Text: "12 b1 bob eve 203.0.113.1 655 700000c 5"})
		p.m.Handle(p.now, Request{Conn: 2, Text: "12 b2 eve bob 203.0.113.2 655 700000c 5"})
		var last PeerState
		for _, e := range p.flush() {
			if e, ok := e.(PublishPeers); ok {
				for _, st := range e.Peers {
					if st.Node == "eve" {
						last = st
					}
				}
			}
		}
		if !last.Known || !last.Reachable {
			t.Fatalf("published last: %+v", last)
		}
	}
}

// Nodes that somebody has invented keep no newcomer out: neither while he is there, nor when he has left.
func TestInventedNodesGiveWay(t *testing.T) {
	for _, reachable := range []bool{true, false} {
		p := newPlayer(t)
		p.input("node alice")
		p.pongs = true
		p.neighbours()
		for i := range maxUnknown + 1000 {
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("12 %x bob n%d 192.0.2.1 655 0 1", 2*i+16, i)})
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("12 %x n%d bob 192.0.2.1 655 0 1", 2*i+17, i)})
		}
		p.m.Flush(p.now)
		if n := len(p.m.nodes); n > maxUnknownBy+10 {
			t.Errorf("one neighbour brought %d nodes", n)
		}
		if !reachable {
			p.input("closed 2")
			p.input("wait 1s")
		}
		p.input("request 4 12 ffff01 carol newcomer 192.0.2.9 655 700000c 5")
		p.input("request 4 12 ffff02 newcomer carol 192.0.2.3 655 700000c 5")
		p.input("wait 1s")
		if n := p.m.nodes["newcomer"]; n == nil || !n.reach.reachable {
			t.Errorf("bob is there: %v, and the newcomer is not reachable", reachable)
		}
		if reachable {
			continue
		}
		p.m.Flush(p.now)
		told := 0
		for _, line := range []string{"accepted 6 198.51.100.6:4000", "line 6 0 bob 17.7", "secured 6", "request 6 4 655 10 700000c"} {
			told += sends(p.input(line), 6, "12 ")
		}
		if told > maxDeadTold*2+20 {
			t.Errorf("a new neighbour was told of %d edges", told)
		}
	}
}

// Several neighbours have filled the table together, each with its share, and have left.
func TestInventedNodesOfManyNeighboursGiveWay(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice file=dave file=eve file=frank file=gina file=henry")
	p.pongs = true
	p.neighbours()
	liars := []string{"dave", "eve", "frank", "gina", "henry", "bob"}
	for i, liar := range liars {
		conn := ConnID(10 + 2*i)
		if liar == "bob" {
			conn = 2
		} else {
			for _, line := range []string{"accepted %d 198.51.100.7:4000", "line %d 0 " + liar + " 17.7", "secured %d", "request %d 4 655 10 700000c"} {
				p.input(fmt.Sprintf(line, conn))
			}
			p.input(fmt.Sprintf("request %d 12 ee%x %s alice 192.0.2.1 655 700000c 5", conn, i, liar))
		}
		for n := range maxUnknownBy {
			p.m.Handle(p.now, Request{Conn: conn, Text: fmt.Sprintf("12 %x%04xa %s n%d_%d 192.0.2.1 655 0 1", i+1, n, liar, i, n)})
			p.m.Handle(p.now, Request{Conn: conn, Text: fmt.Sprintf("12 %x%04xb n%d_%d %s 192.0.2.1 655 0 1", i+1, n, i, n, liar)})
		}
		p.m.Flush(p.now)
	}
	if n := len(p.m.nodes); n < maxUnknown-makeRoom/2 || n > maxUnknown+10 {
		t.Fatalf("there are %d nodes", n)
	}
	for i, liar := range liars {
		conn := 10 + 2*i
		if liar == "bob" {
			conn = 2
		}
		p.input(fmt.Sprintf("closed %d", conn))
	}
	p.input("wait 2s")
	reached := 0
	for i := range makeRoom {
		p.m.Handle(p.now, Request{Conn: 4, Text: fmt.Sprintf("12 ffff%xa carol newcomer%d 192.0.2.9 655 700000c 5", i, i)})
		p.m.Handle(p.now, Request{Conn: 4, Text: fmt.Sprintf("12 ffff%xb newcomer%d carol 192.0.2.3 655 700000c 5", i, i)})
	}
	p.input("wait 3s")
	for i := range makeRoom {
		if n := p.m.nodes[node.Name(fmt.Sprintf("newcomer%d", i))]; n != nil && n.reach.reachable {
			reached++
		}
	}
	if reached < makeRoom {
		t.Errorf("%d of %d newcomers are reachable", reached, makeRoom)
	}
}

// One neighbour cannot take what others need, whomever it speaks of; and it is said who it was.
func TestEdgesAndSubnetsOfOneNeighbourAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		request func(i int) string
		held    func(*Mesh) int
		most    int
	}{
		"edges": {func(i int) string {
			return fmt.Sprintf("12 %x n%d n%d 192.0.2.1 655 0 1", i+16, i%200, 200+i/200%200)
		}, func(m *Mesh) int { return m.graph.Len() }, maxEdgesBy},
		"subnets": {func(i int) string { return fmt.Sprintf("10 %x n%d 10.0.0.0/16#%d", i+16, i%200, i) }, func(m *Mesh) int { return m.subnets.total }, maxSubnetsBy},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayer(t)
			p.input("node alice")
			p.pongs = true
			p.neighbours()
			for i := range 400 { // those that cannot be reached would give way
				p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("12 aa%x bob n%d 192.0.2.1 655 0 1", i, i)})
				p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("12 bb%x n%d bob 192.0.2.1 655 0 1", i, i)})
			}
			p.input("wait 5s")
			before := c.held(p.m)
			for i := range c.most + 1000 {
				p.m.Handle(p.now, Request{Conn: 2, Text: c.request(i)})
			}
			p.m.Flush(p.now)
			if n := c.held(p.m) - before; n > c.most || n < c.most-1000 {
				t.Errorf("one neighbour brought %d, the limit is %d", n, c.most)
			}
			said := p.m.Refusals()
			if len(said) != 1 || said[0].By["bob"] < 900 || len(said[0].By) != 1 {
				t.Errorf("what was refused: %+v", said)
			}
			had := c.held(p.m)
			p.m.Handle(p.now, Request{Conn: 4, Text: c.request(39_999)})
			if n := c.held(p.m); n != had+1 {
				t.Errorf("of what another brings %d was taken", n-had)
			}
			p.input("closed 2")
			p.input("wait 25h")
			if s := p.m.topology.brought["bob"]; s.edges > 10 || s.subnets > 10 {
				t.Errorf("a day later bob is still charged with %+v", s)
			}
		})
	}
}

func TestOwnerOfTooManySubnetsIsTold(t *testing.T) {
	for n, want := range map[int]bool{maxSubnetsOf: false, maxSubnetsOf + 1: true} {
		cfg := Config{Name: "alice"}
		for i := range n {
			cfg.Subnets = append(cfg.Subnets, subnet.FromPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)))
		}
		told := false
		now := time.Unix(1_000_000, 0)
		for _, e := range New(cfg, Deps{Rand: rand.New(rand.NewPCG(1, 2))}, now).Flush(now) {
			l, ok := e.(Log)
			told = told || ok && strings.Contains(l.Text, "of which others believe 8192")
		}
		if told != want {
			t.Errorf("%d subnets: told %v", n, told)
		}
	}
}
