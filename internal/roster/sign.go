package roster

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// The functions of this file make statements and return their encoding. They change no roster:
// whoever calls them adds the result. Those that are methods of a [Roster] refuse what would not
// count there, and say who could do it.

// NotAllowedError is the error for a statement that the signer has no right to.
type NotAllowedError struct {
	What string  // what was attempted
	Who  []Owner // who has the right
	New  bool    // nobody may, because this program does not understand a critical statement
}

func (e *NotAllowedError) Error() string {
	if e.New {
		return fmt.Sprintf("%s: the roster holds critical statements of a newer version", e.What)
	}
	return fmt.Sprintf("%s: this key has no right to do that", e.What)
}

// Hint says who can do it.
func (e *NotAllowedError) Hint() string {
	if e.New {
		return "update this program"
	}
	var names []string
	for _, o := range e.Who {
		names = append(names, fmt.Sprintf("%s (%s)", o.Name, Fingerprint(o.Key)))
	}
	if len(names) == 0 {
		return "no owner has this right; the recovery key can name new owners"
	}
	return "who has it: " + strings.Join(names, ", ")
}

// allow checks the right of an owner.
func (r *Roster) allow(what string, key *keys.PrivateKey, right Rights) error {
	s := r.State()
	if s.May(key.Public(), right) {
		return nil
	}
	e := &NotAllowedError{What: what, New: s.TooNew()}
	for _, o := range s.Owners.Owners {
		if o.Rights&right == right {
			e.Who = append(e.Who, o)
		}
	}
	return e
}

// Sign makes a statement of any content, without asking for rights.
func Sign(network ID, serial uint64, notAfter int64, content Content, key *keys.PrivateKey) ([]byte, error) {
	s := &Statement{Network: network, Serial: serial, NotAfter: notAfter, Content: content}
	s.sign(key)
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := s.Verify(); err != nil {
		return nil, err
	}
	return s.Append(nil), nil
}

// NewGenesis begins a network. The owner whose private key it is must be the first of the list.
func NewGenesis(g Genesis, key *keys.PrivateKey) ([]byte, ID, error) {
	s := &Statement{Content: &g}
	s.sign(key)
	if err := errors.Join(s.Check(), s.Verify()); err != nil {
		return nil, ID{}, err
	}
	return s.Append(nil), s.ID(), nil
}

var errSerial = errors.New("the serial number has reached its end; another name has to be used")

// signNext makes the statement that takes the place of what is stored of its kind and subject: its serial is above all of them.
func (r *Roster) signNext(notAfter int64, content Content, key *keys.PrivateKey) ([]byte, error) {
	r.settle()
	highest := uint64(0)
	for _, e := range r.about(content.Kind(), string(content.appendSubject(nil))) {
		if e.place == stored {
			highest = max(highest, e.Serial)
		}
	}
	if highest == math.MaxUint64 {
		return nil, errSerial
	}
	return Sign(r.network, highest+1, notAfter, content, key)
}

// about returns the statements of a kind with a subject.
func (r *Roster) about(kind Kind, subject string) []*entry {
	list := r.kinds[kind]
	i, _ := slices.BinarySearchFunc(list, subject, func(e *entry, subject string) int { return strings.Compare(e.subject, subject) })
	n := i
	for n < len(list) && list[n].subject == subject {
		n++
	}
	return list[i:n]
}

// SignMember makes somebody a member, or changes what a member has. The statement is the last
// of the result; before it come those of [Roster.carry].
func (r *Roster) SignMember(m Member, notAfter int64, key *keys.PrivateKey) ([][]byte, error) {
	what := fmt.Sprintf("admitting %s", m.Name)
	if err := r.allow(what, key, RightAdmit); err != nil {
		return nil, err
	}
	s := r.State()
	for id := range m.identities {
		if s.Removed(id) != nil {
			return nil, &hinted{fmt.Errorf("%s: %w", what, &Refusal{Reason: ReasonRemoved}), "a removed key never comes back; make a new key on that machine"}
		}
		if other := s.MemberByKey(id); other != nil && other.Name != m.Name {
			return nil, fmt.Errorf("%s: its key is that of member %s", what, other.Name)
		}
	}
	raw, err := r.signNext(notAfter, &m, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return r.carry(raw, key)
}

// hinted is an error with something that the user can do.
type hinted struct {
	error
	hint string
}

func (h *hinted) Hint() string  { return h.hint }
func (h *hinted) Unwrap() error { return h.error }

// Approve makes a pending newcomer a member.
func (r *Roster) Approve(name node.Name, key *keys.PrivateKey) ([][]byte, error) {
	for _, m := range r.State().Pending {
		if m.Name == name {
			return r.SignMember(*m.member(), m.NotAfter, key)
		}
	}
	return nil, fmt.Errorf("approving %s: nobody of this name waits for it", name)
}

func (m *Membership) member() *Member {
	return &Member{Name: m.Name, Key: m.Key, RSA: m.RSA, Grant: m.Grant}
}

// SignRemoval removes a key for ever: that of a member, of a pending newcomer (which denies
// it), or of an invitation (which withdraws it). The removal is the last of the result; before it
// come statements of the owner for those who were admitted by that member or under that
// invitation, since what a removed key has signed does not count any more.
func (r *Roster) SignRemoval(key [32]byte, reason string, owner *keys.PrivateKey) ([][]byte, error) {
	c := Removal{Key: key, Reason: reason}
	what := "removing a key"
	if m := r.find(key); m != nil {
		what = fmt.Sprintf("removing %s", m.Name)
		c.Key, c.RSA, c.Name = m.Key, m.RSA, m.Name
		if c.Key == [32]byte{} {
			c.Key, c.RSA = m.RSA, [32]byte{}
		}
	} else if i := slices.IndexFunc(r.State().Devices, func(d *SignedDevice) bool { return d.Key == key }); i >= 0 {
		c.Name = r.State().Devices[i].Name
		what = fmt.Sprintf("removing the device %s", c.Name)
	}
	if err := r.allow(what, owner, RightRemove); err != nil {
		return nil, err
	}
	if old := r.State().Removed(c.Key); old != nil && !old.Left() {
		return nil, fmt.Errorf("%s: it was removed before", what)
	}
	raw, err := Sign(r.network, 1, 0, &c, owner)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return r.carry(raw, owner)
}

// find returns the member or pending newcomer with a key.
func (r *Roster) find(key [32]byte) *Membership {
	s := r.State()
	if m := s.MemberByKey(key); m != nil {
		return m
	}
	for _, m := range s.Pending {
		if m.Key == key {
			return m
		}
	}
	return nil
}

// Leave removes the signer's own key.
func Leave(network ID, name node.Name, key *keys.PrivateKey) ([]byte, error) {
	return Sign(network, 1, 0, &Removal{Key: key.Public(), Name: name}, key)
}

// SignInvitation makes an invitation. invitation is the key that follows from the URL; who
// signs is an owner, or a member that may invite. Key and Proof of i are filled in.
func (r *Roster) SignInvitation(i Invitation, notAfter int64, invitation, signer *keys.PrivateKey) ([]byte, error) {
	s, what := r.State(), "inviting "+cmp.Or(i.Name, "anybody")
	if m := s.MemberByKey(signer.Public()); m != nil && !s.TooNew() && m.Capabilities&CapInvite != 0 && m.NotAfter == 0 {
		if !m.mayGrant(&i) {
			return nil, fmt.Errorf("%s: a member can grant its own groups and addresses out of its pool, and no capability", what)
		}
		i.Created = after(i.Created, m)
	} else if err := r.allow(what, signer, RightAdmit); err != nil {
		return nil, err
	}
	i.Key = invitation.Public()
	i.Proof = invitation.Sign(invitationProof(r.network, i.Key))
	raw, err := r.signNext(notAfter, &i, signer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return raw, nil
}

// after returns a time at which the statement of a member counts: now, but later than its own
// admission, should the clock of the one who admitted it be ahead.
func after(now int64, m *Membership) int64 {
	if m.Invitation != (keys.PublicKey{}) {
		return max(now, addSeconds(m.Since, 1))
	}
	return now
}

// Admit admits a newcomer under an invitation. proof is from [Request.Sign]; subnets are the
// addresses chosen for it; now are Unix seconds; signer is the key of the member that admits.
func (r *Roster) Admit(q Request, proof [64]byte, subnets []subnet.Subnet, now int64, signer *keys.PrivateKey) ([]byte, error) {
	s := r.State()
	inv := s.Invitation(q.Invitation)
	me := s.MemberByKey(signer.Public())
	what := fmt.Sprintf("admitting %s", q.Name)
	switch {
	case s.TooNew():
		return nil, &NotAllowedError{What: what, New: true}
	case inv == nil:
		return nil, fmt.Errorf("%s: %w", what, &Refusal{Reason: ReasonInvitation})
	case me == nil || me.NotAfter != 0:
		return nil, fmt.Errorf("%s: %w", what, &Refusal{Reason: ReasonVoucher})
	case inv.NotAfter != 0 && now > inv.NotAfter:
		return nil, fmt.Errorf("%s: %w", what, &Refusal{Reason: ReasonTime})
	case s.Removed(q.Key) != nil || q.RSA != [32]byte{} && s.Removed(q.RSA) != nil:
		return nil, fmt.Errorf("%s: %w", what, &Refusal{Reason: ReasonRemoved})
	}
	raw, err := Sign(r.network, 0, 0, &Admission{
		Name: q.Name, Key: q.Key, RSA: q.RSA, Invitation: q.Invitation,
		Time: max(after(now, me), addSeconds(inv.Created, 1)), Subnets: subnets, Proof: proof,
	}, signer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return raw, r.wouldAdmit(what, q, raw)
}

// wouldAdmit tries an admission on a copy, so that what is told a newcomer is what every node
// will say that knows the same.
func (r *Roster) wouldAdmit(what string, q Request, raw []byte) error {
	if slices.Contains(r.State().Invitation(q.Invitation).Used, q.Key) {
		return nil // it comes again, because it missed the answer
	}
	trial := r.Clone()
	result, err := trial.Add(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if result.Outcome == Waiting {
		return fmt.Errorf("%s: %w", what, &Refusal{Reason: result.Reason})
	}
	for _, c := range trial.State().Conflicts {
		if c.Statement == result.ID {
			return fmt.Errorf("%s: %w", what, &Refusal{Reason: c.Reason})
		}
	}
	return nil
}

// Change is a new list of owners, and what is to become of the word of those who are on it no more.
//
// What they have signed would be lost. The owner that signs the change says it anew, if it takes
// effect: members, invitations, removals, policies, names, devices. [Roster.Claims] tells what that is.
type Change struct {
	Parent ID          // the list that the new one follows, see [Roster.Base]; zero: the one in force
	Owners OwnerList   // from then on
	Former []Owner     // who were owners before, with the rights that they had: what they have signed is said anew as well
	Drop   map[ID]bool // statements of those who go that are not said anew, and so lost
	Ahead  bool        // say it anew although others have to sign the change first: those who go may be the last of them
}

// SignOwners signs a list of owners. With a threshold above 1 it takes effect when others have
// signed the same list, in the same way. The signer must be on the new list if there is
// something that it has to say for others. The result is to be added in one go.
func (r *Roster) SignOwners(c Change, key *keys.PrivateKey) ([][]byte, error) {
	if c.Parent.IsZero() {
		c.Parent = r.State().List
	}
	raw, err := r.vote(c, key)
	if err != nil {
		return nil, err
	}
	trial := r.Clone()
	trial.Merge([][]byte{raw})
	o := &Owners{Parent: c.Parent, OwnerList: c.Owners}
	switch {
	case trial.State().List == o.List(r.network) || c.Ahead && c.Parent == r.State().List:
		return r.carryOwners(c, raw, key)
	case c.Parent == r.State().List:
		return [][]byte{raw}, nil // others have to sign it, too
	}
	return nil, fmt.Errorf("%s: a more senior owner has decided otherwise", changingOwners)
}

const changingOwners = "changing the owners"

// vote signs a list of owners.
func (r *Roster) vote(c Change, key *keys.PrivateKey) ([]byte, error) {
	if s := r.State(); c.Parent == s.List && (!s.Owners.May(key.Public(), RightOwners) || r.tooNewUnder(c.Owners)) {
		if err := r.allow(changingOwners, key, RightOwners); err != nil {
			return nil, err
		}
	}
	serial := uint64(0)
	for _, e := range r.kinds[KindOwners] {
		if e.place == stored && e.Content.(*Owners).Parent == c.Parent {
			serial = max(serial, e.Serial)
		}
	}
	if serial == math.MaxUint64 {
		return nil, fmt.Errorf("%s: %w", changingOwners, errSerial)
	}
	raw, err := Sign(r.network, serial+1, 0, &Owners{Parent: c.Parent, OwnerList: c.Owners}, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", changingOwners, err)
	}
	return raw, nil
}

// tooNewUnder tells whether a critical statement that this program does not understand would remain. Otherwise a thief
// could keep his owner's key in office with one.
func (r *Roster) tooNewUnder(l OwnerList) bool {
	return slices.ContainsFunc(r.State().Newer, func(n Newer) bool { return n.Critical && l.find(r.byID[n.Statement].Signer) >= 0 })
}

// SignRecovery replaces the owners with the recovery key. next is the recovery key from then on.
// owner is the key of an owner on the new list, which says anew what would be lost. The Parent of c
// does not matter.
func (r *Roster) SignRecovery(c Change, next keys.PublicKey, recovery, owner *keys.PrivateKey) ([][]byte, error) {
	s := r.State()
	if r.tooNewUnder(c.Owners) {
		return nil, &NotAllowedError{What: "recovering the network", New: true}
	}
	if s.Root.IsZero() || recovery.Public() != s.Recovery {
		return nil, errors.New("recovering the network: this is not its recovery key")
	}
	raw, err := Sign(r.network, 1, 0, &Recovery{Root: s.Root, Recovery: next, OwnerList: c.Owners}, recovery)
	if err != nil {
		return nil, fmt.Errorf("recovering the network: %w", err)
	}
	c.Parent = s.List
	return r.carryOwners(c, raw, owner)
}

// SignNames replaces the further names in DNS. Those without text withdraw them.
func (r *Roster) SignNames(text string, key *keys.PrivateKey) ([]byte, error) {
	if err := r.allow("changing the names", key, RightPolicy); err != nil {
		return nil, err
	}
	return r.signNext(0, &Names{Text: text}, key)
}

// SignPolicy replaces the policy of a name. One without text withdraws it.
func (r *Roster) SignPolicy(name, text string, key *keys.PrivateKey) ([]byte, error) {
	if err := r.allow("changing the policy", key, RightPolicy); err != nil {
		return nil, err
	}
	return r.signNext(0, &Policy{Name: name, Text: text}, key)
}
