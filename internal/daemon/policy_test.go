package daemon

import (
	"slices"
	"testing"

	"tincan/internal/members"
)

// inForce are the lines of the rules that a node enforces, nil if there is no policy.
func (n *testNode) inForce() (lines []int) {
	f := n.daemon.plane.Policy()
	if !f.Active() {
		return nil
	}
	lines = []int{}
	for _, u := range f.Uses() {
		lines = append(lines, u.Line)
	}
	return lines
}

func TestThePolicyOfTheRosterIsInForce(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b", "ConnectTo = a")
	r, owner := signedBy(t, a, b)
	for _, n := range []*testNode{a, b} {
		must(t, members.Save(n.layout, r))
	}
	a.knows(b)
	a.start()
	b.knows(a)
	b.start()
	ca := a.client()
	eventually(t, "a sees b", func() bool { return a.sees(ca, "b") })
	if a.inForce() != nil {
		t.Error("there is a policy before anybody has signed one")
	}
	sign := func(text string) {
		t.Helper()
		raw, err := r.SignPolicy("", text, owner)
		must(t, err)
		r.Merge([][]byte{raw})
		outcome, err := ca.AddStatements([][]byte{raw})
		must(t, err)
		if outcome != "added" {
			t.Fatalf("outcome %q", outcome)
		}
	}
	both := func(what string, lines ...int) {
		t.Helper()
		eventually(t, what, func() bool { return slices.Equal(a.inForce(), lines) && slices.Equal(b.inForce(), lines) })
	}
	sign("# rules\nallow a -> b tcp:22\nallow * -> * icmp\n")
	both("the rules are in force at both", 2, 3)
	sign("allow a -> b tcp:22\nallow * -> * warp\n")
	eventually(t, "b says what it cannot read", func() bool {
		return b.said(`line 2, column 14: "warp" is no protocol`) && b.said("the one before stays in force")
	})
	both("the rules stay", 2, 3)

	// A node that starts with a policy it cannot read lets nothing pass.
	b.stop()
	b.start()
	if lines := b.inForce(); lines == nil || len(lines) != 0 {
		t.Errorf("in force after the start: %v", lines)
	}
	cb := b.client()
	if report, err := cb.Policy(); err != nil || !report.Enforced || report.Problem != "the policy of the roster cannot be read by this version; no packets pass until there is another one" {
		t.Errorf("%v, %+v", err, report)
	}
	sign("allow * -> * *")
	both("another policy", 1)
	report, err := cb.Policy()
	must(t, err)
	if !report.Enforced || report.Problem != "" || len(report.Rules) != 1 || report.Since == nil {
		t.Errorf("%+v", report)
	}
	// One without text is none.
	sign("")
	eventually(t, "no policy at both", func() bool { return a.inForce() == nil && b.inForce() == nil })
	sign("allow * -> * *")
	both("a policy again", 1)
	// Who does not enforce the roster does not enforce its policy.
	a.add("tinc.conf", "Roster = warn")
	must(t, a.reload())
	if a.inForce() != nil {
		t.Error("a policy is in force where the roster only warns")
	}
}
