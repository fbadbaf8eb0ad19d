package daemon

import (
	"fmt"
	"slices"
	"sync"

	"tincan/internal/mesh"
	"tincan/internal/policy"
	"tincan/internal/roster"
)

// policyRules puts the policy of the roster in force in the packet path. The zero value is ready.
type policyRules struct {
	mu       sync.Mutex
	known    bool // there is a policy, of this text
	text     string
	policy   *policy.Policy
	members  []policy.Member
	compiled *policy.Compiled
}

// set follows a state of the roster; nil: none counts. It works only if something has changed that matters for the rules.
func (r *policyRules) set(d *Daemon, s *roster.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, ok := "", false
	if s != nil {
		text, ok = s.Policy("")
	}
	if !ok {
		if r.known {
			d.log.printf(0, mesh.Notice, "the network has no policy any more: all packets may pass")
			d.plane.Policy().SetPolicy(nil)
			r.known, r.text, r.policy, r.members, r.compiled = false, "", nil, nil, nil
		}
		return
	}
	if !r.known || text != r.text {
		r.parse(d, text)
	}
	list := make([]policy.Member, len(s.Members))
	for i, m := range s.Members {
		list[i] = policy.Member{Name: m.Name, Groups: m.Groups}
	}
	same := func(a, b policy.Member) bool { return a.Name == b.Name && slices.Equal(a.Groups, b.Groups) }
	if r.compiled != nil && slices.EqualFunc(list, r.members, same) {
		return
	}
	r.members, r.compiled = list, r.policy.Compile(policy.NewMembers(list), r.compiled)
	d.plane.Policy().SetPolicy(r.compiled)
}

// parse takes another text. One that cannot be read leaves the rules that are in force, and if there are none everything is refused: it
// is the owners' will that not everything passes.
func (r *policyRules) parse(d *Daemon, text string) {
	p, err := policy.Parse(text)
	switch {
	case err == nil:
		d.log.printf(0, mesh.Notice, "the network has a new policy, of %d rules", len(p.Rules))
		r.policy, r.compiled = p, nil
	case r.policy == nil:
		d.log.failed(0, mesh.Error, unreadablePolicy(err, "no packets pass until there is another one"))
		r.policy, r.compiled = &policy.Policy{}, nil
	default:
		d.log.failed(0, mesh.Error, unreadablePolicy(err, "the one before stays in force"))
	}
	r.known, r.text = true, text
}

func unreadablePolicy(err error, then string) error {
	return &Hinted{fmt.Errorf("the policy of the network cannot be read: %w; %s", err, then), "it may have been written for a newer tincan: update this one"}
}
