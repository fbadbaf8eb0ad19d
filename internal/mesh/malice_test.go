package mesh

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tincan/internal/b64"
	"tincan/internal/mesh/pmtu"
	"tincan/internal/node"
	"tincan/internal/sptps"
)

// These tests are what a dishonest member can say: mallory, with a valid key, has logged in at a
// neighbour of ours and sends whatever she likes in the name of others.

// statesOf returns the last published states of a node.
func statesOf(effects []Effect, name string) (states []PeerState) {
	for _, e := range effects {
		if pub, ok := e.(PublishPeers); ok {
			for _, s := range pub.Peers {
				if string(s.Node) == name {
					states = append(states, s)
				}
			}
		}
	}
	return states
}

func TestNothingGoesInClearToAnInventedNode(t *testing.T) {
	for name, start := range map[string]string{
		"without an RSA key of our own": "node alice",
		"with one":                      "node alice rsa",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayer(t)
			var all []Effect
			p.watch = func(out []Effect) { all = append(all, out...) }
			p.input(start)
			p.input("pongs on")
			p.neighbours()
			all = nil
			for _, line := range []string{
				"request 2 12 a1 bob eve 203.0.113.5 655 0 5", "request 2 12 a2 eve bob 203.0.113.2 655 0 5",
				"request 2 10 a3 eve 10.6.6.0/24", "traffic eve", "wait 12s", "traffic eve",
				"oldkey eve 2", "wait 3s", "traffic eve",
			} {
				p.input(line)
			}
			states := statesOf(all, "eve")
			if len(states) == 0 {
				t.Fatal("nothing was published of eve")
			}
			for _, s := range states {
				if s.Reachable && (s.Tunnel != nil || s.Legacy != nil && !s.PassOnly || s.MinMTU > 0) {
					t.Errorf("packets may go to eve: %+v", s)
				}
			}
			for _, e := range all {
				if s, ok := e.(Send); ok && (strings.HasPrefix(s.Text, "15 alice eve") || strings.HasPrefix(s.Text, "16 alice eve")) {
					t.Errorf("eve is told %q", s.Text)
				}
			}
			w := p.m.Why("eve", Found{})
			if w.Good || w.Change == "" || !strings.Contains(codes(w), WhyNoRSAKey) {
				t.Errorf("why: %+v", w)
			}
		})
	}
}

// The RSA key of a node of tinc 1.0 may come after the node.
func TestPacketsGoToAnOldNodeWhenItsKeyArrives(t *testing.T) {
	p := newPlayer(t)
	var all []Effect
	p.watch = func(out []Effect) { all = append(all, out...) }
	p.input("node alice rsa")
	p.input("pongs on")
	p.neighbours()
	for _, line := range []string{
		"request 2 12 a1 bob eve 203.0.113.5 655 0 5", "request 2 12 a2 eve bob 203.0.113.2 655 0 5", "traffic eve",
	} {
		p.input(line)
	}
	if s := statesOf(all, "eve"); len(s) == 0 || !s[len(s)-1].PassOnly {
		t.Fatalf("without her key: %+v", s)
	}
	all = nil
	p.input("host eve oldfile=eve")
	if s := statesOf(all, "eve"); len(s) == 0 || s[len(s)-1].PassOnly {
		t.Errorf("with her key: %+v", s)
	}
}

func codes(w Why) string {
	var out []string
	for _, r := range w.Reasons {
		out = append(out, r.Code)
	}
	return strings.Join(out, " ")
}

// behindCarol lets eve appear behind carol, who says so herself.
func (p *player) behindCarol() {
	for _, line := range []string{
		"request 4 12 c1 carol eve 203.0.113.5 655 700000c 5", "request 4 12 c2 eve carol 203.0.113.2 655 700000c 5",
	} {
		p.input(line)
	}
}

// toldKey is the REQ_KEY by which somebody tells the key of holder as that of eve.
func toldKey(conn, holder string) string {
	return "request " + conn + " 15 eve alice 20 " + testKey(node.Name(holder)).Public().String()
}

// learnedKeys are the keys that are to be stored, by node.
func learnedKeys(t *testing.T, effects []Effect) map[node.Name]SaveLearned {
	t.Helper()
	out := map[node.Name]SaveLearned{}
	for _, e := range effects {
		switch e := e.(type) {
		case SaveKey:
			t.Errorf("the host file of %s is written", e.Node)
		case SaveLearned:
			out[e.Node] = e
		}
	}
	return out
}

// mallory is bob here, and eve is behind carol.
func TestKeyCannotBePlantedFromOffThePath(t *testing.T) {
	mallory := testKey("mallory").Public().String()
	for name, lines := range map[string][]string{
		"nobody has asked":              {toldKey("2", "mallory")},
		"nobody has asked, on the path": {toldKey("4", "mallory")},
		"after a question of hers":      {"request 2 15 eve alice 19", toldKey("2", "mallory")},
		"after a start in eve's name":   {"request 2 15 eve alice 15 " + strings.Repeat("A", 90), toldKey("2", "mallory")},
		"after traffic of ours":         {"traffic eve", toldKey("2", "mallory")},
		"again and again": {"traffic eve", toldKey("2", "mallory"), "wait 3s", "traffic eve", toldKey("2", "mallory"),
			"wait 3s", "traffic eve", toldKey("2", "mallory"), "wait 3s", "traffic eve", toldKey("2", "mallory")},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayer(t)
			var all []Effect
			p.watch = func(out []Effect) { all = append(all, out...) }
			p.input("node alice")
			p.input("pongs on")
			p.neighbours()
			p.behindCarol()
			for _, line := range lines {
				p.input(line)
			}
			// Whom we have asked three times in vain may have answered by another path.
			if k := p.m.keyring.sessionKey(p.m.nodes["eve"]); k != nil && name != "again and again" {
				t.Error("mallory's key is tried")
			}
			// mallory knows nothing of what we have sent to eve by way of carol.
			p.input("request 2 16 eve alice " + strings.Repeat("A", 94) + " -1 -1 -1 0")
			if got := learnedKeys(t, all); len(got) > 0 {
				t.Fatalf("stored %v", got)
			}
			if k := p.m.nodes["eve"].key(); k != nil && k.String() == mallory {
				t.Fatal("mallory's key is believed")
			}
			p.input("wait 25s")
			p.input("traffic eve")
			p.input("wait 2100ms")
			p.input("traffic eve")
			delete(p.peers, "eve")
			p.input(toldKey("4", "eve"))
			p.input("session eve 4")
			if got := learnedKeys(t, all)["eve"]; got.Key != testKey("eve").Public() || got.By != "carol" {
				t.Errorf("stored of eve: %+v, want her key, vouched for by carol", got)
			}
			if !p.m.nodes["eve"].keys.session.ready() {
				t.Error("there is no session with eve")
			}
		})
	}
}

func TestLearnedKeyLetsInOnlyWhomANeighbourVouchesFor(t *testing.T) {
	for name, c := range map[string]struct {
		before []string // instead of carol's own word
		in     bool
	}{
		"a neighbour that has let eve in": {nil, true},
		"somebody says that carol has let her in": {[]string{
			"request 2 12 c1 carol eve 203.0.113.5 655 700000c 5", "request 2 12 c2 eve carol 203.0.113.2 655 700000c 5"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayer(t)
			p.input("node alice")
			p.input("pongs on")
			p.neighbours()
			if c.before == nil {
				p.behindCarol()
			}
			for _, line := range c.before {
				p.input(line)
			}
			p.input("traffic eve")
			p.input(toldKey("4", "eve"))
			p.input("session eve 4")
			if !p.m.nodes["eve"].keys.session.ready() {
				t.Fatal("there is no session with eve")
			}
			p.input("accepted 8 203.0.113.5:4000")
			secured := false
			for _, e := range p.input("line 8 0 eve 17.7") {
				if s, ok := e.(Secure); ok && s.PeerKey == testKey("eve").Public() {
					secured = true
				}
			}
			if secured != c.in {
				t.Fatalf("a login begins: %t, want %t", secured, c.in)
			}
			if !c.in {
				return
			}
			p.input("secured 8")
			p.input("request 8 4 655 10 700000c")
			// carol is removed, and with her whom she has let in
			if !slices.Contains(closes(p.input("reload nofile=carol")), 8) {
				t.Error("eve stays although nobody vouches for her any more")
			}
		})
	}
}

func TestRemovedNodeIsNotLearnedAgain(t *testing.T) {
	p := newPlayer(t)
	var all []Effect
	p.watch = func(out []Effect) { all = append(all, out...) }
	p.input("node alice file=eve")
	p.input("pongs on")
	p.neighbours()
	p.behindCarol()
	p.input("host eve nofile=eve") // eve knocks, and her file is gone; nobody has reloaded yet
	p.input("traffic eve")
	p.input(toldKey("4", "eve"))
	p.input("wait 3s")
	p.input("traffic eve")
	p.input(toldKey("4", "eve"))
	if n := sends(all, 4, "15 alice eve"); n != 0 {
		t.Errorf("eve is asked or told something %d times", n)
	}
	if len(learnedKeys(t, all)) > 0 || p.m.nodes["eve"].key() != nil {
		t.Error("the key of eve is learned again")
	}
	p.m.Handle(p.now, Vouched{Node: "eve", By: "carol", Key: testKey("eve").Public()})
	if p.m.nodes["eve"].key() != nil {
		t.Error("the key of eve is taken from carol, who has let her in")
	}
	p.input("accepted 8 203.0.113.5:4000")
	p.input("line 8 0 eve 17.7")
	if p.m.links.conns[8] != nil {
		t.Error("eve may log in")
	}
	p.input("host eve file=eve") // her owner has put the file back
	if n := sends(p.input("traffic eve"), 4, "15 alice eve 15"); n != 1 {
		t.Errorf("%d sessions are begun with eve, who is back, want 1", n)
	}
}

func TestForgedAnswersLeaveASessionAlone(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice file=eve")
	p.input("pongs on")
	p.neighbours()
	p.behindCarol()
	p.input("traffic eve")
	p.input("session eve 4")
	p.input("session bob 2")
	for _, n := range []string{"eve", "bob"} {
		for _, conn := range []string{"2", "4"} {
			if n == "bob" && conn == "2" {
				continue
			}
			before := p.m.nodes[node.Name(n)].published
			for _, lines := range [][]string{
				{"request " + conn + " 16 " + n + " alice AAAAAAAAAAAAAAAA -1 -1 -1 9"},
				{"request " + conn + " 16 " + n + " alice " + strings.Repeat("A", 92) + " -1 -1 -1 5 203.0.113.99 655"},
				{"request " + conn + " 15 " + n + " alice 15 " + strings.Repeat("B", 94)},
				{"request " + conn + " 14 ffe0" + n[:1] + " " + n},
				{"request " + conn + " 23 " + n + " alice 600"},
			} {
				for _, line := range lines {
					p.input(line)
				}
			}
			now := p.m.nodes[node.Name(n)].published
			if now.Tunnel == nil || now.Tunnel != before.Tunnel || now.Compression != 0 {
				t.Errorf("%s, over connection %s: %+v, before %+v", n, conn, now, before)
			}
		}
	}
}

// What others say of the MTU towards a node, or of its address, does little and does not last.
func TestToldMTUIsBoundedAndExpires(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice file=eve")
	p.input("pongs on")
	p.neighbours()
	p.behindCarol()
	eve := p.m.nodes["eve"]
	for _, c := range []struct {
		line string
		want int
	}{
		{"request 2 23 eve alice 512", minToldMTU}, // bob: not on our path to eve
		{"request 2 23 eve alice 1400", 1400},
		{"request 4 23 eve alice 600", 600}, // carol is
		{"wait 50s", 600},
		{"request 4 23 eve alice 1300", 1300},
		{"wait 50s", 1300},
		{"wait 12s", pmtu.MaxFrame},
	} {
		p.input(c.line)
		if eve.udp().pmtu.MTU() != c.want {
			t.Errorf("after %q the MTU towards eve is %d, want %d", c.line, eve.udp().pmtu.MTU(), c.want)
		}
	}
}

func TestToldAddressOfAnOldNodeDoesNotCount(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice rsa oldfile=eve")
	p.input("pongs on")
	p.neighbours()
	p.input("request 4 12 c1 carol eve 203.0.113.5 655 8 5")
	p.input("request 4 12 c2 eve carol 203.0.113.2 655 8 5")
	eve := p.m.nodes["eve"]
	if was := eve.udp().addr; !eve.keys.session.hopByHop() || !was.IsValid() {
		t.Fatalf("eve at %s is no node of tinc 1.0", was)
	}
	was := eve.udp().addr
	p.input("request 2 22 eve alice 198.51.100.66 655")
	if eve.udp().addr != was {
		t.Errorf("eve is sent packets at %s, because somebody says so", eve.udp().addr)
	}
}

func TestFloodOfStartsDoesNotKeepOutTheNode(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice file=eve")
	p.input("pongs on")
	p.neighbours()
	p.behindCarol()
	kex := func() string {
		_, kex, err := sptps.NewDatagram(sptps.Config{
			Initiator: true, Key: testKey("mallory"), Peer: testKey("alice").Public(),
			Label: sptps.LabelUDP("eve", "alice"), Rand: rand.NewChaCha8([32]byte{9}),
		})
		if err != nil {
			t.Fatal(err)
		}
		return b64.Encode(kex)
	}()
	for i := range 50 {
		p.input("request 2 15 eve alice 15 " + kex[:len(kex)-2] + fmt.Sprintf("%02d", i))
	}
	delete(p.peers, "eve")
	p.input("session eve 4")
	if !p.m.nodes["eve"].keys.session.ready() {
		t.Error("eve's own session does not come about")
	}
}

// Whoever sends the first record of a handshake in the name of a node, from anywhere, neither ends nor delays that of the
// node itself. Carol is on the path to eve, bob is not.
func TestForgedFirstRecordsDelayNoHandshake(t *testing.T) {
	for _, begins := range []string{"alice", "eve", "both"} {
		for _, forged := range []string{"start", "answer"} {
			for _, conn := range []string{"2", "4"} {
				for _, when := range []string{"before", "after", "before and after"} {
					t.Run(fmt.Sprintf("%s begins, a forged %s over %s %s", begins, forged, conn, when), func(t *testing.T) {
						forgedHandshake(t, begins, forged, conn, when)
					})
				}
			}
		}
	}
}

func forgedHandshake(t *testing.T, begins, forged, conn, when string) {
	p := newPlayer(t)
	p.input("node alice file=eve")
	p.input("pongs on")
	p.neighbours()
	p.behindCarol()
	seed := byte(0)
	datagram := func(initiator bool, key node.Name) (*sptps.Datagram, string) {
		seed++
		label := sptps.LabelUDP("alice", "eve")
		if initiator {
			label = sptps.LabelUDP("eve", "alice")
		}
		d, kex, err := sptps.NewDatagram(sptps.Config{
			Initiator: initiator, Key: testKey(key), Peer: testKey("alice").Public(), Label: label, Rand: rand.NewChaCha8([32]byte{seed}),
		})
		if err != nil {
			t.Fatal(err)
		}
		return d, b64.Encode(kex)
	}
	forge := func(moment string) {
		if !strings.Contains(when, moment) {
			return
		}
		_, kex := datagram(forged == "start", "mallory")
		if forged == "start" {
			p.input("request " + conn + " 15 eve alice 15 " + kex)
		} else {
			p.input("request " + conn + " 16 eve alice " + kex + " -1 -1 -1 0")
		}
	}
	began := p.now
	eve := p.fake("eve")
	var theirs []*sptps.Datagram
	if begins != "eve" {
		p.input("traffic eve")
		forge("before")
	}
	if begins != "alice" {
		d, kex := datagram(true, "eve")
		theirs = append(theirs, d)
		if begins == "eve" {
			forge("before")
		}
		p.input("request 4 15 eve alice 15 " + kex)
		forge("after")
	}
	for len(eve.inbox) > 0 {
		words := strings.Fields(eve.inbox[0])
		eve.inbox = eve.inbox[1:]
		if words[0] == "15" && begins == "both" { // she has the greater name, and yields
			theirs = nil
		}
		text := words[3]
		if words[0] == "15" {
			d, kex := datagram(false, "eve")
			theirs, text = append(theirs, d), words[4]
			p.input("request 4 16 eve alice " + kex + " -1 -1 -1 0")
			forge("after")
		}
		record, err := b64.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range theirs {
			if out, _, err := d.Handshake(record); err == nil {
				for _, r := range out {
					p.input("request 4 16 eve alice " + b64.Encode(r) + " -1 -1 -1 0")
				}
				break
			}
		}
	}
	if !p.m.nodes["eve"].keys.session.ready() {
		t.Error("the handshake of eve and alice comes to nothing")
	}
	if took := p.now.Sub(began); took > repeatAfter {
		t.Errorf("the handshake took %v", took)
	}
	if n := p.m.nodes["eve"].keys.session.(*sptpsSession); n.pending() {
		t.Error("a handshake is still under way")
	}
}

func TestExchangesOfAKindAreFew(t *testing.T) {
	var list []*exchange
	for i := range 20 {
		list = with(list, &exchange{received: fmt.Sprint(i), leads: i == 2 || i == 5})
	}
	var left []string
	for _, e := range list {
		left = append(left, e.received)
	}
	if want := []string{"2", "5", "19"}; !slices.Equal(left, want) {
		t.Errorf("%v are left, want %v", left, want)
	}
}
