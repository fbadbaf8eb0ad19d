package policy

import (
	"net/netip"
	"slices"

	"tincan/internal/node"
)

// Member is what rules can say of a node.
type Member struct {
	Name    node.Name
	Groups  []string
	Subnets []netip.Prefix
}

// Members are those of a network. It is immutable and safe for concurrent use. Nodes that are not among them have a name,
// and no groups.
type Members struct {
	list   []Member
	byName map[node.Name]*Member
}

// NewMembers makes one of a list, which must not be changed any more. Of two members with one name the first counts.
func NewMembers(list []Member) *Members {
	m := &Members{list: list, byName: make(map[node.Name]*Member, len(list))}
	for i := range list {
		if m.byName[list[i].Name] == nil {
			m.byName[list[i].Name] = &list[i]
		}
	}
	return m
}

// get is the member of a name; one without groups and subnets if there is none.
func (m *Members) get(name node.Name) *Member {
	if found := m.byName[name]; found != nil {
		return found
	}
	return &Member{Name: name}
}

// owner is the member that an address belongs to, by the longest prefix, then by the order of names; one without
// a name if there is none.
func (m *Members) owner(addr netip.Addr) *Member {
	best, bits := &Member{}, -1
	for i := range m.list {
		for _, s := range m.list[i].Subnets {
			if s.Contains(addr) && (s.Bits() > bits || s.Bits() == bits && m.list[i].Name < best.Name) {
				best, bits = &m.list[i], s.Bits()
			}
		}
	}
	return best
}

// Unknown is a selector or a side of a test that is about nobody.
type Unknown struct {
	Line int
	What string
}

// Unknown lists the names and groups that no member has, each once for each line. They are no error: who is meant may
// join later.
func (p *Policy) Unknown(m *Members) (list []Unknown) {
	groups := make(map[string]bool)
	for i := range m.list {
		for _, g := range m.list[i].Groups {
			groups[g] = true
		}
	}
	add := func(line int, s Selector) {
		u := Unknown{line, s.String()}
		if (s.Name != "" && m.byName[s.Name] == nil || s.Group != "" && !groups[s.Group]) && !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	for _, r := range p.Rules {
		for _, s := range r.From {
			add(r.Line, s)
		}
		for _, s := range r.To {
			add(r.Line, s)
		}
	}
	for _, t := range p.Tests {
		for _, host := range []string{t.From, t.To.Host} {
			s, _ := selector(host)
			add(t.Line, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Unknown) int { return a.Line - b.Line })
	return list
}
