package roster

import (
	"fmt"
	"slices"
	"strings"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// model says who belongs to a network, from the rules as docs/decisions states them, with
// loops over all statements and nothing clever. It shares no code with the evaluation of the
// real thing beyond the reading of statements.
func model(network ID, raws [][]byte) string {
	m := &modelWorld{network: network, removed: map[[32]byte]bool{}, left: map[[32]byte]bool{}}
	m.collect(raws)
	m.owners()
	m.removals()
	m.members()
	m.events()
	return m.text()
}

type modelStatement struct {
	*Statement
	id ID
}

type modelMember struct {
	name    node.Name
	key     keys.PublicKey
	rsa     [32]byte
	grant   Grant
	ends    bool
	byOwner bool
	since   int64
	id      ID
}

type modelInvitation struct {
	modelStatement
	c        *Invitation
	used     []keys.PublicKey
	evidence int
}

type modelWorld struct {
	network   ID
	all       []modelStatement
	list      ID
	recovery  keys.PublicKey
	now       OwnerList
	removed   map[[32]byte]bool // by an owner
	left      map[[32]byte]bool // by the key itself, of somebody known
	present   []*modelMember    // members
	gone      []*modelMember    // who left
	pending   []*modelMember
	invited   []*modelInvitation
	conflicts []string
	policies  []string
}

// collect takes what is signed rightly, once, and of what one signer says about one thing only
// the newest.
func (m *modelWorld) collect(raws [][]byte) {
	var list []modelStatement
	for _, raw := range raws {
		s, err := Parse(raw)
		if err != nil || s.Verify() != nil {
			continue
		}
		x := modelStatement{s, s.ID()}
		if x.id != m.network && s.Network != m.network {
			continue
		}
		if !slices.ContainsFunc(list, func(y modelStatement) bool { return y.id == x.id }) {
			list = append(list, x)
		}
	}
	for _, x := range list {
		superseded := slices.ContainsFunc(list, func(y modelStatement) bool {
			return y.id != x.id && y.Signer == x.Signer && subjectOf(y) == subjectOf(x) && less(y, x)
		})
		if !superseded {
			m.all = append(m.all, x)
		}
	}
}

// subjectOf is what a statement is about, as text.
func subjectOf(x modelStatement) string {
	switch c := x.Content.(type) {
	case *Owners:
		return fmt.Sprint("owners", c.Parent, c.List(x.Network))
	case *Recovery:
		return fmt.Sprint("recovery", c.Root)
	case *Member:
		return fmt.Sprint("member", c.Name)
	case *Invitation:
		return fmt.Sprint("invitation", x.id)
	case *Admission:
		return fmt.Sprint("admission", x.id)
	case *Removal:
		return fmt.Sprint("removal", c.Key)
	case *Policy:
		return fmt.Sprint("policy", c.Name)
	case *Names:
		return "names"
	case *Unknown:
		return fmt.Sprint(c.Type, c.Subject)
	}
	return "genesis"
}

// less tells whether x counts rather than y.
func less(x, y modelStatement) bool {
	if a, ok := x.Content.(*Admission); ok {
		b := y.Content.(*Admission)
		if a.Time != b.Time {
			return a.Time < b.Time
		}
		return x.id.String() < y.id.String()
	}
	if x.Serial != y.Serial {
		return x.Serial > y.Serial
	}
	return x.id.String() < y.id.String()
}

func (m *modelWorld) owners() {
	var at ID
	for _, x := range m.all {
		if g, ok := x.Content.(*Genesis); ok {
			at, m.recovery, m.now = x.id, g.Recovery, g.OwnerList
		}
	}
	for moved := !at.IsZero(); moved; {
		moved = false
		for _, x := range m.all {
			if c, ok := x.Content.(*Recovery); ok && c.Root == at && x.Signer == m.recovery {
				at, m.recovery, m.now, moved = x.id, c.Recovery, c.OwnerList, true
				break
			}
		}
	}
	m.list = at
	for m.nextList() {
	}
}

// votes are the signatures for successors of the list in force by those who may sign.
func (m *modelWorld) votes() (votes []modelStatement) {
	for _, x := range m.all {
		if o, ok := x.Content.(*Owners); ok && o.Parent == m.list && m.now.May(x.Signer, RightOwners) {
			votes = append(votes, x)
		}
	}
	return votes
}

func (m *modelWorld) nextList() bool {
	votes := m.votes()
	listOf := func(x modelStatement) ID { return x.Content.(*Owners).List(m.network) }
	signers := func(votes []modelStatement, list ID) (n int) {
		for _, x := range votes {
			if listOf(x) == list {
				n++
			}
		}
		return n
	}
	k := int(m.now.Threshold)
	var kept []modelStatement
	for _, x := range votes {
		better := 0
		for _, y := range votes {
			if y.Signer == x.Signer && less(y, x) {
				better++
			}
		}
		if better < 4 || k > 1 && signers(votes, listOf(x)) >= k {
			kept = append(kept, x)
		}
	}
	// The most senior owner who signed anything that is in force decides; of what it signed, the newest.
	for _, o := range m.now.Owners {
		var best *modelStatement
		for i, x := range kept {
			if x.Signer == o.Key && signers(kept, listOf(x)) >= k && (best == nil || less(x, *best)) {
				best = &kept[i]
			}
		}
		if best != nil {
			for _, x := range kept {
				if listOf(x) != listOf(*best) && signers(kept, listOf(x)) >= k {
					m.conflicts = append(m.conflicts, fmt.Sprint(ReasonFork, " ", listOf(x)))
				}
			}
			m.list, m.now = listOf(*best), best.Content.(*Owners).OwnerList
			return true
		}
	}
	return false
}

func (m *modelWorld) removals() {
	for _, x := range m.all {
		if c, ok := x.Content.(*Removal); ok && m.now.May(x.Signer, RightRemove) {
			m.removed[c.Key] = true
			if c.RSA != [32]byte{} {
				m.removed[c.RSA] = true
			}
		}
	}
}

// leaves tells whether the owner of a key says that it leaves.
func (m *modelWorld) leaves(key keys.PublicKey) bool {
	return slices.ContainsFunc(m.all, func(x modelStatement) bool {
		c, ok := x.Content.(*Removal)
		return ok && c.Key == key && x.Signer == key
	})
}

func (m *modelWorld) isRemoved(x *modelMember) bool {
	return m.removed[x.key] || x.rsa != [32]byte{} && m.removed[x.rsa]
}

// share tells whether two members have a key in common.
func share(x, y *modelMember) bool {
	return x.key == y.key && x.key != keys.PublicKey{} || x.rsa == y.rsa && x.rsa != [32]byte{}
}

func (m *modelWorld) members() {
	var current []modelStatement
	for _, x := range m.all {
		c, ok := x.Content.(*Member)
		if !ok || !m.now.May(x.Signer, RightAdmit) {
			continue
		}
		newest := true
		for _, y := range m.all {
			d, ok := y.Content.(*Member)
			if ok && d.Name == c.Name && y.id != x.id && m.now.May(y.Signer, RightAdmit) && less(y, x) {
				newest = false
			}
		}
		if newest {
			current = append(current, x)
		}
	}
	slices.SortFunc(current, func(x, y modelStatement) int {
		if less(x, y) {
			return -1
		}
		return 1
	})
	var taken []*modelMember
	for _, x := range current {
		c := x.Content.(*Member)
		one := &modelMember{name: c.Name, key: c.Key, rsa: c.RSA, grant: c.Grant, ends: x.NotAfter != 0, byOwner: true, id: x.id}
		if slices.ContainsFunc(taken, func(y *modelMember) bool { return share(one, y) }) {
			m.conflicts = append(m.conflicts, fmt.Sprint(ReasonKeyTaken, " ", x.id))
			continue
		}
		taken = append(taken, one)
		m.enter(one)
	}
}

// enter makes somebody a member, unless removed or gone.
func (m *modelWorld) enter(x *modelMember) {
	switch {
	case m.isRemoved(x):
	case m.leaves(x.key):
		m.left[x.key] = true
		m.gone = append(m.gone, x)
	default:
		m.present = append(m.present, x)
	}
}

// events goes through admissions and members' invitations by time.
func (m *modelWorld) events() {
	var events []modelStatement
	for _, x := range m.all {
		switch c := x.Content.(type) {
		case *Invitation:
			if !m.now.May(x.Signer, RightAdmit) {
				events = append(events, x)
			} else if !m.removed[c.Key] {
				m.ownerInvites(x, c)
			}
		case *Admission:
			events = append(events, x)
		case *Policy:
			m.policy(x, c)
		case *Names:
			m.names(x, c)
		}
	}
	at := func(x modelStatement) int64 {
		if c, ok := x.Content.(*Admission); ok {
			return c.Time
		}
		return x.Content.(*Invitation).Created
	}
	slices.SortFunc(events, func(x, y modelStatement) int {
		kx, ky := fmt.Sprintf("%020d %d %v", at(x), x.Content.Kind(), x.id), fmt.Sprintf("%020d %d %v", at(y), y.Content.Kind(), y.id)
		return strings.Compare(kx, ky)
	})
	for _, x := range events {
		switch c := x.Content.(type) {
		case *Invitation:
			m.memberInvites(x, c)
		case *Admission:
			m.admission(x, c)
		}
	}
}

func (m *modelWorld) ownerInvites(x modelStatement, c *Invitation) {
	for i, other := range m.invited {
		if other.c.Key == c.Key {
			if less(x, other.modelStatement) {
				m.invited[i] = &modelInvitation{modelStatement: x, c: c}
			}
			return
		}
	}
	m.invited = append(m.invited, &modelInvitation{modelStatement: x, c: c})
}

func (m *modelWorld) policy(x modelStatement, c *Policy) {
	if !m.now.May(x.Signer, RightPolicy) {
		return
	}
	for _, y := range m.all {
		d, ok := y.Content.(*Policy)
		if ok && d.Name == c.Name && y.id != x.id && m.now.May(y.Signer, RightPolicy) && less(y, x) {
			return
		}
	}
	m.policies = append(m.policies, c.Name+"="+c.Text)
}

func (m *modelWorld) names(x modelStatement, c *Names) {
	if !m.now.May(x.Signer, RightPolicy) {
		return
	}
	for _, y := range m.all {
		if _, ok := y.Content.(*Names); ok && y.id != x.id && m.now.May(y.Signer, RightPolicy) && less(y, x) {
			return
		}
	}
	m.policies = append(m.policies, "names: "+c.Text)
}

// member is the one who signs at a time, if it may.
func (m *modelWorld) member(key keys.PublicKey, at int64) *modelMember {
	for _, x := range slices.Concat(m.present, m.gone) {
		if x.key == key && !x.ends && (x.byOwner || x.since < at) {
			return x
		}
	}
	return nil
}

func (m *modelWorld) invitation(key keys.PublicKey) *modelInvitation {
	for _, x := range m.invited {
		if x.c.Key == key {
			return x
		}
	}
	return nil
}

func (m *modelWorld) memberInvites(x modelStatement, c *Invitation) {
	by := m.member(x.Signer, c.Created)
	if by == nil || m.removed[c.Key] || m.invitation(c.Key) != nil || by.grant.Capabilities&CapInvite == 0 || c.Capabilities != 0 {
		return
	}
	for _, g := range c.Groups {
		if !slices.Contains(by.grant.Groups, g) {
			return
		}
	}
	for _, s := range slices.Concat(c.Subnets, c.Pool, c.Choose) {
		if !inside(s, by.grant.Pool) {
			return
		}
	}
	m.invited = append(m.invited, &modelInvitation{modelStatement: x, c: c})
}

func inside(s subnet.Subnet, outer []subnet.Subnet) bool {
	return slices.ContainsFunc(outer, func(o subnet.Subnet) bool {
		return o.Prefix().Overlaps(s.Prefix()) && o.Prefix().Bits() <= s.Prefix().Bits()
	})
}

func (m *modelWorld) admission(x modelStatement, c *Admission) {
	inv := m.invitation(c.Invitation)
	if inv == nil || c.Time <= inv.c.Created || inv.NotAfter != 0 && c.Time > inv.NotAfter+3600 {
		return
	}
	if m.member(x.Signer, c.Time) == nil {
		return
	}
	if p, pattern := strings.CutSuffix(inv.c.Name, "*"); pattern && !strings.HasPrefix(string(c.Name), p) ||
		!pattern && inv.c.Name != "" && inv.c.Name != string(c.Name) {
		return
	}
	for _, s := range c.Subnets {
		if !s.Prefix().IsSingleIP() || s.Weight != subnet.DefaultWeight || !inside(s, inv.c.Choose) {
			return
		}
	}
	if slices.Contains(inv.used, c.Key) {
		return
	}
	one := &modelMember{name: c.Name, key: c.Key, rsa: c.RSA, grant: inv.c.Grant, since: c.Time, id: x.id}
	if why := m.obstacle(one, inv); why != ReasonNone {
		if inv.evidence++; inv.evidence <= 4 && !m.isRemoved(one) {
			m.conflicts = append(m.conflicts, fmt.Sprint(why, " ", x.id))
		}
		return
	}
	inv.used = append(inv.used, c.Key)
	known := slices.ContainsFunc(m.present, func(y *modelMember) bool { return y.key == c.Key })
	waits := slices.ContainsFunc(m.pending, func(y *modelMember) bool { return y.key == c.Key })
	switch {
	case m.isRemoved(one) || known:
	case m.leaves(one.key):
		m.enter(one)
	case inv.c.Approval && waits:
	default:
		one.grant.Subnets = m.free(one, slices.Concat(inv.c.Subnets, c.Subnets))
		if inv.c.Approval {
			m.pending = append(m.pending, one)
		} else {
			m.enter(one)
		}
	}
}

// obstacle says why a newcomer can not be admitted.
func (m *modelWorld) obstacle(x *modelMember, inv *modelInvitation) Reason {
	if len(inv.used) >= int(inv.c.Uses) {
		return ReasonUses
	}
	for _, y := range m.present {
		if y.key == x.key {
			return ReasonNone
		}
	}
	for _, y := range m.pending {
		if y.key == x.key && y.name != x.name {
			return ReasonKeyTaken
		}
	}
	for _, y := range m.present {
		if share(x, y) {
			return ReasonKeyTaken
		}
	}
	for _, y := range slices.Concat(m.present, m.pending) {
		if y.name == x.name && y.key != x.key {
			return ReasonNameTaken
		}
	}
	return ReasonNone
}

// free takes away the single addresses that a member has.
func (m *modelWorld) free(x *modelMember, list []subnet.Subnet) []subnet.Subnet {
	slices.SortFunc(list, subnet.Compare)
	return slices.DeleteFunc(slices.Compact(list), func(s subnet.Subnet) bool {
		taken := slices.ContainsFunc(m.present, func(y *modelMember) bool {
			return s.Prefix().IsSingleIP() && slices.ContainsFunc(y.grant.Subnets, func(o subnet.Subnet) bool { return o.Prefix() == s.Prefix() })
		})
		if taken {
			m.conflicts = append(m.conflicts, fmt.Sprint(ReasonAddressTaken, " ", x.id))
		}
		return taken
	})
}

func (m *modelWorld) text() string {
	d := dumper{}
	d.add("list %v", m.list)
	for _, o := range m.now.Owners {
		d.add("owner %v %v", o.Key, o.Rights)
	}
	for _, x := range m.present {
		d.add("member %s %v %x %v %v %v", x.name, x.key, x.rsa, x.grant.Subnets, x.grant.Groups, x.since)
	}
	for _, x := range m.pending {
		if !slices.ContainsFunc(m.present, func(y *modelMember) bool { return y.key == x.key }) {
			d.add("pending %s %v %v", x.name, x.key, x.grant.Subnets)
		}
	}
	for key := range m.removed {
		d.add("removed %x", key)
	}
	for key := range m.left {
		d.add("removed %x", key)
	}
	for _, inv := range m.invited {
		d.add("invitation %v %v", inv.c.Key, inv.used)
	}
	for _, p := range m.policies {
		d.add("policy %s", p)
	}
	for _, c := range m.conflicts {
		d.add("conflict %s", c)
	}
	return d.text()
}

// dumper collects lines, and puts them into one order.
type dumper struct{ lines []string }

func (d *dumper) add(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *dumper) text() string {
	slices.Sort(d.lines)
	return strings.Join(slices.Compact(d.lines), "\n")
}

// dump is the state in the same text as that of the model.
func dump(r *Roster) string {
	s := r.State()
	d := dumper{}
	d.add("list %v", s.List)
	for _, o := range s.Owners.Owners {
		d.add("owner %v %v", o.Key, o.Rights)
	}
	for _, m := range s.Members {
		d.add("member %s %v %x %v %v %v", m.Name, m.Key, m.RSA, m.Subnets, m.Groups, m.Since)
	}
	for _, m := range s.Pending {
		d.add("pending %s %v %v", m.Name, m.Key, m.Subnets)
	}
	for key := range s.removed {
		d.add("removed %x", key)
	}
	for _, i := range s.Invitations {
		d.add("invitation %v %v", i.Key, i.Used)
	}
	for _, p := range s.Policies {
		d.add("policy %s=%s", p.Name, p.Text)
	}
	if s.Names != nil {
		d.add("policy names: %s", s.Names.Text)
	}
	for _, c := range s.Conflicts {
		if c.Reason == ReasonFork {
			d.add("conflict %v %v", c.Reason, r.Statement(c.Statement).Content.(*Owners).List(s.Network))
			continue
		}
		d.add("conflict %v %v", c.Reason, c.Statement)
	}
	return d.text()
}
