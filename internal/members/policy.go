package members

import (
	"tincan/internal/policy"
	"tincan/internal/roster"
)

// PolicyMembers are the members of a network as the rules of its policy see them.
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
	return list
}
