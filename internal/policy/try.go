package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tincan/internal/node"
)

// Case is one flow and what decides about it.
type Case struct {
	From, To  node.Name  // "" if the address is nobody's
	Src, Dst  netip.Addr // not valid if the member has no address
	Allowed   bool
	Line      int      // of the rule that allows it; 0 if none does
	Protocol  Protocol // what was asked about
	Port      uint16
	addresses bool // it depends on the addresses
}

// String says what becomes of the flow, and why.
func (c Case) String() string {
	side := func(name node.Name, addr netip.Addr) string {
		switch {
		case name == "":
			return addr.String()
		case c.addresses && addr.IsValid():
			return fmt.Sprintf("%s (%v)", name, addr)
		}
		return string(name)
	}
	text := fmt.Sprintf("%s -> %s %s: ", side(c.From, c.Src), side(c.To, c.Dst), c.Protocol.Service(c.Port))
	if c.Allowed {
		return fmt.Sprintf("%sallowed by line %d", text, c.Line)
	}
	return text + "refused, no line allows it"
}

// Answer is what the rules decide about the flows that a question is about: those between all addresses that are meant.
// If they are not decided alike there is an example of either.
type Answer struct {
	Allowed, Refused *Case // nil if there is none
}

// Uniform tells whether all flows are decided alike, and how.
func (a Answer) Uniform() (allowed, ok bool) {
	return a.Allowed != nil, a.Allowed == nil || a.Refused == nil
}

// String says what becomes of the flows.
func (a Answer) String() string {
	switch {
	case a.Refused == nil && a.Allowed == nil:
		return "there is no such flow"
	case a.Refused == nil:
		return a.Allowed.String()
	case a.Allowed == nil:
		return a.Refused.String()
	}
	return a.Allowed.String() + "; " + a.Refused.String()
}

// Try says what the rules decide about flows from a host to a target. from and to.Host are names of members, addresses, or
// groups (see [ParseHost], [ParseTarget]). The error says that there is no such member or group.
func (p *Policy) Try(m *Members, from string, to Target) (Answer, error) {
	src, err := p.points(m, from, func(r *Rule) []Selector { return r.From })
	if err != nil {
		return Answer{}, err
	}
	dst, err := p.points(m, to.Host, func(r *Rule) []Selector { return r.To })
	if err != nil {
		return Answer{}, err
	}
	var a Answer
	try := func(s, d point, srcAddr, dstAddr netip.Addr) {
		c := Case{From: s.member.Name, To: d.member.Name, Src: s.addr, Dst: d.addr, Protocol: to.Protocol, Port: to.Port}
		c.Line = p.decide(s.member, d.member, srcAddr, dstAddr, to.Protocol, to.Port)
		c.Allowed = c.Line > 0
		if c.Allowed && a.Allowed == nil {
			a.Allowed = &c
		} else if !c.Allowed && a.Refused == nil {
			a.Refused = &c
		}
	}
	type pair struct{ from, to *Member }
	tried := make(map[pair]bool)
	for _, s := range src {
		for _, d := range dst {
			if s.addr.IsValid() && d.addr.IsValid() && s.addr.Is4() == d.addr.Is4() {
				tried[pair{s.member, d.member}] = true
				try(s, d, s.addr, d.addr)
			}
		}
	}
	for _, s := range src { // no addresses that can reach each other: what goes by names
		for _, d := range dst {
			if p := (pair{s.member, d.member}); !tried[p] {
				tried[p] = true
				try(s, d, netip.Addr{}, netip.Addr{})
			}
		}
	}
	if a.Allowed != nil && a.Refused != nil && a.Allowed.From == a.Refused.From && a.Allowed.To == a.Refused.To {
		a.Allowed.addresses, a.Refused.addresses = true, true
	}
	return a, nil
}

// Between returns the rules that allow flows of some kind from a host to another one, at least between some of their
// addresses. from and to are as those of [Policy.Try].
func (p *Policy) Between(m *Members, from, to string) (list []Rule, err error) {
	src, err := p.points(m, from, func(r *Rule) []Selector { return r.From })
	if err != nil {
		return nil, err
	}
	dst, err := p.points(m, to, func(r *Rule) []Selector { return r.To })
	if err != nil {
		return nil, err
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if slices.ContainsFunc(src, func(s point) bool { return matches(r.From, s.member, s.addr) }) &&
			slices.ContainsFunc(dst, func(d point) bool { return matches(r.To, d.member, d.addr) }) {
			list = append(list, *r)
		}
	}
	return list, nil
}

// decide is the decision by the rules as they are written: the line of the first that allows the flow, 0 if none does.
func (p *Policy) decide(from, to *Member, src, dst netip.Addr, proto Protocol, port uint16) (line int) {
	for i := range p.Rules {
		r := &p.Rules[i]
		if matches(r.From, from, src) && matches(r.To, to, dst) &&
			slices.ContainsFunc(r.Services, func(s Service) bool { return s.covers(proto, port) }) {
			return r.Line
		}
	}
	return 0
}

// matches tells whether a selector of list is about this member or address.
func matches(list []Selector, m *Member, addr netip.Addr) bool {
	return slices.ContainsFunc(list, func(s Selector) bool {
		return s.Any || s.Name != "" && s.Name == m.Name || s.Group != "" && slices.Contains(m.Groups, s.Group) ||
			s.Prefix.IsValid() && s.Prefix.Contains(addr)
	})
}

// point is a member with one of its addresses, which stands for all that the rules treat alike.
type point struct {
	member *Member
	addr   netip.Addr
}

// points are the points of a host, on the side of the rules that selectors returns.
func (p *Policy) points(m *Members, host string, selectors func(*Rule) []Selector) (list []point, err error) {
	s, why := selector(host)
	switch {
	case why != "":
		return nil, fmt.Errorf("%s", why)
	case s.Prefix.IsValid():
		addr := s.Prefix.Addr()
		return []point{{member: m.owner(addr), addr: addr}}, nil
	case s.Name != "":
		if m.byName[s.Name] == nil {
			return nil, fmt.Errorf("there is no member %s", s.Name)
		}
		return p.pointsOf(m, m.byName[s.Name], selectors), nil
	}
	for i := range m.list {
		if slices.Contains(m.list[i].Groups, s.Group) {
			list = append(list, p.pointsOf(m, &m.list[i], selectors)...)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("there is no member in the group %s", s.Group)
	}
	return list, nil
}

// pointsOf are the points of a member: an address for each set of prefixes in the rules that addresses of it may be in,
// in each family.
func (p *Policy) pointsOf(m *Members, of *Member, selectors func(*Rule) []Selector) (list []point) {
	var prefixes []netip.Prefix
	for i := range p.Rules {
		for _, s := range selectors(&p.Rules[i]) {
			if s.Prefix.IsValid() && !slices.Contains(prefixes, s.Prefix) {
				prefixes = append(prefixes, s.Prefix)
			}
		}
	}
	seen := make(map[string]bool)
	add := func(addr netip.Addr) {
		if !addr.IsValid() || m.owner(addr) != of {
			return // another one has a part of the subnet
		}
		var in strings.Builder
		if addr.Is4() {
			in.WriteByte('4')
		}
		for _, p := range prefixes {
			if p.Contains(addr) {
				in.WriteByte('1')
			} else {
				in.WriteByte('0')
			}
		}
		if !seen[in.String()] {
			seen[in.String()] = true
			list = append(list, point{member: of, addr: addr})
		}
	}
	// What the rules decide changes only where a prefix begins, and after it ends.
	for _, s := range of.Subnets {
		s = s.Masked()
		add(s.Addr())
		for _, other := range prefixes {
			if s.Overlaps(other) {
				add(other.Addr())
				add(lastOf(other).Next())
			}
		}
		for i := range m.list { // the same goes for who has the address
			for _, other := range m.list[i].Subnets {
				if other = other.Masked(); &m.list[i] != of && s.Overlaps(other) && other.Bits() >= s.Bits() {
					add(lastOf(other).Next())
				}
			}
		}
	}
	if len(list) == 0 {
		return []point{{member: of}}
	}
	return list
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// Result is what became of a test.
type Result struct {
	Test   Test
	Passed bool
	Answer Answer
	Err    error // instead of an answer: there is no such member or group
}

// String says what was tested, and what the rules decide.
func (r Result) String() string {
	verb := "passes"
	if !r.Passed {
		verb = "fails"
	}
	return fmt.Sprintf("line %d: test %s -> %s %s %s: %s", r.Test.Line, r.Test.From, r.Test.To, r.Test.Expected(), verb, r.Decision())
}

// Decision says what the rules decide.
func (r Result) Decision() string {
	if r.Err != nil {
		return r.Err.Error()
	}
	return r.Answer.String()
}

// Expected is "allow" or "deny", as the test is written.
func (t Test) Expected() string {
	if t.Allow {
		return "allow"
	}
	return "deny"
}

// Check runs the tests, in the order of their lines. A test passes if all flows that it is about are decided as it says.
func (p *Policy) Check(m *Members) []Result {
	results := make([]Result, len(p.Tests))
	for i, t := range p.Tests {
		a, err := p.Try(m, t.From, t.To)
		allowed, uniform := a.Uniform()
		results[i] = Result{t, err == nil && uniform && allowed == t.Allow, a, err}
	}
	return results
}
