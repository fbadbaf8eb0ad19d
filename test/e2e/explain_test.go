//go:build linux

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/lab"
)

// ask runs a command that prints JSON.
func (n *node) ask(into any, args ...string) {
	n.w.Helper()
	out := n.tincan(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		n.w.Fatalf("%v: %v in %s", args, err, out)
	}
}

// tryJSON is what a command prints with --json, if it succeeds.
func tryJSON[T any](n *node, args ...string) (v T, err error) {
	out, err := n.try(append(args, "--json")...)
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	return v, err
}

// why are the codes of the reasons for the path to a node.
func (n *node) why(to string) (codes []string, change string) {
	n.w.Helper()
	var r control.WhyReport
	n.ask(&r, "why", to)
	for _, reason := range r.Reasons {
		codes = append(codes, reason.Code)
	}
	return codes, r.Change
}

func TestANodeExplainsItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "meet"}, site{name: "a", connect: []string{"meet"}}, site{name: "b", connect: []string{"meet"}})
	a, b := n[1], n[2]
	upAll(n...)
	w.allReach("ip4", n...)
	a.talksDirectly(b)

	var p struct {
		Node           string
		Sent, Answered int
		Path           string
		RTT            float64 `json:"rtt_median_ms"`
		MTU            int     `json:"path_mtu"`
		Answers        []control.EchoAnswer
	}
	a.ask(&p, "ping", "b", "--count", "3", "--interval", "100ms")
	if p.Node != "b" || p.Answered != 3 || p.Path != string(control.PathUDP) || p.RTT <= 0 || p.MTU < 1280 || p.Answers[2].There != (control.EchoLeg{}) {
		t.Errorf("direct: %+v", p)
	}
	a.ask(&p, "ping", b.vpn("ip4").String(), "--count", "1", "--via", "meet")
	if p.Node != "b" || p.Answered != 1 || p.Answers[0].There.Hop != "meet" || p.Answers[0].There.TCP {
		t.Errorf("through meet: %+v", p)
	}
	a.ask(&p, "ping", "b", "--count", "1", "--transport", "tcp")
	if p.Answered != 1 || !p.Answers[0].There.TCP {
		t.Errorf("by TCP: %+v", p)
	}
	if out := a.tincan("ping", "b", "--count", "1"); !strings.Contains(out, "1 of 1 answered") || !strings.Contains(out, "packets go: direct (UDP)") {
		t.Errorf("%s", out)
	}
	if codes, change := a.why("b"); codes[0] != "direct-udp" || change != "" {
		t.Errorf("%v, %q", codes, change)
	}
	var r control.NetReport
	a.ask(&r, "netcheck")
	if r.NAT != control.NATNone || r.Answered != 2 || len(r.Seen) != 2 || r.Outgoing < 1 || len(r.Verdict) == 0 {
		t.Errorf("without NAT: %+v", r)
	}

	unblock := w.block(lab.UDP, a, b)
	w.eventually("a knows why b is relayed", patience, func() bool {
		_, _ = a.Ping(b.vpn("ip4"), 56, 500*time.Millisecond)
		codes, change := a.why("b")
		return slices.Contains(codes, "relayed") && slices.Contains(codes, "udp-blocked-between") && change != ""
	})
	out := a.tincan("why", "b")
	if !strings.Contains(out, "relayed by meet") || !strings.Contains(out, "suggestion: ") {
		t.Errorf("%s", out)
	}
	t.Logf("%s", out)
	unblock()
	a.talksDirectly(b)

	unblock = w.block(lab.UDP, b) // all of it
	w.eventually("each of the two knows whose network it is", patience, func() bool {
		_, _ = a.Ping(b.vpn("ip4"), 56, 500*time.Millisecond)
		there, _ := a.why("b")
		here, _ := b.why("a")
		return slices.Contains(there, "no-udp-there") && slices.Contains(here, "no-udp-here")
	})
	unblock()
	a.talksDirectly(b)

	b.stopped()
	w.eventually("a knows that b is away", patience, func() bool {
		codes, change := a.why("b")
		return slices.Equal(codes, []string{"unreachable", "not-in-the-mesh"}) && strings.Contains(change, "start b")
	})
	if _, err := a.try("ping", "b", "--count", "1"); err == nil || !strings.Contains(err.Error(), "b is not reachable") {
		t.Error(err)
	}
	var away struct{ Path, Error string }
	if out, err := a.try("ping", "b", "--json"); err == nil || json.Unmarshal([]byte(out), &away) != nil || away.Path != "unreachable" || away.Error != "b is not reachable" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAWrongKeyIsExplainedAtBothEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "meet"}, site{name: "a", connect: []string{"meet"}}, site{name: "b", connect: []string{"meet"}})
	meet, b := n[0], n[2]
	upAll(n...)
	w.allReach("ip4", n...)
	b.stopped()
	b.tincan("tinc", "generate-ed25519-keys")
	b.start()
	w.eventually("the one that has the old key says so", patience, func() bool {
		_, change := meet.why("b")
		return strings.Contains(change, "the key in hosts/b here is not the one that b has")
	})
	w.eventually("the one that is refused guesses it", patience, func() bool {
		_, change := b.why("a")
		return strings.Contains(change, "the log of meet") && strings.Contains(change, "its host file of b has another key")
	})
	if out := b.tincan("netcheck"); !strings.Contains(out, "The last attempt to connect with meet failed: ") {
		t.Errorf("%s", out)
	}
}

func TestNetcheckTellsTheKindOfNAT(t *testing.T) {
	t.Parallel()
	for kind, want := range map[lab.NAT]control.NATKind{lab.PortRestricted: control.NATEndpointIndependent, lab.Symmetric: control.NATSymmetric} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			one := w.node("one")
			one.found()
			one.up()
			two, a := w.node("two"), w.natted("a", kind)
			for _, n := range []*node{two, a} {
				n.joins(one.invite(n.Name()))
			}
			w.allReach("ip4", one, two, a)
			var r control.NetReport
			w.eventually("two nodes have told a from where they hear it", patience, func() bool {
				_, _ = a.Ping(two.vpn("ip4"), 56, 500*time.Millisecond)
				r = control.NetReport{}
				a.ask(&r, "netcheck")
				return len(r.Seen) == 2
			})
			if r.NAT != want {
				t.Errorf("%+v", r)
			}
		})
	}
}
