package roster

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"tincan/internal/keys"
)

// The right to say something is judged by who is owner and member now, never by when it was
// said: that nobody can prove. So a change takes away what stood on whoever goes. These
// functions find out what that is, by trying the change on a copy, and sign it anew.

// Claim is something that is lost with an owner, unless another one says it anew.
type Claim struct {
	Statement ID             // that says it today: of a member that was admitted, the admission
	By        keys.PublicKey // the owner whose word it is, or a member who may invite
	Content   Content        // what is said anew: a [*Member], [*Removal], [*Invitation], [*Policy], [*Names], [*Device] or [*Door]
}

// carry returns statements of an owner for whatever a change takes away beside what it names,
// and after them the change.
func (r *Roster) carry(change []byte, owner *keys.PrivateKey) ([][]byte, error) {
	c := &carrier{before: r, trial: r.Clone(), owner: owner}
	c.trial.Merge([][]byte{change})
	if err := c.carry(); err != nil {
		return nil, err
	}
	return append(c.raws, change), nil
}

// carryOwners is [Roster.carry] for a change of owners that takes effect. The change comes first if it gives the
// rest its ground.
func (r *Roster) carryOwners(c Change, change []byte, owner *keys.PrivateKey) ([][]byte, error) {
	carrier := r.successor(c, owner)
	if err := carrier.carry(); err != nil {
		return nil, err
	}
	if r.State().May(owner.Public(), RightAdmit) {
		return append(carrier.raws, change), nil
	}
	return append([][]byte{change}, carrier.raws...), nil
}

// Claims tells what a change of owners takes away, if it takes effect, and what owner, who must be on the new list, says
// anew because of that. What c drops is not among it. Without a removal, or a statement about a name, others may
// come to light.
func (r *Roster) Claims(c Change, owner *keys.PrivateKey) ([]Claim, error) {
	if c.Parent.IsZero() {
		c.Parent = r.State().List
	}
	carrier := r.successor(c, owner)
	err := carrier.carry()
	return carrier.claims, err
}

// successor compares what the owners say who go, and those of the new list, with what the latter say alone.
func (r *Roster) successor(c Change, owner *keys.PrivateKey) *carrier {
	all := OwnerList{Threshold: 1, Owners: slices.Clone(c.Owners.Owners)}
	gone := c.Former
	for _, l := range r.History() {
		if l.ID == c.Parent {
			gone = append(slices.Clone(gone), l.Owners...)
		}
	}
	for _, o := range gone {
		if all.find(o.Key) < 0 {
			all.Owners = append(all.Owners, o)
		}
	}
	drop := maps.Clone(c.Drop)
	without := map[ID]bool{}
	for id := range c.Drop {
		e := r.byID[id]
		if e == nil {
			continue
		}
		switch content := e.Content.(type) {
		case *Invitation:
			continue // who was admitted under it is another question
		case *Admission:
			r.forgetAdmissions(content.Key, without, drop)
		case *Member:
			r.forgetAdmissions(content.Key, without, drop)
		}
		without[id] = true
	}
	s := &carrier{before: r.under(all, without), trial: r.under(c.Owners, nil), owner: owner, drop: drop, exact: true}
	s.stranded = s.before.State().stranded(r.under(all, nil).State(), drop)
	return s
}

// forgetAdmissions also drops by what a key was admitted: it would be a member as long as that invitation is open, and so
// would the next one.
func (r *Roster) forgetAdmissions(key keys.PublicKey, without, drop map[ID]bool) {
	for _, e := range r.kinds[KindAdmission] {
		if a := e.Content.(*Admission); a.Key == key {
			without[e.id] = true
			for _, i := range r.about(KindInvitation, string(a.Invitation[:])) {
				drop[i.id] = true
			}
		}
	}
}

// stranded are the members of a larger state who are none in s, although nobody has dropped them: whoever has
// admitted them is dropped.
func (s *State) stranded(larger *State, drop map[ID]bool) (list []*Membership) {
	for _, m := range larger.Members {
		is := drop[m.Statement] || s.Member(m.Name) != nil
		for key := range m.identities {
			is = is || s.MemberByKey(key) != nil || s.Removed(key) != nil
		}
		if !is {
			list = append(list, m)
		}
	}
	return list
}

// under returns a copy in which these are the owners, without some statements.
func (r *Roster) under(l OwnerList, without map[ID]bool) *Roster {
	c := r.Clone()
	c.assumed = &l
	for id := range without {
		if e := c.byID[id]; e != nil {
			c.remove(e)
		}
	}
	c.unsettled, c.changed = c.unsettled+1, true
	c.settle()
	return c
}

// carrier signs anew what a change takes away.
type carrier struct {
	before, trial *Roster
	owner         *keys.PrivateKey
	drop          map[ID]bool   // what may be lost
	stranded      []*Membership // members beside those of before
	exact         bool          // the change is about nobody in particular: what it alters counts as taken away, too
	claims        []Claim
	raws          [][]byte
}

// carry does it all. Invitations come before members: with them those come back who were admitted under them, as
// with members those whom they have admitted.
func (c *carrier) carry() error {
	for _, step := range []func() error{c.removals, c.invitations, c.ownersMembers, c.otherMembers, c.policies, c.names, c.devices} {
		n := len(c.raws)
		if err := step(); err != nil {
			return err
		}
		c.trial.Merge(c.raws[n:])
	}
	return nil
}

// sign says something anew, if it may not be lost.
func (c *carrier) sign(statement ID, by keys.PublicKey, right Rights, notAfter int64, content Content) error {
	if c.drop[statement] {
		return nil
	}
	if !c.trial.State().Owners.May(c.owner.Public(), right) {
		return fmt.Errorf("the %v statement about %.40q would be lost, and the owner who signs has no right to sign it again", content.Kind(), content.appendSubject(nil))
	}
	raw, err := c.before.signNext(notAfter, content, c.owner)
	if err != nil {
		return err
	}
	c.raws = append(c.raws, raw)
	c.claims = append(c.claims, Claim{statement, by, content})
	return nil
}

func (c *carrier) removals() error {
	now := c.trial.State()
	for _, old := range c.before.State().Removals {
		if old.Left() || now.Removed(old.Key) != nil && !now.Removed(old.Key).Left() {
			continue
		}
		if err := c.sign(old.Statement, old.By, RightRemove, 0, old.Removal); err != nil {
			return err
		}
	}
	return nil
}

func (c *carrier) invitations() error {
	now := c.trial.State()
	for _, old := range c.before.State().Invitations {
		// An invitation by a member that goes is withdrawn with it.
		byOwner := c.before.State().Owners.May(old.By, RightAdmit)
		if !byOwner || now.Removed(old.Key) != nil {
			continue
		}
		if is := now.Invitation(old.Key); is != nil && (!c.exact || is.NotAfter == old.NotAfter && reflect.DeepEqual(is.Invitation, old.Invitation)) {
			continue
		}
		if err := c.sign(old.Statement, old.By, RightAdmit, old.NotAfter, old.Invitation); err != nil {
			return err
		}
	}
	return nil
}

func (c *carrier) ownersMembers() error {
	return c.members(func(m *Membership) bool { return m.Invitation == keys.PublicKey{} })
}

func (c *carrier) otherMembers() error { return c.members(func(*Membership) bool { return true }) }

func (c *carrier) members(which func(*Membership) bool) error {
	now := c.trial.State()
	for _, old := range slices.Concat(c.before.State().Members, c.stranded) {
		if !which(old) || c.stays(now, old) {
			continue
		}
		if err := c.sign(old.Statement, c.standsOn(old), RightAdmit, old.NotAfter, old.member()); err != nil {
			return err
		}
	}
	return nil
}

// standsOn returns by whose word somebody is a member.
func (c *carrier) standsOn(m *Membership) keys.PublicKey {
	if inv := c.before.State().Invitation(m.Invitation); inv != nil {
		return inv.By
	}
	return m.By
}

// stays tells whether a member is one after the change, or its key or its name is what the change
// is about.
func (c *carrier) stays(now *State, old *Membership) bool {
	is := now.Member(old.Name)
	if c.exact {
		return is != nil && is.NotAfter == old.NotAfter && reflect.DeepEqual(is.member(), old.member())
	}
	for key := range old.identities {
		if now.MemberByKey(key) != nil || now.Removed(key) != nil {
			return true
		}
	}
	return is != nil
}

func (c *carrier) names() error {
	old, is := c.before.State().Names, c.trial.State().Names
	if old == nil || is != nil && (!c.exact || is.Text == old.Text) {
		return nil
	}
	return c.sign(old.Statement, old.By, RightPolicy, 0, old.Names)
}

func (c *carrier) policies() error {
	now := c.trial.State()
	for _, old := range c.before.State().Policies {
		if is := now.SignedPolicy(old.Name); is != nil && (!c.exact || is.Text == old.Text) {
			continue
		}
		if err := c.sign(old.Statement, old.By, RightPolicy, 0, old.Policy); err != nil {
			return err
		}
	}
	return nil
}
