package mesh

import (
	"strings"
	"testing"
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
	for name, node := range map[string]string{
		"without an RSA key of our own": "node alice",
		"with one":                      "node alice rsa",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayer(t)
			var all []Effect
			p.watch = func(out []Effect) { all = append(all, out...) }
			p.input(node)
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

func codes(w Why) string {
	var out []string
	for _, r := range w.Reasons {
		out = append(out, r.Code)
	}
	return strings.Join(out, " ")
}
