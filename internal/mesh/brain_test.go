package mesh

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Ends of an attempt that nobody waits for any more: the brain once fell over each of them.
func TestAttemptEndsInTheMiddle(t *testing.T) {
	for name, last := range map[string]string{
		"shutdown while dialling":          "shutdown",
		"ConnectTo removed while dialling": "reload",
	} {
		t.Run(name, func(t *testing.T) {
			closed := false
			p := newPlayer(t)
			for _, line := range []string{"node alice connect=bob", "wait 1ms", last} {
				for _, e := range p.input(line) {
					if c, ok := e.(CloseConn); ok && c.Conn == 1 {
						closed = true
					}
				}
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

func TestAnotherNodeWithOurName(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice connect=bob")
	p.neighbours()
	clash := func(adds, dels int) (closed int) {
		for i := range adds {
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("12 %x alice n%d 192.0.2.7 655 0 1", p.now.UnixNano()+int64(i), i)})
		}
		for i := range dels {
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("13 %x alice carol", p.now.UnixNano()+int64(i))})
		}
		for _, e := range append(p.flush(), p.input("wait 5200ms")...) {
			if c, ok := e.(CloseConn); ok && strings.Contains(c.Reason, "another node uses our name") {
				closed++
			}
		}
		return closed
	}
	if n := clash(500, 100); n != 0 {
		t.Errorf("%d connections closed although only edges were added", n)
	}
	if n := clash(101, 101); n != 2 {
		t.Errorf("%d connections closed, want both", n)
	}
	dials := func(effects []Effect) (n int) {
		for _, e := range effects {
			if _, ok := e.(Dial); ok {
				n++
			}
		}
		return n
	}
	if n := dials(p.input("wait 9s")); n != 0 {
		t.Error("dialled while away from the mesh")
	}
	if p.input("accepted 6 198.51.100.2:4000"); p.m.conns[6] != nil {
		t.Error("accepted a connection while away from the mesh")
	}
	if n := dials(p.input("wait 3s")); n != 1 {
		t.Errorf("%d dials after the pause, want 1", n)
	}
}

func TestMachineThatSleptConnectsAnew(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	p.input("wait 2s")
	p.now = p.now.Add(time.Hour)
	p.m.Tick(p.now)
	closed := 0
	for _, e := range p.flush() {
		if _, ok := e.(CloseConn); ok {
			closed++
		}
	}
	if closed != 2 {
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
	if st := p.m.state(p.m.nodes["bob"]); st.Tunnel != nil {
		t.Error("the session goes on")
	}
	if p.m.conns[6] != nil {
		t.Error("the login goes on")
	}
	if p.m.conns[2] == nil {
		t.Error("the connection that stands ended before a reload")
	}
	if p.input("reload"); p.m.conns[2] == nil {
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
			if c := p.m.conns[2]; c.pinged && p.m.conns[4].pinged {
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
		if p.m.conns[2] == nil || p.m.conns[4] == nil {
			t.Error("closed")
		}
	})
	t.Run("busy", func(t *testing.T) {
		p := asked()
		for i := range 12 {
			p.input("wait 1s")
			p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("10 %x bob 10.9.%d.0/24", i, i)})
		}
		if p.m.conns[2] == nil || p.m.conns[4] != nil {
			t.Errorf("bob, who talks: %v; carol, who does not: %v", p.m.conns[2], p.m.conns[4])
		}
		if p.input("wait 8s"); p.m.conns[2] != nil {
			t.Error("bob has fallen silent, and is still connected")
		}
	})
}
