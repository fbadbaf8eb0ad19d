package roster

import (
	"cmp"
	"slices"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// State is what the statements of a roster say together. It never changes, and nobody may
// change what it points to.
//
// It does not know what time it is: members and invitations that have ended are in it, and
// say when they end.
type State struct {
	Network     ID
	Root        ID             // the genesis or recovery that the owners go back to; zero: the roster has no genesis
	Recovery    keys.PublicKey // the recovery key, zero: none
	List        ID             // names the list of owners in force, which the next one follows
	Owners      OwnerList
	Proposals   []*Proposal       // lists that too few owners have signed
	Members     []*Membership     // sorted by name
	Pending     []*Membership     // admitted under an invitation that an owner has to approve, in the order of their time
	Invitations []*OpenInvitation // by key
	Removals    []*RemovedKey     // by key
	Policies    []*SignedPolicy   // by name
	Names       *SignedNames      // nil: nobody has said any
	Devices     []*SignedDevice   // sorted by name
	Door        *SignedDoor       // what their doors share, nil: there is none
	Conflicts   []Conflict        // what was void because of something else, for people
	Newer       []Newer           // what this program does not understand

	keys    keyTable
	removed map[[32]byte]*RemovedKey
}

// Membership is a member of the network, and how it came to that.
type Membership struct {
	Name node.Name
	Key  keys.PublicKey // zero: only an RSA key
	RSA  [32]byte       // hash of the RSA key, zero: none
	Grant
	NotAfter int64 // Unix seconds, 0: no end

	Statement  ID             // the member or admission statement
	Serial     uint64         // of a member statement
	By         keys.PublicKey // the owner, or the member that admitted
	Invitation keys.PublicKey // under which it was admitted, zero: by an owner
	Since      int64          // when it was admitted, Unix seconds, 0: by an owner
}

// Ended tells whether the membership has ended at a time (Unix seconds).
func (m *Membership) Ended(now int64) bool { return m.NotAfter != 0 && now > m.NotAfter }

// Granted tells whether a member with that grant may announce a subnet: it lies in one that was granted.
func (g *Grant) Granted(s subnet.Subnet) bool { return within(s, g.Subnets) }

// OpenInvitation is an invitation that was not withdrawn. It may have ended or be used up.
type OpenInvitation struct {
	*Invitation
	NotAfter  int64 // Unix seconds, 0: no end
	Statement ID
	Serial    uint64
	By        keys.PublicKey   // the owner or member that invites
	Used      []keys.PublicKey // who was admitted under it, in the order of their time
}

// Open tells whether somebody could still be admitted at a time (Unix seconds).
func (i *OpenInvitation) Open(now int64) bool {
	return len(i.Used) < int(i.Uses) && (i.NotAfter == 0 || now <= i.NotAfter)
}

// RemovedKey is a key that counts for nothing.
type RemovedKey struct {
	*Removal
	Statement ID
	By        keys.PublicKey
}

// Left tells whether the member has left by itself.
func (r *RemovedKey) Left() bool { return r.By == r.Key }

// SignedPolicy is the policy of a name that counts. One without text withdraws those before it.
type SignedPolicy struct {
	*Policy
	Serial    uint64
	Statement ID
	By        keys.PublicKey
}

// Proposal is a list of owners that fewer owners have signed than have to.
type Proposal struct {
	List    ID
	Owners  *Owners
	Signers []keys.PublicKey
}

// Conflict is something that two statements say differently, and who has lost.
type Conflict struct {
	Reason    Reason
	Name      node.Name
	Key       keys.PublicKey // of the loser; of a fork: the owner who signed the list that is not in force
	Statement ID             // that does not count, or not fully
	Other     ID             // that counts
}

// Newer is a statement of a kind that this program does not know.
type Newer struct {
	Kind      Kind
	Critical  bool // a program that does not understand it must not administer the network
	Statement ID
}

func emptyState(network ID) *State { return &State{Network: network} }

// Member returns the member with a name, nil if there is none.
func (s *State) Member(name node.Name) *Membership { return findMember(s.Members, name) }

// Differing returns the names, in order, of members that are not the same in two states, or in one of them only. Either
// state may be nil, and has no members then.
func (s *State) Differing(from *State) (names []node.Name) {
	var is, was []*Membership
	if s != nil {
		is = s.Members
	}
	if from != nil {
		was = from.Members
	}
	for len(is) > 0 || len(was) > 0 {
		switch {
		case len(was) == 0 || len(is) > 0 && is[0] != was[0] && is[0].Name < was[0].Name:
			names = append(names, is[0].Name)
			is = is[1:]
		case len(is) == 0 || is[0] != was[0] && was[0].Name < is[0].Name:
			names = append(names, was[0].Name)
			was = was[1:]
		default:
			if is[0] != was[0] && !is[0].equal(was[0]) { // most are the same value in both
				names = append(names, is[0].Name)
			}
			is, was = is[1:], was[1:]
		}
	}
	return names
}

// equal tells whether two memberships are of the same statement, with the same grant.
func (m *Membership) equal(o *Membership) bool {
	return m.Statement == o.Statement && m.Key == o.Key && m.RSA == o.RSA && m.NotAfter == o.NotAfter && m.Capabilities == o.Capabilities &&
		slices.Equal(m.Subnets, o.Subnets) && slices.Equal(m.Pool, o.Pool) && slices.Equal(m.Groups, o.Groups)
}

// findMember looks for a name in a sorted list.
func findMember(list []*Membership, name node.Name) *Membership {
	i, found := slices.BinarySearchFunc(list, name, func(m *Membership, name node.Name) int { return cmp.Compare(m.Name, name) })
	if !found {
		return nil
	}
	return list[i]
}

// Granted yields all subnets that somebody has, and whose they are: of members, of newcomers that wait for approval, and of
// devices.
func (s *State) Granted(yield func(node.Name, subnet.Subnet) bool) {
	for _, m := range slices.Concat(s.Members, s.Pending) {
		for _, sub := range m.Subnets {
			if !yield(m.Name, sub) {
				return
			}
		}
	}
	for _, d := range s.Devices {
		for _, sub := range d.Subnets {
			if !yield(d.Name, sub) {
				return
			}
		}
	}
}

// MemberByKey returns the member with an Ed25519 key, or with an RSA key of this hash, nil if
// there is none.
func (s *State) MemberByKey(key [32]byte) *Membership { return s.keys.get(key) }

// Removed returns the removal of a key, nil if it was not removed.
func (s *State) Removed(key [32]byte) *RemovedKey { return s.removed[key] }

// Invitation returns the invitation with a key, nil if there is none or it was withdrawn.
func (s *State) Invitation(key keys.PublicKey) *OpenInvitation {
	i, found := slices.BinarySearchFunc(s.Invitations, key, func(i *OpenInvitation, key keys.PublicKey) int {
		return compareIDs(ID(i.Key), ID(key))
	})
	if !found {
		return nil
	}
	return s.Invitations[i]
}

// SignedNames are the further names in DNS that count. Those without text withdraw the ones before them.
type SignedNames struct {
	*Names
	Serial    uint64
	Statement ID
	By        keys.PublicKey
}

// Policy returns the text of the policy of a name, and whether there is one. One without text is
// none: it was withdrawn.
func (s *State) Policy(name string) (string, bool) {
	if p := s.SignedPolicy(name); p != nil {
		return p.Text, p.Text != ""
	}
	return "", false
}

// SignedPolicy returns the statement about the policy of a name that counts, nil if there is none.
func (s *State) SignedPolicy(name string) *SignedPolicy {
	for _, p := range s.Policies {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// May tells whether key is an owner's with all of these rights. Nobody has any as long as a
// statement is in the roster that this program would have to understand first.
func (s *State) May(key keys.PublicKey, rights Rights) bool {
	return s.Owners.May(key, rights) && !s.TooNew()
}

// TooNew tells whether there is a critical statement that this program does not understand.
func (s *State) TooNew() bool {
	return slices.ContainsFunc(s.Newer, func(n Newer) bool { return n.Critical })
}
