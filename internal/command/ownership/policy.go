package ownership

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/policy"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

// PolicyTemplate is what somebody begins with who writes the first policy of a network.
const PolicyTemplate = `# Who may connect to whom. What no line allows is refused; replies need no line.
#
#   allow FROM -> TO SERVICE...      FROM, TO: a member, group:NAME, an address, a prefix, *
#   test  FROM -> HOST:PORT allow    what the lines above have to decide (or: deny)
#
# allow  group:admin  ->  *          tcp:22
# allow  *            ->  group:web  tcp:80,443
# test   bob          ->  web1:22    deny

allow  *  ->  *  icmp
allow  *  ->  *  tcp:1655   # distribution of host files
`

// Draft is the text of a policy, and what it comes to among the present members.
type Draft struct {
	Text     string
	Policy   *policy.Policy // nil: the text is not that of a policy
	Errors   policy.Errors  // why not
	Results  []policy.Result
	Warnings []PolicyWarning
}

// PolicyWarning is something in a policy that may be a mistake.
type PolicyWarning struct {
	Code string // one of the constants below
	Line int    // 0: it is about no line
	Text string
}

// Codes of warnings.
const (
	PolicyUnknown        = "unknown"         // a name or group that no member has
	PolicyNoDistribution = "no-distribution" // host files cannot be fetched
)

// Failed counts the tests that the rules do not pass.
func (d *Draft) Failed() (n int) {
	for _, r := range d.Results {
		if !r.Passed {
			n++
		}
	}
	return n
}

// ErrNoRules: a policy without rules would refuse every packet.
var ErrNoRules = errors.New("a policy without a rule would refuse every packet")

// Err says why this is no policy that can be signed, nil if it is one.
func (d *Draft) Err() error {
	switch failed := d.Failed(); {
	case len(d.Errors) == 1:
		return errors.New("the policy has an error")
	case len(d.Errors) > 1:
		return fmt.Errorf("the policy has %d errors", len(d.Errors))
	case len(d.Policy.Rules) == 0:
		return ErrNoRules
	case failed == 1:
		return errors.New("a test of the policy fails")
	case failed > 1:
		return fmt.Errorf("%d tests of the policy fail", failed)
	}
	return nil
}

// Draft reads the text of a policy, and tries its tests. The ends of lines become those of Unix; otherwise the text
// is signed as it is, so that lines keep their numbers.
func (n *Network) Draft(text string) Draft {
	d := Draft{Text: strings.ReplaceAll(text, "\r\n", "\n")}
	if d.Text != "" && !strings.HasSuffix(d.Text, "\n") {
		d.Text += "\n"
	}
	p, err := policy.Parse(d.Text)
	if err == nil && !utf8.ValidString(d.Text) {
		err = policy.Errors{{Line: 1, Column: 1, Problem: "the text is not UTF-8"}}
	}
	if errors.As(err, &d.Errors) {
		return d
	}
	m := n.PolicyMembers()
	d.Policy, d.Results = p, p.Check(m)
	for _, u := range p.Unknown(m) {
		d.Warnings = append(d.Warnings, PolicyWarning{PolicyUnknown, u.Line, fmt.Sprintf("no member is meant by %s at the moment", u.What)})
	}
	if w, ok := n.distributes(p, m); !ok && len(p.Rules) > 0 {
		d.Warnings = append(d.Warnings, w)
	}
	return d
}

// PolicyMembers are the present members, as the rules see them.
func (n *Network) PolicyMembers() *policy.Members {
	return policy.NewMembers(members.PolicyMembers(n.Roster.State()))
}

// maxDistribution is for how many members it is checked whether host files can be fetched.
const maxDistribution = 100

// distributes tells whether this node can exchange host files with the other members under a policy, as far as it does.
func (n *Network) distributes(p *policy.Policy, m *policy.Members) (w PolicyWarning, ok bool) {
	s := n.Files.Settings
	if s.KeyDistribution == config.KeepKeys {
		return w, true
	}
	to := policy.Target{Protocol: policy.TCP, Port: uint16(s.KeyDistributionPort)}
	self, list := n.Files.Name, n.Roster.State().Members
	for _, other := range list[:min(len(list), maxDistribution)] {
		for _, pair := range [][2]node.Name{{self, other.Name}, {other.Name, self}} {
			to.Host = string(pair[1])
			a, err := p.Try(m, string(pair[0]), to)
			if err == nil && a.Refused != nil && pair[0] != pair[1] {
				return PolicyWarning{Code: PolicyNoDistribution, Text: fmt.Sprintf(
					"%s may not fetch host files from %s: for that there has to be a line such as: allow * -> * tcp:%d", pair[0], pair[1], to.Port)}, false
			}
		}
	}
	return w, true
}

// Policy is the policy of the network, nil if it has none.
func (n *Network) Policy() *roster.SignedPolicy {
	if p := n.Roster.State().SignedPolicy(""); p != nil && p.Text != "" {
		return p
	}
	return nil
}

const changingPolicy = "changing the policy"

// MaySetPolicy says why the policy cannot be changed here, nil if it can.
func (n *Network) MaySetPolicy() error {
	key, err := n.owner(changingPolicy, roster.RightPolicy)
	if err == nil {
		_, err = n.Roster.SignPolicy("", "", key)
	}
	return err
}

// SetPolicy makes a text the policy of the network; without text there is none from then on. changed is false if it is
// the policy already. The text is not looked at, see [Draft.Err].
func (n *Network) SetPolicy(text string) (changed bool, err error) {
	before := n.Roster.State().SignedPolicy("")
	if before == nil && text == "" || before != nil && before.Text == text {
		return false, nil
	}
	// While somebody was writing another owner may have signed one.
	if err := n.Refresh(); err != nil {
		return false, err
	}
	if now := n.Roster.State().SignedPolicy(""); now != nil && (before == nil || now.Statement != before.Statement) {
		return false, terminal.Hint(fmt.Errorf("%s: %s has signed another one meanwhile", changingPolicy, members.Who(n.Roster.State(), now.By)), "look at it first: tincan policy show")
	}
	err = n.sign(changingPolicy, roster.RightPolicy, func(key *keys.PrivateKey) ([][]byte, error) {
		raw, err := n.Roster.SignPolicy("", text, key)
		return [][]byte{raw}, err
	})
	if err == nil {
		if now := n.Roster.State().SignedPolicy(""); now == nil || now.Text != text {
			err = fmt.Errorf("%s: the statement is in the roster, but another one counts", changingPolicy)
		}
	}
	return err == nil, err
}
