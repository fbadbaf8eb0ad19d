package daemon

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"tincan/internal/invite"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// newcomers is the signed network as the invitation server sees it (invite.Members). Without a roster there is
// nothing to find.
type newcomers struct{ m *membership }

// GreetingKey is the key that all members greet with.
func (n newcomers) GreetingKey() (key *keys.PrivateKey) {
	s := n.m.enforcing()
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), submitTime)
	defer cancel()
	_, _ = s.Sign(ctx, func(r *roster.Roster) ([][]byte, error) {
		key = members.GreetingKey(r)
		return nil, nil
	})
	return key
}

// NetworkID is the id of the network.
func (n newcomers) NetworkID() string { return n.state().Network.String() }

// state is what the roster says, an empty one without a roster.
func (n newcomers) state() *roster.State {
	if s := n.m.enforcing(); s != nil {
		return s.State()
	}
	return roster.New(roster.ID{}).State()
}

// Find returns the invitation of a cookie.
func (n newcomers) Find(cookie []byte, now time.Time) *invite.Invited {
	i := n.state().Invitation(roster.InvitationKey(cookie).Public())
	if i == nil {
		return nil
	}
	inv := &invite.Invited{Name: i.Name, Choose: len(i.Choose) > 0, Approval: i.Approval, Used: i.Used}
	for _, s := range i.Subnets {
		if p := s.Prefix(); p.IsValid() && p.IsSingleIP() {
			inv.Addresses = append(inv.Addresses, p.Addr())
		}
	}
	switch {
	case i.NotAfter != 0 && now.Unix() > i.NotAfter:
		inv.Refusal = invite.Expired
	case !i.Open(now.Unix()):
		inv.Refusal = invite.Used
	}
	return inv
}

// Member returns the name of the member with a key.
func (n newcomers) Member(key keys.PublicKey) node.Name {
	s := n.state()
	if m := s.MemberByKey(key); m != nil {
		return m.Name
	}
	for _, m := range s.Pending {
		if m.Key == key {
			return m.Name
		}
	}
	return ""
}

// Taken tells whether somebody has that name.
func (n newcomers) Taken(name node.Name) bool {
	s := n.state()
	if s.Member(name) != nil || s.Device(name) != nil {
		return true
	}
	for _, m := range s.Pending {
		if m.Name == name {
			return true
		}
	}
	return false
}

// Admit admits a newcomer, countersigned with this node's key.
func (n newcomers) Admit(cookie []byte, name node.Name, key keys.PublicKey, chosen []netip.Addr) error {
	s := n.m.enforcing()
	if s == nil || n.m.d.id.Key == nil {
		return errNoRoster
	}
	ctx, cancel := context.WithTimeout(context.Background(), submitTime)
	defer cancel()
	private := roster.InvitationKey(cookie)
	q := roster.Request{Name: name, Key: key, Invitation: private.Public()}
	var subnets []subnet.Subnet
	for _, a := range chosen {
		subnets = append(subnets, subnet.FromPrefix(netip.PrefixFrom(a, a.BitLen())))
	}
	results, err := s.Sign(ctx, func(r *roster.Roster) ([][]byte, error) {
		raw, err := r.Admit(q, q.Sign(r.Network(), private), subnets, time.Now().Unix(), n.m.d.id.Key)
		return [][]byte{raw}, err
	})
	for _, result := range results {
		err = errors.Join(err, result.Err())
	}
	return refusalOf(err)
}

// refusalOf is what a newcomer is told of an error.
func refusalOf(err error) error {
	var why *roster.Refusal
	if !errors.As(err, &why) {
		return err
	}
	switch why.Reason {
	case roster.ReasonUses:
		return errors.Join(invite.Used, err)
	case roster.ReasonTime:
		return errors.Join(invite.Expired, err)
	case roster.ReasonInvitation:
		return errors.Join(invite.Unknown, err)
	case roster.ReasonNameTaken, roster.ReasonAddressTaken:
		return errors.Join(invite.Taken, err)
	case roster.ReasonKeyTaken, roster.ReasonRemoved, roster.ReasonLeft:
		return errors.Join(invite.BadKey, err)
	}
	return err
}
