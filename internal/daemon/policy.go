package daemon

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tincan/internal/control"
	"tincan/internal/dataplane"
	"tincan/internal/flow"
	"tincan/internal/members"
	"tincan/internal/mesh"
	"tincan/internal/node"
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
	since    time.Time // compiled is of this policy
	problem  string    // why the text is not what is in force
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
			r.known, r.text, r.policy, r.members, r.compiled, r.problem = false, "", nil, nil, nil, ""
		}
		return
	}
	if !r.known || text != r.text {
		r.parse(d, text)
	}
	list, before := members.PolicyMembers(s), r.members
	r.members = list
	same := func(a, b policy.Member) bool { return a.Name == b.Name && slices.Equal(a.Groups, b.Groups) }
	if r.compiled != nil && slices.EqualFunc(list, before, same) {
		return
	}
	if r.compiled == nil {
		r.since = time.Now()
	}
	r.compiled = r.policy.Compile(policy.NewMembers(list), r.compiled)
	d.plane.Policy().SetPolicy(r.compiled)
}

// parse takes another text. One that cannot be read leaves the rules that are in force, and if there are none everything is refused: it
// is the owners' will that not everything passes.
func (r *policyRules) parse(d *Daemon, text string) {
	p, err := policy.Parse(text)
	r.problem = ""
	if err != nil {
		r.problem = "the policy of the roster cannot be read by this version"
	}
	switch {
	case err == nil:
		d.log.printf(0, mesh.Notice, "the network has a new policy, of %d rules", len(p.Rules))
		r.policy, r.compiled = p, nil
	case r.policy == nil:
		r.problem += "; no packets pass until there is another one"
		d.log.failed(0, mesh.Error, unreadablePolicy(err, "no packets pass until there is another one"))
		r.policy, r.compiled = &policy.Policy{}, nil
	default:
		r.problem += "; the one before stays in force"
		d.log.failed(0, mesh.Error, unreadablePolicy(err, "the one before stays in force"))
	}
	r.known, r.text = true, text
}

func unreadablePolicy(err error, then string) error {
	return &Hinted{fmt.Errorf("the policy of the network cannot be read: %w; %s", err, then), "it may have been written for a newer tincan: update this one"}
}

// Policy says what the node does about the policy of its network (control.PolicyEnforcer).
func (b *backend) Policy() control.PolicyReport {
	rules := &b.d.rules
	rules.mu.Lock()
	defer rules.mu.Unlock()
	r := control.PolicyReport{Enforced: rules.compiled != nil, Problem: rules.problem, Rules: []control.RuleUse{}, Refused: []control.PolicyRefusal{}}
	if r.Enforced {
		since := rules.since.UTC().Truncate(time.Second)
		r.Since = &since
		for _, u := range rules.compiled.Uses() {
			r.Rules = append(r.Rules, control.RuleUse(u))
		}
	}
	for _, d := range b.d.plane.Drops() {
		switch d.Reason {
		case dataplane.RefusedIn.String():
			r.RefusedIn = d.Count
		case dataplane.RefusedOut.String():
			r.RefusedOut = d.Count
		}
	}
	list := b.d.plane.Policy().Refused()
	for _, one := range list[:min(len(list), control.MaxPolicyRefusals)] {
		v := control.PolicyRefusal{Node: one.Peer, Incoming: one.Dir == flow.In, Why: one.Why.String(), Count: one.Count, Last: one.Last}
		if one.Why != flow.Malformed {
			v.Service = one.Protocol.Service(one.Port)
		}
		r.Refused = append(r.Refused, v)
	}
	return r
}

// Codes of reasons that are about the policy.
const (
	whyAllowed   = "policy-allows"
	whyDenied    = "policy-refuses"
	whyHasDenied = "policy-has-refused"
)

// whyPolicy adds what the policy says of packets to a node: of those for a target, or of all. r says already how they get there.
func (b *backend) whyPolicy(name node.Name, to *policy.Target, r *control.WhyReport) {
	rules := &b.d.rules
	rules.mu.Lock()
	p, list, since := rules.policy, rules.members, rules.since
	inForce := rules.compiled != nil
	rules.mu.Unlock()
	self := b.d.network().Name
	if !inForce || name == self {
		return
	}
	add := func(code, format string, args ...any) {
		r.Reasons = append(r.Reasons, control.WhyReason{Code: code, Text: fmt.Sprintf(format, args...)})
	}
	refused := false
	if to != nil {
		a, err := p.Try(policy.NewMembers(list), string(self), *to)
		if err != nil {
			return
		}
		code := whyAllowed
		if refused = a.Refused != nil; refused {
			code = whyDenied
		}
		add(code, "the access policy: %s", a)
	} else {
		allowed, err := p.Between(policy.NewMembers(list), string(self), string(name))
		switch {
		case err != nil:
			return
		case len(allowed) == 0:
			refused = true
			add(whyDenied, "the access policy allows no packets to %s except replies", name)
		default:
			add(whyAllowed, "the access policy allows packets to %s: %s", name, services(allowed))
		}
	}
	told := 0
	for _, one := range b.d.plane.Policy().Refused() {
		if one.Peer != name || one.Last.Before(since) || told == maxFailures || to != nil && (one.Protocol != to.Protocol || one.Port != to.Port) {
			continue
		}
		told++
		direction := "to"
		if one.Dir == flow.In {
			direction = "from"
		}
		add(whyHasDenied, "the access policy refuses packets %s %s here, %s: %d so far, the last one %s ago; %s",
			direction, name, one.Protocol.Service(one.Port), one.Count, max(0, time.Since(one.Last)).Round(time.Second), one.Why)
	}
	if refused {
		r.Good = false
		if r.Change == "" {
			r.Change = fmt.Sprintf("let the owners allow it, by a line in the policy: %s policy edit", b.d.command())
		}
	}
}

// services are what rules allow, each with its line.
func services(rules []policy.Rule) string {
	var list []string
	for _, r := range rules {
		var words []string
		for _, s := range r.Services {
			words = append(words, s.String())
		}
		list = append(list, fmt.Sprintf("%s (line %d)", strings.Join(words, " "), r.Line))
	}
	return strings.Join(list, ", ")
}
