package mesh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tincan/internal/node"
)

// Two nodes that have heard of an edge in different orders, so that each holds for outdated what the
// other one says, become neighbours.
func TestNeighboursDoNotDisputeForEver(t *testing.T) {
	const (
		light  = "12 a dave erin 192.0.2.3 655 700000c 10"
		heavy  = "12 b dave erin 192.0.2.3 655 700000c 20"
		again  = "12 c dave erin 192.0.2.3 655 700000c 10"
		ended  = "13 d dave erin"
		common = "12 e erin dave 192.0.2.4 655 700000c 10"
	)
	for _, c := range []struct {
		what       string
		alice, bob []string
		limit      int // of requests about that edge
	}{
		{"one has heard it before and after another state", []string{light, heavy}, []string{heavy, light}, 5},
		{"the same the other way round", []string{heavy, light}, []string{light, heavy}, 5},
		{"what they know differs in the nonce only", []string{light, heavy, again}, []string{again, heavy, light}, 2},
		{"one knows of the end", []string{light}, []string{light, ended}, 3},
		{"one knows of the end of what is new, the other of the end of what was", []string{light, ended, heavy}, []string{heavy, ended, light}, 5},
		{"a chain of states", []string{light, heavy, again, heavy}, []string{again, light, heavy, light}, 8},
	} {
		p := pair(t, append([]string{common}, c.alice...), append([]string{common}, c.bob...))
		crossed := p.join(func(text string) bool { return strings.Contains(text, "dave erin") })
		if crossed > c.limit {
			t.Errorf("%s: %d requests about the edge crossed the connection, want %d at most", c.what, crossed, c.limit)
		}
		if a, b := p.view(0), p.view(1); a != b {
			t.Errorf("%s: alice knows %q, bob %q", c.what, a, b)
		}
	}
}

// A daemon that knows nothing of all this, or does not want to, says the same again and again.
func TestWhoInsistsOnWhatIsOutdatedIsAnsweredTwiceAMinute(t *testing.T) {
	for _, c := range []struct {
		what, before, text, answer string
	}{
		{"an edge that has ended", "13 b dave bob", "12 a dave bob 192.0.2.3 655 700000c 10", "13 "},
		{"an edge that has changed", "12 b dave bob 192.0.2.3 655 700000c 20", "12 a dave bob 192.0.2.3 655 700000c 10", "12 b "},
		{"an edge of ours that never was", "", "12 a alice dave 192.0.2.3 655 700000c 10", "13 "},
	} {
		p := newPlayer(t)
		p.input("node alice")
		p.neighbours()
		p.input("request 4 " + c.text)
		if c.before != "" {
			p.input("request 4 " + c.before)
		}
		answers := 0
		for range 1000 {
			answers += sends(p.input("request 2 "+c.text), 2, c.answer)
		}
		if answers == 0 || answers > maxAnswers {
			t.Errorf("%s: %d answers, want %d at most", c.what, answers, maxAnswers)
		}
	}
}

// twoCores are alice and bob, who each have carol for a neighbour.
type twoCores struct {
	t   *testing.T
	m   [2]*Mesh
	now time.Time
}

// pair makes alice and bob, and lets carol tell each of them some things.
func pair(t *testing.T, alice, bob []string) *twoCores {
	p := &twoCores{t: t, now: time.Unix(1_900_000_000, 0)}
	key := testKey("peer").Public()
	names := []node.Name{"alice", "bob"}
	for i, self := range names {
		m := New(Config{Name: self, Key: testKey(self), Port: 655, Hosts: map[node.Name]Host{
			names[1-i]: {Key: &key}, "carol": {Key: &key},
		}}, Deps{Rand: rand.New(rand.NewPCG(1, uint64(i))), Secrets: rand.NewChaCha8([32]byte{1})}, p.now)
		p.m[i] = m
		p.connect(i, 4, "carol")
		m.Handle(p.now, Request{Conn: 4, Text: fmt.Sprintf("12 f%d carol %s 192.0.2.2 655 700000c 10", i, self)})
		for _, text := range [][]string{alice, bob}[i] {
			m.Handle(p.now, Request{Conn: 4, Text: text})
		}
		m.Flush(p.now)
	}
	return p
}

func (p *twoCores) connect(i int, c ConnID, to node.Name) {
	m := p.m[i]
	m.Handle(p.now, Accepted{Conn: c, Remote: netip.MustParseAddrPort("192.0.2.1:4000")})
	m.Handle(p.now, Line{Conn: c, Text: "0 " + string(to) + " 17.7"})
	m.Handle(p.now, Secured{Conn: c})
	m.Handle(p.now, Request{Conn: c, Text: "4 655 10 700000c"})
}

// join connects the two, carries what they say until they are silent, and counts what counts.
func (p *twoCores) join(counts func(text string) bool) (crossed int) {
	p.now = p.now.Add(time.Second)
	p.connect(0, 2, "bob")
	p.connect(1, 2, "alice")
	for range 1000 {
		said := [2][]string{}
		for i, m := range p.m {
			for _, e := range m.Flush(p.now) {
				if s, ok := e.(Send); ok && s.Conn == 2 && !strings.HasPrefix(s.Text, "4 ") {
					said[i] = append(said[i], s.Text)
				}
			}
		}
		if len(said[0])+len(said[1]) == 0 {
			return crossed
		}
		p.now = p.now.Add(50 * time.Millisecond)
		for i, texts := range said {
			for _, text := range texts {
				if counts(text) {
					crossed++
				}
				p.m[1-i].Handle(p.now, Request{Conn: 2, Text: text})
			}
		}
	}
	p.t.Error("they never become silent")
	return crossed
}

// view is what one of them knows of the edge from dave to erin.
func (p *twoCores) view(i int) string {
	e, ok := p.m[i].graph.Get("dave", "erin")
	if !ok {
		return "none"
	}
	return fmt.Sprint(e.Addr, e.Options, e.Weight)
}

// sent are the requests of that kind to a connection.
func sent(effects []Effect, conn ConnID, prefix string) (texts []string) {
	for _, e := range effects {
		if s, ok := e.(Send); ok && s.Conn == conn && strings.HasPrefix(s.Text, prefix) {
			texts = append(texts, s.Text)
		}
	}
	return texts
}

// An answer depends on nothing but the text that it answers, so it travels over each connection
// once, whoever has sent it, and does not breed.
func TestTheSameTextHasTheSameAnswerEverywhere(t *testing.T) {
	for what, c := range map[string]struct{ text, end, answer string }{
		"an edge that has ended":                   {"12 a dave bob 192.0.2.3 655 700000c 10", "13 b dave bob", "13 "},
		"an edge of ours that never was":           {"12 a alice dave 192.0.2.3 655 700000c 10", "", "13 "},
		"the end of an edge of ours, which exists": {"13 a alice bob", "", "12 "},
		"another state of an edge of ours":         {"12 a alice bob 192.0.2.9 655 700000c 77", "", "12 "},
	} {
		p := newPlayer(t)
		p.input("node alice")
		p.neighbours()
		if c.end != "" {
			p.input("request 4 " + c.text)
			p.input("request 4 " + c.end)
		}
		first := sent(p.input("request 2 "+c.text), 2, c.answer)
		if len(first) != 1 {
			t.Errorf("%s: answered with %q", what, first)
			continue
		}
		for _, s := range sent(p.input("request 4 "+c.text), 4, c.answer) {
			if s != first[0] {
				t.Errorf("%s: answered with %q here and %q there", what, first[0], s)
			}
		}
	}
}

// The answer to an outdated text may overtake it.
func TestWhatWasTakenBackBeforeItCameIsNotBelieved(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	text := "12 a dave bob 192.0.2.3 655 700000c 10"
	p.input("request 2 " + string(refutation(text, "dave", "bob")))
	p.input("request 4 " + text)
	if _, ok := p.m.graph.Get("dave", "bob"); ok {
		t.Error("the edge is believed")
	}
	p.input("request 4 12 b dave bob 192.0.2.3 655 700000c 10")
	if _, ok := p.m.graph.Get("dave", "bob"); !ok {
		t.Error("the edge that was made afterwards is not believed")
	}
}

// From the moment of a contradiction an owner tells its edge as in that: others know the
// text from before as taken back.
func TestAnOwnerTellsNewcomersWhatItInsistedOn(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	said := sent(p.input("request 2 13 a alice bob"), 2, "12 ")
	if e, ok := p.m.graph.Get("alice", "bob"); !ok || len(said) != 1 || string(addEdge(*e)) != said[0] {
		t.Errorf("said %q, kept %+v", said, e)
	}
}
