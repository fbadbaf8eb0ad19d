package mesh

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/node"
)

// Ends of an attempt that nobody waits for any more: the protocol core once fell over each of them.
func TestAttemptEndsInTheMiddle(t *testing.T) {
	for name, last := range map[string]string{
		"shutdown while dialling":          "shutdown",
		"ConnectTo removed while dialling": "reload",
	} {
		t.Run(name, func(t *testing.T) {
			closed := false
			p := newPlayer(t)
			for _, line := range []string{"node alice connect=bob", "wait 1ms", last} {
				closed = slices.Contains(closes(p.input(line)), 1) || closed
			}
			if !closed {
				t.Error("the attempt goes on")
			}
		})
	}
}

// Nodes behind a neighbour are reached over its connection; the data plane must hear when
// that is another one although nothing else has changed.
func TestNewConnectionCountsForNodesBehindIt(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	p.input("request 2 12 a1 bob eve 203.0.113.1 655 700000c 5")
	p.input("request 2 12 a2 eve bob 203.0.113.2 655 700000c 5")
	p.input("wait 10s")
	for _, line := range []string{"accepted 6 198.51.100.2:4000", "line 6 0 bob 17.7", "secured 6"} {
		p.input(line)
	}
	conns := map[string]ConnID{}
	for _, e := range p.input("request 6 4 655 10 700000c") {
		if e, ok := e.(PublishPeers); ok {
			for _, s := range e.Peers {
				conns[string(s.Node)] = s.Conn
			}
		}
	}
	if conns["bob"] != 6 || conns["eve"] != 6 {
		t.Errorf("published connections: %v, want 6 for bob and eve", conns)
	}
}

// A neighbour sends its edge and its first request in one go, and both are taken in
// before the paths are searched: the request must not be lost.
func TestARequestBehindTheEdgeThatItNeeds(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	for _, line := range []string{"accepted 2 198.51.100.2:4000", "line 2 0 bob 17.7", "secured 2", "request 2 4 655 10 700000c"} {
		p.input(line)
	}
	p.m.Handle(p.now, Request{Conn: 2, Text: "12 a1 bob alice 192.0.2.1 655 700000c 5"})
	p.m.Handle(p.now, Request{Conn: 2, Text: "15 bob alice 19"})
	for _, e := range p.m.Flush(p.now) {
		if s, ok := e.(Send); ok && strings.HasPrefix(s.Text, "15 alice bob 20 ") {
			return
		}
	}
	t.Error("the request for our key was not answered")
}

// Whether another machine has our name or a member says so: we stay, and what is true of us is told again.
func TestHearsayDoesNotDriveUsOutOfTheMesh(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice connect=bob")
	p.pongs = true
	p.neighbours()
	p.input("wait 11s")
	clash := func(adds, dels int) (retracted, insisted int) {
		for i := range adds {
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("12 %x alice n%d 192.0.2.7 655 0 1", p.now.UnixNano()+int64(i), i)})
		}
		for i := range dels {
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("13 %x alice carol", p.now.UnixNano()+int64(i))})
		}
		effects := p.flush()
		retracted, insisted = sends(effects, 2, "13 "), sends(effects, 2, "12 ")
		for _, e := range append(effects, p.input("wait 5200ms")...) {
			if c, ok := e.(CloseConn); ok {
				t.Fatalf("connection %d closed: %s", c.Conn, c.Reason)
			}
		}
		return retracted, insisted
	}
	if r, i := clash(101, 101); r != 101 || i != 101 {
		t.Errorf("%d edges retracted and %d insisted on, want 101 each", r, i)
	}
	if r, i := clash(101, 101); r != 0 || i != 101 {
		t.Errorf("%d edges retracted and %d insisted on, want none and 101", r, i)
	}
	if p.input("wait 60s"); p.m.nodes["bob"].link.conn == nil || p.m.nodes["carol"].link.conn == nil {
		t.Error("a connection is gone")
	}
	if r, _ := clash(5, 0); r != 5 {
		t.Errorf("%d edges retracted when it is over, want 5", r)
	}
}

// Nobody gives way to a node that exists only in what others say.
func TestNodesThatAreProved(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	p.input("request 2 12 7 bob 0 192.0.2.9 655 700000c 5")
	p.input("request 2 12 8 0 bob 192.0.2.2 655 700000c 5")
	for name, want := range map[node.Name]bool{"bob": true, "0": false, "nobody": false} {
		if got := p.m.Proved(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	asks := func() int { return sends(p.flush(), 2, "15 alice 0 ") }
	if n := asks(); n != 0 {
		t.Errorf("to look whether they are proved has sent %d requests", n)
	}
	for _, name := range []node.Name{"bob", "0", "nobody"} {
		p.m.Prove(name)
	}
	if n := asks(); n != 1 {
		t.Errorf("0 was asked %d times, want once", n)
	}
}

// What carol says of bob's edges does not count while bob is our neighbour. He is asked.
func TestANeighbourIsBelievedAboutItsOwnEdges(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	p.input("request 2 12 7 bob dave 192.0.2.9 655 700000c 5")
	p.input("request 2 12 8 dave bob 192.0.2.2 655 700000c 5")
	p.input("wait 11s")
	for i, c := range []struct {
		what, text string
		asked      bool
	}{
		{"the end of an edge", "13 %x bob dave", true},
		{"the end of the edge to us", "13 %x bob alice", true},
		{"an edge that he has not", "12 %x bob eve 192.0.2.66 655 700000c 1", true},
		{"another weight", "12 %x bob dave 192.0.2.9 655 700000c 1", true},
		{"what he says himself", "12 %x bob dave 192.0.2.9 655 700000c 5", false},
		{"the end of an edge that is not", "13 %x bob frank", false},
	} {
		before := p.m.Edges()
		text := fmt.Sprintf(c.text, 0x100+i)
		var effects []Effect
		for range 3 {
			p.m.Handle(p.now, Request{Conn: 4, Text: text})
			effects = append(effects, p.flush()...)
		}
		if !slices.Equal(p.m.Edges(), before) {
			t.Errorf("%s: it was believed", c.what)
		}
		if n := sends(effects, 2, text); n != map[bool]int{true: 1}[c.asked] {
			t.Errorf("%s: he was asked %d times", c.what, n)
		}
	}
	p.input("request 2 13 105 bob dave") // the same words from him
	if _, ok := p.m.graph.Get("bob", "dave"); ok {
		t.Error("he was not believed")
	}
	p.input("closed 2")
	p.input("request 4 12 106 bob dave 192.0.2.9 655 700000c 5")
	if _, ok := p.m.graph.Get("bob", "dave"); !ok {
		t.Error("with no connection to him any more others were not believed")
	}
}

// Nor does it count that carol says a subnet of bob's has ended.
func TestANeighbourIsBelievedAboutTheEndOfItsSubnets(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	bobs := func() int { return len(p.m.nodes["bob"].owns.subnets) }
	p.input("request 2 10 20 bob 10.0.2.0/24")
	p.input("request 2 10 21 bob 10.0.3.0/24")
	p.input("wait 11s")
	var effects []Effect
	for range 3 {
		p.m.Handle(p.now, Request{Conn: 4, Text: "11 22 bob 10.0.2.0/24"})
		effects = append(effects, p.flush()...)
	}
	p.m.Handle(p.now, Request{Conn: 4, Text: "11 23 bob 10.0.9.0/24"}) // which he does not have
	effects = append(effects, p.flush()...)
	if bobs() != 2 {
		t.Error("others were believed")
	}
	if n := sends(effects, 2, "11 "); n != 1 {
		t.Errorf("he was asked %d times, want once", n)
	}
	p.input("request 2 11 22 bob 10.0.2.0/24") // the same words from him
	if bobs() != 1 {
		t.Error("he was not believed")
	}
	p.m.Handle(p.now, Request{Conn: 4, Text: "11 24 bob 10.0.3.0/24"})
	p.input("request 2 10 25 bob 10.0.3.0/24") // he contradicts
	if n := len(p.m.nodes["bob"].link.conn.news.hearsay); n != 0 {
		t.Errorf("%d lies about him are remembered", n)
	}
	p.m.Handle(p.now, Request{Conn: 4, Text: "11 27 bob 10.0.3.0/24"})
	p.m.Handle(p.now, Request{Conn: 4, Text: "10 28 bob 10.0.3.0/24"}) // he has contradicted there
	if n := len(p.m.nodes["bob"].link.conn.news.hearsay); n != 0 {
		t.Errorf("%d lies about him are remembered that others have taken back", n)
	}
	p.m.Handle(p.now, Request{Conn: 4, Text: "11 26 bob 10.0.3.0/24"})
	p.input("request 4 12 106 carol bob 192.0.2.2 655 700000c 5") // he is still reachable when we lose him
	p.input("request 2 12 107 bob carol 192.0.2.3 655 700000c 5")
	p.input("closed 2")
	if bobs() != 0 {
		t.Error("with no connection to him any more others were not believed")
	}
}

// Whoever is wrong about a neighbour of ours hears it when the neighbour has said what is so. Once carol, who had been apart from
// us, would have kept an edge of bob's for minutes that had ended meanwhile.
func TestWhoIsWrongAboutANeighbourIsCorrected(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	p.input("request 2 10 20 bob 10.0.2.0/24")
	p.input("request 2 12 21 bob dave 192.0.2.9 655 700000c 5")
	p.input("request 2 12 22 bob erin 192.0.2.10 655 700000c 5")
	p.input("wait 11s")
	p.input("request 2 13 23 bob erin")
	tell := func(conn ConnID, text string) []Effect {
		p.m.Handle(p.now, Request{Conn: conn, Text: text})
		return p.flush()
	}
	for _, c := range []struct{ what, wrong, asked, bob, corrected string }{
		{"an edge that has ended", "12 22 bob erin 192.0.2.10 655 700000c 5", "", "", "13 "},
		{"an edge that there never was", "12 30 bob eve 192.0.2.66 655 700000c 1", "12 30 ", "13 31 bob eve", "13 31 bob eve"},
		{"the end of an edge that is", "13 32 bob dave", "13 32 ", "12 33 bob dave 192.0.2.9 655 700000c 5", "12 33 bob dave"},
		{"another weight", "12 34 bob dave 192.0.2.9 655 700000c 1", "12 34 ", "12 35 bob dave 192.0.2.9 655 700000c 5", "12 35 bob dave"},
		{"the end of a subnet that is", "11 36 bob 10.0.2.0/24", "11 36 ", "10 37 bob 10.0.2.0/24", "10 37 bob 10.0.2.0/24"},
	} {
		effects := tell(4, c.wrong)
		if c.asked == "" {
			if sends(effects, 4, c.corrected) != 1 || sends(effects, 2, "1") != 0 {
				t.Errorf("%s: %v", c.what, effects)
			}
			continue
		}
		if sends(effects, 2, c.asked) != 1 {
			t.Errorf("%s: bob was not asked: %v", c.what, effects)
		}
		if effects = tell(2, c.bob); sends(effects, 4, c.corrected) != 1 {
			t.Errorf("%s: carol was not told what bob says: %v", c.what, effects)
		}
		if effects = tell(2, c.bob); sends(effects, 4, "1") != 0 {
			t.Errorf("%s: carol was told twice", c.what)
		}
	}
	if e, _ := p.m.graph.Get("bob", "dave"); e.Nonce != 0x35 {
		t.Errorf("the edge is told with the nonce %x, which carol takes for outdated", e.Nonce)
	}
}

// A neighbour that asks whether a subnet of ours has ended gets an answer, although others have asked with the same words.
func TestEachNeighbourIsToldOfOurSubnets(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice subnet=10.0.1.0/24")
	p.neighbours()
	for _, c := range []ConnID{4, 2} {
		answers := 0
		for range 10 {
			p.m.Handle(p.now, Request{Conn: c, Text: "11 22 alice 10.0.1.0/24"})
			answers += sends(p.flush(), c, "10 ")
		}
		if answers < 1 || answers > 2 {
			t.Errorf("%d answers on connection %d", answers, c)
		}
	}
}

func TestMachineThatSleptConnectsAnew(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	p.input("wait 2s")
	p.now = p.now.Add(time.Hour)
	p.m.Tick(p.now)
	if closed := len(closes(p.flush())); closed != 2 {
		t.Errorf("%d connections closed after an hour of sleep, want 2", closed)
	}
}

func TestKeyThatIsGoneFromTheHostFile(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	for _, line := range []string{"session bob 2", "accepted 6 198.51.100.9:4000", "line 6 0 bob 17.7"} {
		p.input(line)
	}
	p.m.Handle(p.now, HostLoaded{Node: "bob", Known: true})
	p.flush()
	if st := p.m.forwarding.state(p.m.nodes["bob"]); st.Tunnel != nil {
		t.Error("the session goes on")
	}
	if p.m.links.conns[6] != nil {
		t.Error("the login goes on")
	}
	if p.m.links.conns[2] == nil {
		t.Error("the connection that stands ended before a reload")
	}
	if p.input("reload"); p.m.links.conns[2] == nil {
		t.Error("the connection ended although the key is back")
	}
}

// The paths may be searched before Flush; the edges of lost neighbours are withdrawn all the same.
func TestLostNeighbourIsWithdrawnAlsoAfterAnEarlySearch(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	p.m.Handle(p.now, Closed{Conn: 4})
	p.m.Handle(p.now, Request{Conn: 2, Text: "15 dave alice 19"}) // dave is unreachable
	if sends(p.flush(), 2, "13") != 2 {
		t.Error("not both edges were withdrawn")
	}
}

// A node that was held up has not read the answers yet. It does not close its connections for that, nor
// those on which much comes before the answer.
func TestAnAnswerThatWaitsToBeReadCounts(t *testing.T) {
	asked := func() *player {
		p := newPlayer(t)
		p.input("node alice")
		p.neighbours()
		for range 80 {
			if c := p.m.links.conns[2]; c.pinged && p.m.links.conns[4].pinged {
				return p
			}
			p.input("wait 1s")
		}
		t.Fatal("bob and carol are not asked")
		return nil
	}
	t.Run("held up", func(t *testing.T) {
		p := asked()
		p.now = p.now.Add(8 * time.Second)
		p.m.Tick(p.now)
		for _, c := range []ConnID{2, 4} {
			p.m.Handle(p.now, Request{Conn: c, Text: "9"})
		}
		p.flush()
		p.input("wait 6s")
		if p.m.links.conns[2] == nil || p.m.links.conns[4] == nil {
			t.Error("closed")
		}
	})
	t.Run("busy", func(t *testing.T) {
		p := asked()
		for i := range 12 {
			p.input("wait 1s")
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("10 %x bob 10.9.%d.0/24", i, i)})
		}
		if p.m.links.conns[2] == nil || p.m.links.conns[4] != nil {
			t.Errorf("bob, who talks: %v; carol, who does not: %v", p.m.links.conns[2], p.m.links.conns[4])
		}
		if p.input("wait 8s"); p.m.links.conns[2] != nil {
			t.Error("bob has fallen silent, and is still connected")
		}
	})
}
