package api

import "fmt"

// Role is what a caller may do. Each role may do what the ones before it may.
type Role uint8

// The roles.
const (
	Nobody Role = iota // nothing
	Reader             // look at the state of nodes and paths
	Member             // look at all that members know, and ask why
	Owner              // decide about members, invitations and the policy
	Admin              // all: the user of the node, and root
)

var roleNames = []string{"nobody", "reader", "member", "owner", "admin"}

func (r Role) String() string { return roleNames[r] }

// MarshalText writes the name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a name.
func (r *Role) UnmarshalText(text []byte) error {
	for i, name := range roleNames {
		if name == string(text) {
			*r = Role(i)
			return nil
		}
	}
	return fmt.Errorf("%.20q is no role", text)
}
