package members

import (
	"slices"
	"time"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/roster"
)

// View is what a roster says, for people and programs. It is part of the stable JSON forms.
type View struct {
	Mode        string       `json:"mode"`              // signed, warn or open
	Node        node.Name    `json:"node,omitempty"`    // this one
	Network     string       `json:"network,omitempty"` // id; none: there is no roster
	Fingerprint string       `json:"fingerprint,omitempty"`
	Fetching    bool         `json:"fetching,omitempty"` // the roster has not arrived from a neighbour yet
	TooNew      bool         `json:"too_new,omitempty"`  // it has critical statements of a newer version
	Threshold   int          `json:"threshold,omitempty"`
	Recovery    bool         `json:"recovery,omitempty"` // there is a recovery key
	Owners      []Owner      `json:"owners,omitempty"`
	Members     []Member     `json:"members,omitempty"`
	Devices     []Device     `json:"devices,omitempty"`
	DoorKey     string       `json:"door_key,omitempty"` // the public key of WireGuard that all doors share
	Pending     []Member     `json:"pending,omitempty"`
	Invitations []Invitation `json:"invitations,omitempty"`
	Removed     []Removed    `json:"removed,omitempty"`
	Conflicts   []Conflict   `json:"conflicts,omitempty"`
	Policy      string       `json:"policy,omitempty"`
}

// Owner is an owner in a [View].
type Owner struct {
	Name        node.Name `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	Rights      []string  `json:"rights"`
}

// Member is a member in a [View].
type Member struct {
	Name         node.Name  `json:"name"`
	Fingerprint  string     `json:"fingerprint"` // of the Ed25519 key, or else of the RSA key
	Subnets      []string   `json:"subnets,omitempty"`
	Groups       []string   `json:"groups,omitempty"`
	Capabilities []string   `json:"capabilities,omitempty"`
	By           string     `json:"by"`                   // who admitted it: a name, or else a fingerprint
	Invitation   string     `json:"invitation,omitempty"` // fingerprint of the invitation, none: an owner's signature
	Since        *time.Time `json:"since,omitempty"`      // by the clock of the one who admitted it
	Ends         *time.Time `json:"ends,omitempty"`
	Reachable    bool       `json:"reachable,omitempty"` // now; without a running node that is not known
	Silent       bool       `json:"silent,omitempty"`    // others say that it is reachable, but it does not answer
	LastSeen     *time.Time `json:"last_seen,omitempty"` // when this node last reached it, or none: never
}

// Device is a device that has WireGuard and no tincan, in a [View].
type Device struct {
	Name        node.Name  `json:"name"`
	Key         string     `json:"key"` // public, of WireGuard
	Fingerprint string     `json:"fingerprint"`
	Addresses   []string   `json:"addresses"`
	Groups      []string   `json:"groups,omitempty"`
	By          string     `json:"by"`                  // who added it
	Door        node.Name  `json:"door,omitempty"`      // where it was heard from last; none: nowhere since the doors started
	Handshake   *time.Time `json:"handshake,omitempty"` // the last one, if it was at this node's door
	Endpoint    string     `json:"endpoint,omitempty"`  // from where, if at this node's door
	Received    uint64     `json:"received,omitempty"`  // bytes from it, at this node's door
	Sent        uint64     `json:"sent,omitempty"`      // bytes to it, at this node's door
}

// Invitation is an open invitation in a [View].
type Invitation struct {
	Fingerprint string     `json:"fingerprint"`
	Name        string     `json:"name,omitempty"` // none: the newcomer chooses
	By          string     `json:"by"`
	Uses        int        `json:"uses"`
	Used        int        `json:"used"`
	Approval    bool       `json:"approval,omitempty"`
	Groups      []string   `json:"groups,omitempty"`
	Ends        *time.Time `json:"ends,omitempty"`
}

// Removed is a removed key in a [View].
type Removed struct {
	Name        node.Name `json:"name,omitempty"`
	Fingerprint string    `json:"fingerprint"`
	By          string    `json:"by"`
	Left        bool      `json:"left,omitempty"` // by its own will
	Reason      string    `json:"reason,omitempty"`
}

// Conflict is something that does not count because of something else, in a [View].
type Conflict struct {
	Reason      string    `json:"reason"`
	Name        node.Name `json:"name,omitempty"`
	Fingerprint string    `json:"fingerprint"`
}

// NewView describes a state to the node called self. Invitations that are used up or have ended are left out.
func NewView(s *roster.State, self node.Name, mode string, now time.Time) View {
	v := View{
		Mode: mode, Node: self, Network: s.Network.String(), Fingerprint: roster.Fingerprint(s.Network),
		TooNew: s.TooNew(), Threshold: int(s.Owners.Threshold), Recovery: s.Recovery != (keys.PublicKey{}),
	}
	v.Policy, _ = s.Policy("")
	v.Owners = Owners(s.Owners)
	for _, m := range s.Members {
		v.Members = append(v.Members, newMember(s, m))
	}
	for _, d := range s.Devices {
		dev := Device{Name: d.Name, Key: d.Key.String(), Fingerprint: roster.Fingerprint(d.Key), Groups: d.Groups, By: Who(s, d.By)}
		for _, sub := range d.Subnets {
			dev.Addresses = append(dev.Addresses, sub.Prefix().Addr().String())
		}
		v.Devices = append(v.Devices, dev)
	}
	if s.Door != nil {
		v.DoorKey = s.Door.Key.String()
	}
	for _, m := range s.Pending {
		v.Pending = append(v.Pending, newMember(s, m))
	}
	for _, i := range s.Invitations {
		if i.Open(now.Unix()) {
			v.Invitations = append(v.Invitations, Invitation{
				Fingerprint: roster.Fingerprint(i.Key), Name: i.Name, By: Who(s, i.By), Uses: int(i.Uses), Used: len(i.Used),
				Approval: i.Approval, Groups: i.Groups, Ends: at(i.NotAfter),
			})
		}
	}
	for _, r := range s.Removals {
		if !withdrawn(s, r) {
			v.Removed = append(v.Removed, Removed{r.Name, roster.Fingerprint(r.Key), Who(s, r.By), r.Left(), r.Reason})
		}
	}
	for _, c := range s.Conflicts {
		v.Conflicts = append(v.Conflicts, Conflict{c.Reason.String(), c.Name, roster.Fingerprint(c.Key)})
	}
	return v
}

// withdrawn tells whether what was removed is an invitation.
func withdrawn(s *roster.State, r *roster.RemovedKey) bool {
	return s.MemberByKey(r.Key) == nil && r.Name == ""
}

// Counts is how many of each there are in a [View].
type Counts struct{ Owners, Members, Pending, Invitations, Removed int }

// Count counts what [NewView] describes, at less cost.
func Count(s *roster.State, now time.Time) Counts {
	c := Counts{Owners: len(s.Owners.Owners), Members: len(s.Members), Pending: len(s.Pending)}
	for _, i := range s.Invitations {
		if i.Open(now.Unix()) {
			c.Invitations++
		}
	}
	for _, r := range s.Removals {
		if !withdrawn(s, r) {
			c.Removed++
		}
	}
	return c
}

// See adds when members were seen last. at returns the time, zero if never, and whether one is reachable now.
func (v *View) See(at func(node.Name) (last time.Time, reachable bool)) {
	for i := range v.Members {
		if v.Members[i].Name == v.Node {
			continue
		}
		last, reachable := at(v.Members[i].Name)
		if v.Members[i].Reachable = reachable; !last.IsZero() {
			last = last.UTC().Truncate(time.Second)
			v.Members[i].LastSeen = &last
		}
	}
}

// Unanswered adds who does not answer. names are in order.
func (v *View) Unanswered(names []node.Name) {
	for i := range v.Members {
		_, v.Members[i].Silent = slices.BinarySearch(names, v.Members[i].Name)
	}
}

func newMember(s *roster.State, m *roster.Membership) Member {
	v := Member{
		Name: m.Name, Fingerprint: roster.Fingerprint(roster.Identity(m.Key, m.RSA)), Groups: m.Groups, Capabilities: capabilities(m.Capabilities),
		By: Who(s, m.By), Since: at(m.Since), Ends: at(m.NotAfter),
	}
	for _, sub := range m.Subnets {
		v.Subnets = append(v.Subnets, sub.String())
	}
	if m.Invitation != (keys.PublicKey{}) {
		v.Invitation = roster.Fingerprint(m.Invitation)
	}
	return v
}

// Who is the name of the owner or member with a key, or else its fingerprint.
func Who(s *roster.State, key keys.PublicKey) string {
	if i := slices.IndexFunc(s.Owners.Owners, func(o roster.Owner) bool { return o.Key == key }); i >= 0 {
		return string(s.Owners.Owners[i].Name)
	}
	if m := s.MemberByKey(key); m != nil {
		return string(m.Name)
	}
	if r := s.Removed(key); r != nil && r.Name != "" {
		return string(r.Name)
	}
	return roster.Fingerprint(key)
}

func at(unix int64) *time.Time {
	if unix == 0 {
		return nil
	}
	t := time.Unix(unix, 0).UTC()
	return &t
}

// Owners describes a list of owners.
func Owners(l roster.OwnerList) (list []Owner) {
	for _, o := range l.Owners {
		list = append(list, Owner{o.Name, roster.Fingerprint(o.Key), Rights(o.Rights)})
	}
	return list
}

// RightNames are the names of the rights of owners, in the order of their bits.
var RightNames = []string{"admit", "remove", "policy", "owners"}

// Rights are the names of the rights in r.
func Rights(r roster.Rights) []string {
	return flags(uint8(r), RightNames...)
}

func capabilities(c roster.Capabilities) []string {
	return flags(uint8(c), "relay", "exit", "door", "invite")
}

// flags are the names of the bits that are set.
func flags(bits uint8, names ...string) (set []string) {
	for i, name := range names {
		if bits>>i&1 != 0 {
			set = append(set, name)
		}
	}
	return set
}
