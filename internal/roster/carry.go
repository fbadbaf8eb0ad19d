package roster

import (
	"fmt"
	"slices"

	"tincan/internal/keys"
)

// The right to say something is judged by who is owner and member now, never by when it was
// said: that nobody can prove. So a change takes away what stood on whoever goes. These
// functions find out what that is, by trying the change on a copy, and sign it anew.

// carry returns statements of an owner for whatever a change takes away beside what it names,
// and after them the change. What lost is about, if it is not nil, may be lost.
func (r *Roster) carry(change [][]byte, owner *keys.PrivateKey, lost func(by keys.PublicKey) bool) ([][]byte, error) {
	c := &carrier{before: r, trial: r.Clone(), owner: owner, lost: lost}
	c.trial.Merge(change)
	// Invitations come before members: with them those come back who were admitted under them.
	for _, step := range []func() error{c.removals, c.invitations, c.members, c.policies} {
		if err := step(); err != nil {
			return nil, err
		}
		c.trial.Merge(c.raws)
	}
	return append(c.raws, change...), nil
}

// carryOwners is [Roster.carry] for a change of owners. Nothing is lost as long as too few have
// signed it.
func (r *Roster) carryOwners(next Content, change [][]byte, compromised []keys.PublicKey, owner *keys.PrivateKey) ([][]byte, error) {
	trial := r.Clone()
	trial.Merge(change)
	id := ID{}
	switch n := next.(type) {
	case *Owners:
		id = n.List(r.network)
	case *Recovery:
		id = trial.State().Root
	}
	if trial.State().List != id {
		return change, nil
	}
	return r.carry(change, owner, func(by keys.PublicKey) bool { return slices.Contains(compromised, by) })
}

// carrier signs anew what a change takes away.
type carrier struct {
	before, trial *Roster
	owner         *keys.PrivateKey
	lost          func(by keys.PublicKey) bool
	raws          [][]byte
}

// sign says something anew, if it may not be lost.
func (c *carrier) sign(by keys.PublicKey, right Rights, notAfter int64, content Content) error {
	if c.lost != nil && c.lost(by) {
		return nil
	}
	subject := string(content.appendSubject(nil))
	if !c.trial.State().Owners.May(c.owner.Public(), right) {
		return fmt.Errorf("the %v statement about %.40q would be lost, and the owner who signs has no right to sign it again", content.Kind(), subject)
	}
	serial, err := c.before.nextSerial(content.Kind(), subject)
	if err != nil {
		return err
	}
	raw, err := Sign(c.before.network, serial, notAfter, content, c.owner)
	if err != nil {
		return err
	}
	c.raws = append(c.raws, raw)
	return nil
}

func (c *carrier) removals() error {
	now := c.trial.State()
	for _, old := range c.before.State().Removals {
		if old.Left() || now.Removed(old.Key) != nil && !now.Removed(old.Key).Left() {
			continue
		}
		if err := c.sign(old.By, RightRemove, 0, old.Removal); err != nil {
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
		if !byOwner || now.Invitation(old.Key) != nil || now.Removed(old.Key) != nil {
			continue
		}
		if err := c.sign(old.By, RightAdmit, old.NotAfter, old.Invitation); err != nil {
			return err
		}
	}
	return nil
}

func (c *carrier) members() error {
	now := c.trial.State()
	for _, old := range c.before.State().Members {
		if c.stays(now, old) {
			continue
		}
		if err := c.sign(c.standsOn(old), RightAdmit, old.NotAfter, old.member()); err != nil {
			return err
		}
	}
	return nil
}

// stays tells whether a member is one after the change, or its key or its name is what the change
// is about.
func (c *carrier) stays(now *State, old *Membership) bool {
	for key := range old.identities {
		if now.MemberByKey(key) != nil || now.Removed(key) != nil {
			return true
		}
	}
	return now.Member(old.Name) != nil
}

// standsOn returns the owner by whose signature somebody is a member.
func (c *carrier) standsOn(m *Membership) keys.PublicKey {
	if inv := c.before.State().Invitation(m.Invitation); inv != nil {
		return inv.By
	}
	return m.By
}

func (c *carrier) policies() error {
	now := c.trial.State()
	for _, old := range c.before.State().Policies {
		if _, ok := now.Policy(old.Name); ok {
			continue
		}
		if err := c.sign(old.By, RightPolicy, 0, old.Policy); err != nil {
			return err
		}
	}
	return nil
}
