package check

import (
	"fmt"

	"tincan/internal/members"
	"tincan/internal/policy"
)

// policy looks at the access policy of a signed network: whether it can be read, and whether its tests pass among the
// present members. A roster that cannot be read is not its subject.
func (in *inspection) policy() {
	if in.roster == nil {
		return
	}
	s := in.roster.State()
	text, ok := s.Policy("")
	if !ok {
		return
	}
	p, err := policy.Parse(text)
	if err != nil {
		in.add(Policy, Breaks, "", fmt.Sprintf("this version cannot read it, so a node that starts with it lets nothing pass: %v", err), "update this program")
		return
	}
	failed := 0
	for _, result := range p.Check(policy.NewMembers(members.PolicyMembers(s))) {
		if !result.Passed {
			failed++
			in.add(Policy, Weak, "", result.String(), "tincan policy edit, with an owner's key; the members have changed since the policy was signed")
		}
	}
	if failed == 0 {
		in.add(Policy, OK, "", fmt.Sprintf("it has %d rules and %d tests, none of which fails", len(p.Rules), len(p.Tests)), "")
	}
}
