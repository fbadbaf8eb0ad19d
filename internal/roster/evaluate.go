package roster

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"strings"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

const (
	// afterEnd is how long after its end an invitation still admits, in seconds: the clocks of
	// inviter and member may differ.
	afterEnd = 3600

	// maxEvidence is how many admissions that lost something are kept for each invitation, so
	// that every node can tell what happened.
	maxEvidence = 4

	// maxInvitations is how many invitations a member that is no owner may have.
	maxInvitations = 64

	// maxUnknown is how many statements of unknown kinds are kept for each owner.
	maxUnknown = 256
)

// evaluation is one judgement of all statements of a roster. It marks each that has its ground,
// from the genesis upwards, and puts together the state. A statement that is not kept must
// influence neither another one nor the state: then both depend on the stored set alone.
type evaluation struct {
	r       *Roster
	owners  *OwnerList
	state   *State
	members []*Membership             // by owners, sorted by name
	joined  []*Membership             // by admissions, in the order of their time
	names   map[node.Name]*Membership // held by those, and by pending newcomers
	pending map[keys.PublicKey]*Membership

	left    map[[32]byte]*entry            // keys whose own removal is there
	gone    map[keys.PublicKey]*Membership // of those what they were
	open    map[keys.PublicKey]*invitation
	invited map[keys.PublicKey]int // invitations by members, counted
	held    map[string]*Membership // single addresses, by the text without weight; nil: not made yet
}

// invitation is one in the course of an evaluation.
type invitation struct {
	*OpenInvitation
	used     map[keys.PublicKey]bool
	evidence int
}

// evaluate judges all statements.
func (r *Roster) evaluate() *State {
	for _, list := range r.kinds {
		for _, e := range list {
			e.kept, e.why = false, ReasonNone
		}
	}
	ev := &evaluation{
		r:       r,
		state:   emptyState(r.network),
		names:   map[node.Name]*Membership{},
		pending: map[keys.PublicKey]*Membership{},
		left:    map[[32]byte]*entry{},
		gone:    map[keys.PublicKey]*Membership{},
		open:    map[keys.PublicKey]*invitation{},
		invited: map[keys.PublicKey]int{},
	}
	ev.decideOwners()
	ev.decideRemovals()
	ev.decideMembers()
	ev.decideDevices()
	ev.decideInvitations()
	ev.decideAdmissions()
	ev.decidePolicies()
	ev.decideNames()
	ev.decideUnknown()
	ev.finish()
	return ev.state
}

// decideOwners finds the owners of today.
func (ev *evaluation) decideOwners() {
	ev.owners = &OwnerList{}
	if roots := ev.r.followRoots(); len(roots) > 0 {
		at := roots[len(roots)-1]
		h := ev.r.followOwners(at)
		ev.owners = h.owners
		if ev.r.assumed != nil {
			ev.owners = ev.r.assumed
		}
		ev.state.Root, ev.state.Recovery = at.id, at.recovery
		ev.state.List, ev.state.Owners = h.list, *ev.owners
		ev.state.Proposals, ev.state.Conflicts = h.proposals, h.conflicts
	}
	for _, kind := range []Kind{KindOwners, KindRecovery} {
		for _, e := range ev.r.kinds[kind] {
			e.drop(ReasonParent)
		}
	}
}

// by returns the statements of a kind whose signer is an owner with the right to them, and
// keeps them. The statements of owners count as long as they are owners: not by when they
// were signed, which nobody can prove.
func (ev *evaluation) by(kind Kind, right Rights) []*entry {
	all := ev.r.kinds[kind]
	list := make([]*entry, 0, len(all))
	for _, e := range all {
		if ev.owners.May(e.slot.signer, right) { // the same as e.Signer, and nearer
			e.keep()
			list = append(list, e)
		} else {
			e.drop(ReasonSigner)
		}
	}
	return list
}

// decideRemovals finds the removed keys. A removal by an owner wins over everything. What
// the key itself has signed counts only for a key that is known otherwise, which the rest
// of the evaluation finds out.
func (ev *evaluation) decideRemovals() {
	s := ev.state
	s.removed = make(map[[32]byte]*RemovedKey, len(ev.r.kinds[KindRemoval]))
	for _, e := range ev.by(KindRemoval, RightRemove) {
		c := e.Content.(*Removal)
		ev.remove(c.Key, e)
		if c.RSA != [32]byte{} {
			ev.remove(c.RSA, e)
		}
	}
	for _, e := range ev.r.kinds[KindRemoval] {
		if key := e.Content.(*Removal).Key; !e.kept && e.Signer == key {
			e.drop(ReasonSubject)
			ev.left[key] = e
		}
	}
}

// remove notes that a key is removed. Of several removals the one that comes first in the
// order of [compareEntries] is shown.
func (ev *evaluation) remove(key [32]byte, e *entry) {
	s := ev.state
	if old := s.removed[key]; old != nil && old.Key == key {
		return
	}
	gone := &RemovedKey{Removal: e.Content.(*Removal), Statement: e.id, By: e.Signer}
	s.removed[key] = gone
}

// isRemoved tells whether an owner has removed one of two keys.
func (ev *evaluation) isRemoved(key keys.PublicKey, rsa [32]byte) bool {
	return ev.removedByOwner(key) || rsa != [32]byte{} && ev.removedByOwner(rsa)
}

func (ev *evaluation) removedByOwner(key [32]byte) bool {
	gone := ev.state.removed[key]
	return gone != nil && !gone.Left()
}

// decideMembers finds whom owners have made members.
func (ev *evaluation) decideMembers() {
	all := ev.by(KindMember, RightAdmit)
	current := all[:0:0]
	for i, e := range all { // sorted by name, and what counts first
		if i == 0 || all[i-1].subject != e.subject {
			current = append(current, e)
		}
	}
	inOrder := ev.claimKeys(current)
	ev.members = make([]*Membership, 0, len(current))
	for _, e := range current {
		m := e.member
		switch {
		case !inOrder && ev.holder(m) != m: // its key is another name's
		case ev.isRemoved(m.Key, m.RSA): // the name is free again
			ev.forgetKeys(m)
		case ev.leave(m.Key):
			ev.forgetKeys(m)
			ev.gone[m.Key] = m
		default:
			ev.members = append(ev.members, m)
		}
	}
}

// claimKeys gives each key to one name: of several that name it, the statement with the higher
// serial, else the lower id, has it, with its other key. It reports whether no key had two names.
func (ev *evaluation) claimKeys(list []*entry) bool {
	ev.state.keys.reserve(2*len(list) + 2*len(ev.r.kinds[KindAdmission]))
	if ev.claimInOrder(list) {
		return true
	}
	ev.state.keys.clear()
	list = slices.Clone(list)
	slices.SortFunc(list, newer)
	for _, e := range list {
		if holder := ev.holder(e.member); holder != nil {
			ev.conflict(ReasonKeyTaken, e, e.member.Name, e.member.Key, holder.Statement)
			continue
		}
		ev.takeKeys(e.member)
	}
	return false
}

// claimInOrder is the usual case: no key has two names. It reports whether that is so.
func (ev *evaluation) claimInOrder(list []*entry) bool {
	fresh := true
	for _, e := range list {
		if e.member == nil {
			e.member = membershipOf(e)
		}
		fresh = ev.takeKeys(e.member) && fresh
	}
	return fresh
}

// holder returns who has a key of m, nil if nobody has one.
func (ev *evaluation) holder(m *Membership) *Membership {
	for _, key := range [2][32]byte{m.Key, m.RSA} {
		if other := ev.state.keys.get(key); other != nil {
			return other
		}
	}
	return nil
}

// takeKeys enters the keys of m. It reports whether nobody had one of them.
func (ev *evaluation) takeKeys(m *Membership) bool {
	fresh := true
	for _, key := range [2][32]byte{m.Key, m.RSA} {
		if key != ([32]byte{}) {
			fresh = ev.state.keys.put(key, m) && fresh
		}
	}
	return fresh
}

func (ev *evaluation) forgetKeys(m *Membership) {
	ev.state.keys.remove(m.Key)
	ev.state.keys.remove(m.RSA)
}

// identities are the keys by which a member is known: one or two.
func (m *Membership) identities(yield func([32]byte) bool) { identities(m.Key, m.RSA)(yield) }

func (m *Member) identities(yield func([32]byte) bool) { identities(m.Key, m.RSA)(yield) }

func identities(key keys.PublicKey, rsa [32]byte) iter.Seq[[32]byte] {
	return func(yield func([32]byte) bool) {
		if key != (keys.PublicKey{}) && !yield(key) {
			return
		}
		if rsa != [32]byte{} {
			yield(rsa)
		}
	}
}

func membershipOf(e *entry) *Membership {
	c := e.Content.(*Member)
	return &Membership{
		Name: c.Name, Key: c.Key, RSA: c.RSA, Grant: c.Grant, NotAfter: e.NotAfter,
		Statement: e.id, Serial: e.Serial, By: e.Signer,
	}
}

// join makes a newcomer a member.
func (ev *evaluation) join(m *Membership) {
	ev.joined = append(ev.joined, m)
	ev.names[m.Name] = m
	ev.takeKeys(m)
}

// named returns who has a name: a member or a pending newcomer.
func (ev *evaluation) named(name node.Name) *Membership {
	if m := ev.names[name]; m != nil {
		return m
	}
	if d := ev.state.Device(name); d != nil {
		return d.asMember()
	}
	return findMember(ev.members, name)
}

// leave tells whether the owner of a key has left by itself, and keeps that statement, since
// now the key is known.
func (ev *evaluation) leave(key keys.PublicKey) bool {
	e := ev.left[key]
	if e == nil {
		return false
	}
	e.keep()
	if ev.state.removed[key] == nil {
		ev.state.removed[key] = &RemovedKey{Removal: e.Content.(*Removal), Statement: e.id, By: e.Signer}
	}
	return true
}

// decideInvitations finds the invitations of owners.
func (ev *evaluation) decideInvitations() {
	type saying struct{ invitation, owner keys.PublicKey }
	said := map[saying]bool{}
	for _, e := range ev.by(KindInvitation, RightAdmit) { // sorted by key, and what counts first
		key := e.Content.(*Invitation).Key
		if what := (saying{key, e.Signer}); said[what] {
			e.withdraw(ReasonRedundant) // its signer has said something newer
		} else {
			said[what] = true
		}
		if ev.open[key] == nil && !ev.removedByOwner(key) {
			ev.open[key] = openInvitation(e)
		}
	}
}

func openInvitation(e *entry) *invitation {
	return &invitation{
		OpenInvitation: &OpenInvitation{
			Invitation: e.Content.(*Invitation), NotAfter: e.NotAfter, Statement: e.id, Serial: e.Serial, By: e.Signer,
		},
		used: map[keys.PublicKey]bool{},
	}
}

// decideAdmissions goes through all admissions, and the invitations of members, in the order
// of their times. Whether one counts depends only on what was before it: who signs must have
// become a member at an earlier time. That makes the order well-founded, so that two
// statements can not support each other, and the result the same everywhere.
//
// The times are those that members have signed. A member can give a wrong one, and so win
// against another newcomer under the same invitation; it can do nothing else with that.
func (ev *evaluation) decideAdmissions() {
	for _, e := range ev.events() {
		var why Reason
		switch c := e.Content.(type) {
		case *Invitation:
			why = ev.judgeInvitation(e, c)
		case *Admission:
			why = ev.judgeAdmission(e, c)
		}
		if why != ReasonNone {
			e.drop(why)
		}
	}
}

// events returns what members have signed, the earliest first. Of the same time invitations
// come before admissions, which need a later time anyway.
func (ev *evaluation) events() []*entry {
	admissions := ev.r.kinds[KindAdmission] // sorted
	var invitations []*entry
	for _, e := range ev.r.kinds[KindInvitation] {
		if !ev.owners.May(e.Signer, RightAdmit) {
			invitations = append(invitations, e)
		}
	}
	if len(invitations) == 0 {
		return admissions
	}
	all := append(invitations, admissions...)
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(timeOf(a), timeOf(b)), cmp.Compare(a.slot.kind, b.slot.kind), compareIDs(a.id, b.id))
	})
	return all
}

func timeOf(e *entry) int64 {
	switch c := e.Content.(type) {
	case *Admission:
		return c.Time
	case *Invitation:
		return c.Created
	}
	return 0
}

// voucher returns the member that signs at a time, nil if it may not. One that has left still
// may: whom it has admitted before does not depend on that. Who has an end admits nobody: it
// could do so after its end, by giving an earlier time.
func (ev *evaluation) voucher(key keys.PublicKey, at int64) *Membership {
	m := ev.state.keys.get(key)
	if m == nil {
		m = ev.gone[key]
	}
	if m == nil || m.Key != key || m.NotAfter != 0 || m.Invitation != (keys.PublicKey{}) && m.Since >= at {
		return nil
	}
	return m
}

// judgeInvitation decides about an invitation by a member. It may grant the groups that it
// has itself, addresses out of its pool, and no capability.
func (ev *evaluation) judgeInvitation(e *entry, c *Invitation) Reason {
	m := ev.voucher(e.Signer, c.Created)
	switch {
	case m == nil:
		return ReasonSigner
	case ev.removedByOwner(c.Key) || ev.open[c.Key] != nil:
		return ReasonRedundant
	case m.Capabilities&CapInvite == 0 || !m.mayGrant(c):
		return ReasonGrant
	case ev.invited[m.Key] >= maxInvitations:
		return ReasonLimit
	}
	ev.invited[m.Key]++
	ev.open[c.Key] = openInvitation(e)
	e.keep()
	return ReasonNone
}

func (m *Membership) mayGrant(c *Invitation) bool {
	for _, list := range [][]subnet.Subnet{c.Subnets, c.Pool, c.Choose} {
		for _, s := range list {
			if !within(s, m.Pool) {
				return false
			}
		}
	}
	for _, group := range c.Groups {
		if _, found := slices.BinarySearch(m.Groups, group); !found {
			return false
		}
	}
	return c.Capabilities == 0
}

// within tells whether a subnet lies in one of a list.
func within(s subnet.Subnet, list []subnet.Subnet) bool {
	p := s.Prefix()
	for _, outer := range list {
		o := outer.Prefix()
		if p.IsValid() && o.IsValid() && o.Bits() <= p.Bits() && o.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// judgeAdmission decides about an admission.
func (ev *evaluation) judgeAdmission(e *entry, c *Admission) Reason {
	inv := ev.open[c.Invitation]
	if inv == nil {
		return ReasonInvitation
	}
	if why := ev.checkAdmission(e, c, inv); why != ReasonNone {
		return why
	}
	if inv.used[c.Key] {
		return ReasonRedundant // the same newcomer came twice
	}
	if why, other := ev.taken(c, inv); why != ReasonNone {
		return ev.lose(e, c, inv, why, other)
	}
	e.keep()
	inv.Used = append(inv.Used, c.Key)
	inv.used[c.Key] = true
	ev.admit(e, c, inv)
	return ReasonNone
}

// checkAdmission compares an admission with its invitation.
func (ev *evaluation) checkAdmission(e *entry, c *Admission, inv *invitation) Reason {
	switch {
	case c.Time <= inv.Created:
		return ReasonTime
	case inv.NotAfter != 0 && c.Time > addSeconds(inv.NotAfter, afterEnd):
		return ReasonTime
	case ev.voucher(e.Signer, c.Time) == nil:
		return ReasonVoucher
	case !inv.matches(c.Name):
		return ReasonName
	}
	for _, s := range c.Subnets {
		if !single(s) || !within(s, inv.Choose) {
			return ReasonAddress
		}
	}
	return ReasonNone
}

func addSeconds(t, n int64) int64 {
	if t > math.MaxInt64-n {
		return math.MaxInt64
	}
	return t + n
}

// single tells whether s is one IP address, with the usual weight.
func single(s subnet.Subnet) bool {
	return s.Prefix().IsValid() && s.Prefix().IsSingleIP() && s.Weight == subnet.DefaultWeight
}

// taken says why a newcomer can not be admitted although the invitation is in order, and which
// statement stands against it. A key that is a member's already takes nothing from anybody.
func (ev *evaluation) taken(c *Admission, inv *invitation) (Reason, ID) {
	if len(inv.Used) >= int(inv.Uses) {
		return ReasonUses, inv.Statement
	}
	if ev.state.keys.get(c.Key) != nil {
		return ReasonNone, ID{}
	}
	if other := ev.pending[c.Key]; other != nil && other.Name != c.Name {
		return ReasonKeyTaken, other.Statement
	}
	if other := ev.state.keys.get(c.RSA); other != nil {
		return ReasonKeyTaken, other.Statement
	}
	if other := ev.named(c.Name); other != nil && other.Key != c.Key {
		return ReasonNameTaken, other.Statement
	}
	return ReasonNone, ID{}
}

// lose notes that an admission does not count, and keeps it as evidence, of which each
// invitation has only a little.
func (ev *evaluation) lose(e *entry, c *Admission, inv *invitation, why Reason, other ID) Reason {
	if inv.evidence >= maxEvidence {
		return ReasonLimit
	}
	inv.evidence++
	e.keep()
	if !ev.isRemoved(c.Key, c.RSA) {
		ev.conflict(why, e, c.Name, c.Key, other)
	}
	return ReasonNone
}

// admit makes a newcomer what it becomes by an admission that counts. One whose key is removed
// has used the invitation nevertheless, or it could use it again with another key.
func (ev *evaluation) admit(e *entry, c *Admission, inv *invitation) {
	if ev.isRemoved(c.Key, c.RSA) || ev.state.keys.get(c.Key) != nil {
		return
	}
	m := newcomer(e, c, inv)
	if ev.leave(c.Key) {
		if ev.gone[c.Key] == nil {
			ev.gone[c.Key] = m
		}
		return
	}
	if inv.Approval {
		if ev.pending[c.Key] == nil {
			m = ev.withAddresses(e, m, c)
			ev.pending[c.Key] = m
			ev.names[m.Name] = m
			ev.state.Pending = append(ev.state.Pending, m)
		}
		return
	}
	m = ev.withAddresses(e, m, c)
	ev.join(m)
	ev.hold(m)
}

// newcomer returns what an admission makes of a newcomer, apart from addresses that turn out to
// be taken: the same value in each evaluation, as long as the invitation is the same.
func newcomer(e *entry, c *Admission, inv *invitation) *Membership {
	if e.member == nil || e.under != inv.Statement {
		e.under = inv.Statement
		e.member = &Membership{
			Name: c.Name, Key: c.Key, RSA: c.RSA, Grant: inv.Grant,
			Statement: e.id, By: e.Signer, Invitation: c.Invitation, Since: c.Time,
		}
	}
	return e.member
}

// withAddresses returns m with the subnets of its invitation, and those chosen for it, without
// the single addresses that another member has.
func (ev *evaluation) withAddresses(e *entry, m *Membership, c *Admission) *Membership {
	if len(m.Subnets)+len(c.Subnets) == 0 {
		return m
	}
	ev.holdAddresses()
	list := slices.Concat(m.Subnets, c.Subnets)
	slices.SortFunc(list, subnet.Compare)
	list = slices.DeleteFunc(slices.Compact(list), func(s subnet.Subnet) bool {
		other := ev.held[address(s)]
		if other != nil {
			ev.conflict(ReasonAddressTaken, e, m.Name, m.Key, other.Statement)
		}
		return other != nil
	})
	copied := *m
	copied.Subnets = list
	return &copied
}

// holdAddresses notes the single addresses of all members, when somebody asks for the first time.
func (ev *evaluation) holdAddresses() {
	if ev.held != nil {
		return
	}
	ev.held = map[string]*Membership{}
	for _, m := range ev.members {
		ev.hold(m)
	}
	for _, m := range ev.joined {
		ev.hold(m)
	}
	for _, d := range ev.state.Devices {
		ev.hold(d.asMember())
	}
}

// address is a single address as text, "" for everything else.
func address(s subnet.Subnet) string {
	if p := s.Prefix(); p.IsValid() && p.IsSingleIP() {
		return p.Addr().String()
	}
	return ""
}

// hold notes the single addresses of a member, if somebody has asked for them.
func (ev *evaluation) hold(m *Membership) {
	if ev.held == nil {
		return
	}
	for _, s := range m.Subnets {
		if a := address(s); a != "" && ev.held[a] == nil {
			ev.held[a] = m
		}
	}
}

func (ev *evaluation) conflict(why Reason, e *entry, name node.Name, key keys.PublicKey, other ID) {
	ev.state.Conflicts = append(ev.state.Conflicts, Conflict{Reason: why, Name: name, Key: key, Statement: e.id, Other: other})
}

// decidePolicies finds the policy of each name.
func (ev *evaluation) decidePolicies() {
	for _, e := range ev.by(KindPolicy, RightPolicy) { // sorted by name, and what counts first
		p := e.Content.(*Policy)
		if n := len(ev.state.Policies); n == 0 || ev.state.Policies[n-1].Name != p.Name {
			ev.state.Policies = append(ev.state.Policies, &SignedPolicy{Policy: p, Serial: e.Serial, Statement: e.id, By: e.Signer})
		}
	}
}

// decideNames finds the further names.
func (ev *evaluation) decideNames() {
	if list := ev.by(KindNames, RightPolicy); len(list) > 0 { // what counts comes first
		e := list[0]
		ev.state.Names = &SignedNames{Names: e.Content.(*Names), Serial: e.Serial, Statement: e.id, By: e.Signer}
	}
}

// decideUnknown keeps what owners have said with a newer program, of each owner only so much.
// Which is chosen by what it is about, so that a newer statement takes the place of the older.
func (ev *evaluation) decideUnknown() {
	var list []*entry
	for kind, all := range ev.r.kinds {
		if _, known := kindNames[kind]; known {
			continue
		}
		for _, e := range all {
			if ev.owners.find(e.Signer) >= 0 {
				list = append(list, e)
			} else {
				e.drop(ReasonSigner)
			}
		}
	}
	slices.SortFunc(list, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.slot.kind, b.slot.kind), cmp.Compare(a.subject, b.subject), compareIDs(a.id, b.id))
	})
	count := map[keys.PublicKey]int{}
	for _, e := range list {
		if count[e.Signer]++; count[e.Signer] > maxUnknown {
			e.drop(ReasonLimit)
			continue
		}
		e.keep()
		ev.state.Newer = append(ev.state.Newer, Newer{Kind: e.slot.kind, Critical: e.Critical, Statement: e.id})
	}
}

// finish sorts what the state lists.
func (ev *evaluation) finish() {
	s := ev.state
	s.Members = mergeMembers(ev.members, ev.joined)
	s.Pending = slices.DeleteFunc(s.Pending, func(m *Membership) bool { return s.keys.get(m.Key) != nil })
	for _, i := range ev.open {
		s.Invitations = append(s.Invitations, i.OpenInvitation)
	}
	slices.SortFunc(s.Invitations, func(a, b *OpenInvitation) int { return compareIDs(ID(a.Key), ID(b.Key)) })
	for key, gone := range s.removed {
		if key == gone.Key {
			s.Removals = append(s.Removals, gone)
		}
	}
	slices.SortFunc(s.Removals, func(a, b *RemovedKey) int { return compareIDs(a.Key, b.Key) })
	slices.SortFunc(s.Conflicts, func(a, b Conflict) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), compareIDs(a.Statement, b.Statement), compareIDs(a.Other, b.Other))
	})
	s.Conflicts = slices.Compact(s.Conflicts)
}

// mergeMembers returns members by name: those of a, which are sorted, and those of b.
func mergeMembers(a, b []*Membership) []*Membership {
	if len(b) == 0 {
		return a
	}
	b = slices.Clone(b)
	slices.SortFunc(b, func(x, y *Membership) int { return strings.Compare(string(x.Name), string(y.Name)) })
	all := make([]*Membership, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].Name < b[0].Name {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return append(append(all, a...), b...)
}
