package ownership

import (
	"errors"
	"fmt"
	"math"
	"time"

	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

// A token is an invitation with many uses: its key follows from the token, so that every member that is told the token can
// admit newcomers with it. See internal/bootnode.

// Standing sees to it that the roster has the invitation that follows from a secret. One that is there with the same name,
// uses and end is left alone; an owner changes another one.
func (n *Network) Standing(secret []byte, i roster.Invitation, end time.Time) error {
	key := roster.InvitationKey(secret)
	notAfter := int64(0)
	if !end.IsZero() {
		notAfter = end.Unix()
	}
	signer, err := n.inviter()
	if err != nil {
		return err
	}
	i.Created, i.Choose = time.Now().Unix(), granted(i.Choose)
	is := n.Roster.State().Invitation(key.Public())
	if is != nil {
		owner := n.Roster.State().May(signer.Public(), roster.RightAdmit)
		if is.NotAfter == notAfter && is.Uses == i.Uses && is.Name == i.Name || !owner {
			return nil // whoever is no owner goes by what an owner has said
		}
		i.Created = is.Created // it is for those who have come already, too
	}
	raw, err := n.Roster.SignInvitation(i, notAfter, key, signer)
	if err != nil {
		var none *roster.NotAllowedError
		if errors.As(err, &none) {
			return terminal.Hint(fmt.Errorf("this node may not make a token for newcomers: %w", err),
				"on a machine with an owner's key: tincan token new; then give that token to this command, too")
		}
		return fmt.Errorf("making an invitation of the token: %w", err)
	}
	return n.add([][]byte{raw})
}

// Uses is a number of uses as an invitation has it; less than zero means any number.
func Uses(uses int) uint16 {
	if uses < 0 || uses > math.MaxUint16 {
		return math.MaxUint16
	}
	return uint16(uses)
}

// Withdraw withdraws the invitation that follows from a secret. done is false if there is none, or no owner's key here.
func (n *Network) Withdraw(secret []byte) (done bool, err error) {
	key := roster.InvitationKey(secret).Public()
	owner, err := members.OwnerKey(n.Layout)
	if err != nil || owner == nil || n.Roster.State().Invitation(key) == nil {
		return false, err
	}
	err = n.remove(key, "withdrawing the invitation", "")
	return err == nil, err
}

// Newcomer is somebody who has shown that it knows the secret of an invitation.
type Newcomer struct {
	Name    node.Name
	Key     keys.PublicKey // zero: a node of tinc 1.0
	RSA     [32]byte       // SHA-256 of the RSA key, zero: none
	Subnets []subnet.Subnet
}

// ErrOldNewcomer refuses a node of tinc 1.0, for which an invitation is no ground to be admitted.
var ErrOldNewcomer = errors.New("a node that has only an RSA key is admitted by an owner, and no owner's key is on this machine")

// ErrUnknownInvitation tells that the roster of this node has no invitation that follows from a secret. It may be on its way.
var ErrUnknownInvitation = errors.New("this node does not know the token's invitation (yet): the network has not told it")

// AdmitNewcomer admits somebody under the invitation that follows from a secret, with the key of this node, or with the
// owner's key if it has an RSA key only. Who is a member with the same key is so again. left are the subnets that it is not
// granted.
func (n *Network) AdmitNewcomer(secret []byte, c Newcomer, own *keys.PrivateKey) (left []subnet.Subnet, err error) {
	private := roster.InvitationKey(secret)
	s := n.Roster.State()
	inv := s.Invitation(private.Public())
	if inv == nil && s.Removed(private.Public()) == nil {
		return nil, ErrUnknownInvitation
	}
	if inv == nil {
		return nil, &roster.Refusal{Reason: roster.ReasonInvitation}
	}
	var chosen []subnet.Subnet
	for _, one := range granted(c.Subnets) {
		if one.Prefix().IsSingleIP() && (&roster.Grant{Subnets: inv.Choose}).Granted(one) {
			chosen = append(chosen, one)
		} else {
			left = append(left, one)
		}
	}
	id := [32]byte(c.Key)
	if c.Key == (keys.PublicKey{}) {
		id = c.RSA
	}
	if m := s.MemberByKey(id); m != nil && m.Name == c.Name {
		return left, nil
	}
	if c.Key == (keys.PublicKey{}) {
		return left, n.admitOld(c, inv, chosen)
	}
	q := roster.Request{Name: c.Name, Key: c.Key, RSA: c.RSA, Invitation: private.Public()}
	raw, err := n.Roster.Admit(q, q.Sign(n.Roster.Network(), private), chosen, time.Now().Unix(), own)
	if err != nil {
		return nil, err
	}
	return left, n.add([][]byte{raw})
}

// admitOld makes a member of a node of tinc 1.0.
func (n *Network) admitOld(c Newcomer, inv *roster.OpenInvitation, chosen []subnet.Subnet) error {
	owner, err := members.OwnerKey(n.Layout)
	s := n.Roster.State()
	switch {
	case err != nil:
		return err
	case owner == nil || !s.May(owner.Public(), roster.RightAdmit):
		return ErrOldNewcomer
	case !inv.Open(time.Now().Unix()):
		return &roster.Refusal{Reason: roster.ReasonTime}
	case s.Member(c.Name) != nil:
		return &roster.Refusal{Reason: roster.ReasonNameTaken}
	}
	m := roster.Member{Name: c.Name, RSA: c.RSA, Grant: inv.Grant}
	m.Subnets = granted(inv.Subnets, chosen)
	raws, err := n.Roster.SignMember(m, 0, owner)
	if err != nil {
		return err
	}
	return n.add(raws)
}
