package members

import (
	"tincan/internal/policy"
	"tincan/internal/roster"
)

// PolicyMembers are the members and devices of a network as the rules of its policy see them.
func PolicyMembers(s *roster.State) []policy.Member {
	list := make([]policy.Member, len(s.Members))
	for i, m := range s.Members {
		list[i] = policy.Member{Name: m.Name, Groups: m.Groups}
		for _, sub := range m.Subnets {
			if p := sub.Prefix(); p.IsValid() {
				list[i].Subnets = append(list[i].Subnets, p)
			}
		}
	}
	for _, d := range s.Devices {
		m := policy.Member{Name: d.Name, Groups: d.Groups}
		for _, sub := range d.Subnets {
			m.Subnets = append(m.Subnets, sub.Prefix())
		}
		list = append(list, m)
	}
	return list
}
