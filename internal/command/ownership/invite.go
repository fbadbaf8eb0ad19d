package ownership

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/invite"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// Grant is what an invitation of a signed network gives beside an address.
type Grant struct {
	Groups   []string
	Uses     int           // 0: one
	Expires  time.Duration // 0: as InvitationExpire says
	Approval bool          // an owner has to approve the newcomer
}

// Check tells what is wrong with it.
func (g Grant) Check() error {
	if g.Uses < 0 || g.Uses > math.MaxUint16 {
		return fmt.Errorf("an invitation is for 1 to %d uses, not %d", math.MaxUint16, g.Uses)
	}
	return nil
}

// Invite makes an invitation: q says whom and where to, pattern is the name that the newcomer may take, as in
// [roster.Invitation], and ranges are where newcomers get their addresses from if several may come.
func (n *Network) Invite(q invite.Request, pattern string, g Grant, ranges []netip.Prefix) (invite.Invitation, error) {
	signer, err := n.inviter()
	if err != nil {
		return invite.Invitation{}, err
	}
	uses := max(g.Uses, 1)
	q.NetworkID, q.Choose = n.Roster.Network().String(), uses > 1 || q.Invitee == ""
	q.Back = n.gone(q.Invitee)
	taken := q.Taken
	q.Taken = func() []subnet.Subnet { // and what devices have, which are not there all the time
		list := n.Granted()
		if taken != nil {
			list = append(list, taken()...)
		}
		return list
	}
	q.Rand, q.Now = rand.Reader, time.Now()
	inv, cookie, err := invite.NewCookie(q, members.GreetingKey(n.Roster).Public())
	if err != nil {
		return inv, err
	}
	what := roster.Invitation{Name: pattern, Uses: uint16(uses), Approval: g.Approval, Created: q.Now.Unix()}
	what.Groups = g.Groups
	if q.Choose {
		for _, p := range ranges {
			what.Choose = append(what.Choose, subnet.FromPrefix(p.Masked()))
		}
	}
	for _, text := range inv.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return inv, err
		}
		what.Subnets = append(what.Subnets, subnet.FromPrefix(netip.PrefixFrom(p.Addr(), p.Addr().BitLen())))
	}
	expires := g.Expires
	if expires == 0 {
		expires = q.Expire
	}
	inv.Expires = q.Now.Add(expires)
	raw, err := n.Roster.SignInvitation(what, inv.Expires.Unix(), roster.InvitationKey(cookie), signer)
	if err != nil {
		return inv, err
	}
	for _, other := range n.Roster.State().Invitations {
		inv.Again = inv.Again || pattern != "" && other.Name == pattern && other.Uses == 1 && other.Open(q.Now.Unix())
	}
	return inv, n.add([][]byte{raw})
}

// gone tells whether a node of that name was removed, or has left, and the name is free again.
func (n *Network) gone(name node.Name) bool {
	s := n.Roster.State()
	named := func(m *roster.Membership) bool { return m.Name == name }
	return slices.ContainsFunc(s.Removals, func(x *roster.RemovedKey) bool { return x.Name == name }) &&
		!slices.ContainsFunc(s.Members, named) && !slices.ContainsFunc(s.Pending, named)
}

// inviter is the key that invitations are signed with here: that of an owner who may admit, or else that of the node.
// Whether it has the right is said by what signs.
func (n *Network) inviter() (*keys.PrivateKey, error) {
	owner, err := members.OwnerKey(n.Layout)
	if err != nil || owner != nil && n.Roster.State().Owners.May(owner.Public(), roster.RightAdmit) {
		return owner, err
	}
	return n.NodeKey()
}

// NodeKey is the key of the node itself.
func (n *Network) NodeKey() (*keys.PrivateKey, error) {
	id, _, err := n.Files.Identity()
	if err == nil && id.Key == nil {
		err = errors.New("this node has no Ed25519 key to sign with")
	}
	return id.Key, err
}
